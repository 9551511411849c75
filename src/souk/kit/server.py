"""Two listeners in one event loop: the public one, and the internal one that other processes of the shop call."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from email.utils import formatdate
from time import monotonic
from typing import Any

import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from souk.kit.background import in_background
from souk.kit.connection import Connection, Exchange, Gate
from souk.kit.front import App, Front

log = logging.getLogger(__name__)

# How long a stop waits for the requests in flight; with what comes after it a stop takes less than five seconds.
FINISH_WITHIN_S = 4.0
# Connections that wait to be accepted.
BACKLOG = 2048


class PortTaken(Exception):
    """Another program listens there; in one sentence."""


def check_port(host: str, port: int, option: str = "--port") -> None:
    """Raise PortTaken if nobody can listen on this port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as taken:
            raise PortTaken(f"Port {port} on {host} cannot be used ({taken.strerror}); choose another with {option}") from taken


class Listener:
    """An app at an address. Processes may share one (SO_REUSEPORT): each connection is then one of theirs."""

    def __init__(self, app: App, host: str, port: int) -> None:
        self.app = app
        self.gate: Gate | None = app if isinstance(app, Front) else None
        self.config = Config(
            self.gated_app, interface="asgi3", lifespan="off", ws="none", log_config=None, access_log=False, proxy_headers=False
        )
        self.config.load()
        self.state = ServerState()
        self.exchanges: set[Exchange] = set()
        self._address = (host, port)
        self._server: asyncio.Server | None = None
        self._left = asyncio.Event()
        self._tell_time()

    async def gated_app(self, scope: Any, receive: Any, send: Any) -> None:
        """The app for a request that uvicorn's cycle carries."""
        if self.gate is None:
            await self.app(scope, receive, send)
        elif self.gate.enter(scope["method"], scope["path"]):
            try:
                await self.app(scope, receive, send)
            finally:
                self.gate.leave()
        else:
            status, headers, body = self.gate.refuse(scope["headers"])
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def open(self) -> None:
        """Listen; raises OSError if that is not possible."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self, loop), *self._address, backlog=BACKLOG, reuse_port=True)

    async def watch(self) -> None:
        """Forever: know the time, and end the connections of clients that take too long."""
        while True:
            await asyncio.sleep(1.0)
            self._tell_time()
            now = monotonic()
            for connection in list(self.state.connections):
                connection.check(now)  # type: ignore[union-attr]

    def leave(self) -> None:
        """A connection has ended."""
        self._left.set()

    async def close(self) -> None:
        """Take nothing new, and end when what is under way has been answered, or after FINISH_WITHIN_S."""
        if self._server is not None:
            self._server.close()
        if self.gate is not None:
            self.gate.close()
        for connection in list(self.state.connections):
            connection.shutdown()
        # Each of them ends with the answer to its request, which may still be coming in.
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_WITHIN_S):
                while self.state.connections:
                    self._left.clear()
                    await self._left.wait()
        if self.state.connections:
            log.warning("requests_cut_off", extra={"connections": len(self.state.connections), "after_s": FINISH_WITHIN_S})
        unfinished = {*self.state.tasks, *(exchange.task for exchange in self.exchanges if exchange.task is not None)}
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        for connection in list(self.state.connections):
            connection.transport.abort()

    def _tell_time(self) -> None:
        date = formatdate(usegmt=True).encode()
        self.date = b"date: %s\r\n" % date
        self.state.default_headers = [(b"date", date)]


async def serve_until_stopped(listeners: list[Listener], on_ready: Callable[[], None], stopping: asyncio.Event) -> None:
    """Serve until SIGINT, SIGTERM or `stopping`; requests in flight are finished first, if that takes no longer than FINISH_WITHIN_S."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    for listener in listeners:
        await listener.open()
    async with in_background({f"listener {number}": listener.watch for number, listener in enumerate(listeners)}):
        on_ready()
        gc.freeze()
        gc.set_threshold(50_000, 25, 100)
        await stopping.wait()
    await asyncio.gather(*(listener.close() for listener in listeners))


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function on uvloop until it is done. SIGTERM cancels it, as SIGINT does, until it listens for signals itself."""

    async def run_main() -> None:
        if (task := asyncio.current_task()) is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await main()

    try:
        uvloop.run(run_main())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
