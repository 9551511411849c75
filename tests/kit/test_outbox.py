"""Facts are read in the order in which they became final: none is lost, none comes twice, none comes that never was."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.kit import notebook
from tests.kit.notebook import Noted, Scratched
from tests.waiting import until

from souk.kit.callers import Caller, asking
from souk.kit.errors import Unavailable
from souk.kit.events import event_type, publish
from souk.kit.feeds import Feed
from souk.kit.ids import new_id
from souk.kit.outbox import START, Fact, Position, Tail, read_outbox

NAIVE = "SELECT id, event_id FROM kit.outbox WHERE id > $1 ORDER BY id LIMIT 500"

CUT_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def publish_notes(*numbers: int, note_id: UUID | None = None) -> UUID:
    note_id = note_id or new_id()
    async with notebook.db.transaction() as tx:
        await publish(tx, *(Noted(note_id, number) for number in numbers))
    return note_id


async def read_all(position: Position = START) -> list[Fact]:
    found: list[Fact] = []
    while facts := await read_outbox("kit", position, 500, 0):
        found.extend(facts)
        position = facts[-1].position
    return found


async def until_read(feed: Feed) -> None:
    end = (await read_all())[-1].position

    async def has_read() -> bool:
        return feed._end >= end

    await until(has_read)


@asynccontextmanager
async def following() -> AsyncIterator[Feed]:
    feed = Feed("kit")
    task = asyncio.create_task(feed.follow_forever())
    yield feed
    task.cancel()


async def test_a_fact_is_kept_as_it_was_told(here: str) -> None:
    with asking(Caller(request_id="request-7")):
        note_id = await publish_notes(1, 2, 3)
    facts = await read_all()
    assert [json.loads(fact.payload) for fact in facts] == [{"note_id": str(note_id), "number": number} for number in (1, 2, 3)]
    assert {(fact.type, fact.aggregate_id, fact.request_id) for fact in facts} == {("kit.Noted", note_id, "request-7")}
    assert event_type(Scratched) == "kit.Scratched"


async def test_what_was_rolled_back_never_was(here: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with notebook.db.transaction() as tx:
            await publish(tx, Noted(new_id(), 1))
            raise ZeroDivisionError
    assert await read_all() == []


async def test_a_reader_by_id_loses_what_a_reader_by_position_finds(here: str) -> None:
    slow, quick = await asyncpg.connect(here), await asyncpg.connect(here)
    write = "INSERT INTO kit.outbox (event_id, type, aggregate_id, payload, request_id) VALUES ($1, 'kit.Noted', $1, '{}', '')"
    begun = slow.transaction()
    await begun.start()
    early, late = new_id(), new_id()
    await slow.execute(write, early)
    await quick.execute(write, late)
    by_id = [(row["id"], row["event_id"]) for row in await quick.fetch(NAIVE, 0)]
    assert [event_id for _, event_id in by_id] == [late]
    assert await read_all() == []  # the quick one waits for the slow one before it: it might still be followed by it
    await begun.commit()
    by_id += [(row["id"], row["event_id"]) for row in await quick.fetch(NAIVE, by_id[-1][0])]
    assert [event_id for _, event_id in by_id] == [late]  # the fault: `early` is never read
    assert [fact.event_id for fact in await read_all()] == [early, late]
    await slow.close()
    await quick.close()


async def test_eight_writers_with_long_transactions_lose_nothing(here: str) -> None:
    written: set[UUID] = set()
    writing = True

    async def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            async with notebook.db.transaction() as tx:
                await publish(tx, *(Noted(new_id(), number) for number in range(dice.randint(1, 3))))
                await asyncio.sleep(dice.random() * 0.02)
                mine = await tx.value("SELECT array_agg(event_id) FROM kit.outbox WHERE xid = pg_current_xact_id()::text::bigint")
            written.update(mine)

    async def read_by_position() -> list[Fact]:
        found: list[Fact] = []
        while writing or not found or await read_outbox("kit", found[-1].position, 1, 0.1):
            found.extend(await read_outbox("kit", found[-1].position if found else START, 7, 0.01))
        return found

    async def read_by_id() -> set[UUID]:
        found: set[UUID] = set()
        connection, last = await asyncpg.connect(here), 0
        while writing:
            for row in await connection.fetch(NAIVE, last):
                last = row["id"]
                found.add(row["event_id"])
            await asyncio.sleep(0.001)
        await connection.close()
        return found

    async def write_all() -> None:
        nonlocal writing
        await asyncio.gather(*(write(seed) for seed in range(8)))
        writing = False

    facts, naive, _ = await asyncio.gather(read_by_position(), read_by_id(), write_all())
    assert [fact.position for fact in facts] == sorted({fact.position for fact in facts})
    assert {fact.event_id for fact in facts} == written
    assert len(facts) == len(written)
    assert written - naive, "the reader by id lost nothing: then this test shows nothing"


async def test_who_waits_is_told_at_once(here: str) -> None:
    waiting = asyncio.create_task(read_outbox("kit", START, 10, 10.0))
    await asyncio.sleep(0.1)
    began = asyncio.get_running_loop().time()
    await publish_notes(1)
    assert len(await waiting) == 1
    assert asyncio.get_running_loop().time() - began < 0.2
    assert await read_outbox("kit", (await read_all())[-1].position, 10, 0.05) == ()


async def test_many_readers_of_a_feed_cost_one(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    async def count(source: str, after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        nonlocal reads
        reads += 1
        return await read_outbox(source, after, limit, wait_s)

    monkeypatch.setattr("souk.kit.feeds.read_outbox", count)
    async with following() as feed:
        assert await feed.after(START, 0.05) == ()
        readers = [asyncio.create_task(feed.after(START, 5.0)) for _ in range(20)]
        await asyncio.sleep(0.05)
        before = reads
        await publish_notes(1, 2)
        for reader in readers:
            assert [json.loads(fact.payload)["number"] for fact in await reader] == [1, 2]
        assert reads - before <= 2


async def test_a_feed_gives_everything_to_one_who_comes_late(here: str) -> None:
    async with following() as feed:
        await feed.after(START, 0.05)
        for number in range(4):
            await publish_notes(*range(number * 300, number * 300 + 300))
        await until_read(feed)
        position, numbers = START, []
        while facts := await feed.after(position, 0.2):
            assert len(facts) <= Feed.BATCH
            numbers += [json.loads(fact.payload)["number"] for fact in facts]
            position = facts[-1].position
    assert numbers == list(range(1200))


async def test_a_feed_forgets_what_is_old_and_still_gives_it(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Feed, "KEEP", 10)
    async with following() as feed:
        await feed.after(START, 0.05)
        for number in range(30):
            await publish_notes(number)
        await until_read(feed)
        assert len(feed._facts) <= 10
        position, numbers = START, []
        while facts := await feed.after(position, 0.2):
            numbers += [json.loads(fact.payload)["number"] for fact in facts]
            position = facts[-1].position
    assert numbers == list(range(30))


async def test_one_who_is_behind_what_was_dropped_waits_like_the_others(here: str) -> None:
    await publish_notes(1)
    async with following() as feed:
        end = (await read_all())[-1].position
        assert await feed.after(end, 0.05) == ()
        async with notebook.db.transaction() as tx:
            await tx.run("ALTER TABLE kit.outbox DISABLE TRIGGER append_only")
            await tx.run("DELETE FROM kit.outbox")
        began = asyncio.get_running_loop().time()
        assert await feed.after(START, 0.3) == ()
        assert asyncio.get_running_loop().time() - began > 0.25
        waiting = asyncio.create_task(feed.after(START, 5.0))
        await asyncio.sleep(0.05)
        await publish_notes(2)
        assert [json.loads(fact.payload)["number"] for fact in await waiting] == [2]


async def test_a_feed_that_nobody_reads_does_not_even_wake(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wakes = 0
    sleep = asyncio.sleep

    async def count(delay: float) -> None:
        nonlocal wakes
        wakes += 1
        await sleep(delay)

    async with following():
        monkeypatch.setattr(asyncio, "sleep", count)
        await sleep(0.2)
        monkeypatch.undo()
    assert wakes == 0


async def test_a_feed_goes_on_after_the_database_was_away(here: str) -> None:
    async with following() as feed:
        assert await feed.after(START, 0.05) == ()
        admin = await asyncpg.connect(here)
        await admin.execute(CUT_OFF)
        await admin.close()
        for _ in range(20):
            try:
                await publish_notes(1)
            except Unavailable:
                continue
            break
        assert len(await feed.after(START, 5.0)) == 1


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Position]:
    """The positions after which the table was read."""
    found: list[Position] = []
    read = notebook.db.all

    async def note(kind: type[Any], sql: str, *values: Any) -> Any:
        if kind is Fact:
            found.append(values[:2])
        return await read(kind, sql, *values)

    monkeypatch.setattr(notebook.db, "all", note)
    return found


async def test_those_who_wait_at_the_end_look_once_for_all(here: str, looks: list[Position]) -> None:
    await publish_notes(1)
    end = (await read_all())[-1].position
    await read_outbox("kit", end, 10, 0)
    looks.clear()
    readers = [asyncio.create_task(read_outbox("kit", end, 10, 20.0)) for _ in range(20)]
    await asyncio.sleep(1.0)
    assert len(looks) < 20
    await publish_notes(2)
    told = await asyncio.gather(*readers)
    assert [[json.loads(fact.payload)["number"] for fact in facts] for facts in told] == [[2]] * 20
    assert len(looks) < 40


async def test_who_is_behind_misses_nothing_however_little_is_kept(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tail, "KEEP", 3)
    await publish_notes(0)
    end = (await read_all())[-1].position
    for number in range(1, 10):
        waiting = asyncio.create_task(read_outbox("kit", end, 10, 5.0))
        await publish_notes(number)
        end = (await waiting)[-1].position
        assert [json.loads(fact.payload)["number"] for fact in await read_all()] == list(range(number + 1))


async def test_who_was_told_of_a_place_that_is_not_there_yet_holds_up_nobody(here: str) -> None:
    assert await read_outbox("kit", (2**40, 1), 10, 0) == ()
    await publish_notes(1)
    (fact,) = await read_all()
    assert await read_outbox("kit", fact.position, 10, 0) == ()
    await publish_notes(2)
    assert len(await read_outbox("kit", fact.position, 10, 5.0)) == 1


async def test_who_waits_in_vain_for_a_database_that_is_cut_off_hears_so_and_reads_on(here: str) -> None:
    await publish_notes(1)
    (fact,) = await read_all()
    assert await read_outbox("kit", fact.position, 10, 0) == ()
    waiting = [asyncio.create_task(read_outbox("kit", fact.position, 10, 20.0)) for _ in range(3)]
    await asyncio.sleep(0.1)
    other = await asyncpg.connect(here)
    await other.execute(CUT_OFF)
    await asyncio.sleep(0.6)
    await publish_notes(2)
    assert all(isinstance(one, Unavailable) or len(one) == 1 for one in await asyncio.gather(*waiting, return_exceptions=True))
    assert len(await read_outbox("kit", fact.position, 10, 5.0)) == 1
    await other.close()
