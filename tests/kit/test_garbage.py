"""What is over is gone: calls, batches and requests leave no rings of objects that only the garbage collector would find.

Its passes over such rings once took a ninth of the CPU of a purchase, and what they held stayed in memory for seconds.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.kit import notebook
from tests.kit.notebook import Note
from tests.kit.test_server import get, post, serve

from souk.kit.callers import caller
from souk.kit.ids import new_id
from souk.kit.wire import HttpPeer

TIMES = 20


async def find_rings(work: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Of which types more than half as many objects as the work was done times were left in rings, and how many."""
    await work()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(TIMES):
            await work()
        await asyncio.sleep(0)
        gc.collect()
        left = Counter(type(one).__name__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
    return Counter({name: count for name, count in left.items() if count > TIMES / 2})


class Knot:
    """A ring of one."""

    def __init__(self) -> None:
        self.itself = self


async def test_a_ring_is_found() -> None:
    async def tie() -> None:
        Knot()

    assert (await find_rings(tie))["Knot"] == TIMES


async def test_a_call_leaves_none(here: str) -> None:
    assert not await find_rings(notebook.forget)


async def test_a_call_of_another_process_leaves_none(there: HttpPeer) -> None:
    assert not await find_rings(notebook.forget)


async def test_a_call_that_is_one_of_a_batch_leaves_none(here: str) -> None:
    assert not await find_rings(lambda: notebook.count_note(Note(new_id(), 1)))


async def test_a_batch_that_asks_for_all_of_its_items_leaves_none(here: str) -> None:
    assert not await find_rings(lambda: notebook.count_note.many([(Note(new_id(), number), caller()) for number in range(3)]))


@pytest.fixture
async def ask() -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """A request in a whole, one in parts and one whose answer comes in parts, on one connection."""
    async with serve() as shop:
        client = await shop.connect()

        async def ask_all() -> None:
            await client.ask(get(b"/"))
            await client.ask(post(b"/", b"whole"))
            client.say(get(b"/parts"))
            await client.read()

        yield ask_all


async def test_requests_leave_none(ask: Callable[[], Awaitable[object]]) -> None:
    assert not await find_rings(ask)
