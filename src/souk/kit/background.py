"""Work without an end beside the requests: begun together, begun again when it fails, stopped together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from souk.kit.callers import SYSTEM, Caller, set_caller

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]

BEGIN_AGAIN_AFTER_S = 1.0

WORKERS: dict[str, "Worker"] = {}


class Worker:
    """Work without an end that every process which hosts its context does at the same time; its rows say who is at what."""

    def __init__(self, function: Work) -> None:
        self.function = function
        self.context = function.__module__.split(".")[1]
        self.path = f"{self.context}.{function.__name__}"
        if self.path in WORKERS:
            raise TypeError(f"Two workers are called {self.path}")
        WORKERS[self.path] = self

    async def run(self) -> None:
        """Work until cancelled, in the shop's own name."""
        set_caller(Caller(principal=SYSTEM, request_id=f"worker:{self.path}"))
        await self.function()


def in_every_process(function: Work) -> Work:
    """Run this function beside the requests in every process that hosts its context."""
    Worker(function)
    return function


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
