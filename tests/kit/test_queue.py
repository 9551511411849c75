"""Jobs are there exactly if their transaction commits, run at least once, and end as done or as failed with a reason."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from pgqueuer.adapters.persistence import qb
from tests.kit import chores
from tests.kit.chores import Chore
from tests.kit.notebook import db
from tests.waiting import until

from souk.kit.background import in_background
from souk.kit.callers import Caller, asking
from souk.kit.locks import SessionLocks
from souk.kit.queue import JOBS, Job, Terms, enqueue, job
from souk.kit.telemetry import JOB_RUNS
from souk.kit.worker import NAMES, OwnQueries, Wire, Worker

END_WORKERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'souk jobs' AND datname = current_database()
"""
TOLD = "SELECT status::text, traceback ->> 'exception_message' FROM jobs.pgqueuer_log WHERE traceback IS NOT NULL ORDER BY id"
OLD_RUNS = """
    INSERT INTO jobs.pgqueuer_log (created, job_id, status, priority, entrypoint)
    SELECT now() - make_interval(days => CASE number WHEN 0 THEN 6 ELSE 8 END), number, 'successful', 0, 'kit.say_word'
    FROM generate_series(0, $1::int) AS number
"""
COUNT_FORGOTTEN = """
    CREATE FUNCTION kit.count_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO kit.chore (name, word, pid) SELECT 'forgotten', count(*)::text, 0 FROM old_runs HAVING count(*) > 0;
        RETURN NULL;
    END $$;
    CREATE TRIGGER count_forgotten AFTER DELETE ON jobs.pgqueuer_log REFERENCING OLD TABLE AS old_runs
        FOR EACH STATEMENT EXECUTE FUNCTION kit.count_forgotten();
"""
STATES = "SELECT status::text FROM jobs.pgqueuer ORDER BY id"


@asynccontextmanager
async def working(dsn: str) -> AsyncIterator[Worker]:
    """A worker in this process."""
    locks = SessionLocks(dsn)
    await locks.open()
    worker = Worker(dsn, locks, {"kit": db})
    async with in_background({"queue": worker.work_forever}):
        yield worker
    await locks.close()


async def put(wanted: Job[Chore], *words: str, **how: object) -> list[bool]:
    async with db.transaction() as tx:
        return [await enqueue(tx, wanted, Chore(word), **how) for word in words]  # type: ignore[arg-type]


async def done(name: str) -> list[str]:
    rows = await db.pool.fetch("SELECT word FROM kit.chore WHERE name = $1 ORDER BY place", name)
    return [row["word"] for row in rows]


async def states() -> list[str]:
    return [row["status"] for row in await db.pool.fetch(STATES)]


async def until_done(name: str, count: int) -> None:
    async def are() -> bool:
        return len(await done(name)) >= count

    await until(are)


async def until_states(*expected: str) -> None:
    async def are() -> bool:
        return await states() == list(expected)

    await until(are)


async def test_a_job_is_there_exactly_if_its_transaction_commits(here: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await enqueue(tx, chores.say_word, Chore("never"))
            raise ZeroDivisionError
    async with working(here):
        await put(chores.say_word, "hello")
        await until_done("say", 1)
        await until_states()
    assert await done("say") == ["hello"]


async def test_of_one_key_one_waits_or_runs_and_the_next_may_come_when_it_is_done(here: str) -> None:
    assert await put(chores.say_word, "first", "second", key="greeting") == [True, False]
    assert await put(chores.say_alone, "another job", key="greeting") == [True]
    async with working(here):
        await until_states()
    assert await done("say") == ["first"]
    assert await put(chores.say_word, "third", key="greeting") == [True]


async def test_twenty_transactions_with_one_key_put_one_job_into_the_queue(here: str) -> None:
    added = await asyncio.gather(*(put(chores.say_word, str(number), key="one") for number in range(20)))
    assert sum(one for (one,) in added) == 1
    assert await states() == ["queued"]


async def test_the_highest_priority_goes_first_and_then_whoever_came_first(here: str) -> None:
    for word, priority in (("a", 0), ("b", 5), ("c", -1), ("d", 5), ("e", 0)):
        await put(chores.say_alone, word, priority=priority)
    async with working(here):
        await until_done("alone", 5)
    assert [word.split()[0] for word in await done("alone")] == ["b", "d", "a", "e", "c"]


async def test_a_job_waits_for_its_time(here: str) -> None:
    await put(chores.say_word, "later", at=datetime.now(UTC) + timedelta(hours=1))
    async with working(here):
        await put(chores.say_word, "soon", at=datetime.now(UTC) + timedelta(seconds=0.5))
        await put(chores.say_word, "now")
        await until_done("say", 2)
    assert await done("say") == ["now", "soon"]
    assert await states() == ["queued"]


async def test_a_job_is_asked_for_by_the_shop_under_the_request_that_wanted_it(here: str) -> None:
    with asking(Caller(request_id="r-17")):
        await put(chores.say_alone, "who")
    async with working(here):
        await until_done("alone", 1)
    assert await done("alone") == ["who r-17"]


async def test_a_job_that_always_fails_ends_with_its_reason_after_its_tries(here: str) -> None:
    before = {outcome: JOB_RUNS.labels("kit.refuse_word", outcome)._value.get() for outcome in ("again", "failed")}
    await put(chores.refuse_word, "xyzzy")
    async with working(here):
        await until_states("failed")
    assert await done("refuse") == ["xyzzy"] * 3
    assert [tuple(row) for row in await db.pool.fetch(TOLD)] == [
        ("queued", "ValueError: xyzzy is no word"), ("queued", "ValueError: xyzzy is no word"), ("failed", "xyzzy is no word"),
    ]  # fmt: skip
    for outcome, count in (("again", 2), ("failed", 1)):
        assert JOB_RUNS.labels("kit.refuse_word", outcome)._value.get() - before[outcome] == count


def test_pauses_grow_to_ten_minutes() -> None:
    terms = Terms(tries=8, back_off_s=2.0, timeout_s=1.0, priority=0, at_once=0)
    assert [terms.pause_s(failures) for failures in (1, 2, 3, 8, 9, 5000)] == [2, 4, 8, 256, 512, 600]


async def test_a_job_that_is_cancelled_by_something_within_is_not_lost(here: str) -> None:
    await put(chores.cancel_itself, "oops")
    async with working(here):
        await until_done("cancel", 2)
        await until_states()


async def test_a_job_that_takes_too_long_has_failed(here: str) -> None:
    await put(chores.take_long, "forever")
    async with working(here):
        await until_states("failed")
    assert await db.value("SELECT traceback ->> 'exception_type' FROM jobs.pgqueuer_log WHERE status = 'failed'") == "TimeoutError"


async def test_a_payload_that_cannot_be_read_fails_and_says_so(here: str) -> None:
    await put(chores.refuse_word, "x")
    await db.pool.execute("""UPDATE jobs.pgqueuer SET payload = '{"word": 17}', attempts = 2""")
    async with working(here):
        await until_states("failed")
    assert await done("refuse") == []
    assert "Expected `str`" in await db.value("SELECT traceback ->> 'exception_message' FROM jobs.pgqueuer_log WHERE status = 'failed'")


async def test_a_worker_that_is_to_stop_gives_back_what_it_has_not_ended_and_no_try_is_lost(
    here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("souk.kit.worker.GRACE_S", 0.3)
    await put(chores.wait_long, "a while")
    async with working(here):
        await until_done("wait", 1)
    row = await db.pool.fetchrow("SELECT status::text, attempts, queue_manager_id FROM jobs.pgqueuer")
    assert tuple(row) == ("queued", 0, None)


async def test_a_worker_begins_again_when_its_connection_is_lost(here: str) -> None:
    async with working(here):
        await put(chores.say_word, "before")
        await until_done("say", 1)
        await db.pool.execute(END_WORKERS)
        await put(chores.say_word, "after")
        await until_done("say", 2)
        await until_states()


async def test_what_a_lost_connection_left_half_done_is_done(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.worker.GRACE_S", 0.2)
    async with working(here):
        await put(chores.write_once, "mine")
        await until_done("try", 1)
        await db.pool.execute(END_WORKERS)
        await until_done("once", 1)
        await until_states()
    assert await done("once") == ["mine"]


async def test_two_jobs_of_one_name_and_two_payloads_are_refused() -> None:
    async def say_word(chore: Chore) -> None: ...

    async def say_two(first: Chore, second: Chore) -> None: ...

    with pytest.raises(TypeError, match=r"kit\.say_word"):
        job()(say_word)
    with pytest.raises(TypeError, match=r"kit\.say_two"):
        job()(say_two)  # type: ignore[call-overload]


async def test_a_job_can_be_run_here_and_now(here: str) -> None:
    await chores.say_word(Chore("direct"))
    assert await done("say") == ["direct"]
    assert os.getpid() == await db.value("SELECT pid FROM kit.chore")


async def test_the_tables_are_those_that_the_library_wants_and_no_commit_notifies(here: str) -> None:
    connection = await asyncpg.connect(here)
    queries = OwnQueries(Wire(connection), qb.QueryBuilderEnvironment(NAMES))
    plan = await queries.plan_upgrade()
    wanted = [" ".join(statement.split())[:60] for statement in plan.statements if "fn_pgqueuer_changed" not in statement]
    await connection.close()
    assert wanted == []
    # Its trigger would have every commit that puts a job into the queue wait for the one before to reach the disk.
    assert await db.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'jobs.pgqueuer'::regclass") == 0


GIVE_TO_ANOTHER = "UPDATE jobs.pgqueuer SET queue_manager_id = $1"


async def test_who_was_taken_for_dead_has_no_effect_and_leaves_the_job_to_the_other(here: str) -> None:
    locks = SessionLocks(here)
    await locks.open()
    other = UUID(int=(7 << 32) | locks.owner)
    async with working(here):
        await put(chores.write_once, "late")
        await put(chores.refuse_slowly, "late")
        await until_done("try", 1)
        await until_done("refuse slowly", 1)
        await db.pool.execute(GIVE_TO_ANOTHER, other)
        await until_done("refused slowly", 1)
        await asyncio.sleep(5.0)
    rows = await db.pool.fetch("SELECT status::text, attempts, queue_manager_id FROM jobs.pgqueuer")
    await locks.close()
    assert [tuple(row) for row in rows] == [("picked", 0, other)] * 2
    assert await done("once") == []


async def test_old_runs_are_forgotten_a_few_at_a_time_until_all_are(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.worker.FORGOTTEN_AT_ONCE", 10)
    monkeypatch.setattr("souk.kit.worker.ORPHANS_EVERY_S", 0.01)
    async with db.transaction() as tx:
        await tx.run(OLD_RUNS, 35)
    connection = await asyncpg.connect(here)
    await connection.execute(COUNT_FORGOTTEN)
    try:
        async with working(here):
            async def is_done() -> bool:
                return await db.value("SELECT count(*) FROM jobs.pgqueuer_log WHERE created < now() - interval '7 days'") == 0

            await until(is_done)
        assert await done("forgotten") == ["10", "10", "10", "5"]
        assert await db.value("SELECT count(*) FROM jobs.pgqueuer_log") == 1
    finally:
        await connection.execute("DROP FUNCTION kit.count_forgotten CASCADE")
        await connection.close()


async def test_a_job_of_another_context_is_refused(here: str) -> None:
    async def count_stock(chore: Chore) -> None: ...

    theirs = Job[Chore](count_stock, Terms(1, 1.0, 1.0, 0, 0), context="inventory")
    JOBS.pop(theirs.path)
    with pytest.raises(TypeError, match=r"inventory\.count_stock"):
        await put(theirs, "one")
    assert await states() == []
