"""Quiet hours and the windows of digests, on every clock of the world and on every day of a year."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from tests.torture import rounds

from souk.notifications.hours import end_of_quiet, end_of_window, is_quiet, moments_at, zone_of
from souk.users import QuietHours

NIGHT = QuietHours("22:00", "07:00")
# Over the night, at noon, over the hour in which clocks are changed, into it, out of it, around midnight, all but a minute.
QUIET = tuple(
    QuietHours(*hours)
    for hours in (("22:00", "07:00"), ("12:00", "13:30"), ("01:00", "03:30"), ("01:00", "02:30"), ("02:30", "05:00"),
                  ("23:30", "00:15"), ("00:00", "23:59"))
)  # fmt: skip
ZONES = sorted(available_timezones())
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN, KOLKATA = "Europe/Berlin", "Asia/Kolkata"


def moments(zone: str, place: int) -> list[datetime]:
    """A moment of every day of the year, each at another time; and each minute around the moments at which the clock is changed."""
    there = ZoneInfo(zone)
    days = [BEGIN + timedelta(days=day, minutes=(day * 37 + place * 11) % 1440, seconds=day % 60) for day in range(365)]
    offsets = [moment.astimezone(there).utcoffset() for moment in days]
    for before, after, was, is_now in zip(days, days[1:], offsets, offsets[1:], strict=False):
        if was != is_now:
            days.extend(before + timedelta(minutes=minute) for minute in range(0, int((after - before).total_seconds() // 60), 13))
    return days


@pytest.mark.parametrize("quiet", QUIET, ids=lambda quiet: f"{quiet.begins}-{quiet.ends}")
def test_nothing_is_due_in_quiet_hours_in_any_zone_on_any_day(quiet: QuietHours) -> None:
    every = rounds(23, 1)
    chosen = [*ZONES[::every], BERLIN, KOLKATA, "Australia/Lord_Howe", "America/New_York", "Pacific/Apia", "Africa/Cairo"]
    looked = 0
    for place, zone in enumerate(chosen):
        for moment in moments(zone, place):
            end = end_of_quiet(moment, zone, quiet)
            assert not is_quiet(end, zone, quiet), (zone, moment, end)
            assert end >= moment
            assert (end == moment) == (not is_quiet(moment, zone, quiet)), (zone, moment)
            # As soon as they end: a minute earlier is quiet, but where the clock jumps.
            assert end == moment or is_quiet(end - timedelta(minutes=1), zone, quiet) or jumps(end, zone), (zone, moment, end)
            looked += 1
    assert looked >= len(chosen) * 365


def jumps(moment: datetime, zone: str) -> bool:
    there = zone_of(zone)
    return (moment - timedelta(hours=3)).astimezone(there).utcoffset() != moment.astimezone(there).utcoffset()


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-03-28T21:00+00:00", "2026-03-29T05:00+00:00"),  # 22:00 in winter, and the night in which summer begins: an hour less
        ("2026-03-28T20:59:59.999+00:00", "2026-03-28T20:59:59.999+00:00"),
        ("2026-10-24T20:00+00:00", "2026-10-25T06:00+00:00"),  # 22:00 in summer, and the night in which it ends: an hour more
        ("2026-03-29T05:00+00:00", "2026-03-29T05:00+00:00"),
        ("2026-03-29T04:59:59.999+00:00", "2026-03-29T05:00+00:00"),
    ],
)
def test_both_edges_of_summer_time(at: str, until: str) -> None:
    assert end_of_quiet(datetime.fromisoformat(at), BERLIN, NIGHT) == datetime.fromisoformat(until)


def test_quiet_hours_that_end_in_the_hour_that_comes_twice_end_for_good_the_second_time() -> None:
    quiet = QuietHours("01:00", "02:30")
    once = datetime.fromisoformat("2026-10-24T23:30+00:00")
    first, second = datetime.fromisoformat("2026-10-25T00:30+00:00"), datetime.fromisoformat("2026-10-25T01:30+00:00")
    assert end_of_quiet(once, BERLIN, quiet) == first
    assert not is_quiet(first, BERLIN, quiet)
    assert end_of_quiet(first + timedelta(minutes=30), BERLIN, quiet) == second


def test_windows_end_on_the_clock_of_their_reader() -> None:
    at = datetime(2026, 3, 25, 9, 15, tzinfo=UTC)  # a Wednesday
    assert end_of_window(at, KOLKATA, "hourly") == datetime(2026, 3, 25, 10, tzinfo=UTC)
    assert end_of_window(at, KOLKATA, "daily") == datetime(2026, 3, 26, 2, 30, tzinfo=UTC)
    assert end_of_window(at, BERLIN, "daily") == datetime(2026, 3, 26, 7, tzinfo=UTC)
    assert end_of_window(at, BERLIN, "weekly") == datetime(2026, 3, 30, 6, tzinfo=UTC)


@pytest.mark.parametrize("every", ["hourly", "daily", "weekly"])
@pytest.mark.parametrize("zone", [BERLIN, KOLKATA, "Pacific/Apia", "America/St_Johns"])
def test_windows_follow_upon_each_other_without_a_gap(every: str, zone: str) -> None:
    ends = [end_of_window(BEGIN, zone, every)]  # type: ignore[arg-type]
    for _ in range(60):
        ends.append(end_of_window(ends[-1], zone, every))  # type: ignore[arg-type]
    a_moment = timedelta(milliseconds=1)
    for end, following in pairwise(ends):
        assert end < following
        assert end_of_window(end - a_moment, zone, every) == end  # type: ignore[arg-type]
        assert end_of_window(end + a_moment, zone, every) == following  # type: ignore[arg-type]


def test_a_zone_that_this_machine_does_not_know_is_utc() -> None:
    assert end_of_quiet(datetime(2026, 1, 1, 23, tzinfo=UTC), "Mars/Olympus", NIGHT) == datetime(2026, 1, 2, 7, tzinfo=UTC)


def test_a_time_that_is_jumped_over_is_told_after_the_jump() -> None:
    found = moments_at(datetime(2026, 1, 1, 2, 30).time(), datetime(2026, 3, 28, 12, tzinfo=UTC), BERLIN)  # noqa: DTZ001  a clock
    assert next(found) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
