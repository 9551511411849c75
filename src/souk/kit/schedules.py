"""Schedules: jobs that go into the queue at times of the shop's clock, each tick once, however many processes look at that clock."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

import msgspec
from croniter import croniter  # type: ignore[import-untyped]

from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW, Database, columns
from souk.kit.errors import Unavailable
from souk.kit.queue import Job, put
from souk.kit.telemetry import SCHEDULE_TICK

log = logging.getLogger(__name__)

# What becomes of ticks that nobody was there to see: none of them, the last one alone, or each.
Missed = Literal["skip", "once", "all"]

# A tick that is seen so late was seen: a process was busy, or was being replaced by the next.
SEEN_WITHIN = timedelta(seconds=60)
# So many ticks of one schedule become jobs in one transaction; the rest waits for the next.
MOST_TICKS = 500
LONGEST_WAIT_S, SHORTEST_WAIT_S = 30.0, 0.1
AGAIN_AFTER_S = 1.0

# A schedule begins now, and so does one whose times are others from this version on.
REGISTER = """
    INSERT INTO jobs.schedule AS s (name, expression, zone, last_tick)
    SELECT u.name, u.expression, $3, now() FROM unnest($1::text[], $2::text[]) AS u (name, expression) ORDER BY u.name
    ON CONFLICT (name) DO UPDATE
    SET expression = EXCLUDED.expression, zone = EXCLUDED.zone, last_tick = EXCLUDED.last_tick, updated_at = now()
    WHERE (s.expression, s.zone) IS DISTINCT FROM (EXCLUDED.expression, EXCLUDED.zone)
"""
# Whoever has the row has its ticks; the clock is the server's, so that processes whose clocks differ see the same ticks. What another
# version of the shop, or one in another zone, has made of a schedule is fired by that one alone.
LOCK = """
    SELECT s.name, s.last_tick, COALESCE($4, now()) AS now
    FROM jobs.schedule AS s JOIN unnest($1::text[], $2::text[]) AS u (name, expression) ON (u.name, u.expression) = (s.name, s.expression)
    WHERE s.zone = $3 ORDER BY s.name FOR UPDATE OF s SKIP LOCKED
"""
MOVE = "UPDATE jobs.schedule SET last_tick = $2, updated_at = now() WHERE name = $1"

SCHEDULES: dict[str, "Schedule"] = {}


class Tick(msgspec.Struct, frozen=True):
    """The payload of a scheduled job that wants to know for when it runs."""

    at: datetime


class Schedule(msgspec.Struct, frozen=True):
    """When a job is to run, in the cron format (minute, hour, day of month, month, day of week), and what is done about missed ticks."""

    job: Job[Any]
    times: str | Callable[[], str]
    missed: Missed

    @property
    def name(self) -> str:
        return self.job.path

    @property
    def expression(self) -> str:
        return self.times if isinstance(self.times, str) else self.times()


class _Place(msgspec.Struct, frozen=True):
    name: str
    last_tick: datetime
    now: datetime


def check_times(expression: str) -> None:
    """Raises ValueError for what is no cron expression, or for times that never come."""
    if len(expression.split()) < 5 or not croniter.is_valid(expression):
        raise ValueError(f"{expression!r} is no cron expression")
    next(_walls(expression, datetime(2000, 1, 1)))  # noqa: DTZ001


def scheduled(times: str | Callable[[], str], *, missed: Missed = "once") -> Callable[[Job[Any]], Job[Any]]:
    """Put this job, which takes nothing or a Tick, into the queue at these times of the shop's zone (SOUK_TIMEZONE).

    A time that a clock leaves out in spring is when it would have been by the clock of before; one that it has twice in autumn counts
    the first time. An hour of `*` goes by hours that pass, so it runs in both. Ticks that nobody saw for a minute are missed.
    Times that a shop decides are asked for when its settings are read, which check them (`check_times`).
    """
    if isinstance(times, str):
        check_times(times)

    def register(job: Job[Any]) -> Job[Any]:
        if job.payload not in (None, Tick):
            raise TypeError(f"The job {job.path} is scheduled, and takes neither nothing nor a Tick")
        SCHEDULES[job.path] = Schedule(job, times, missed)
        return job

    return register


def find_ticks(expression: str, zone: tzinfo, after: datetime, until: datetime, most: int = MOST_TICKS) -> tuple[datetime, ...]:
    """The ticks after one moment up to another, in UTC, the earliest first."""
    each_hour = expression.split()[1] == "*"
    # By how much clocks were put forward or back around: as far before and behind may lie what a wall's clock shows.
    shift = _shift(zone, after, until)
    end = until.astimezone(zone).replace(tzinfo=None) + shift
    found: set[datetime] = set()
    for wall in _walls(expression, after.astimezone(zone).replace(tzinfo=None) - shift - timedelta(seconds=1)):
        if wall > end or (len(found) >= most and wall > max(found).astimezone(zone).replace(tzinfo=None) + shift):
            break
        for fold in (0, 1) if each_hour else (0,):
            tick = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if after < tick <= until:
                found.add(tick)
    return tuple(sorted(found)[:most])


def find_next_tick(expression: str, zone: tzinfo, after: datetime) -> datetime:
    """The first tick after a moment."""
    wall = next(_walls(expression, after.astimezone(zone).replace(tzinfo=None) + timedelta(days=1)))
    return find_ticks(expression, zone, after, wall.replace(tzinfo=zone).astimezone(UTC) + timedelta(days=1), most=1)[0]


def choose_ticks(due: Sequence[datetime], missed: Missed, now: datetime, *, is_all: bool = True) -> tuple[datetime, ...]:
    """Those of the ticks that are due for which a job is to run; without `is_all` there are more after them."""
    seen = tuple(tick for tick in due if tick >= now - SEEN_WITHIN)
    if missed == "all":
        return tuple(due)
    return seen if seen or missed == "skip" or not is_all else tuple(due[-1:])


def _shift(zone: tzinfo, after: datetime, until: datetime) -> timedelta:
    day = timedelta(days=1)
    offsets = [moment.astimezone(zone).utcoffset() or timedelta() for moment in (after - day, after, until, until + day)]
    return max(offsets) - min(offsets)


def _walls(expression: str, start: datetime) -> Iterator[datetime]:
    """What a clock on the wall shows at each tick, as if it were never put forward or back."""
    return croniter(expression, start).all_next(datetime)  # type: ignore[no-any-return]


async def fire_due(database: Database, schedules: Mapping[str, Schedule], zone: tzinfo, at: datetime | None = None) -> float:
    """Put the jobs of all ticks that are due into the queue, and write down that it was done, in one transaction.

    Answers in how many seconds to look again: at the next tick, or soon if another process has some of these schedules in its hands.
    """
    waits_s = [LONGEST_WAIT_S]
    async with database.transaction() as tx:
        places = await tx.all(_Place, LOCK, *columns(tuple(schedules.values()), "name", "expression"), str(zone), at)
        if len(places) < len(schedules):
            waits_s.append(SHORTEST_WAIT_S)
        for place in places:
            one = schedules[place.name]
            due = find_ticks(one.expression, zone, place.last_tick, place.now)
            following = find_next_tick(one.expression, zone, due[-1] if due else place.last_tick)
            for tick in choose_ticks(due, one.missed, place.now, is_all=following > place.now):
                await put(tx, one.job, Tick(tick) if one.job.payload else None, key=tick.isoformat())
                SCHEDULE_TICK.labels(one.name).set(tick.timestamp())
            if due:
                await tx.run(MOVE, one.name, due[-1])
            waits_s.append((following - place.now).total_seconds())
    return max(min(waits_s), SHORTEST_WAIT_S)


async def register_schedules(database: Database, schedules: Mapping[str, Schedule], zone: tzinfo) -> None:
    """Begin with what is new, or has other times than before; what is missed is counted from now on."""
    rows = columns(tuple(schedules.values()), "name", "expression")
    async with database.transaction() as tx:
        await tx.run(REGISTER, *rows, str(zone))


async def follow_clock(database: Database, zone: tzinfo) -> None:
    """Fire the schedules of this context, forever, at its times as this process knows them.

    Any number of processes may do so at once that agree on the times. Those that may not agree are to take turns: begun anew it makes its
    own times those of the shop.
    """
    set_caller(Caller(principal=SYSTEM, request_id="schedules"))
    schedules = {one.name: one for one in SCHEDULES.values() if one.job.context == database.context}
    registered = False
    while True:
        wait_s = AGAIN_AFTER_S
        try:
            if not registered:
                await register_schedules(database, schedules, zone)
                registered = True
            wait_s = await fire_due(database, schedules, zone)
        except (Unavailable, *NOT_NOW) as silence:
            log.warning("schedules_interrupted", extra={"reason": str(silence)})
        await asyncio.sleep(wait_s)
