"""Each tick of the shop's clock puts its job into the queue once, with three processes, when clocks change, after hours down."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from tests.kit import chores
from tests.kit.conftest import Process
from tests.kit.notebook import db
from tests.torture import rounds
from tests.waiting import until

from souk.kit.background import in_background
from souk.kit.duties import Hosted, find_queue_duties
from souk.kit.locks import SessionLocks
from souk.kit.queue import JOBS, job
from souk.kit.schedules import (
    LONGEST_WAIT_S,
    SCHEDULES,
    SHORTEST_WAIT_S,
    Missed,
    Schedule,
    choose_ticks,
    find_next_tick,
    find_ticks,
    fire_due,
    register_schedules,
    scheduled,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEGIN_AT = "UPDATE jobs.schedule SET last_tick = $1"
QUEUED = "SELECT convert_from(payload, 'UTF8')::json ->> 'at' FROM jobs.pgqueuer ORDER BY id"
TICKED = "SELECT word FROM kit.chore WHERE name = 'tick' ORDER BY place"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ticks(expression: str, zone: str, after: str, until: str) -> list[str]:
    found = find_ticks(expression, ZoneInfo(zone), utc(after), utc(until))
    return [f"{tick:%d %H:%M}" for tick in found]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "until", "expected"),
    [
        # In New York 02:30 of 8 March does not exist: it is when it would have been by the clock of before, at 03:30.
        ("30 2 * * *", "America/New_York", "2026-03-07 12:00", "2026-03-09 12:00", ["08 07:30", "09 06:30"]),
        # 01:30 of 1 November comes twice: the first one counts.
        ("30 1 * * *", "America/New_York", "2026-10-31 12:00", "2026-11-02 12:00", ["01 05:30", "02 06:30"]),
        ("0 8 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-30 12:00", ["29 06:00", "30 06:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-26 12:00", ["25 00:30", "26 01:30"]),
        # Each hour that passes has its own, in the night of autumn as well.
        ("0 * * * *", "America/New_York", "2026-11-01 03:30", "2026-11-01 08:30", [f"01 0{hour}:00" for hour in (4, 5, 6, 7, 8)]),
        ("0 * * * *", "America/New_York", "2026-03-08 05:30", "2026-03-08 09:30", [f"08 0{hour}:00" for hour in (6, 7, 8, 9)]),
        # Half an hour, on Lord Howe.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 06:00", "2026-10-05 00:00", ["03 15:45", "04 15:15"]),
        # Midnight comes twice in Havana, and there is none in Beirut in spring.
        ("30 0 * * *", "America/Havana", "2026-10-31 12:00", "2026-11-02 12:00", ["01 04:30", "02 05:30"]),
        ("0 0 * * *", "Asia/Beirut", "2026-03-28 12:00", "2026-03-29 23:00", ["28 22:00", "29 21:00"]),
        # A whole day is left out on Samoa.
        ("30 12 * * *", "Pacific/Apia", "2011-12-29 12:00", "2012-01-01 12:00", ["29 22:30", "30 22:30", "31 22:30"]),
        ("0 9 * * 1", "Asia/Kolkata", "2026-03-01 00:00", "2026-03-15 00:00", ["02 03:30", "09 03:30"]),
    ],
)
def test_a_tick_is_once_whatever_the_clocks_do(expression: str, zone: str, after: str, until: str, expected: list[str]) -> None:
    assert ticks(expression, zone, after, until) == expected


def test_a_year_of_days_in_every_zone_has_each_tick_once_however_it_is_cut() -> None:
    zones = sorted(available_timezones())[:: rounds(50, 1)]
    for name in zones:
        zone = ZoneInfo(name)
        begin, end = utc("2026-01-01 00:00"), utc("2027-01-01 00:00")
        whole = find_ticks("30 2 * * *", zone, begin, end)
        cuts = [begin + timedelta(hours=31 * number) for number in range(283)] + [end]
        pieces = [tick for low, high in pairwise(cuts) for tick in find_ticks("30 2 * * *", zone, low, high)]
        assert pieces == list(whole), name
        assert len(whole) in (364, 365, 366), name
        one_by_one: list[datetime] = []
        moment = begin
        while (moment := find_next_tick("30 2 * * *", zone, moment)) <= end:
            one_by_one.append(moment)
        assert one_by_one == list(whole), name


def test_no_more_ticks_than_are_asked_for_and_the_rest_later() -> None:
    everything = find_ticks("* * * * *", UTC, START, START + timedelta(minutes=90))
    some = find_ticks("* * * * *", UTC, START, START + timedelta(minutes=90), most=50)
    assert some == everything[:50]
    assert some + find_ticks("* * * * *", UTC, some[-1], START + timedelta(minutes=90)) == everything


@pytest.mark.parametrize(
    ("missed", "minutes", "expected"),
    [("skip", [240, 120], []), ("once", [240, 120], [120]), ("all", [240, 120], [240, 120]),
     ("skip", [240, 0.5], [0.5]), ("once", [240, 0.5], [0.5]), ("all", [240, 0.5], [240, 0.5]),
     ("skip", [0.9, 0.2], [0.9, 0.2]), ("once", [0.9, 0.2], [0.9, 0.2]), ("once", [], []), ("all", [], [])],
)  # fmt: skip
def test_what_nobody_saw_is_skipped_or_done_once_or_made_up_for(missed: Missed, minutes: list[float], expected: list[float]) -> None:
    due = [START - timedelta(minutes=ago) for ago in minutes]
    assert choose_ticks(due, missed, START) == tuple(START - timedelta(minutes=ago) for ago in expected)


@pytest.mark.parametrize(
    ("begun", "found", "times"),
    [
        # Four hours away, over the night in which 02:30 does not come and over the one in which it comes twice.
        ("2026-03-29 00:00", "2026-03-29 04:00", ["2026-03-29 01:30"]),
        ("2026-10-24 23:00", "2026-10-25 03:00", ["2026-10-25 00:30"]),
    ],
)
@pytest.mark.parametrize("missed", ["skip", "once", "all"])
async def test_a_tick_that_was_missed_over_a_change_of_the_clock(
    here: str, missed: Missed, begun: str, found: str, times: list[str]
) -> None:
    schedules = {"kit.tick_away": Schedule(chores.tick_away, "30 2 * * *", missed)}
    berlin = ZoneInfo("Europe/Berlin")
    await register_schedules(db, schedules, berlin)
    await db.pool.execute(BEGIN_AT, utc(begun))
    # Three processes come back at once, and look again and again.
    for seconds in (0, 1, 90):
        await asyncio.gather(*(fire_due(db, schedules, berlin, utc(found) + timedelta(seconds=seconds)) for _ in range(3)))
    fired = [row[0] for row in await db.pool.fetch(QUEUED)]
    assert [datetime.fromisoformat(one) for one in fired] == ([] if missed == "skip" else [utc(one) for one in times])


@pytest.fixture
def each_minute() -> Iterator[dict[str, Schedule]]:
    yield {"kit.tick_away": Schedule(chores.tick_away, "* * * * *", "once")}


async def begin(schedules: dict[str, Schedule], at: datetime = START) -> None:
    await register_schedules(db, schedules, UTC)
    await db.pool.execute(BEGIN_AT, at)


async def queued() -> list[str]:
    return [f"{datetime.fromisoformat(row[0]):%H:%M}" for row in await db.pool.fetch(QUEUED)]


async def test_twenty_who_look_at_once_fire_each_minute_once(here: str, each_minute: dict[str, Schedule]) -> None:
    await begin(each_minute)
    for minute in range(1, 61):
        now = START + timedelta(minutes=minute, seconds=1)
        await asyncio.gather(*(fire_due(db, each_minute, UTC, now) for _ in range(20)))
    assert await queued() == [f"{START + timedelta(minutes=minute):%H:%M}" for minute in range(1, 61)]


async def test_after_four_hours_down_a_job_runs_once(here: str, each_minute: dict[str, Schedule]) -> None:
    nightly = {"kit.tick_away": Schedule(chores.tick_away, "0 13 * * *", "once")}
    await begin(nightly)
    back = START + timedelta(hours=4)
    await fire_due(db, nightly, UTC, back)
    await fire_due(db, nightly, UTC, back + timedelta(minutes=1))
    assert await queued() == ["13:00"]


@pytest.mark.parametrize("hours", [20, 1500 / 60 + 2 / 60])
async def test_after_a_day_down_what_is_due_each_minute_runs_once(here: str, each_minute: dict[str, Schedule], hours: float) -> None:
    await begin(each_minute)
    back = START + timedelta(hours=hours, seconds=1)
    for _ in range(5):
        await fire_due(db, each_minute, UTC, back)
    assert len(await queued()) == 1
    assert await db.value("SELECT last_tick FROM jobs.schedule") == back - timedelta(seconds=1)


async def test_a_schedule_that_is_new_or_has_new_times_begins_now_and_one_of_before_goes_on(
    here: str, each_minute: dict[str, Schedule]
) -> None:
    await begin(each_minute)
    await register_schedules(db, each_minute, UTC)
    assert await db.value("SELECT last_tick FROM jobs.schedule") == START
    await register_schedules(db, {"kit.tick_away": Schedule(chores.tick_away, "30 * * * *", "once")}, UTC)
    assert await db.value("SELECT last_tick > now() - interval '1 minute' FROM jobs.schedule")


@pytest.mark.parametrize(("expression", "zone"), [("30 12 * * *", UTC), ("0 13 * * *", ZoneInfo("Atlantic/Azores"))])
async def test_who_has_other_times_leaves_a_schedule_alone(here: str, expression: str, zone: tzinfo) -> None:
    daily, other = (Schedule(chores.tick_away, times, "once") for times in ("0 13 * * *", expression))
    await begin({"kit.tick_away": daily})
    for minutes in (31, 61, 121):
        await fire_due(db, {"kit.tick_away": other}, zone, START + timedelta(minutes=minutes))
        assert await queued() == []
    await fire_due(db, {"kit.tick_away": daily}, UTC, START + timedelta(minutes=121))
    assert await queued() == ["13:00"]


@asynccontextmanager
async def keeping_time(dsn: str, zone: str) -> AsyncIterator[None]:
    """What a process of a shop in this zone does by the clock."""
    locks = SessionLocks(dsn)
    await locks.open()
    duties = find_queue_duties(0, Hosted(dsn, locks, {"kit": db}), ZoneInfo(zone))
    async with in_background({name: work for name, work in duties.items() if name.startswith("schedules")}):
        yield
    await locks.close()


async def test_of_two_versions_that_run_side_by_side_one_has_the_clock_until_it_ends(here: str) -> None:
    zones: list[str] = []

    async def see_zone(wanted: str) -> bool:
        found = await db.value("SELECT zone FROM jobs.schedule")
        zones.extend([] if found is None or [found] == zones[-1:] else [found])
        return zones[-1:] == [wanted]

    async def ticks_more(count: int) -> None:
        before = len(await queued())

        async def are_there() -> bool:
            await see_zone("")
            return len(await queued()) >= before + count

        await until(are_there)

    async with AsyncExitStack() as new:
        async with keeping_time(here, "Europe/Berlin"):
            await until(partial(see_zone, "Europe/Berlin"))
            await new.enter_async_context(keeping_time(here, "Asia/Tokyo"))
            await ticks_more(3)
            assert zones == ["Europe/Berlin"]
        await until(partial(see_zone, "Asia/Tokyo"))
        await ticks_more(2)
    assert zones == ["Europe/Berlin", "Asia/Tokyo"]
    found = await db.pool.fetch(QUEUED)
    assert len({row[0] for row in found}) == len(found)


async def test_it_looks_again_at_the_next_tick_or_soon_if_another_has_it(here: str, each_minute: dict[str, Schedule]) -> None:
    await begin(each_minute)
    assert await fire_due(db, each_minute, UTC, START + timedelta(seconds=50)) == 10
    hourly = {"kit.tick_away": Schedule(chores.tick_away, "0 * * * *", "once")}
    await begin(hourly)
    assert await fire_due(db, hourly, UTC, START + timedelta(seconds=50)) == LONGEST_WAIT_S
    await begin(each_minute)
    async with db.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM jobs.schedule FOR UPDATE")
        assert await fire_due(db, each_minute, UTC, START + timedelta(seconds=50)) == SHORTEST_WAIT_S


async def test_a_tick_is_not_lost_by_whoever_dies_with_it(here: str, each_minute: dict[str, Schedule]) -> None:
    await begin(each_minute)
    now = START + timedelta(minutes=1, seconds=1)
    with pytest.raises(ZeroDivisionError):
        await fire_due(db, {**each_minute, "kit.tick_away": Schedule(Broken(chores.tick_away), "* * * * *", "once")}, UTC, now)  # type: ignore[arg-type]
    await fire_due(db, each_minute, UTC, now)
    assert await queued() == ["12:01"]


class Broken:
    """A job during whose way into the queue the process fails."""

    def __init__(self, wanted: object) -> None:
        self.wanted = wanted

    def __getattr__(self, name: str) -> object:
        if name == "terms":
            raise ZeroDivisionError
        return getattr(self.wanted, name)


async def test_three_processes_fire_each_second_once(here: str, start_process: Callable[..., Process]) -> None:
    """In real time: three follow the clock and two work, one of each is killed half way."""
    seconds = rounds(20, 90)
    clocks = [start_process("schedule", here, "Europe/Berlin") for _ in range(3)]
    workers = [start_process("work", here) for _ in range(2)]

    async def ticked() -> list[datetime]:
        return [datetime.fromisoformat(row["word"]) for row in await db.pool.fetch(TICKED)]

    async def half() -> bool:
        return len(await ticked()) >= seconds // 2

    async def whole() -> bool:
        return len(await ticked()) >= seconds

    await until(half, seconds)
    clocks[0].kill()
    workers[0].kill()
    await until(whole, seconds * 3)
    for process in (*clocks, *workers):
        process.kill()
    found = sorted(await ticked())
    assert found == [found[0] + timedelta(seconds=number) for number in range(len(found))]


@pytest.mark.parametrize("expression", ["8 o'clock", "61 * * * *", "* * * *", "0 0 30 2 *", ""])
def test_what_never_comes_is_refused(expression: str) -> None:
    with pytest.raises(ValueError):
        scheduled(expression)


def test_a_job_with_another_payload_cannot_be_scheduled() -> None:
    with pytest.raises(TypeError, match="Tick"):
        scheduled("0 8 * * *")(chores.say_word)


def test_a_declared_schedule_is_known() -> None:
    @scheduled("0 8 * * 1", missed="skip")
    @job()
    async def greet_week() -> None: ...

    one = SCHEDULES.pop("kit.greet_week")
    assert (one.job, one.expression, one.missed) == (JOBS.pop("kit.greet_week"), "0 8 * * 1", "skip")
