"""A feed believes its ear as long as nothing is missing; what is missing it reads in the outbox, however the ear came to lose it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from tests.kit.notebook import Noted
from tests.kit.test_outbox import publish_notes, read_all
from tests.waiting import until

from souk.kit import feeds
from souk.kit.brokers.ears import Ear
from souk.kit.brokers.messages import Message, write_messages
from souk.kit.delivery import tell_memory
from souk.kit.errors import Unavailable
from souk.kit.events import CONSUMERS, MEMORIES, Consumer
from souk.kit.feeds import Feed
from souk.kit.memory import Memory
from souk.kit.outbox import START, Fact, Position, read_outbox

SECRET = "a-secret-that-both-processes-were-given"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Position]:
    """The positions after which the outbox was asked; silence lasts for a tenth of a second."""
    found: list[Position] = []

    async def note(source: str, after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        found.append(after)
        return await read_outbox(source, after, limit, wait_s)

    monkeypatch.setattr(feeds, "read_outbox", note)
    monkeypatch.setattr(feeds, "WAIT_S", 0.1)
    return found


@asynccontextmanager
async def following() -> AsyncIterator[tuple[Feed, Ear]]:
    ear = Ear("kit", (SECRET,))
    ear.trusted = True
    feed = Feed("kit", ear)
    task = asyncio.create_task(feed.follow_forever())
    yield feed, ear
    task.cancel()


def tell(ear: Ear, facts: list[Fact], previous: Position = START) -> None:
    ear.hear(write_messages("kit", previous, facts, SECRET))


async def take(feed: Feed, count: int) -> list[UUID]:
    found: list[Fact] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found.extend(await feed.after(found[-1].position if found else START, 0.2))
    return [fact.event_id for fact in found]


async def test_what_is_heard_in_order_is_not_asked_for(here: str, asked: list[Position]) -> None:
    async with following() as (feed, ear):
        await feed.after(START, 0.01)
        await publish_notes(1, 2, 3)
        facts = await read_all()
        tell(ear, facts)
        asked.clear()
        assert await take(feed, 3) == [fact.event_id for fact in facts]
        assert [position for position in asked if position < facts[-1].position] == []


async def test_what_was_lost_is_read_however_much_was_heard_after_it(here: str, asked: list[Position]) -> None:
    async with following() as (feed, ear):
        await feed.after(START, 0.01)
        await publish_notes(*range(10))
        facts = await read_all()
        tell(ear, facts[:3])
        tell(ear, facts[5:8], facts[4].position)
        assert await take(feed, 10) == [fact.event_id for fact in facts]


async def test_a_last_one_that_was_lost_is_found_in_the_silence(here: str, asked: list[Position]) -> None:
    async with following() as (feed, ear):
        await feed.after(START, 0.01)
        await publish_notes(*range(10))
        facts = await read_all()
        tell(ear, facts[:9])
        assert await take(feed, 10) == [fact.event_id for fact in facts]
        await asyncio.sleep(0.3)
        assert not ear.trusted


async def test_a_flood_of_lies_does_not_become_a_flood_of_questions(here: str, asked: list[Position]) -> None:
    async with following() as (feed, ear):
        await feed.after(START, 0.01)
        await publish_notes(1)
        tell(ear, await read_all())
        await take(feed, 1)
        asked.clear()
        for _ in range(50):
            ear.hear([Message(b"lies", "lies")])
            await asyncio.sleep(0.01)
        assert len(asked) < 10


async def test_what_history_contradicts_is_read_anew(here: str, asked: list[Position]) -> None:
    """A broker that was filled from another history of this source, before a restore, say."""
    async with following() as (feed, ear):
        await feed.after(START, 0.01)
        await publish_notes(1, 2)
        first, second = await read_all()
        tell(ear, [first])
        await take(feed, 1)
        tell(ear, [second], (first.xid, 0))
        assert await take(feed, 2) == [first.event_id, second.event_id]
        assert first.position in asked


async def test_who_reads_slowly_while_the_feed_begins_after_the_news_does_not_lose_it(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is answered that there is nothing; before that arrives there is something, and another asks from there on."""
    feed = Feed("kit")
    read, arrived = asyncio.Event(), asyncio.Event()

    async def answer_slowly(source: str, after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        facts = await read_outbox(source, after, limit, wait_s)
        if after == START and not read.is_set():
            read.set()
            await arrived.wait()
        return facts

    monkeypatch.setattr(feeds, "read_outbox", answer_slowly)
    first = asyncio.create_task(feed.after(START, 5.0))
    await read.wait()
    await publish_notes(1)
    (missed,) = await read_all()
    task = asyncio.create_task(feed.follow_forever())
    await feed.after(missed.position, 0.01)
    arrived.set()
    await publish_notes(2)
    found = list(await first)
    if not found:
        found = list(await feed.after(START, 5.0))
    assert found[0].event_id == missed.event_id
    task.cancel()


async def test_a_memory_is_void_while_nothing_can_be_heard_and_begins_again(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    away = asyncio.Event()

    async def read_or_not(source: str, after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        if away.is_set():
            raise Unavailable("away")
        return await read_outbox(source, after, limit, min(wait_s, 0.1))

    def forget_nothing(news: object) -> None:
        pass

    async def load(keys: Sequence[int]) -> dict[int, int]:
        return {key: key for key in keys}

    async def is_kept() -> bool:
        return await memory.get(1) == memory.peek(1) == 1

    async def is_void() -> bool:
        return memory.peek(1) is None

    monkeypatch.setattr(feeds, "read_outbox", read_or_not)
    monkeypatch.setattr("souk.kit.delivery.WAIT_S", 0.1)
    memory: Memory[int, int] = Memory(load, 10)
    consumer = Consumer(forget_nothing, "memory", (Noted,), memory)
    feed = Feed("kit")
    tasks = [asyncio.create_task(work) for work in (feed.follow_forever(), tell_memory(consumer, "kit", feed))]
    try:
        await until(is_kept)
        away.set()
        await until(is_void)
        away.clear()
        await until(is_kept)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        del CONSUMERS[consumer.path]
        MEMORIES.remove(consumer)


async def test_a_source_that_is_heard_of_is_not_lost_sight_of(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process cannot be asked, and the broker still brings what it said."""

    async def read_nothing(source: str, after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        if after != START:
            raise Unavailable("away")
        return ()

    await publish_notes(1, 2)
    first, second = await read_all()
    monkeypatch.setattr(feeds, "read_outbox", read_nothing)
    monkeypatch.setattr(feeds, "WAIT_S", 0.1)
    async with following() as (feed, ear):
        await feed.after(START, 0.01)
        tell(ear, [first])

        async def is_blind() -> bool:
            return feed.blind_s() > 0

        await until(is_blind)
        tell(ear, [second], first.position)
        assert [fact.event_id for fact in await feed.after(first.position, 5.0)] == [second.event_id]
        assert feed.blind_s() == 0
