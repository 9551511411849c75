"""Work that comes in bursts: done at once when a bell rings, looked for now and then when none does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW, Bell
from souk.kit.errors import Unavailable

log = logging.getLogger(__name__)

LOOPS: dict[str, "Loop"] = {}

# A bell is heard in its own process only; what another process did is found after this time.
LOOK_AGAIN_S = 0.25
PAUSE_S = 0.5


class Loop:
    """A function without arguments that does some of what is to be done, and answers how much; it is run until nothing is left.

    `alone`: in one process of the shop at a time; else in every process that hosts its context.
    """

    def __init__(self, function: Callable[[], Awaitable[int]], bell: Bell, *, alone: bool) -> None:
        self.function = function
        self.bell = bell
        self.alone = alone
        self.context = function.__module__.split(".")[1]
        self.path = f"{self.context}.{function.__name__}"
        if self.path in LOOPS:
            raise TypeError(f"Two loops are called {self.path}")
        LOOPS[self.path] = self

    async def run_forever(self) -> None:
        """Work, wait, work again; after trouble a little later."""
        set_caller(Caller(principal=SYSTEM, request_id=f"loop:{self.path}"))
        while True:
            # Before we look: what comes while we do is not slept through.
            heard = self.bell.rings
            try:
                done = await self.function()
            except (Unavailable, *NOT_NOW) as silence:
                log.warning("loop_interrupted", extra={"loop": self.path, "reason": str(silence)})
                await asyncio.sleep(PAUSE_S)
                continue
            if not done:
                await self.bell.wait(LOOK_AGAIN_S, heard)


def whenever(bell: Bell, *, alone: bool) -> Callable[[Callable[[], Awaitable[int]]], Callable[[], Awaitable[int]]]:
    """Run this function whenever the bell rings, and again as long as it finds something to do."""

    def register(function: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
        Loop(function, bell, alone=alone)
        return function

    return register
