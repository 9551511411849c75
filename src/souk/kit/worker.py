"""Runs the jobs of one database whose contexts this process hosts: PgQueuer's loop, and what it needs so that no job is lost."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.core.executors import AbstractEntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import NotifyCallback
from pgqueuer.queries import Queries

from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.db import NOT_NOW, Database
from souk.kit.locks import LIVING_OWNERS, SessionLocks
from souk.kit.queue import JOBS, NEWS, Job
from souk.kit.telemetry import JOB_RUNS, JOBS_DUE_AGE, JOBS_FAILED, JOBS_WAITING
from souk.kit.tracing import tracing

log = logging.getLogger(__name__)
# That a job is tried again we say ourselves.
logging.getLogger("pgqueuer").setLevel(logging.WARNING)

# Nothing of it comes from the environment, where a variable called CHANNEL would be enough to lose the queue.
NAMES = DBSettings(
    prefix="",
    db_schema="jobs",
    channel=Channel("souk_jobs"),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
)

# A worker takes so many at once, and has so many under way.
TAKEN_AT_ONCE, UNDER_WAY = 25, 50
# When a worker looks that nobody has told: what is put into the queue wakes all of them.
LOOK_EVERY = timedelta(seconds=2)
# A dead process is known by its session lock; this is for one that lives and hangs.
HANGS_AFTER = timedelta(minutes=10)
# How soon the jobs of a dead process are anybody's.
ORPHANS_EVERY_S = 1.0
COUNT_EVERY_S, FORGET_EVERY_S = 15.0, 3600.0
# News within this time are one.
TELL_EVERY_S = 0.02
# How long a job may go on when its process is to stop; then it is given back, and that is soon done.
GRACE_S = 0.5
AGAIN_AFTER_S = 1.0
RUNS_KEPT_DAYS = 7
FORGOTTEN_AT_ONCE = 5_000

# A worker's id ends with the number of the session lock of its process.
RETURN_ORPHANS = f"""
    UPDATE jobs.pgqueuer
    SET status = 'queued', attempts = attempts + 1, queue_manager_id = NULL, slot = NULL, execute_after = now(), updated = now()
    WHERE status = 'picked' AND queue_manager_id <> $1::uuid
      AND (right(queue_manager_id::text, 8) = right($1::text, 8) OR right(queue_manager_id::text, 8) <> ALL (ARRAY({LIVING_OWNERS})))
    RETURNING id, entrypoint
"""
FIND_OURS = "SELECT id FROM jobs.pgqueuer WHERE id = ANY($1::bigint[]) AND queue_manager_id = $2"
FINISH = "DELETE FROM jobs.pgqueuer WHERE id = $1 AND queue_manager_id = $2"
# The try that a stop interrupts does not count; giving the job back adds one.
FORGIVE = "UPDATE jobs.pgqueuer SET attempts = attempts - 1 WHERE id = $1 AND queue_manager_id = $2"
COUNT = """
    SELECT entrypoint, count(*) FILTER (WHERE status = 'queued') AS waiting, count(*) FILTER (WHERE status = 'failed') AS failed,
           extract(epoch FROM GREATEST(now() - min(execute_after) FILTER (WHERE status = 'queued'), interval '0'))::float8 AS age_s
    FROM jobs.pgqueuer WHERE entrypoint = ANY($1::text[]) GROUP BY entrypoint
"""
# The reason of a job that has failed is in its last run. So many at a time: what takes too long is ended, and would never be done.
FORGET_RUNS = """
    DELETE FROM jobs.pgqueuer_log WHERE id = ANY(ARRAY(
        SELECT l.id FROM jobs.pgqueuer_log AS l
        WHERE l.created < now() - make_interval(days => $1) AND NOT EXISTS (SELECT FROM jobs.pgqueuer AS q WHERE q.id = l.job_id)
        ORDER BY l.created LIMIT $2
    ))
"""


class GaveUp(Exception):
    """A job has been tried as often as it may be, and each time its process died."""


class TakenOver(Exception):
    """Another process has the job: this one was taken for dead."""


class Interrupted(Exception):
    """Something within the job cancelled it."""


class Wire(AsyncpgDriver):
    """A connection of the library that can be woken from this side, as by news from the other."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        super().__init__(connection)
        self._callbacks: list[NotifyCallback] = []

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Hear of news."""
        self._callbacks.append(callback)
        await super().add_listener(channel, callback)

    def wake(self) -> None:
        """Have the library look whether there is something to do."""
        for callback in self._callbacks:
            callback(write_news())


class OwnQueries(Queries):
    """The library's statements; the outcome of a job that another worker has by now is that worker's to write."""

    worker_id: UUID
    driver: Wire

    async def log_jobs(self, job_status: list[Any]) -> None:
        """Write down how jobs ended, and look for more at once: until then a worker that is full has no room."""
        ours = await self._find_ours([one.id for one, _, _ in job_status])
        if kept := [one for one in job_status if one[0].id in ours]:
            await super().log_jobs(kept)
        self.driver.wake()

    async def retry_job(self, job: models.Job, delay: timedelta, traceback_record: models.TracebackRecord | None) -> None:
        """Put a job back into the queue."""
        if await self._find_ours([job.id]):
            await super().retry_job(job, delay, traceback_record)

    async def _find_ours(self, ids: list[Any]) -> set[object]:
        return {row["id"] for row in await self.driver.fetch(FIND_OURS, ids, self.worker_id)}


class Attempts(AbstractEntrypointExecutor):
    """One kind of job: runs it within its time, has it tried again later, and gives it back when the process is to stop."""

    def __init__(self, wanted: Job[Any], database: Database, queries: OwnQueries) -> None:
        super().__init__(EntrypointExecutorParameters(wanted.terms.at_once, self._run, on_failure="hold"))
        self.job = wanted
        self.database = database
        self.queries = queries
        self.running: set[asyncio.Task[None]] = set()
        self.stopping = False

    def stop(self) -> None:
        """Give back what is under way."""
        self.stopping = True
        for task in self.running:
            task.cancel()

    async def execute(self, job: models.Job, context: models.Context) -> None:
        """Run it once; raises RetryRequested, or at the last try what it has failed with."""
        task = asyncio.create_task(self._run(job))
        self.running.add(task)
        try:
            await task
        except asyncio.CancelledError:
            # The library takes a cancelled job for one that nobody wants, and deletes it.
            if self.stopping:
                await self.queries.driver.execute(FORGIVE, job.id, self.queries.worker_id)
                JOB_RUNS.labels(self.job.path, "interrupted").inc()
                raise RetryRequested(reason="The process was stopped") from None
            self._fail(job, Interrupted("Something within it was cancelled"))
        except Exception as failure:
            self._fail(job, failure)
        else:
            JOB_RUNS.labels(self.job.path, "done").inc()
        finally:
            self.running.discard(task)

    def _fail(self, job: models.Job, failure: Exception) -> None:
        failures = job.attempts + 1
        reason = f"{type(failure).__name__}: {failure}"
        if failures >= self.job.terms.tries:
            JOB_RUNS.labels(self.job.path, "failed").inc()
            log.error("job_failed", extra={"job": self.job.path, "id": job.id, "tries": failures, "reason": reason})
            raise failure
        JOB_RUNS.labels(self.job.path, "again").inc()
        log.warning("job_again", extra={"job": self.job.path, "id": job.id, "tries": failures, "reason": reason})
        raise RetryRequested(timedelta(seconds=self.job.terms.pause_s(failures)), reason) from failure

    async def _run(self, job: models.Job) -> None:
        if job.attempts >= self.job.terms.tries:
            raise GaveUp(f"Its process died {job.attempts} times")
        arguments = self.job.arguments(job.payload)
        request_id = (job.headers or {}).get("request_id") or f"job:{self.job.path}"
        trace = (job.headers or {}).get("traceparent")
        with asking(Caller(SYSTEM, str(request_id))), tracing.span(f"job {self.job.path}", "consumer", str(trace) if trace else None):
            async with asyncio.timeout(self.job.terms.timeout_s):
                if not self.job.takes_tx:
                    await self.job.function(*arguments)
                    return
                async with self.database.transaction() as tx:
                    await self.job.function(tx, *arguments)
                    if not await tx.run(FINISH, job.id, self.queries.worker_id):
                        raise TakenOver


class Worker:
    """Works the queue of one database. A lost connection, or a lost session lock, is the end of one life and the beginning of another."""

    def __init__(self, dsn: str, locks: SessionLocks, databases: Mapping[str, Database]) -> None:
        self._dsn = dsn
        self._locks = locks
        self._databases = databases
        self._news = asyncio.Event()

    async def work_forever(self) -> None:
        """Work, and begin again after trouble."""
        while True:
            try:
                await self._work()
            except NOT_NOW as silence:
                log.warning("queue_interrupted", extra={"reason": str(silence)})
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _work(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=30, server_settings={"application_name": "souk jobs"})
        NEWS.add(self._news)
        try:
            await self._live(connection)
        finally:
            NEWS.discard(self._news)
            connection.terminate()

    async def _live(self, connection: asyncpg.Connection) -> None:
        owner = self._locks.owner
        queries = OwnQueries(Wire(connection), qb.QueryBuilderEnvironment(NAMES), qb.QueryQueueBuilder(NAMES))
        manager = QueueManager(queries, NAMES.channel)
        manager.queue_manager_id = queries.worker_id = UUID(int=(uuid4().int >> 32 << 32) | owner)  # type: ignore[assignment]
        attempts = [Attempts(one, self._databases[one.context], queries) for one in JOBS.values() if one.context in self._databases]
        for one in attempts:
            manager.register_executor(one.job.path, one)
        running = asyncio.create_task(
            manager.run(
                dequeue_timeout=LOOK_EVERY,
                batch_size=TAKEN_AT_ONCE,
                max_concurrent_tasks=UNDER_WAY,
                heartbeat_timeout=HANGS_AFTER,
                log_aggregation_interval=timedelta(0),
            )
        )
        beside = [asyncio.create_task(self._tell_all(queries)), asyncio.create_task(self._mind(queries, owner, connection))]
        try:
            done, _ = await asyncio.wait({running, *beside}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in beside:
                task.cancel()
            manager.shutdown.set()
            await _stop(running, attempts)
        for task in done:
            task.result()

    async def _tell_all(self, queries: OwnQueries) -> None:
        """Wake every worker of this database when there is news: after the commit that made it, so that no commit waits for another."""
        while True:
            await self._news.wait()
            self._news.clear()
            await queries.driver.notify(NAMES.channel, write_news())
            await asyncio.sleep(TELL_EVERY_S)

    async def _mind(self, queries: OwnQueries, owner: int, connection: asyncpg.Connection) -> None:
        """Give back the jobs of dead processes, and count what waits."""
        names = [one.path for one in JOBS.values() if one.context in self._databases]
        count_at = forget_at = 0.0
        while True:
            if connection.is_closed() or self._locks.owner != owner:
                raise ConnectionError("The queue's connection, or the session lock, was lost")
            for orphan in await queries.driver.fetch(RETURN_ORPHANS, queries.worker_id):
                log.warning("job_orphaned", extra={"job": orphan["entrypoint"], "id": orphan["id"]})
                self._news.set()
            if (now := asyncio.get_running_loop().time()) >= count_at:
                count_at = now + COUNT_EVERY_S
                _show(names, await queries.driver.fetch(COUNT, names))
            if now >= forget_at:
                told = await queries.driver.execute(FORGET_RUNS, RUNS_KEPT_DAYS, FORGOTTEN_AT_ONCE)
                forget_at = now + (0.0 if told == f"DELETE {FORGOTTEN_AT_ONCE}" else FORGET_EVERY_S)
            await asyncio.sleep(ORPHANS_EVERY_S)


def write_news() -> str:
    """What the library is told when the queue has changed."""
    told = {"type": "table_changed_event", "operation": "insert", "channel": NAMES.channel, "table": NAMES.queue_table}
    return msgspec.json.encode({**told, "sent_at": datetime.now(UTC)}).decode()


def _show(names: list[str], counts: list[dict[str, Any]]) -> None:
    found = {count["entrypoint"]: count for count in counts}
    for name in names:
        count = found.get(name, {})
        JOBS_WAITING.labels(name).set(count.get("waiting", 0))
        JOBS_FAILED.labels(name).set(count.get("failed", 0))
        JOBS_DUE_AGE.labels(name).set(count.get("age_s") or 0)


async def _stop(running: "asyncio.Task[None]", attempts: list[Attempts]) -> None:
    """Let what is under way end, then give it back."""
    await asyncio.wait({running}, timeout=GRACE_S)
    for one in attempts:
        one.stop()
    await asyncio.wait({running}, timeout=GRACE_S)
    running.cancel()
