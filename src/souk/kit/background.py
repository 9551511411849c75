"""Work without an end beside the requests: begun together, begun again when it fails, stopped together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]

BEGIN_AGAIN_AFTER_S = 1.0


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
