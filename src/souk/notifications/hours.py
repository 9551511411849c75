"""Quiet hours, and the windows in which messages gather, on the clock of whoever they are for. Every zone, every day of its year."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from souk.users import DigestEvery, QuietHours

# When digests of a day or a week leave.
MORNING = time(8)
MONDAY = 0


@lru_cache(maxsize=1_000)
def zone_of(name: str) -> ZoneInfo:
    """The zone of this name; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def is_quiet(at: datetime, zone: str, quiet: QuietHours | None) -> bool:
    """Whether a clock in the zone shows quiet hours then."""
    if quiet is None:
        return False
    begins, ends, clock = time.fromisoformat(quiet.begins), time.fromisoformat(quiet.ends), at.astimezone(zone_of(zone)).time()
    return begins <= clock < ends if begins < ends else clock >= begins or clock < ends


def end_of_quiet(at: datetime, zone: str, quiet: QuietHours | None) -> datetime:
    """This moment, or if it lies in quiet hours the next one at which they end. Where the clock jumps over that, after the jump."""
    if quiet is None or not is_quiet(at, zone, quiet):
        return at
    return next(end for end in moments_at(time.fromisoformat(quiet.ends), at, zone) if not is_quiet(end, zone, quiet))


def end_of_window(at: datetime, zone: str, every: DigestEvery) -> datetime:
    """When the window ends that this moment lies in. A moment at which one ends lies in the next."""
    if every == "hourly":
        return at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    mornings = moments_at(MORNING, at, zone)
    return next(one for one in mornings if every == "daily" or one.astimezone(zone_of(zone)).weekday() == MONDAY)


def moments_at(clock: time, after: datetime, zone: str) -> Iterator[datetime]:
    """The moments after this one at which a clock in the zone shows this time, in their order; both of them where it is put back.

    On a day on which the clock jumps over it, the moment as far after the jump as the time lies in the gap.
    """
    there = zone_of(zone)
    day = after.astimezone(there).date() - timedelta(days=1)
    while True:
        wanted = datetime.combine(day, clock)
        for moment in sorted({wanted.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1)}):
            # Of a time that is jumped over, one reading lies before the jump and shows an earlier one.
            if moment > after and moment.astimezone(there).replace(tzinfo=None) >= wanted:
                yield moment
        day += timedelta(days=1)
