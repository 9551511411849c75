"""The world outside: an endpoint that listens on the loopback, remembers what it heard, and answers as it is told."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from standardwebhooks import Webhook
from tests.ports import find_free_port
from tests.waiting import until

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Heard(msgspec.Struct, frozen=True):
    """A message as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        return str(self.told["type"])

    @property
    def told(self) -> dict[str, Any]:
        return dict(msgspec.json.decode(self.body))

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.told["data"])

    def verify(self, secret: str) -> None:
        """As the independent library does it; raises if it was signed by somebody else."""
        Webhook(secret).verify(self.body, self.headers)


class Outside:
    """Endpoints at paths of one server."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.heard: defaultdict[str, list[Heard]] = defaultdict(list)
        self.answers: dict[str, Answer] = {}
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()

    def url(self, path: str) -> str:
        return self.base + path

    def answer(self, path: str, status: int, text: str = "", **headers: str) -> None:
        """From now on this path answers so."""

        async def give(_: web.Request) -> web.Response:
            return web.Response(status=status, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()})

        self.answers[path] = give

    def hang(self, path: str) -> asyncio.Event:
        """From now on this path answers nothing until the event is set."""
        released = asyncio.Event()

        async def wait(_: web.Request) -> web.Response:
            await released.wait()
            return web.Response()

        self.answers[path] = wait
        return released

    async def take(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.at_once[path] += 1
        self.most_at_once[path] = max(self.most_at_once[path], self.at_once[path])
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.heard[path].append(Heard(headers, await request.read()))
            return await self.answers[path](request) if path in self.answers else web.Response()
        finally:
            self.at_once[path] -= 1

    async def hears(self, path: str, count: int) -> list[Heard]:
        """What came there, when there is so much of it."""

        async def enough() -> bool:
            return len(self.heard[path]) >= count

        await until(enough, within_s=60)
        return self.heard[path]


@asynccontextmanager
async def listening() -> AsyncIterator[Outside]:
    """A server as long as this block."""
    port = find_free_port()
    outside = Outside(port)
    server = web.Application()
    server.router.add_route("*", "/{path:.*}", outside.take)
    runner = web.AppRunner(server, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield outside
    finally:
        await runner.cleanup()
