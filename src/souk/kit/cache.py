"""A cache that processes share, Valkey or Redis: it may be away, full, slow, empty or wrong, and nothing but speed changes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from souk.kit.config import Section
from souk.kit.db import refuse_open_transaction
from souk.kit.telemetry import CACHE_ERRORS

if TYPE_CHECKING:
    from valkey.asyncio import Valkey

log = logging.getLogger(__name__)

T = TypeVar("T")

# Whoever waits longer than this has lost what a cache can save; a busy process takes half of it to come round to an answer.
WITHIN_S = 0.1
# After trouble it is left alone for so long, and then asked by one at a time until it answers.
REST_S = 1.0
CONNECTIONS = 8
# What is to be written and cannot keep up is dropped.
WRITES_AT_ONCE = 64

CacheUrl = Annotated[str, msgspec.Meta(pattern=r"^(valkeys?|rediss?|unix)://\S+(?!\n)$", max_length=1000)]


class Settings(msgspec.Struct, frozen=True):
    """Where the cache is; without one every process keeps to itself."""

    cache_url: CacheUrl | None = None


settings = Section(Settings, "SOUK")


class Cache:
    """Values by key, each for a time. Nothing here raises, and nothing takes longer than a moment."""

    def __init__(self) -> None:
        self._client: Valkey | None = None
        self._rests_until = 0.0
        self._troubled = False
        self._probing = False
        self._writing: set[asyncio.Task[None]] = set()

    @property
    def is_used(self) -> bool:
        """Whether there is one at all."""
        return self._client is not None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Inside, the cache of the settings is used, if there is one. It need not be there yet."""
        url = settings.now.cache_url
        if url is None:
            yield
            return
        from valkey.asyncio import BlockingConnectionPool, Valkey  # noqa: PLC0415  who has no cache does not pay for it

        pool = BlockingConnectionPool.from_url(
            url, max_connections=CONNECTIONS, timeout=WITHIN_S, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S
        )
        self._client = Valkey(connection_pool=pool)
        try:
            yield
        finally:
            for task in tuple(self._writing):
                task.cancel()
            await asyncio.gather(*self._writing, return_exceptions=True)
            self._client, self._rests_until, self._troubled = None, 0.0, False
            await pool.disconnect()

    async def read(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """What is kept under each of these keys; nothing at all if the cache does not answer."""
        return await self._ask(lambda client: client.mget(keys))

    async def claim(self, keys: Sequence[str], for_ms: int) -> list[bool]:
        """Which of these keys nobody else has claimed within this time; all of them if the cache does not answer."""

        async def work(client: "Valkey") -> list[bool]:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.set(key, b"", nx=True, px=for_ms)
            return [bool(answer) for answer in await pipeline.execute()]

        answers = await self._ask(work)
        return [True] * len(keys) if answers is None else answers

    def write(self, values: Mapping[str, bytes], for_s: float, gone: Sequence[str] = ()) -> None:
        """Keep these for so long and drop those, beside whatever goes on; nobody waits for it, and it may not happen."""
        if self._client is None or len(self._writing) >= WRITES_AT_ONCE:
            return

        async def work(client: "Valkey") -> bool:
            pipeline = client.pipeline(transaction=False)
            for key, value in values.items():
                pipeline.set(key, value, px=max(1, int(for_s * 1000)))
            if gone:
                pipeline.delete(*gone)
            await pipeline.execute()
            return True

        async def write() -> None:
            await self._ask(work)

        # In a context of its own: whoever asks for it may have a transaction open.
        task = asyncio.get_running_loop().create_task(write(), context=Context())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _ask(self, work: Callable[["Valkey"], Awaitable[T]]) -> T | None:
        refuse_open_transaction("the cache")
        client = self._client
        if client is None or self._probing or monotonic() < self._rests_until:
            return None
        self._probing = self._troubled
        try:
            # The library's own times do not cover everything: a connection is waited for, made and greeted.
            async with asyncio.timeout(WITHIN_S):
                answer = await work(client)
        except Exception as trouble:  # whatever it is, it is no reason for a request to fail
            if self._note(trouble):
                with suppress(Exception):
                    await client.connection_pool.disconnect(inuse_connections=False)  # they are as dead as the one that was used
            return None
        else:
            self._troubled, self._rests_until = False, 0.0
            return answer
        finally:
            self._probing = False

    def _note(self, trouble: Exception) -> bool:
        """Count it; whether the cache is better left alone now."""
        CACHE_ERRORS.labels(type(trouble).__name__).inc()
        if type(trouble).__name__ in ANSWERS:
            return False
        if not self._troubled:
            log.warning("cache_left_alone", extra={"reason": type(trouble).__name__})
        self._troubled = True
        self._rests_until = monotonic() + REST_S
        return True


# Refusals of a server that is well: it is full and takes nothing more, and what it has can be read.
ANSWERS = ("ResponseError", "OutOfMemoryError")

cache = Cache()
