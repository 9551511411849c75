"""Turns at conversations with a relay: who is sooner by rank, and that none is lost by whoever stops waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from souk.notifications.channels.turns import Rank, Turns


@asynccontextmanager
async def queued(turns: Turns, *ranks: Rank) -> AsyncIterator[tuple[list[Rank], list[asyncio.Task[None]]]]:
    """All turns are taken until this ends, and these wait; the list fills with those who had theirs."""
    had: list[Rank] = []

    async def wait(rank: Rank) -> None:
        async with turns.turn(rank):
            had.append(rank)

    async with turns.turn((0, 0)):
        waiting = [asyncio.create_task(wait(rank)) for rank in ranks]
        await asyncio.sleep(0)
        yield had, waiting
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_advertisements_come_last_and_what_was_begun_first_comes_first() -> None:
    async with queued(Turns(1), (True, 1.0), (False, 3.0), (True, 2.0), (False, 2.0)) as (had, _):
        assert had == []
    assert had == [(False, 2.0), (False, 3.0), (True, 1.0), (True, 2.0)]


async def test_of_equals_the_first_to_come_is_first() -> None:
    turns, had = Turns(1), []

    async def wait(name: str) -> None:
        async with turns.turn((1,)):
            had.append(name)

    async with turns.turn((0,)):
        waiting = [asyncio.create_task(wait(name)) for name in "bac"]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert had == ["b", "a", "c"]


async def test_who_stops_waiting_takes_no_turn_with_them() -> None:
    turns = Turns(1)
    async with queued(turns, (1,), (2,), (3,)) as (had, waiting):
        waiting[0].cancel()
    assert had == [(2,), (3,)]
    async with queued(turns, (1,), (2,)) as (had, waiting):
        pass
    assert had == [(1,), (2,)]


async def test_who_is_stopped_when_it_is_their_turn_passes_it_on() -> None:
    turns = Turns(1)
    had: list[int] = []

    async def wait(rank: int) -> None:
        async with turns.turn((rank,)):
            had.append(rank)

    async with turns.turn((0,)):
        first, second = asyncio.create_task(wait(1)), asyncio.create_task(wait(2))
        await asyncio.sleep(0)
    # It is the first one's turn, who has not noticed yet.
    first.cancel()
    async with asyncio.timeout(1):
        await second
    assert (first.cancelled(), had) == (True, [2])


async def test_no_more_have_their_turn_at_once_than_there_are_turns() -> None:
    turns, at_once, most = Turns(3), 0, 0

    async def work(rank: int) -> None:
        nonlocal at_once, most
        async with turns.turn((rank,)):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    await asyncio.gather(*(work(rank % 5) for rank in range(100)))
    assert (most, at_once) == (3, 0)
