"""One process at a time has a lock; when it dies, or loses its connection, another one gets it, and nobody works without it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from tests.kit import notebook
from tests.waiting import until

from souk.kit.background import in_background
from souk.kit.locks import OWNER_LIVES, SessionLocks, while_only_one

CUT_LOCKS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'souk locks' AND datname = current_database()"


@pytest.fixture
async def make_locks(here: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], SessionLocks]]:
    monkeypatch.setattr("souk.kit.locks.CHECK_S", 0.05)
    made: list[SessionLocks] = []

    def make() -> SessionLocks:
        made.append(SessionLocks(here))
        return made[-1]

    yield make
    for locks in made:
        await locks.close()


class Worker:
    """Works under a lock, and tells how many work at this moment."""

    at_work = 0
    most = 0

    def __init__(self) -> None:
        self.turns = 0

    async def work(self) -> None:
        Worker.at_work += 1
        Worker.most = max(Worker.most, Worker.at_work)
        self.turns += 1
        try:
            await asyncio.Event().wait()
        finally:
            Worker.at_work -= 1


@pytest.fixture(autouse=True)
def nobody_at_work() -> None:
    Worker.at_work = Worker.most = 0


async def test_only_one_works_and_the_other_takes_over_when_it_stops(make_locks: Callable[[], SessionLocks]) -> None:
    workers = [Worker() for _ in range(3)]
    locks = [make_locks() for _ in workers]
    tasks = [
        asyncio.create_task(while_only_one(its, "a loop", worker.work, retry_s=0.02)) for its, worker in zip(locks, workers, strict=True)
    ]
    done: set[Worker] = set()
    for _ in range(3):
        await until(lambda: is_true(Worker.at_work == 1 and sum(worker.turns for worker in workers) == len(done) + 1))
        await asyncio.sleep(0.1)
        (holder,) = (worker for worker in workers if worker.turns and worker not in done)
        done.add(holder)
        tasks[workers.index(holder)].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert Worker.most == 1


async def is_true(value: bool) -> bool:
    return value


async def test_two_loops_do_not_share_a_lock(make_locks: Callable[[], SessionLocks]) -> None:
    one, other = make_locks(), make_locks()
    assert await one.try_lock("a loop") is not None
    assert await other.try_lock("a loop") is None
    assert await other.try_lock("another loop") is not None
    await one.release("a loop")
    assert await other.try_lock("a loop") is not None


async def test_who_loses_the_lock_stops_working_and_gets_it_back(here: str, make_locks: Callable[[], SessionLocks]) -> None:
    worker, locks = Worker(), make_locks()
    async with in_background({"locks": locks.keep_connected, "loop": lambda: while_only_one(locks, "a loop", worker.work, 0.02)}):
        for turn in range(1, 4):
            await until(lambda turn=turn: is_true(worker.turns == turn and Worker.at_work == 1))  # type: ignore[misc]
            admin = await asyncpg.connect(here)
            await admin.execute(CUT_LOCKS)
            await admin.close()
    assert Worker.most == 1
    assert Worker.at_work == 0


async def test_an_owner_lives_as_long_as_its_connection_and_a_process_is_another_after_a_cut(here: str) -> None:
    owners: list[int] = []
    locks = SessionLocks(here, owners.append)
    question = f"SELECT {OWNER_LIVES.format('$1::int')}"

    async def lives() -> bool:
        return bool(await notebook.db.value(question, owners[-1]))

    await locks.open()
    assert await lives()
    async with in_background({"locks": locks.keep_connected}):
        admin = await asyncpg.connect(here)
        await admin.execute(CUT_LOCKS)
        await admin.close()
        await until(lambda: is_true(len(owners) == 2))
    assert await lives()
    assert not await notebook.db.value(question, owners[0]), "what it held then may be gone on with"
    assert locks.owner == owners[1] != owners[0]
    await locks.close()
    await until(lambda: dies(lives))


async def dies(lives: Callable[[], "asyncio.Future[bool]"]) -> bool:
    return not await lives()


async def test_an_owner_of_another_database_is_another_owner(here: str, postgres: object, make_locks: Callable[[], SessionLocks]) -> None:
    locks = SessionLocks(postgres.dsn())  # type: ignore[attr-defined]
    await locks.open()
    assert not await notebook.db.value(f"SELECT {OWNER_LIVES.format('$1::int')}", locks.owner)
    await locks.close()


async def test_without_a_server_one_waits(make_locks: Callable[[], SessionLocks]) -> None:
    worker, locks = Worker(), SessionLocks("postgresql://souk@/souk?host=/no/such/folder")
    async with in_background({"locks": locks.keep_connected, "loop": lambda: while_only_one(locks, "a loop", worker.work, 0.02)}):
        await asyncio.sleep(0.2)
    assert worker.turns == 0
