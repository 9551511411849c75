"""Batches of several processes at once: the database decides then, not the batch that gathers callers in one process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from souk.kit.batching import Asked
from souk.kit.callers import SYSTEM, Caller
from souk.kit.db import Database

Q = TypeVar("Q")
A = TypeVar("A")


async def in_processes(
    database: Database, work: Callable[[tuple[Asked[Q], ...]], Awaitable[tuple[A, ...]]], batches: Sequence[Sequence[Q]]
) -> list[A]:
    """Have each batch done by a process of its own, all at the same moment; raises what the database raises, a deadlock among it."""
    who = Caller(SYSTEM)
    loop = asyncio.get_running_loop()
    asked = (tuple(Asked(one, who, loop.create_future(), urgent=False) for one in batch) for batch in batches)
    done = await asyncio.gather(*(work(batch) for batch in asked))
    assert await database.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    return [answer for answers in done for answer in answers]
