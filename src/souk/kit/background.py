"""Work without an end beside the requests: begun together, begun again when it fails, stopped together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW, TRY_AGAIN, Bell
from souk.kit.errors import Unavailable

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]
# Does some of what is to be done, and answers how much.
Burst = Callable[[], Awaitable[int]]

BEGIN_AGAIN_AFTER_S = 1.0
# A bell is heard in its own process only; what another process did is found after this time.
LOOK_AGAIN_S = 0.25
PAUSE_S = 0.5

WORKERS: dict[str, "Worker"] = {}


class Worker:
    """Work without an end of a context, which bears the name of this function.

    `alone`: in one process of the shop at a time; else in every process that hosts its context, whose rows then say who is at what.
    """

    def __init__(self, function: Callable[[], Awaitable[object]], work: Work, *, alone: bool) -> None:
        self.work = work
        self.alone = alone
        self.context = function.__module__.split(".")[1]
        self.path = f"{self.context}.{function.__name__}"
        if self.path in WORKERS:
            raise TypeError(f"Two workers are called {self.path}")
        WORKERS[self.path] = self

    async def run_forever(self) -> None:
        """Work until cancelled, in the shop's own name."""
        set_caller(Caller(principal=SYSTEM, request_id=f"worker:{self.path}"))
        await self.work()


def in_every_process(function: Work) -> Work:
    """Run this function, which has no end, in every process that hosts its context."""
    Worker(function, function, alone=False)
    return function


def whenever(bell: Bell, *, alone: bool, look_again_s: float | None = None) -> Callable[[Burst], Burst]:
    """Run this function whenever the bell rings, and again as long as it finds something to do; without a bell now and then.

    What nobody waits for may be looked for less often.
    """

    def register(function: Burst) -> Burst:
        Worker(function, partial(_work_in_bursts, function, bell, look_again_s), alone=alone)
        return function

    return register


async def _work_in_bursts(function: Burst, bell: Bell, look_again_s: float | None) -> None:
    """Work, wait, work again; after trouble a little later."""
    while True:
        # Before we look: what comes while we do is not slept through.
        heard = bell.rings
        try:
            done = await function()
        except (Unavailable, *NOT_NOW, *TRY_AGAIN) as silence:
            log.warning("work_interrupted", extra={"work": function.__name__, "reason": str(silence)})
            await asyncio.sleep(PAUSE_S)
            continue
        if not done:
            await bell.wait(LOOK_AGAIN_S if look_again_s is None else look_again_s, heard)


@asynccontextmanager
async def in_background(work: Mapping[str, Work]) -> AsyncIterator[None]:
    """Inside, each of these runs. One that fails is logged and begun again: a bug may stop neither its neighbours nor itself for good."""
    tasks = [asyncio.create_task(_run_forever(name, one), name=name) for name, one in work.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_forever(name: str, work: Work) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("background_work_failed", extra={"work": name})
        await asyncio.sleep(BEGIN_AGAIN_AFTER_S)
