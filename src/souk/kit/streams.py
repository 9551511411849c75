"""Answers without an end (server-sent events): until the client leaves, what it was granted is over, or the server stops."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from litestar import Request, Response

from souk.kit.auth import Grant, Verifier
from souk.kit.cors import Header
from souk.kit.errors import TooMany, Unavailable
from souk.kit.overload import overload

log = logging.getLogger(__name__)

Scope = Any
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EVENT_STREAM: Final[Header] = (b"content-type", b"text/event-stream; charset=utf-8")
# A proxy that collects an answer before it passes it on would keep news back for ever.
UNBUFFERED: Final[Header] = (b"x-accel-buffering", b"no")
HEARTBEAT_EVERY_S = 15.0
HEARTBEAT = b":\n\n"
# How long a client that was cut off waits before it comes back.
BEGINNING = b"retry: 2000\n\n"
# When there is no telling what is new we ask again after this time.
AGAIN_AFTER_S = 1.0
MOST_STREAMS = 10_000
MOST_PER_SUBJECT = 20


class Source(Protocol):
    """Where the news of a stream come from."""

    news: asyncio.Event  # set when there may be some

    async def read(self) -> bytes:
        """What there is to send now as encoded events, perhaps nothing; raises Unavailable. What was read is not read again."""

    def close(self) -> None:
        """The stream has ended."""


class Streams:
    """The open streams of a listener."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._open: dict[Source, str] = {}
        self._per_subject: dict[str, int] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """All of them end now, and none begins any more."""
        self._stopping = True
        for source in self._open:
            source.news.set()

    def go_on(self, grant: Grant) -> bool:
        """Whether a stream that this grant has opened is to stay open."""
        return not self._stopping and self._verifier.holds(grant)

    def check(self, grant: Grant) -> None:
        """Raises TooMany if this process, or this person, has as many as there may be; Unavailable if the server stops."""
        if self._stopping:
            raise Unavailable("the server is stopping")
        if len(self._open) >= MOST_STREAMS or self._per_subject.get(grant.principal.subject, 0) >= MOST_PER_SUBJECT:
            raise TooMany(int(HEARTBEAT_EVERY_S))

    def add(self, source: Source, subject: str) -> None:
        self._open[source] = subject
        self._per_subject[subject] = self._per_subject.get(subject, 0) + 1

    def remove(self, source: Source) -> None:
        subject = self._open.pop(source)
        left = self._per_subject.pop(subject) - 1
        if left:
            self._per_subject[subject] = left


def streams_of(scope: Any) -> tuple[Streams, Grant | None]:
    """Where a request is to open its stream, and what its access token grants if it brought one."""
    return scope["streams"], scope["grant"]


class EventStream(Response[None]):
    """What a route answers with that tells its client of news as they come.

    A stream keeps nothing for its client but the place up to which it has read: one that reads slowly holds up nobody, and is cut
    off by the connection's limits. It comes back and goes on where it was.
    """

    def __init__(self, source: Source, grant: Grant) -> None:
        super().__init__(None, media_type="text/event-stream")
        self._source = source
        self._grant = grant

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> Any:
        """What the server runs."""
        return _Run(self._source, self._grant)


class _Run:
    """A stream under way."""

    __slots__ = ("_gone", "_grant", "_source")

    def __init__(self, source: Source, grant: Grant) -> None:
        self._source = source
        self._grant = grant
        self._gone = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams: Streams = scope["streams"]
        scope["endless"] = True
        streams.add(self._source, self._grant.principal.subject)
        leaving = asyncio.get_running_loop().create_task(self._notice_end(receive))
        try:
            with overload.set_aside():
                await send({"type": "http.response.start", "status": 200, "headers": [EVENT_STREAM, UNBUFFERED]})
                await self._write(BEGINNING, send)
                await self._tell(streams, send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leaving.cancel()
            streams.remove(self._source)
            self._source.close()

    async def _tell(self, streams: Streams, send: Send) -> None:
        news = self._source.news
        while not self._gone and streams.go_on(self._grant):
            news.clear()
            try:
                told = await self._source.read()
            except Unavailable as silence:
                log.warning("stream_waits", extra={"reason": str(silence)})
                await self._wait(AGAIN_AFTER_S)
                continue
            if told:
                # What was read while the right to it ended is not told.
                if not streams.go_on(self._grant):
                    return
                await self._write(told, send)
            elif not await self._wait(HEARTBEAT_EVERY_S):
                await self._write(HEARTBEAT, send)

    async def _wait(self, at_most_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                return await self._source.news.wait()
        return False

    async def _write(self, text: bytes, send: Send) -> None:
        await send({"type": "http.response.body", "body": text, "more_body": True})

    async def _notice_end(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self._gone = True
        self._source.news.set()


def read_position(text: str | None) -> tuple[int, int] | None:
    """The place in a feed that an event's id stands for; None for a text that is no such id."""
    first, dot, second = (text or "").partition(".")
    if not (dot and first.isdecimal() and second.isdecimal() and first.isascii() and second.isascii()):
        return None
    place = int(first[:20]), int(second[:20])
    return place if max(place) < 2**63 else None


def encode_event(position: tuple[int, int], kind: str, data: bytes) -> bytes:
    """One event as it is sent; data is in one line, as JSON is."""
    return b"id: %d.%d\nevent: %s\ndata: %s\n\n" % (*position, kind.encode(), data)
