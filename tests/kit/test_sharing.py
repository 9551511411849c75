"""What one process has loaded others take, and none of them ever takes what it has heard to be out of date."""

import asyncio
import random
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.caches import CacheServer
from tests.waiting import until

from souk.kit.cache import cache
from souk.kit.ids import new_id
from souk.kit.memory import Memory
from souk.kit.outbox import START, Position
from souk.kit.sharing import Hearing, Shared

LIFE = "1"


class Value(msgspec.Struct, frozen=True):
    version: int


class Books:
    """What stands in for the database: how often each thing has changed, and the place of each fact that told so."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {"a": 1, "b": 1, "c": 1}
        self.facts: list[tuple[Position, str]] = []

    def change(self, key: str) -> Position:
        self.versions[key] += 1
        place = (len(self.facts) + 1, 1)
        self.facts.append((place, key))
        return place


class Reader:
    """A process: its memory, up to where it has heard, and a door that can be held shut while it reads the database."""

    def __init__(self, books: Books, life: str = LIFE, floor: Position = START, depends_on: object = None, like: object = Value) -> None:
        self.books = books
        self.loads: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.heard = 0
        encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Value)
        self.shared = Shared[str, Value]("thing", encoder.encode, decoder.decode, like=like, depends_on=lambda: depends_on)
        self.memory = Memory(self._load, 10, shared=self.shared)
        self.memory.need("news")
        self.memory.begin("news")
        self.shared.begin(life, floor)
        self.hear()

    async def _load(self, keys: Sequence[str]) -> Mapping[str, Value]:
        self.loads += keys
        found = {key: Value(self.books.versions[key]) for key in keys if key in self.books.versions}
        await self.open.wait()
        return found

    def hear(self, up_to: int | None = None) -> None:
        """Hear the facts that have come, or so many of them."""
        facts = self.books.facts[self.heard : up_to]
        for place, key in facts:
            self.memory.hearing = Hearing((), place)
            self.memory.forget([key])
        self.heard += len(facts)
        self.shared.reach(self.books.facts[self.heard - 1][0] if self.heard else START)

    async def get(self, key: str) -> int:
        found = await self.memory.get(key)
        return found.version if found is not None else 0


async def until_kept(server: CacheServer, count: int) -> None:
    async def is_kept() -> bool:
        return len(server.keys("souk:thing:*value*")) == count and not server.keys("souk:thing:*lease*")

    await until(is_kept)


async def test_what_one_has_loaded_another_takes(valkey: CacheServer) -> None:
    books = Books()
    one, other = Reader(books), Reader(books)
    assert (await one.get("a"), await one.get("x")) == (1, 0)
    await until_kept(valkey, 1)
    assert (await other.get("a"), other.loads) == (1, [])
    assert (await other.get("x"), other.loads) == (0, ["x"])


async def test_what_was_loaded_before_a_change_and_is_written_after_it_is_not_taken(valkey: CacheServer) -> None:
    books = Books()
    slow, quick, third = Reader(books), Reader(books), Reader(books)
    slow.open.clear()
    reading = asyncio.create_task(slow.get("a"))
    await until_read(slow)
    books.change("a")
    for one in (quick, third):
        one.hear()
    assert await quick.get("a") == 2
    # The slow one has not heard of it, and comes last.
    slow.open.set()
    assert await reading == 1

    async def is_overwritten() -> bool:
        return b'"version":1' in (valkey.client().get(valkey.keys("souk:thing:*value:a")[0]) or b"")

    await until(is_overwritten)
    assert (await third.get("a"), third.loads) == (2, ["a"])
    slow.hear()
    assert await slow.get("a") == 2


async def test_what_changes_while_it_is_loaded_is_not_taken_though_its_loader_has_heard_of_it(valkey: CacheServer) -> None:
    books = Books()
    slow, other = Reader(books), Reader(books)
    slow.open.clear()
    reading = asyncio.create_task(slow.get("a"))
    await until_read(slow)
    books.change("a")
    slow.hear()
    slow.open.set()
    assert await reading == 1
    await until_kept(valkey, 1)
    other.hear()
    assert [await reader.get("a") for reader in (other, slow)] == [2, 2]


async def test_what_is_loaded_while_the_database_is_restored_is_not_taken_for_what_the_restored_one_has(valkey: CacheServer) -> None:
    lost, restored = Books(), Books()
    for _ in range(5):
        lost.change("a")
    slow = Reader(lost)
    slow.open.clear()
    reading = asyncio.create_task(slow.get("a"))
    await until_read(slow)
    slow.books, slow.heard = restored, 0
    slow.shared.end()
    slow.shared.begin("2", START)
    slow.hear()
    slow.open.set()
    assert await reading == 6
    await until_kept(valkey, 1)
    other = Reader(restored, life="2")
    assert await other.get("a") == 1
    restored.change("a")
    other.hear()
    assert await other.get("a") == 2


async def until_read(reader: Reader) -> None:
    async def reads() -> bool:
        return bool(reader.loads)

    await until(reads)


async def test_ones_own_change_is_seen_at_once_and_shared_when_its_place_is_known(valkey: CacheServer) -> None:
    books = Books()
    one, other = Reader(books), Reader(books)
    await other.get("a")
    await until_kept(valkey, 1)
    place, event_id = books.change("a"), new_id()
    one.memory.hearing = Hearing((event_id,))
    one.memory.forget(["a"])
    # A change by another process before ours comes with its place; ours has not come yet.
    one.memory.hearing = Hearing((new_id(),), (place[0], 0))
    one.memory.forget(["a"])
    assert (await one.get("a"), one.loads) == (2, ["a"])
    other.hear()
    assert await other.get("a") == 2
    await until_kept(valkey, 1)
    one.memory.hearing = Hearing((event_id,), place)
    one.memory.forget(["a"])
    assert (await one.get("a"), one.loads) == (2, ["a"])


async def test_what_changes_all_at_once_is_all_out_of_date(valkey: CacheServer) -> None:
    books = Books()
    one, other = Reader(books), Reader(books)
    await one.memory.get_many("abc")
    await until_kept(valkey, 3)
    for key in "abc":
        books.versions[key] = 5
    other.memory.hearing = Hearing((event_id := new_id(),))
    other.memory.clear()
    assert (await other.get("a"), other.loads) == (5, ["a"])
    other.memory.hearing = Hearing((event_id,), (1, 1))
    other.memory.clear()
    assert [await other.get(key) for key in "abc"] == [5, 5, 5]


async def test_whoever_begins_takes_what_is_not_older_than_what_it_knows(valkey: CacheServer) -> None:
    books = Books()
    one = Reader(books)
    await one.memory.get_many("ab")
    await until_kept(valkey, 2)
    books.change("a")
    late = Reader(books)
    assert (await late.get("a"), await late.get("b"), late.loads) == (2, 1, ["a"])
    # It does not know what changed long ago: those values may lack it.
    ignorant = Reader(books, floor=(1, 0))
    assert (await ignorant.get("b"), ignorant.loads) == (1, ["b"])


@pytest.mark.parametrize("other", [{"life": "2"}, {"depends_on": "EUR"}, {"like": Hearing}], ids=str)
async def test_another_database_other_settings_or_another_release_share_nothing(valkey: CacheServer, other: dict[str, object]) -> None:
    books = Books()
    await Reader(books).get("a")
    await until_kept(valkey, 1)
    stranger = Reader(books, **other)  # type: ignore[arg-type]
    assert (await stranger.get("a"), stranger.loads) == (1, ["a"])


async def test_what_is_no_value_of_ours_is_not_taken(valkey: CacheServer) -> None:
    books = Books()
    await Reader(books).memory.get_many("ab")
    await until_kept(valkey, 2)
    client = valkey.client()
    name_a, name_b = valkey.keys("souk:thing:*value*")
    for junk in (b"", b"junk", bytes(100), client.get(name_b), msgspec.msgpack.encode((name_a.decode(), 1, 1, b"{}"))):
        client.set(name_a, junk)
        reader = Reader(books)
        assert (await reader.get("a"), reader.loads) == (1, ["a"])
        await until_kept(valkey, 2)


async def test_what_was_saved_yesterday_is_not_sold_today(valkey: CacheServer) -> None:
    books = Books()
    one = Reader(books)
    await one.memory.get_many("ab")
    await until_kept(valkey, 2)
    valkey.save()
    books.change("a")
    one.hear()
    assert await one.get("a") == 2
    valkey.kill()
    valkey.start()
    await until(lambda: holds(cache.read(["x"])))
    assert len(valkey.keys("souk:thing:*value*")) == 2
    late = Reader(books)
    one.memory.begin("news")
    for reader in (late, one):
        assert (await reader.get("a"), await reader.get("b")) == (2, 1)
    assert late.loads == ["a"]


async def holds(answer: object) -> bool:
    return await answer is not None  # type: ignore[misc]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=str)
async def test_without_the_cache_everybody_loads(valkey: CacheServer, end: signal.Signals) -> None:
    books = Books()
    one, other = Reader(books), Reader(books)
    await one.get("a")
    valkey.send(end)
    try:
        assert ([await other.get(key) for key in "abc"], other.loads) == ([1, 1, 1], ["a", "b", "c"])
        books.change("a")
        other.hear()
        assert (await other.get("a"), other.loads) == (2, ["a", "b", "c", "a"])
    finally:
        valkey.send(signal.SIGCONT)


async def test_five_thousand_who_want_what_has_just_changed_cost_two_loads_at_the_most(valkey: CacheServer) -> None:
    books = Books()
    readers = [Reader(books) for _ in range(10)]
    await asyncio.gather(*(reader.get("a") for reader in readers))
    books.change("a")
    for reader in readers:
        reader.hear()
        reader.loads.clear()
    answers = await asyncio.gather(*(reader.get("a") for reader in readers for _ in range(500)))
    assert answers == [2] * 5000
    assert sum(len(reader.loads) for reader in readers) <= 2


async def test_whoever_dies_while_it_loads_keeps_nobody_waiting_for_long(valkey: CacheServer) -> None:
    books = Books()
    dead, other = Reader(books), Reader(books)
    dead.open.clear()
    reading = asyncio.create_task(dead.get("a"))
    await until_read(dead)
    assert (await other.get("a"), other.loads) == (1, ["a"])
    reading.cancel()


class Crowd:
    """Three processes, each of which may be replaced, and what they were told that was too old."""

    def __init__(self, seed: int, server: CacheServer) -> None:
        self.chance = random.Random(seed)
        self.server = server
        self.books = Books()
        self.readers = [Reader(self.books) for _ in range(3)]
        self.asked: list[asyncio.Task[None]] = []
        self.wrong: list[tuple[int, int]] = []

    def do_anything(self) -> None:
        place, key = self.chance.randrange(3), self.chance.choice("abc")
        reader = self.readers[place]
        deeds = {
            "change": (3, lambda: self.books.change(key)),
            "hear": (6, lambda: reader.hear(min(len(self.books.facts), reader.heard + 1))),
            "shut": (3, reader.open.clear),
            "open": (6, reader.open.set),
            "forget": (3, reader.memory._kept.clear),
            "flush": (0.3, lambda: self.server.client().flushall()),
            "replace": (0.5, lambda: self.replace(place)),
            "ask": (12, lambda: self.asked.append(asyncio.create_task(self.ask(reader, key)))),
        }
        name = self.chance.choices(list(deeds), [weight for weight, _ in deeds.values()])[0]
        deeds[name][1]()

    def replace(self, place: int) -> None:
        self.readers[place].open.set()
        self.readers[place] = Reader(self.books)

    async def ask(self, reader: Reader, key: str) -> None:
        least = 1 + sum(changed == key for _, changed in self.books.facts[: reader.heard])
        if (found := await reader.get(key)) < least:
            self.wrong.append((found, least))


@pytest.mark.parametrize("seed", range(8))
async def test_nobody_sees_less_than_what_they_have_heard_whatever_comes_between(valkey: CacheServer, seed: int) -> None:
    """Processes read, change and hear in any order, their loads begin and end at any time, and the cache is emptied now and then."""
    crowd = Crowd(seed, valkey)
    for _ in range(600):
        crowd.do_anything()
        await asyncio.sleep(crowd.chance.choice((0, 0.001, 0.003)))
    for reader in crowd.readers:
        reader.open.set()
    await asyncio.gather(*crowd.asked)
    assert crowd.wrong == []
    for reader in crowd.readers:
        reader.hear()
        assert [await reader.get(key) for key in "abc"] == list(crowd.books.versions.values())


async def test_a_memory_is_told_by_one_source_if_it_shares(tmp_path: Path) -> None:
    reader = Reader(Books())
    with pytest.raises(TypeError, match="one source"):
        reader.memory.need("other news")
