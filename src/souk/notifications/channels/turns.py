"""Turns at something of which there are only so many: who waits is served by rank, and not by when they came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count

# Smaller is sooner.
Rank = tuple[float, ...]


class Turns:
    """So many at a time. Of those who wait the smallest rank is next, of equal ranks whoever has waited longest."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._kept_back: list[asyncio.TimerHandle] = []
        self._to_keep = 0
        self._waiting: list[tuple[Rank, int, asyncio.Future[None]]] = []
        self._came = count()

    @asynccontextmanager
    async def turn(self, rank: Rank) -> AsyncIterator[None]:
        """Inside it is our turn."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(rank)
        try:
            yield
        finally:
            self._pass_on()

    def keep_back(self, for_s: float) -> None:
        """One turn fewer for so long: the next that ends is nobody's until then."""
        self._to_keep += 1
        self._kept_back.append(asyncio.get_running_loop().call_later(for_s, self._give_back))

    def give_all_back(self) -> None:
        """As many turns as there were at first, from now on."""
        for timer in tuple(self._kept_back):
            timer.cancel()
            self._give_back()

    def _give_back(self) -> None:
        # They are kept equally long, so that the first one's time is over first.
        self._kept_back.pop(0)
        self._pass_on()

    async def _wait(self, rank: Rank) -> None:
        called = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (rank, next(self._came), called))
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled():
                # It was our turn at this very moment.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        if self._to_keep:
            self._to_keep -= 1
            return
        while self._waiting:
            *_, called = heappop(self._waiting)
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
