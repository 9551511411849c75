"""Rows come back as Structs, transactions are all or nothing, and a database that cannot answer is Unavailable."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import FrameType
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.kit import notebook
from tests.kit.notebook import Note
from tests.kit.test_outbox import CUT_OFF
from tests.ports import find_free_port

from souk.kit.db import Database, check_databases, columns, open_pool
from souk.kit.errors import Unavailable
from souk.kit.ids import new_id
from souk.kit.money import Money

WRITE = "INSERT INTO kit.note (id, number) VALUES ($1, $2)"


class Part(msgspec.Struct, frozen=True):
    id: UUID
    at: datetime
    price: Money | None = None


class Row(msgspec.Struct, frozen=True):
    id: UUID
    parts: tuple[Part, ...]
    first: Part | None
    words: tuple[str, ...]
    attributes: dict[str, object]


async def test_a_row_is_a_struct_with_structs_in_its_json(here: str) -> None:
    row_id, at = new_id(), datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    part = Part(row_id, at, Money(5, "EUR"))
    async with notebook.db.transaction() as tx:
        rows = await tx.all(
            Row,
            """SELECT $1::uuid AS id, $2::jsonb AS parts, $2::jsonb -> 0 AS first, ARRAY['a', 'b'] AS words, $3::jsonb AS attributes
               UNION ALL SELECT $1, '[]', NULL, '{}', '{}'""",
            row_id,
            [part],
            {"a": [{"id": "no uuid"}]},
        )
    assert rows == (Row(row_id, (part,), part, ("a", "b"), {"a": [{"id": "no uuid"}]}), Row(row_id, (), None, (), {}))


async def test_reads_give_all_one_or_none(here: str) -> None:
    one = Note(new_id(), 1)
    async with notebook.db.transaction() as tx:
        await notebook.write(tx, one)
        assert await tx.run("UPDATE kit.note SET number = 2") == 1
        assert await tx.run("UPDATE kit.note SET number = 2 WHERE number = 77") == 0
        assert await tx.maybe(Note, "SELECT id, number FROM kit.note WHERE number = 77") is None
        with pytest.raises(LookupError, match=r"SELECT id, number FROM kit\.note"):
            await tx.one(Note, "SELECT id, number FROM kit.note WHERE number = 77")
    assert await notebook.db.maybe(Note, "SELECT id, number FROM kit.note") == Note(one.id, 2)
    assert await notebook.db.value("SELECT number FROM kit.note WHERE number = 77") is None
    assert columns([one, one], "id", "number") == ([one.id] * 2, [1, 1])


class Mode(msgspec.Struct, frozen=True):
    mode: str


async def test_a_search_is_planned_for_its_values_and_nothing_else_is(here: str) -> None:
    read = "SELECT current_setting('plan_cache_mode') AS mode WHERE $1"
    for method, mode in (
        (notebook.db.search, "force_custom_plan"),
        (notebook.db.all, "force_generic_plan"),
        (notebook.db.search, "force_custom_plan"),
    ):
        assert await method(Mode, read, True) == (Mode(mode),)
    assert await notebook.db.search(Mode, read, False) == ()


async def test_a_savepoint_is_undone_alone(here: str) -> None:
    async with notebook.db.transaction() as tx:
        await tx.run(WRITE, new_id(), 1)
        with pytest.raises(asyncpg.CheckViolationError):
            async with tx.savepoint():
                await tx.run(WRITE, new_id(), 2)
                await tx.run(WRITE, new_id(), -1)
    assert await notebook.db.value("SELECT array_agg(number) FROM kit.note") == [1]


async def test_news_are_rung_out_after_the_commit_and_only_then(here: str) -> None:
    waiting = asyncio.create_task(notebook.db.bell.wait(5.0))
    with pytest.raises(ZeroDivisionError):
        async with notebook.db.transaction() as tx:
            await notebook.write(tx, Note(new_id(), 1))
            raise ZeroDivisionError
    await asyncio.sleep(0.05)
    assert not waiting.done()
    async with notebook.db.transaction() as tx:
        await notebook.write(tx, Note(new_id(), 1))
        assert not waiting.done()
    assert await waiting
    assert not await notebook.db.bell.wait(0.01)


async def test_a_statement_that_takes_too_long_or_waits_too_long_for_a_lock_is_unavailable(here: str) -> None:
    note_id = new_id()
    async with notebook.db.transaction() as tx:
        await tx.run(WRITE, note_id, 1)
    other = await asyncpg.connect(here)
    await other.execute("BEGIN")
    await other.execute("UPDATE kit.note SET number = 2")
    for setting in ("statement_timeout", "lock_timeout"):
        with pytest.raises(Unavailable):
            async with notebook.db.transaction() as tx:
                await tx.run(f"SET LOCAL {setting} = '30ms'")
                await tx.run("UPDATE kit.note SET number = 3")
    await other.close()


@pytest.fixture
def elsewhere() -> Iterator[Database]:
    """Another database of this process."""
    database = Database("elsewhere")
    yield database
    database.detach()


async def test_a_pool_that_is_used_up_is_unavailable(kit_dsn: str, elsewhere: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.kit.db.CONNECTION_WITHIN_S", 0.05)
    async with await open_pool(kit_dsn, 1) as pool:
        elsewhere.attach(pool)
        async with pool.acquire():
            with pytest.raises(Unavailable):
                async with elsewhere.transaction():
                    pass
        async with elsewhere.transaction() as tx:
            assert await tx.value("SELECT 1") == 1


async def test_after_the_database_was_away_the_pool_heals(here: str) -> None:
    admin = await asyncpg.connect(here)
    with pytest.raises(Unavailable):
        async with notebook.db.transaction() as tx:
            assert await tx.value("SELECT 1") == 1
            await admin.execute(CUT_OFF)
            await tx.value("SELECT 1")
    await admin.close()
    assert await notebook.db.value("SELECT 1") == 1
    async with notebook.db.transaction() as tx:
        assert await tx.value("SELECT 1") == 1


@pytest.mark.parametrize("gone", ["postgresql://souk@127.0.0.1:{port}/souk", "postgresql://souk@/souk?host=/no/such/folder"])
async def test_a_server_that_is_not_there_is_unavailable(here: str, elsewhere: Database, gone: str) -> None:
    await check_databases()
    async with asyncpg.create_pool(gone.format(port=find_free_port()), min_size=0, max_size=1) as pool:
        elsewhere.attach(pool)
        with pytest.raises(Unavailable):
            await elsewhere.value("SELECT 1")
        with pytest.raises(Unavailable, match=r"No answer from the database of elsewhere$"):
            await check_databases()
        elsewhere.detach()
    await check_databases()


def test_a_context_that_is_not_hosted_has_no_database() -> None:
    with pytest.raises(RuntimeError, match="not hosted"):
        Database("nowhere").pool  # noqa: B018


async def test_the_driver_does_not_look_into_the_elements_of_an_array(here: str) -> None:
    looks = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal looks
        looks += event == "call" and frame.f_code.co_name == "__instancecheck__"

    sys.setprofile(count)
    try:
        total = await notebook.db.value("SELECT sum(one) FROM unnest($1::int[]) AS one", list(range(1000)))
    finally:
        sys.setprofile(None)
    assert total == 499_500
    assert looks < 100
