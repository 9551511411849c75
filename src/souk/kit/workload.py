"""What runs beside the requests, to look at: jobs that wait, run or have failed, schedules, sweepers; and a failed job run again."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from souk.kit.callers import caller
from souk.kit.calls import EXPOSED, ExposedFunction
from souk.kit.config import find_zone
from souk.kit.db import NOT_NOW, Database, columns
from souk.kit.errors import Conflict, NotFound, Unavailable
from souk.kit.jobs import SWEEPERS
from souk.kit.queue import JOBS, ring
from souk.kit.schedules import SCHEDULES, find_next_tick

log = logging.getLogger(__name__)

TELL_EVERY_S = 10.0

COUNT_JOBS = """
    SELECT entrypoint AS job, count(*) FILTER (WHERE status = 'queued') AS waiting, count(*) FILTER (WHERE status = 'picked') AS running,
           count(*) FILTER (WHERE status = 'failed') AS failed, min(execute_after) FILTER (WHERE status = 'queued') AS next_at
    FROM jobs.pgqueuer WHERE split_part(entrypoint, '.', 1) = $1 GROUP BY entrypoint ORDER BY entrypoint
"""
LIST_FAILED = """
    SELECT split_part(q.entrypoint, '.', 1) || '-' || q.id AS id, q.entrypoint AS job, q.attempts + 1 AS tries,
           COALESCE(left(concat_ws(': ', l.traceback ->> 'exception_type', l.traceback ->> 'exception_message'), 2000), '') AS reason,
           q.created AS created_at, q.updated AS failed_at
    FROM jobs.pgqueuer AS q
    LEFT JOIN LATERAL (
        SELECT traceback FROM jobs.pgqueuer_log WHERE job_id = q.id AND status = 'failed' ORDER BY created DESC, id DESC LIMIT 1
    ) AS l ON true
    WHERE q.status = 'failed' AND split_part(q.entrypoint, '.', 1) = $1 ORDER BY q.updated, q.id LIMIT $2
"""
RETRY = """
    UPDATE jobs.pgqueuer SET status = 'queued', execute_after = now(), updated = now(), attempts = 0, queue_manager_id = NULL
    WHERE id = $1 AND status = 'failed' AND split_part(entrypoint, '.', 1) = $2 RETURNING id
"""
LIST_SCHEDULES = "SELECT name, zone, last_tick FROM jobs.schedule WHERE name = ANY($1)"
LIST_SWEEPERS = "SELECT name, begun_at, lasted_ms, outcome, count FROM jobs.sweeper WHERE name = ANY($1)"
TELL_SWEEPERS = """
    INSERT INTO jobs.sweeper AS s (name, begun_at, lasted_ms, outcome, count)
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::text[], $5::bigint[])
        AS u (name, begun_at, lasted_ms, outcome, count)
    ORDER BY u.name
    ON CONFLICT (name) DO UPDATE
    SET begun_at = EXCLUDED.begun_at, lasted_ms = EXCLUDED.lasted_ms, outcome = EXCLUDED.outcome, count = EXCLUDED.count, updated_at = now()
    WHERE s.begun_at < EXCLUDED.begun_at
"""


class SameJobWaits(Conflict, code="kit.same_job_waits"):
    """Another job of the same key waits or runs: this one is not needed."""


class JobCount(msgspec.Struct, frozen=True):
    """How many of one job there are in the queue, and when the first that waits is due."""

    job: str
    waiting: int = 0
    running: int = 0
    failed: int = 0
    next_at: datetime | None = None


class FailedJob(msgspec.Struct, frozen=True):
    """A job that has been tried as often as it may be."""

    id: str
    job: str
    tries: int
    reason: str
    created_at: datetime
    failed_at: datetime


class ScheduleState(msgspec.Struct, frozen=True):
    """When a job goes into the queue by itself, last and next."""

    job: str
    expression: str
    timezone: str
    missed: str
    last_tick_at: datetime | None
    next_tick_at: datetime | None


class SweeperState(msgspec.Struct, frozen=True):
    """What runs every so many seconds, and how it fared last."""

    sweeper: str
    every_s: float
    begun_at: datetime | None = None
    lasted_ms: int | None = None
    outcome: str | None = None
    count: int | None = None


class Workload(msgspec.Struct, frozen=True):
    """What runs beside the requests."""

    jobs: tuple[JobCount, ...] = ()
    failed: tuple[FailedJob, ...] = ()
    schedules: tuple[ScheduleState, ...] = ()
    sweepers: tuple[SweeperState, ...] = ()


class _Fired(msgspec.Struct, frozen=True):
    name: str
    zone: str
    last_tick: datetime


class _Swept(msgspec.Struct, frozen=True):
    name: str
    begun_at: datetime
    lasted_ms: int
    outcome: str
    count: int


class _Again(msgspec.Struct, frozen=True):
    id: int


def expose_workload(database: Database) -> None:
    """Make this context's jobs listed and run again by every process of the shop, for admins."""
    context = database.context

    async def list_jobs(limit: int) -> Workload:
        """What this context does beside its requests, with so many failed jobs, the oldest first. Raises Forbidden."""
        caller().principal.require_admin()
        counts = {one.job: one for one in await database.all(JobCount, COUNT_JOBS, context)}
        known = {path: counts.get(path, JobCount(path)) for path, job in JOBS.items() if job.context == context}
        failed = await database.all(FailedJob, LIST_FAILED, context, limit) if any(one.failed for one in counts.values()) else ()
        jobs = tuple(sorted((known | counts).values(), key=lambda one: one.job))
        return Workload(jobs, failed, await _list_schedules(database), await _list_sweepers(database))

    async def retry_job(number: int) -> None:
        """Run a failed job again, with all of its tries; again has no more effect.

        Raises NotFound, SameJobWaits if there is another of its key, and Forbidden for anybody but an admin.
        """
        caller().principal.require_admin()
        try:
            again = await database.write(_Again, RETRY, number, context)
        except asyncpg.UniqueViolationError as twin:
            raise SameJobWaits from twin
        if not again:
            raise NotFound
        ring()

    for function in (list_jobs, retry_job):
        ExposedFunction(function, timeout_s=10.0, context=context)


async def _list_schedules(database: Database) -> tuple[ScheduleState, ...]:
    mine = [one for name, one in sorted(SCHEDULES.items()) if one.job.context == database.context]
    fired = {one.name: one for one in await database.all(_Fired, LIST_SCHEDULES, [one.name for one in mine])}
    states: list[ScheduleState] = []
    for one in mine:
        last = fired.get(one.name)
        following = find_next_tick(one.expression, find_zone(last.zone), last.last_tick) if last else None
        states.append(
            ScheduleState(one.name, one.expression, last.zone if last else "", one.missed, last.last_tick if last else None, following)
        )
    return tuple(states)


async def _list_sweepers(database: Database) -> tuple[SweeperState, ...]:
    mine = [one for path, one in sorted(SWEEPERS.items()) if one.context == database.context]
    swept = {one.name: one for one in await database.all(_Swept, LIST_SWEEPERS, [one.path for one in mine])}
    return tuple(
        SweeperState(one.path, one.every_s, last.begun_at, last.lasted_ms, last.outcome, last.count)
        if (last := swept.get(one.path))
        else SweeperState(one.path, one.every_s)
        for one in mine
    )


async def tell_of_sweepers(database: Database, contexts: Sequence[str]) -> None:
    """Write down now and then how the sweepers of these contexts fare that run in this process, forever."""
    while True:
        runs = [
            _Swept(path, last.begun_at, last.lasted_ms, last.outcome, last.count)
            for path, one in SWEEPERS.items()
            if one.context in contexts and (last := one.last)
        ]
        try:
            if runs:
                await database.write(_Again, TELL_SWEEPERS, *columns(runs, "name", "begun_at", "lasted_ms", "outcome", "count"))
        except (Unavailable, *NOT_NOW) as silence:
            log.warning("sweepers_untold", extra={"reason": str(silence)})
        await asyncio.sleep(TELL_EVERY_S)


async def list_jobs(context: str, limit: int) -> Workload:
    """The workload of a context, wherever it is hosted."""
    function = EXPOSED[f"{context}/list_jobs"]
    found: Workload = await function.ask(function.argument_type(limit))
    return found


async def retry_job(context: str, number: int) -> None:
    """Run a failed job of a context again, wherever it is hosted."""
    function = EXPOSED[f"{context}/retry_job"]
    await function.ask(function.argument_type(number))


def join_workloads(parts: Sequence[Workload], limit: int) -> Workload:
    """What several contexts do beside their requests, as one."""
    failed = sorted((one for part in parts for one in part.failed), key=lambda one: one.failed_at)
    return Workload(
        tuple(one for part in parts for one in part.jobs),
        tuple(failed[:limit]),
        tuple(one for part in parts for one in part.schedules),
        tuple(one for part in parts for one in part.sweepers),
    )
