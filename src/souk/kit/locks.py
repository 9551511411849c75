"""Session advisory locks: who runs a loop that only one process may run, and whether the owner of a lease is still alive."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable

import asyncpg

from souk.kit.db import NOT_NOW

# Advisory locks have two 32-bit numbers: what kind of lock, and which one.
LOOP, OWNER = 7_301, 7_302

# True for a lease whose holder lives: its process still has its session. Used in SQL of contexts as OWNER_LIVES.format(column).
OWNER_LIVES = """EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7302 AND objid = {0} AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)"""


class SessionLocks:
    """One connection to one server that holds this process's locks. They are gone when the process or the connection is."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()
        self.owner = secrets.randbelow(2**31 - 1) + 1

    async def open(self) -> None:
        """Connect and take the lock that says this process lives."""
        self._connection = await asyncpg.connect(self._dsn, timeout=10, server_settings={"application_name": "souk locks"})
        await self._connection.execute("SELECT pg_advisory_lock($1, $2)", OWNER, self.owner)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=2)
            self._connection = None

    async def try_lock(self, name: str) -> bool:
        """Whether this process has the lock now. Asked by the holder again, it is one more hold of the same lock."""
        async with self._turn:
            connection = await self._living()
            return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOOP, _number(name)))

    async def release(self, name: str) -> None:
        async with self._turn:
            if self._connection is not None and not self._connection.is_closed():
                await self._connection.execute("SELECT pg_advisory_unlock($1, $2)", LOOP, _number(name))

    @property
    def lost(self) -> bool:
        """Whether the connection, and with it every lock, is gone."""
        return self._connection is None or self._connection.is_closed()

    async def _living(self) -> asyncpg.Connection:
        if self.lost:
            await self.open()
        if self._connection is None:
            raise ConnectionError("closed")
        return self._connection


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], signed=True)


async def while_only_one(locks: SessionLocks, name: str, work: Callable[[], Awaitable[None]], retry_s: float = 1.0) -> None:
    """Run `work` in the one process that gets the lock, forever: whoever waits takes over when the holder is gone."""
    while True:
        try:
            held = await locks.try_lock(name)
        except NOT_NOW:
            held = False
        if held:
            try:
                await work()
            finally:
                await _release_quietly(locks, name)
        await asyncio.sleep(retry_s)


async def _release_quietly(locks: SessionLocks, name: str) -> None:
    try:
        await locks.release(name)
    except NOT_NOW:
        return
