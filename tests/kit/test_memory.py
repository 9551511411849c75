"""A memory answers what the database would: read once, read again when a fact says so, never kept when nobody tells of changes."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from souk.kit.errors import Unavailable
from souk.kit.memory import Memory


class Shelf:
    """What stands in for a database: values, how often they were read, and a door that can be held shut while reading."""

    def __init__(self) -> None:
        self.values = {"a": 1, "b": 2, "c": 3}
        self.reads: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.reads.append(list(keys))
        found = {key: self.values[key] for key in keys if key in self.values}
        await self.open.wait()
        return found


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def told(shelf: Shelf, size: int = 10) -> Memory[str, int]:
    """A memory that hears of changes."""
    memory = Memory(shelf.load, size)
    memory.need("news")
    memory.begin("news")
    return memory


async def test_what_was_read_is_kept(shelf: Shelf) -> None:
    memory = told(shelf)
    assert [await memory.get("a"), await memory.get("a"), await memory.get("x")] == [1, 1, None]
    assert await memory.get_many(["a", "b", "x", "b"]) == {"a": 1, "b": 2}
    assert shelf.reads == [["a"], ["x"], ["b", "x"]]


async def test_who_asks_at_once_is_answered_by_one_read(shelf: Shelf) -> None:
    memory = told(shelf)
    shelf.open.clear()
    first = [asyncio.create_task(memory.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    later = [asyncio.create_task(memory.get(key)) for key in "abcabc"]
    await asyncio.sleep(0.01)
    shelf.open.set()
    assert [await one for one in (*first, *later)] == [1] * 5 + [1, 2, 3] * 2
    assert len(shelf.reads) <= 3


async def test_what_has_changed_is_read_again(shelf: Shelf) -> None:
    memory = told(shelf)
    await memory.get_many("ab")
    shelf.values["a"] = 10
    memory.forget(["a"])
    assert (await memory.get("a"), await memory.get("b")) == (10, 2)
    shelf.values["b"] = 20
    memory.clear()
    assert await memory.get("b") == 20


async def test_what_changes_while_it_is_read_is_not_kept(shelf: Shelf) -> None:
    memory = told(shelf)
    for spoil in (lambda: memory.forget(["a"]), memory.clear, lambda: memory.end("news"), lambda: memory.begin("news")):
        shelf.open.clear()
        shelf.values["a"] = 1
        reading = asyncio.create_task(memory.get("a"))
        await asyncio.sleep(0.01)
        shelf.values["a"] = 2
        spoil()
        shelf.open.set()
        assert await reading == 1
        assert await memory.get("a") == 2
        memory.begin("news")


async def test_nothing_is_kept_before_or_after_somebody_tells(shelf: Shelf) -> None:
    memory = Memory(shelf.load, 10)
    memory.need("news")
    memory.need("more")
    memory.begin("news")
    assert (await memory.get("a"), memory.peek("a")) == (1, None)
    memory.begin("more")
    assert (await memory.get("a"), memory.peek("a")) == (1, 1)
    memory.end("news")
    assert (memory.peek("a"), await memory.get("a"), memory.peek("a")) == (None, 1, None)


async def test_a_change_between_two_reads_that_overlap_is_not_forgotten(shelf: Shelf) -> None:
    memory = told(shelf)
    shelf.open.clear()
    first = asyncio.create_task(memory.get("a"))
    await asyncio.sleep(0.01)
    shelf.values["a"] = 10
    memory.forget(["a"])
    second = asyncio.create_task(memory.get("a"))
    await asyncio.sleep(0.01)
    shelf.open.set()
    assert (await first, await second, memory.peek("a")) == (1, 10, 10)


async def test_what_is_part_of_something_is_forgotten_with_it(shelf: Shelf) -> None:
    memory = Memory(shelf.load, 2, whole_of=lambda value: value % 2)
    memory.need("news")
    memory.begin("news")
    await memory.get_many("ab")
    await memory.get("c")
    memory.forget_parts([1, 7])
    assert [memory.peek(key) for key in "abc"] == [None, 2, None]
    shelf.open.clear()
    reading = asyncio.create_task(memory.get("c"))
    await asyncio.sleep(0.01)
    memory.forget_parts([1])
    shelf.open.set()
    assert (await reading, memory.peek("c")) == (3, None)
    memory.forget_parts([0])
    assert memory._parts == {}


async def test_those_used_last_are_kept(shelf: Shelf) -> None:
    memory = told(shelf, size=2)
    await memory.get_many("ab")
    memory.peek("a")
    await memory.get("c")
    assert [memory.peek(key) for key in "abc"] == [1, None, 3]


async def test_a_read_that_fails_is_not_remembered(shelf: Shelf) -> None:
    async def fail(keys: Sequence[str]) -> Mapping[str, int]:
        raise Unavailable("the shelf")

    memory = told(shelf)
    memory._load, load = fail, memory._load
    with pytest.raises(Unavailable):
        await memory.get("a")
    memory._load = load
    assert (await memory.get("a"), memory.peek("a")) == (1, 1)
