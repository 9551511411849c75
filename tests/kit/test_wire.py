"""The internal listener opens to processes of this shop only; a sick neighbour is Unavailable, quickly."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import aiohttp
import jwt
import msgspec
import pytest
from tests.kit import notebook
from tests.kit.conftest import SECRET, Process
from tests.kit.notebook import Everything, Note, Noted, NoteRefused
from tests.ports import find_free_port
from tests.waiting import until

from souk.kit.callers import SYSTEM, Caller
from souk.kit.calls import EXPOSED, topology
from souk.kit.delivery import Delivery, deliver_forever
from souk.kit.errors import Failed, Unavailable
from souk.kit.events import CONSUMERS, Consumer, Delivered, publish
from souk.kit.feeds import Feed
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.wire import AS_THEY_COME, Envelope, HttpPeer, check_service_token, make_service_token

OTHER_SECRET = "a-secret-of-another-shop-altogether"
CALL = msgspec.msgpack.encode([{"principal": {}, "request_id": "", "seconds_left": 5.0, "arguments": []}])


def sign(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    usual = {"iss": "souk-process", "aud": "kit", "exp": int(time.time()) + 30}
    return jwt.encode({name: value for name, value in {**usual, **claims}.items() if value is not None}, secret, algorithm=algorithm)


FORGED = {
    "none at all": "",
    "junk": "junk",
    "another secret": make_service_token(OTHER_SECRET, "kit"),
    "another context": make_service_token(SECRET, "orders"),
    "expired": sign(exp=int(time.time()) - 1),
    "without expiry": sign(exp=None),
    "another issuer": sign(iss="souk"),
    "without issuer": sign(iss=None),
    "without audience": sign(aud=None),
    "unsigned": jwt.encode({"iss": "souk-process", "aud": "kit", "exp": int(time.time()) + 30}, None, algorithm="none"),
    "another algorithm": sign(secret=SECRET * 2, algorithm="HS512"),
}


async def post(url: str, token: str, body: bytes | io.BytesIO = CALL) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        return answer.status


async def test_a_process_of_the_shop_is_let_in(neighbour: str) -> None:
    assert await post(f"{neighbour}/internal/kit/forget", sign()) == 200


@pytest.mark.parametrize("forged", FORGED, ids=str)
async def test_anybody_else_is_not(neighbour: str, forged: str) -> None:
    assert await post(f"{neighbour}/internal/kit/forget", FORGED[forged]) == 401


async def test_a_token_is_asked_for_before_anything_is_told(neighbour: str) -> None:
    for path in ("/internal/kit/no_such_function", "/internal/orders/forget", "/internal/", "/anything"):
        assert await post(neighbour + path, "") == 401


async def test_what_is_not_there_is_not_there(neighbour: str) -> None:
    assert await post(f"{neighbour}/internal/kit/no_such_function", sign()) == 404
    assert await post(f"{neighbour}/internal/orders/forget", sign(aud="orders")) == 404


async def test_junk_from_a_process_of_the_shop_is_refused(neighbour: str) -> None:
    assert await post(f"{neighbour}/internal/kit/forget", sign(), b"\xc1junk") == 400
    assert await post(f"{neighbour}/internal/kit/forget", sign(), io.BytesIO(bytes(33 * 1024 * 1024))) == 413


def test_a_token_of_the_last_secret_is_good_while_secrets_change() -> None:
    token = make_service_token(SECRET, "kit")
    assert check_service_token((OTHER_SECRET, SECRET), "kit", token)
    assert not check_service_token((OTHER_SECRET,), "kit", token)
    assert not check_service_token((), "kit", token)


async def test_a_token_is_good_for_its_time_however_often_it_came() -> None:
    token = sign(exp=int(time.time()) + 2)
    assert check_service_token((SECRET,), "kit", token)

    async def refused() -> bool:
        return not check_service_token((SECRET,), "kit", token)

    await until(refused)


async def test_a_peer_that_refuses_our_token_is_unavailable(neighbour: str) -> None:
    async with aiohttp.ClientSession() as session:
        with reached_at(neighbour, session, OTHER_SECRET), pytest.raises(Unavailable, match="401"):
            await notebook.forget()


@contextmanager
def reached_at(url: str, session: aiohttp.ClientSession, secret: str = SECRET) -> Iterator[None]:
    """The notebook is hosted there."""
    topology.peers = {"kit": HttpPeer("kit", url, secret, session)}
    try:
        yield
    finally:
        topology.peers = {}


@asynccontextmanager
async def listener(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]) -> AsyncIterator[None]:
    """A neighbour that behaves as it likes."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)  # type: ignore[arg-type]
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session:
        with reached_at(f"http://127.0.0.1:{port}", session):
            yield
    server.close()


async def test_a_peer_that_is_gone_is_unavailable_at_once() -> None:
    async with aiohttp.ClientSession() as session:
        began = time.monotonic()
        for call in (notebook.forget, lambda: notebook.count_note(Note(new_id(), 1))):
            with reached_at(f"http://127.0.0.1:{find_free_port()}", session), pytest.raises(Unavailable, match="ClientConnectorError"):
                await call()
        assert time.monotonic() - began < 5.0


async def test_a_peer_that_never_answers_is_unavailable_at_the_time_out() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listener(say_nothing):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await notebook.dawdle(0.0)
        assert 0.2 < time.monotonic() - began < 5.0


@pytest.mark.parametrize("content", [b"<html>", b"", b"\x90", b"\xc1"])
async def test_an_answer_that_is_none_of_ours_is_silence(content: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
        await writer.drain()
        writer.close()

    async with listener(say):
        for call in (notebook.forget, lambda: notebook.count_note(Note(new_id(), 1))):
            with pytest.raises(Unavailable):
                await call()


async def test_a_neighbour_that_is_killed_in_the_middle_is_silence(start_process: Callable[..., Process], kit_dsn: str) -> None:
    port = find_free_port()
    process = start_process("answer", kit_dsn, str(port), SECRET)
    async with aiohttp.ClientSession() as session:
        with reached_at(f"http://127.0.0.1:{port}", session):
            assert (await notebook.describe_caller()).pid == process.pid
            under_way = asyncio.create_task(notebook.write_note(Note(new_id(), 600)))
            await asyncio.sleep(0.1)
            process.kill()
            with pytest.raises(Unavailable):
                await under_way
            start_process("answer", kit_dsn, str(port), SECRET)
            assert await notebook.forget() is None


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What leaves this process: which function was asked, and for how many at once."""
    seen: list[tuple[str, int]] = []
    post_for_real = HttpPeer._post

    def count(self: HttpPeer, path: str, envelopes: tuple[Envelope, ...], accept: str) -> object:
        seen.append((path, len(envelopes)))
        return post_for_real(self, path, envelopes, accept)

    monkeypatch.setattr(HttpPeer, "_post", count)
    return seen


async def test_all_who_ask_at_one_moment_travel_in_one_request(there: HttpPeer, requests: list[tuple[str, int]]) -> None:
    answers = await asyncio.gather(*(notebook.count_note(Note(new_id(), 20 + number)) for number in range(100)))
    assert requests == [("kit/count_note", 100)]
    assert {answer.together for answer in answers} == {100}


async def test_so_do_those_who_ask_for_one_thing_each_and_nobody_waits_for_anothers_answer(
    there: HttpPeer, requests: list[tuple[str, int]]
) -> None:
    slow = asyncio.create_task(notebook.dawdle(0.28))
    quick = [asyncio.create_task(notebook.dawdle(number / 1000)) for number in range(10)]
    assert await asyncio.gather(*quick) == [number / 1000 for number in range(10)]
    assert not slow.done(), "an answer that is there waited for one that was not"
    assert requests == [("kit/dawdle", 11)]
    await asyncio.gather(slow, return_exceptions=True)


async def test_each_hears_their_own_refusal(there: HttpPeer, requests: list[tuple[str, int]]) -> None:
    ids = [new_id() for _ in range(5)]
    refusals = await asyncio.gather(*(notebook.refuse_note(one, None) for one in ids), return_exceptions=True)
    assert [refusal.note_id for refusal in refusals if isinstance(refusal, NoteRefused)] == ids
    assert requests == [("kit/refuse_note", 5)]


async def test_what_is_large_goes_by_itself(there: HttpPeer, requests: list[tuple[str, int]]) -> None:
    large = Everything(new_id(), "x" * 60_000, 1, Money(5, "EUR"), datetime(2026, 1, 2, tzinfo=UTC), "new", (), {})
    await asyncio.gather(*(notebook.echo(large) for _ in range(3)))
    assert requests == [("kit/echo", 1)] * 3


async def test_the_release_before_answers_all_at_once(requests: list[tuple[str, int]]) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = msgspec.msgpack.encode([{"value": 0.1}, {"value": 0.2}])
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nContent-Length: %d\r\n\r\n" % len(content)
        writer.write(head + content)
        await writer.drain()
        writer.close()

    async with listener(say):
        assert await asyncio.gather(notebook.dawdle(0.1), notebook.dawdle(0.2)) == [0.1, 0.2]
    assert requests == [("kit/dawdle", 2)]


async def test_what_was_answered_before_a_neighbour_fell_silent_is_answered() -> None:
    async def say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        part = msgspec.msgpack.encode([(1, {"value": 0.2})])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n" % AS_THEY_COME.encode())
        writer.write(len(part).to_bytes(4) + part)
        await writer.drain()
        writer.close()

    async with listener(say_half):
        silent, answered = await asyncio.gather(notebook.dawdle(0.1), notebook.dawdle(0.2), return_exceptions=True)
    assert answered == 0.2
    assert isinstance(silent, Unavailable) and "in time" not in str(silent)


async def test_who_leaves_leaves_alone_and_with_the_last_one_goes_the_request() -> None:
    has_come, was_left = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        has_come.set()
        await reader.read()
        was_left.set()
        writer.close()

    async with listener(wait):
        first, last = (asyncio.create_task(notebook.forget()) for _ in range(2))
        await has_come.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not last.done()
        last.cancel()
        async with asyncio.timeout(3):
            await was_left.wait()


async def test_one_question_of_a_batch_that_cannot_be_read_harms_no_other(neighbour: str) -> None:
    arguments = [msgspec.to_builtins(Note(new_id(), 7), builtin_types=()), "junk"]
    calls = [{"principal": {}, "request_id": "", "seconds_left": 5.0, "arguments": one} for one in arguments]
    url, headers = f"{neighbour}/internal/kit/count_note", {"Authorization": f"Bearer {sign()}"}
    async with aiohttp.ClientSession() as session, session.post(url, data=msgspec.msgpack.encode(calls), headers=headers) as answer:
        good, bad = msgspec.msgpack.decode(await answer.read())
    assert "value" in good
    assert bad == {"silence": "kit/count_note failed", "failed": True}


async def test_a_bug_over_there_is_known_for_one_and_silence_over_there_is_not(there: HttpPeer) -> None:
    with pytest.raises(Failed, match="kit/break_down failed"):
        await notebook.break_down()
    with pytest.raises(Unavailable) as silence:
        await notebook.be_silent()
    assert not isinstance(silence.value, Failed)


async def test_an_event_with_which_a_call_fails_over_there_is_parked_and_others_go_on(here: str, neighbour: str) -> None:
    async def tell_neighbour(news: tuple[Delivered[Noted], ...]) -> None:
        for one in news:
            async with aiohttp.ClientSession() as session:
                function = EXPOSED["kit/break_down" if one.event.number == 666 else "kit/forget"]
                await HttpPeer("kit", neighbour, SECRET, session).ask(function, function.argument_type(), Caller(SYSTEM))

    consumer = Consumer(tell_neighbour, "call", (Noted,))
    bad, good = new_id(), new_id()
    async with notebook.db.transaction() as tx:
        await publish(tx, Noted(bad, 666), Noted(good, 1))
    feed = Feed("kit")
    delivery = Delivery(consumer, "kit", notebook.db, feed)
    tasks = [asyncio.create_task(work) for work in (feed.follow_forever(), deliver_forever(delivery))]

    async def is_done() -> bool:
        return delivery.saved[1] == await notebook.db.value("SELECT max(id) FROM kit.outbox")

    try:
        await until(is_done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        del CONSUMERS[consumer.path]
    assert await notebook.db.value("SELECT array_agg(reason) FROM kit.dead_letter") == ["Failed: kit/break_down failed"]
    assert await notebook.db.value("SELECT array_agg(aggregate_id) FROM kit.dead_letter") == [bad]
