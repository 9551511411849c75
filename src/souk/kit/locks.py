"""Session advisory locks: who runs a loop that only one process may run, and whether the owner of a lease is still alive."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable

import asyncpg

from souk.kit.db import NOT_NOW

log = logging.getLogger(__name__)

# How often we look whether the connection lives.
CHECK_S = 1.0
# Advisory locks have two 32-bit numbers: what kind of lock, and which one.
LOOP, OWNER = 7_301, 7_302

# True for a lease whose holder lives: its process still has its session. Used in SQL of contexts as OWNER_LIVES.format(column).
OWNER_LIVES = """EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7302 AND objid = {0} AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)"""

# The owners of this database that live, each as eight hexadecimal digits.
LIVING_OWNERS = """
    SELECT lpad(to_hex(objid::bigint), 8, '0') FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7302 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class SessionLocks:
    """One connection to one server that holds this process's locks. They are gone when the process or the connection is.

    With each new connection the process is a new owner of leases, of which `tell_owner` hears: what it held under the old one may
    have been left in the middle when the server was lost, and is free.
    """

    def __init__(self, dsn: str, tell_owner: Callable[[int], None] = lambda owner: None) -> None:
        self._dsn = dsn
        self._tell_owner = tell_owner
        self._connection: asyncpg.Connection | None = None
        self._gone = asyncio.Event()
        self._turn = asyncio.Lock()
        self.owner = 0

    async def open(self) -> None:
        """Connect and take the lock that says this process lives; raises what asyncpg raises."""
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=5, server_settings={"application_name": "souk locks"})
        owner = secrets.randbelow(2**31 - 1) + 1
        await connection.execute("SELECT pg_advisory_lock($1, $2)", OWNER, owner)
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        self._connection, self._gone, self.owner = connection, gone, owner
        self._tell_owner(owner)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=2)
            self._connection = None

    async def try_lock(self, name: str) -> asyncio.Event | None:
        """An event that is set when the lock is lost with its connection; None if another process has the lock now.

        Asked by the holder again, it is one more hold of the same lock.
        """
        async with self._turn:
            connection = await self._living()
            held = await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOOP, _number(name))
            return self._gone if held else None

    async def release(self, name: str) -> None:
        async with self._turn:
            if self._connection is not None and not self._connection.is_closed():
                await self._connection.execute("SELECT pg_advisory_unlock($1, $2)", LOOP, _number(name))

    async def keep_connected(self) -> None:
        """Forever: notice when the connection is dead, and connect again, so that our leases are known to have a living owner."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                async with self._turn:
                    connection = await self._living()
                    await connection.execute("SELECT 1")
            except NOT_NOW as silence:
                log.warning("locks_lost", extra={"reason": str(silence)})
                if self._connection is not None:
                    self._connection.terminate()

    async def _living(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            await self.open()
        if self._connection is None:
            raise ConnectionError("closed")
        return self._connection


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], signed=True)


async def while_only_one(locks: SessionLocks, name: str, work: Callable[[], Awaitable[None]], retry_s: float = 1.0) -> None:
    """Run `work` in the one process that gets the lock, forever: whoever waits takes over when the holder is gone.

    When the lock is lost the work is cancelled, for another process may have begun it.
    """
    while True:
        try:
            gone = await locks.try_lock(name)
        except NOT_NOW:
            gone = None
        if gone is not None:
            try:
                await _run_until(gone, work)
            finally:
                await _release_quietly(locks, name)
        await asyncio.sleep(retry_s)


async def _run_until(gone: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_as_coroutine(work))
        watching = group.create_task(_cancel_when(gone, working))
        await asyncio.wait([working])
        watching.cancel()


async def _as_coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _cancel_when(gone: asyncio.Event, working: "asyncio.Task[None]") -> None:
    await gone.wait()
    working.cancel()


async def _release_quietly(locks: SessionLocks, name: str) -> None:
    try:
        await locks.release(name)
    except NOT_NOW:
        return
