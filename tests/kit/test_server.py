"""The web server by raw sockets: what comes whole and what comes in parts, what is refused, who takes too long, and how it stops."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.ports import find_free_port

from souk.kit import connection, server
from souk.kit.connection import MOST_HEAD_BYTES, MOST_WHOLE_BYTES
from souk.kit.server import Listener, serve_until_stopped

Read = tuple[int, dict[str, str], bytes]


class App:
    """Answers with what it was asked; `/slow` waits for `go_on`, `/parts` sends in parts, `/leaves` waits for the client to leave."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(path)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = [(b"content-type", b"text/plain")]
        if path == "/slow":
            await self.go_on.wait()
        if path == "/broken":
            raise RuntimeError("broken")
        if path == "/injected":
            headers.append((b"location", b"/x\r\nset-cookie: a=b"))
        if path == "/flood":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            self.left.set()
            return
        if path == "/leaves":
            assert (await receive())["type"] == "http.disconnect"
            self.left.set()
            return
        answer = b"%s %s?%s %d" % (scope["method"].encode(), path.encode(), scope["query_string"], len(body))
        if path == "/parts":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for letter in (b"a", b"b"):
                await send({"type": "http.response.body", "body": letter, "more_body": True})
            await send({"type": "http.response.body", "body": b"c"})
            return
        await send({"type": "http.response.start", "status": 204 if path == "/nothing" else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if path == "/nothing" else answer})


class Client:
    """A connection that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, text: bytes) -> None:
        self.writer.write(text)

    async def read(self, *, body: bool = True) -> Read:
        """The next answer: status, headers and body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        content = b""
        if body and headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                content += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        elif body:
            content = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, content

    async def ask(self, text: bytes) -> Read:
        self.say(text)
        return await self.read()

    async def is_closed(self) -> bool:
        """Whether the server ends the connection, without another word."""
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


class Shop:
    """A listener that serves, and its app."""

    def __init__(self, app: App, port: int) -> None:
        self.app, self.port = app, port
        self.stopping = asyncio.Event()
        self.serving: asyncio.Task[None] | None = None
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def stop(self) -> None:
        self.stopping.set()
        assert self.serving is not None
        await self.serving


@asynccontextmanager
async def serve() -> AsyncIterator[Shop]:
    shop, ready = Shop(App(), find_free_port()), asyncio.Event()
    listener = Listener(shop.app, "127.0.0.1", shop.port)
    shop.serving = asyncio.create_task(serve_until_stopped([listener], ready.set, shop.stopping))
    await ready.wait()
    try:
        yield shop
    finally:
        for client in shop.clients:
            client.writer.close()
        shop.app.go_on.set()
        await shop.stop()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with serve() as shop:
        yield shop


def get(path: bytes, *headers: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join((b"%s %s HTTP/%s" % (method, path, version), b"Host: shop", *headers, b"", b""))


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    return get(path, b"Content-Length: %d" % len(body), *headers, method=b"POST") + body


async def test_a_connection_is_kept_for_the_next_request(shop: Shop) -> None:
    client = await shop.connect()
    for number in range(3):
        status, headers, body = await client.ask(get(b"/caf%%C3%%A9?page=%d" % number))
        assert (status, body.decode()) == (200, f"GET /café?page={number} 0")
        assert headers["content-length"] == str(len(body))
        assert headers["date"].endswith("GMT")
        assert "connection" not in headers


async def test_requests_in_one_go_are_answered_in_their_order(shop: Shop) -> None:
    client = await shop.connect()
    client.say(get(b"/slow") + post(b"/b", b"x" * 10) + get(b"/parts") + get(b"/d"))
    await asyncio.sleep(0.1)
    assert shop.app.asked == ["/slow"], "the next one waits"
    shop.app.go_on.set()
    assert [(await client.read())[2] for _ in range(4)] == [b"GET /slow? 0", b"POST /b? 10", b"abc", b"GET /d? 0"]


@pytest.mark.parametrize("size", [0, 1, MOST_WHOLE_BYTES, MOST_WHOLE_BYTES + 1, 2_000_000])
async def test_a_body_of_any_size_in_pieces(shop: Shop, size: int) -> None:
    client = await shop.connect()
    request = post(b"/b", b"x" * size)
    for start in range(0, len(request), 50_000):
        client.say(request[start : start + 50_000])
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.read())[2] == b"POST /b? %d" % size
    assert (await client.ask(get(b"/next")))[2] == b"GET /next? 0"


async def test_a_request_letter_by_letter(shop: Shop) -> None:
    client = await shop.connect()
    for letter in post(b"/b?a=1", b"xyz"):
        client.say(bytes([letter]))
        await asyncio.sleep(0.001)
    assert (await client.read())[2] == b"POST /b?a=1 3"


async def test_a_body_without_a_length_comes_in_chunks(shop: Shop) -> None:
    client = await shop.connect()
    chunks = b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in (5, 70_000, 0))
    status, _, body = await client.ask(get(b"/b", b"Transfer-Encoding: chunked", method=b"POST") + chunks)
    assert (status, body) == (200, b"POST /b? 70005")


async def test_a_client_that_asks_first_is_told_to_go_on(shop: Shop) -> None:
    client = await shop.connect()
    client.say(get(b"/b", b"Content-Length: 3", b"Expect: 100-continue", method=b"POST"))
    assert (await client.read())[0] == 100
    assert (await client.ask(b"xyz"))[2] == b"POST /b? 3"


async def test_an_answer_in_parts(shop: Shop) -> None:
    client = await shop.connect()
    status, headers, body = await client.ask(get(b"/parts"))
    assert (status, headers["transfer-encoding"], body) == (200, "chunked", b"abc")
    assert (await client.ask(get(b"/next")))[0] == 200


async def test_head_and_204_have_no_body(shop: Shop) -> None:
    client = await shop.connect()
    client.say(get(b"/a", method=b"HEAD"))
    _, headers, _ = await client.read(body=False)
    assert headers["content-length"] == str(len("HEAD /a? 0"))
    status, headers, _ = await client.ask(get(b"/nothing"))
    assert (status, "content-length" in headers) == (204, False)
    assert (await client.ask(get(b"/next")))[0] == 200


@pytest.mark.parametrize(
    "request_", [get(b"/a", b"Connection: close"), get(b"/a", version=b"1.0"), get(b"/a", b"Connection: Upgrade", b"Upgrade: websocket")]
)
async def test_a_client_that_wants_no_more_is_let_go(shop: Shop, request_: bytes) -> None:
    client = await shop.connect()
    status, headers, _ = await client.ask(request_)
    assert (status, headers["connection"]) == (200, "close")
    assert await client.is_closed()


@pytest.mark.parametrize(
    "words",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/3.7\r\n\r\n",
        get(b"/a", b"Content-Length: 3", b"Content-Length: 4"),
        get(b"/a", b"Content-Length: 3", b"Transfer-Encoding: chunked", method=b"POST"),
        get(b"/a", b"A : b"),
        get(b"shop:443", method=b"CONNECT"),
        get(b"/a", b"A: b\0c"),
    ],
)
async def test_what_is_no_request_is_told_so_and_let_go(shop: Shop, words: bytes, caplog: pytest.LogCaptureFixture) -> None:
    client = await shop.connect()
    status, headers, _ = await client.ask(words)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert await client.is_closed()
    assert shop.app.asked == []
    assert not caplog.records


@pytest.mark.parametrize("endless", [b"x" * 1000, b"Name: value\r\n" * 100], ids=["one", "many"])
async def test_a_head_without_end(shop: Shop, endless: bytes) -> None:
    client = await shop.connect()
    client.say(b"GET / HTTP/1.1\r\nA: ")
    for _ in range(2 * MOST_HEAD_BYTES // len(endless)):
        client.say(endless)
    assert (await client.read())[0] == 431
    assert shop.app.asked == []


async def test_who_takes_too_long_is_let_go(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_WITHIN_S", "BODY_WITHIN_S", "NEXT_WITHIN_S"):
        monkeypatch.setattr(connection, name, 0.5)
    silent, slow_head, slow_body, done, working = [await shop.connect() for _ in range(5)]
    slow_head.say(b"GET / HTTP/1.1\r\n")
    slow_body.say(get(b"/b", b"Content-Length: 3", method=b"POST") + b"x")
    working.say(get(b"/slow"))
    assert (await done.ask(get(b"/a")))[0] == 200
    assert (await slow_head.read())[0] == 408
    for client in (silent, slow_head, slow_body, done):
        assert await client.is_closed()
    shop.app.go_on.set()
    assert (await working.read())[0] == 200, "it is us who take long"
    assert shop.app.asked == ["/slow", "/a"]


async def test_who_does_not_read_the_answer_is_let_go(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BODY_WITHIN_S", 0.5)
    client = await shop.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.say(get(b"/flood"))
    async with asyncio.timeout(5):
        await shop.app.left.wait()


async def test_a_client_that_leaves_is_noticed(shop: Shop) -> None:
    client = await shop.connect()
    client.say(get(b"/leaves"))
    await asyncio.sleep(0.05)
    client.writer.close()
    async with asyncio.timeout(5):
        await shop.app.left.wait()


async def test_an_answer_to_a_client_that_has_left_is_dropped(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    client = await shop.connect()
    client.say(get(b"/slow"))
    await asyncio.sleep(0.05)
    client.writer.close()
    await asyncio.sleep(0.05)
    shop.app.go_on.set()
    await asyncio.sleep(0.05)
    assert not caplog.records


@pytest.mark.parametrize("path", [b"/broken", b"/injected"])
async def test_a_bug_of_the_app_is_a_500(shop: Shop, path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    client = await shop.connect()
    status, headers, _ = await client.ask(get(path))
    assert (status, headers["content-type"], "set-cookie" in headers) == (500, "application/problem+json", False)
    assert await client.is_closed()
    assert [record.message for record in caplog.records] == ["request_failed"]


async def test_a_stop_finishes_what_is_under_way() -> None:
    async with serve() as shop:
        idle, working = await shop.connect(), await shop.connect()
        assert (await idle.ask(get(b"/a")))[0] == 200
        working.say(get(b"/slow"))
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(shop.stop())
        assert await idle.is_closed()
        with pytest.raises(OSError, match="refused"):
            await asyncio.open_connection("127.0.0.1", shop.port)
        shop.app.go_on.set()
        status, headers, _ = await working.read()
        assert (status, headers["connection"]) == (200, "close")
        await stopping


async def test_a_stop_cuts_off_what_takes_too_long(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(server, "FINISH_WITHIN_S", 0.2)
    async with serve() as shop:
        working = await shop.connect()
        working.say(get(b"/slow"))
        await asyncio.sleep(0.05)
        await shop.stop()
        assert await working.is_closed()
        assert [(record.levelno, record.message) for record in caplog.records] == [(logging.WARNING, "requests_cut_off")]


class Full:
    """A gate that lets in as many as it is told to."""

    def __init__(self, most: int) -> None:
        self.most, self.inside = most, 0

    def enter(self, method: str, path: str) -> bool:
        if self.inside >= self.most:
            return False
        self.inside += 1
        return True

    def leave(self) -> None:
        self.inside -= 1

    def refuse(self, headers: list[tuple[bytes, bytes]]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        return 503, [(b"retry-after", b"1")], b"full"

    def close(self) -> None: ...


BIG = b"x" * (MOST_WHOLE_BYTES + 1)


@pytest.mark.parametrize("request_", [get(b"/a"), post(b"/a", b"xyz"), post(b"/a", BIG)], ids=["get", "small", "large"])
async def test_who_is_not_let_in_is_told_so_and_may_ask_again(request_: bytes) -> None:
    app, port, stopping, ready = App(), find_free_port(), asyncio.Event(), asyncio.Event()
    listener = Listener(app, "127.0.0.1", port)
    gate = Full(0)
    listener.gate = gate
    serving = asyncio.create_task(serve_until_stopped([listener], ready.set, stopping))
    await ready.wait()
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    assert [(await client.ask(request_))[::2] for _ in range(2)] == [(503, b"full")] * 2
    assert app.asked == []
    gate.most = 1
    assert (await client.ask(request_))[0] == 200
    client.writer.close()
    stopping.set()
    await serving
    assert gate.inside == 0
