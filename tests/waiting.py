"""Waiting in tests for what happens elsewhere: in another task, another process, a database."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = 20.0) -> None:
    """Return when it holds; raises TimeoutError if it does not within this time."""
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.02)
