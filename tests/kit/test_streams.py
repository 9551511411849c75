"""Streams by real connections: what is told, when they end, who is let in, and who does not hold up whom."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import aiohttp
import pytest
from litestar.types import Scope
from tests.kit.tokens import GOOD, POLICY, claims, headers, seal
from tests.ports import find_free_port
from tests.waiting import until

from souk import app
from souk.kit import connection, server, streams
from souk.kit.auth import Revocation, TokenPolicy, Verifier
from souk.kit.errors import Unavailable
from souk.kit.http import SIGNED_IN, route
from souk.kit.overload import overload
from souk.kit.streams import EventStream, encode_event, read_position, streams_of


class Words:
    """A source: what is said to it is told to its client, in order."""

    open: ClassVar[list["Words"]] = []

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.said: list[bytes] = []
        self.silent = False
        Words.open.append(self)

    def say(self, *words: bytes) -> None:
        self.said.extend(words)
        self.news.set()

    async def read(self) -> bytes:
        if self.silent:
            raise Unavailable("away")
        told, self.said = self.said, []
        return b"".join(encode_event((1, place), "word", word) for place, word in enumerate(told))

    def close(self) -> None:
        Words.open.remove(self)


@route("GET", "/words", SIGNED_IN)
async def stream_words(scope: Scope) -> EventStream:
    places, grant = streams_of(scope)
    assert grant is not None
    places.check(grant)
    return EventStream(Words(), grant)


class Served:
    """A server with streams."""

    def __init__(self, port: int, verifier: Verifier, session: aiohttp.ClientSession) -> None:
        self.port, self.verifier, self.session = port, verifier, session
        self.stopping, self.serving = asyncio.Event(), asyncio.ensure_future(asyncio.sleep(0))

    async def listen(self, token: str = GOOD) -> aiohttp.ClientResponse:
        count = len(Words.open)
        answer = await self.session.get(f"http://127.0.0.1:{self.port}/words", headers={"Authorization": f"Bearer {token}"})
        if answer.status == 200:
            assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
            await until(lambda: is_open(count + 1))
        return answer

    async def listen_slowly(self) -> asyncio.StreamWriter:
        """A client that asks for a stream and reads nothing of it."""
        count = len(Words.open)
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(f"GET /words HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GOOD}\r\n\r\n".encode())
        await until(lambda: is_open(count + 1))
        return writer

    async def stop(self) -> None:
        self.stopping.set()
        await self.serving


async def is_open(count: int) -> bool:
    return len(Words.open) == count


@asynccontextmanager
async def serve() -> AsyncIterator[Served]:
    verifier = Verifier()
    verifier.learn(POLICY)
    ready = asyncio.Event()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        served = Served(find_free_port(), verifier, session)
        listener = server.Listener(app.make_rest_app([stream_words], verifier), "127.0.0.1", served.port)
        served.serving = asyncio.ensure_future(server.serve_until_stopped([listener], ready.set, served.stopping))
        await ready.wait()
        yield served
        await served.stop()
    assert Words.open == []


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as running:
        yield running


async def test_what_is_said_is_told_at_once_and_not_as_load(served: Served) -> None:
    under_way = overload.under_way
    answer = await served.listen()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("private, no-store", "no")
    Words.open[0].say(b"one", b"two")
    assert await answer.content.readuntil(b"two\n\n") == b"id: 1.0\nevent: word\ndata: one\n\nid: 1.1\nevent: word\ndata: two\n\n"
    Words.open[0].say(b"three")
    assert await answer.content.readuntil(b"\n\n") == b"id: 1.0\nevent: word\ndata: three\n\n"
    assert overload.under_way == under_way


async def test_a_client_that_leaves_is_forgotten(served: Served) -> None:
    answer = await served.listen()
    answer.close()
    await until(lambda: is_open(0))
    assert overload.under_way == 0


async def test_silence_is_filled_so_that_nobody_takes_it_for_a_broken_line(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_EVERY_S", 0.05)
    answer = await served.listen()
    assert await answer.content.readexactly(6) == b":\n\n:\n\n"


async def test_a_source_that_cannot_answer_is_asked_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "AGAIN_AFTER_S", 0.05)
    answer = await served.listen()
    Words.open[0].silent = True
    Words.open[0].say(b"kept")
    await asyncio.sleep(0.1)
    Words.open[0].silent = False
    assert (await answer.content.readuntil(b"\n\n")).endswith(b"data: kept\n\n")


async def test_a_stream_ends_with_the_token_it_was_opened_with(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_EVERY_S", 0.05)
    answer = await served.listen(seal(headers(), claims(exp=time.time() + 0.5)))
    assert (await answer.content.read()).strip(b":\n") == b""


async def test_nothing_is_told_to_whom_it_was_revoked(served: Served) -> None:
    answer = await served.listen()
    owner = served.verifier.verify(GOOD)
    assert owner.session_id is not None
    served.verifier.learn(TokenPolicy(POLICY.keys, (Revocation(owner.session_id, time.time() + 60),)))
    Words.open[0].say(b"secret")
    assert await answer.content.read() == b""


async def test_a_server_that_stops_ends_its_streams_at_once() -> None:
    async with serve() as served:
        answers = [await served.listen() for _ in range(5)]
        slow = await served.listen_slowly()
        Words.open[-1].say(*[b"x" * 100_000] * 200)
        await asyncio.sleep(0.2)
        async with asyncio.timeout(server.FINISH_WITHIN_S / 2):
            await served.stop()
        assert [await answer.content.read() for answer in answers] == [b""] * 5
        slow.close()


async def test_who_reads_slowly_holds_up_nobody_and_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = await served.listen_slowly()
    answer = await served.listen()
    tardy, prompt = Words.open
    for number in range(100):
        tardy.say(*[b"x" * 100_000] * 5)
        prompt.say(b"%d" % number)
        assert (await answer.content.readuntil(b"\n\n")).endswith(b"data: %d\n\n" % number)
    # What waits for it waits at the source, not here.
    assert len(tardy.said) > 100
    monkeypatch.setattr(connection, "BODY_WITHIN_S", 0.0)
    await until(lambda: is_open(1))
    slow.close()


async def test_there_is_an_end_to_how_many(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_PER_SUBJECT", 2)
    answers = [await served.listen() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    answers[0].close()
    await until(lambda: is_open(1))
    assert (await served.listen()).status == 200


@pytest.mark.parametrize("text", [None, "", "1", "1.", ".1", "a.1", "1.1.1", "-1.2", "9999999999999999999.1", "\u0661.\u0662"])
def test_what_is_no_position_is_none(text: str | None) -> None:
    assert read_position(text) is None


def test_a_position_is_read_as_it_was_sent() -> None:
    assert read_position(encode_event((17, 4), "x", b"").split(b"\n")[0].decode().removeprefix("id: ")) == (17, 4)
