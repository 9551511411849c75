"""What a process measures about itself now and then, because nothing tells of it: dead letters, sizes, room, the share of failures."""

import asyncio
import shutil
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from souk.kit.db import Database
from souk.kit.telemetry import (
    DATABASE_BYTES,
    DEAD_LETTERS,
    DISK_FREE,
    DISK_FREE_SHARE,
    ERROR_SHARE,
    OLDEST_WRITER,
    REQUESTS,
)

COUNT_DEAD_LETTERS = "SELECT consumer, count(*) AS count FROM {schema}.dead_letter GROUP BY consumer"
# A role sees the transactions of its own; that a context's events wait is mostly its own doing.
MEASURE_DATABASE = """
    SELECT current_database() AS name, pg_database_size(current_database()) AS size_bytes,
           coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (WHERE backend_xid IS NOT NULL), 0)::float8
               AS writer_age_s
    FROM pg_stat_activity WHERE datname = current_database()
"""


class _Dead(msgspec.Struct, frozen=True):
    consumer: str
    count: int


class _Size(msgspec.Struct, frozen=True):
    name: str
    size_bytes: int
    writer_age_s: float


class Answered(NamedTuple):
    """How many requests had been answered at a moment, and how many of them by 5xx."""

    at: float
    errors: float
    requests: float


class ErrorWindow:
    """The share of answers that are 5xx, of the last so many seconds; 0 when they are too few to say so."""

    def __init__(self, window_s: float, fewest: int) -> None:
        self._window_s = window_s
        self._fewest = fewest
        self._seen: deque[Answered] = deque([Answered(float("-inf"), 0, 0)])

    def note(self, now: Answered) -> float:
        """The share as it is with what has been answered until now."""
        self._seen.append(now)
        while len(self._seen) > 1 and self._seen[1].at <= now.at - self._window_s:
            self._seen.popleft()
        first = self._seen[0]
        requests = now.requests - first.requests
        return (now.errors - first.errors) / requests if requests >= max(self._fewest, 1) else 0.0


def count_answers(at: float) -> Answered:
    """What this process has answered since it began."""
    samples = [one for metric in REQUESTS.collect() for one in metric.samples if one.name.endswith("_total")]
    return Answered(at, sum(one.value for one in samples if one.labels["status"] >= "500"), sum(one.value for one in samples))


def measure_answers(window: ErrorWindow) -> None:
    """Show the share of failures."""
    ERROR_SHARE.set(window.note(count_answers(asyncio.get_running_loop().time())))


def measure_disks(places: Mapping[str, Path]) -> None:
    """Show how much room there is on the disks of these folders; of those that are not there, nothing."""
    for name, folder in places.items():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        DISK_FREE.labels(name).set(usage.free)
        DISK_FREE_SHARE.labels(name).set(usage.free / usage.total)


async def measure_databases(databases: Iterable[Database]) -> None:
    """Show the sizes of the databases of these contexts, and what their consumers could not apply. Raises Unavailable."""
    measured = set()
    for database in databases:
        if database.pool not in measured:
            measured.add(database.pool)
            (size,) = await database.all(_Size, MEASURE_DATABASE)
            DATABASE_BYTES.labels(size.name).set(size.size_bytes)
            OLDEST_WRITER.labels(size.name).set(size.writer_age_s)
        rows = await database.all(_Dead, COUNT_DEAD_LETTERS.format(schema=database.context))
        show_dead_letters(database.context, {row.consumer: row.count for row in rows})


def show_dead_letters(context: str, counts: Mapping[str, int]) -> None:
    """Of each consumer of a context that has any, or had."""
    shown = {one.labels["consumer"] for metric in DEAD_LETTERS.collect() for one in metric.samples}
    for consumer in {*counts, *(one for one in shown if one.startswith(f"{context}."))}:
        DEAD_LETTERS.labels(consumer).set(counts.get(consumer, 0))
