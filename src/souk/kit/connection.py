"""A client's connection: uvicorn's HTTP/1.1, with limits to what a client may send, and in what time, and a short way for most requests.

uvicorn's own way runs the app while a body still comes in, and sends an answer in parts. Nearly every request is small and here as
a whole at once, and so is its answer: an Exchange does these with a third of the work, and hands over whatever turns out otherwise.
"""

import asyncio
import logging
from asyncio import AbstractEventLoop, Task
from math import inf
from time import monotonic
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from souk.kit.cors import Header
from souk.kit.problems import encode_problem

log = logging.getLogger(__name__)

Message = dict[str, Any]

# A head with all its headers, and the largest body that is waited for before the app is asked.
MOST_HEAD_BYTES: Final = 64 * 1024
MOST_WHOLE_BYTES: Final = 64 * 1024
# A head has to be here after this time, the next part of a body, and room for the next part of an answer, after the second, and
# the next request after the last.
HEAD_WITHIN_S: Final = 15.0
BODY_WITHIN_S: Final = 30.0
NEXT_WITHIN_S: Final = 75.0

# What a callback of ours is to raise, beside bugs.
BAD_ADDRESS = httptools.HttpParserInvalidURLError

# What of a request has come so far.
NOTHING, HEAD, BODY = "nothing", "head", "body"
# Headers with which a request is more than a head and a body of known length.
SPECIAL = frozenset((b"transfer-encoding", b"expect", b"upgrade"))


class Gate(Protocol):
    """Who may come in: asked before anything is done for a request."""

    def enter(self, method: str, path: str) -> bool:
        """Whether a request is let in. If it is, `leave` is called when it has been answered."""

    def leave(self) -> None: ...

    def refuse(self, headers: list[Header]) -> tuple[int, list[Header], bytes]:
        """Status, headers and body of the answer for one that is not."""

    def close(self) -> None:
        """Nothing new is taken in: what would never end by itself is to end now."""


class Listening(Protocol):
    """What connections share: the app behind them, its gate, and what is under way."""

    config: Config
    state: ServerState
    gate: Gate | None
    exchanges: "set[Exchange]"
    date: bytes

    @property
    def app(self) -> Any: ...

    async def gated_app(self, scope: Any, receive: Any, send: Any) -> None:
        """The app for a request that is not an Exchange: the gate is asked first."""

    def leave(self) -> None:
        """A connection has ended."""


class Exchange:
    """A request that has come as a whole, and its answer, as the app sees them (ASGI 3).

    An answer in one message is written in one piece. When the app wants more (to send in parts, to hear of a client that leaves)
    uvicorn's cycle takes over.
    """

    __slots__ = ("_cycle", "_given", "_head", "body", "connection", "disconnected", "keep_alive", "response_complete", "scope", "task")

    def __init__(self, connection: "Connection", scope: Any, *, keep_alive: bool) -> None:
        self.connection = connection
        self.scope = scope
        self.body = b""
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.task: Task[None] | None = None
        self._given = False
        self._head: Message | None = None
        self._cycle: RequestResponseCycle | None = None

    async def run(self) -> None:
        """Have the app answer."""
        connection = self.connection
        try:
            await connection.listener.app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("request_failed", extra={"path": self.scope["path"]})
            if self._cycle is None and not connection.transport.is_closing():
                self.keep_alive = False
                self.answer(500, *encode_problem(500, "internal_error", "Something went wrong on our side."))
        finally:
            connection.listener.exchanges.discard(self)
            if connection.listener.gate is not None:
                connection.listener.gate.leave()
            if not (self.response_complete if self._cycle is None else self._cycle.response_complete):
                connection.transport.close()

    async def receive(self) -> Any:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        return await self._hand_over().receive()

    async def send(self, message: Any) -> None:
        if self._cycle is None and message["type"] == "http.response.start":
            self._head = message
        elif self._head is None:
            await self._hand_over().send(message)
        else:
            head, self._head = self._head, None
            if self._cycle is not None or message.get("more_body") or self.connection.flow.write_paused:
                cycle = self._hand_over()
                await cycle.send(head)  # type: ignore[arg-type]
                await cycle.send(message)
            else:
                self.answer(head["status"], head.get("headers", ()), message.get("body", b""))

    def answer(self, status: int, headers: Any, body: bytes) -> None:
        """Write an answer that is whole. Nothing is written to a client that has left."""
        connection = self.connection
        if self.disconnected or connection.transport.is_closing():
            self.response_complete = True
            return
        parts, lines, has_length = [STATUS_LINE[status], connection.listener.date], 3, False
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
            lines += 1
            has_length = has_length or name == b"content-length"
        if not has_length and status >= 200 and status not in (204, 304):
            parts.append(b"content-length: %d\r\n" % len(body))
            lines += 1
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        parts.append(b"\r\n")
        whole = b"".join(parts)
        if whole.count(b"\n") != lines:
            raise ValueError("a header's value holds a line break")
        connection.transport.write(whole if self.scope["method"] == "HEAD" else whole + body)
        self.response_complete = True
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    def _hand_over(self) -> RequestResponseCycle:
        if self._cycle is None:
            connection = self.connection
            self._cycle = RequestResponseCycle(
                scope=self.scope,
                transport=connection.transport,
                flow=connection.flow,
                logger=connection.logger,
                access_logger=connection.access_logger,
                access_log=False,
                default_headers=connection.server_state.default_headers,
                message_event=asyncio.Event(),
                expect_100_continue=False,
                keep_alive=self.keep_alive,
                on_response=connection.on_response_complete,
            )
            self._cycle.more_body = False
            self._cycle.disconnected = self.disconnected
            connection.replace(self, self._cycle)
        return self._cycle


class Connection(HttpToolsProtocol):
    """One client's connection. Requests that come while another is being answered wait for it (uvicorn's pipeline)."""

    cycle: Any
    _exchange: Exchange | None  # the request that is coming in now, if it is to come as a whole

    def __init__(self, listener: Listening, loop: AbstractEventLoop) -> None:
        super().__init__(listener.config, listener.state, {}, loop)
        self.listener = listener
        self._exchange = None
        self._coming = NOTHING
        self._head_bytes = 0
        self._since = self._heard_at = monotonic()
        self._stuck_since = inf  # since when the client reads less than we have to tell

    def data_received(self, data: bytes) -> None:
        self._heard_at = monotonic()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No protocol but this one is spoken here; what follows may be another.
            self.cycle.keep_alive = False
        except httptools.HttpParserError as failure:
            if isinstance(failure, httptools.HttpParserCallbackError) and not isinstance(failure.__context__, BAD_ADDRESS):
                log.exception("connection_failed")
            self.refuse(400, "malformed_request", "This is no HTTP/1.1 request.")
        else:
            if self._coming is HEAD:
                self._head_bytes += len(data)
                if self._head_bytes > MOST_HEAD_BYTES:
                    self.refuse(431, "head_too_large", f"A request's head is at most {MOST_HEAD_BYTES} bytes.")

    def refuse(self, status: int, code: str, detail: str) -> None:
        """Answer what is not taken as a request, and end the connection."""
        if not self.transport.is_closing():
            exchange = Exchange(self, {"method": "GET"}, keep_alive=False)
            exchange.answer(status, *encode_problem(status, code, detail))

    def check(self, now: float) -> None:
        """End the connection of a client that has taken too long over what we wait for."""
        if now - self._stuck_since > BODY_WITHIN_S:
            self.transport.abort()
        elif self._coming is HEAD:
            if now - self._since > HEAD_WITHIN_S:
                self.refuse(408, "request_timeout", f"A request's head has to be here within {HEAD_WITHIN_S:g} seconds.")
        elif self._coming is BODY:
            if now - self._heard_at > BODY_WITHIN_S and not self.flow.read_paused:
                self.transport.abort()
        elif (self.cycle is None or self.cycle.response_complete) and now - max(self._since, self._heard_at) > NEXT_WITHIN_S:
            self.transport.abort()

    def shutdown(self) -> None:
        """The server stops. An answer without an end ends by itself, unless its client does not read it."""
        if self.flow.write_paused and self.cycle is not None and "endless" in self.cycle.scope:
            self.transport.abort()
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        self._stuck_since = monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck_since = inf
        super().resume_writing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._coming = HEAD
        self._head_bytes = 0
        self._since = self._heard_at

    def on_headers_complete(self) -> None:
        self._coming = BODY
        if (self.cycle is not None and not self.cycle.response_complete) or not self.url.startswith(b"/") or not self._comes_whole():
            super().on_headers_complete()
        else:
            path, _, query = self.url.partition(b"?")
            text = path.decode("latin-1")
            scope: Any = self.scope
            scope["method"] = self.parser.get_method().decode("ascii")
            scope["path"] = unquote(text) if "%" in text else text
            scope["raw_path"] = path
            scope["query_string"] = query
            keep_alive = self.parser.should_keep_alive()
            if (version := self.parser.get_http_version()) != "1.1":
                scope["http_version"] = version
                keep_alive = False
            self.cycle = self._exchange = Exchange(self, scope, keep_alive=keep_alive)

    def _comes_whole(self) -> bool:
        for name, value in self.headers:  # noqa: SIM110  a generator costs twice as much
            if name in SPECIAL or (name == b"content-length" and int(value) > MOST_WHOLE_BYTES):
                return False
        return True

    def on_body(self, body: bytes) -> None:
        if self._exchange is None:
            super().on_body(body)
        else:
            self._exchange.body += body

    def on_message_complete(self) -> None:
        self._coming = NOTHING
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            super().on_message_complete()
            return
        gate = self.listener.gate
        if gate is None or gate.enter(exchange.scope["method"], exchange.scope["path"]):
            exchange.task = self.loop.create_task(exchange.run())
            self.listener.exchanges.add(exchange)
        else:
            exchange.answer(*gate.refuse(self.headers))

    def replace(self, exchange: Exchange, cycle: RequestResponseCycle) -> None:
        """From now on it is uvicorn's cycle that hears of this connection."""
        if self.cycle is exchange:
            self.cycle = cycle

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(self.cycle, Exchange):
            self.cycle.disconnected = True
            self.cycle = None
        super().connection_lost(exc)
        self.listener.leave()

    def on_response_complete(self) -> None:
        # As uvicorn's, but for a timer per answer: `check` looks after connections that are left idle.
        self._since = monotonic()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, self.listener.gated_app)
