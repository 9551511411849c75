"""Too much to do: what tells that it is too much, how many are let in then, and how the others are sent away."""

from collections.abc import Iterator

import pytest
from tests.kit.rest import Web, is_problem
from tests.kit.tokens import GOOD

from souk.kit import overload as kit_overload
from souk.kit.overload import FORGOTTEN_AFTER_S, LEAST, MAY_WAIT_S, MOST, PATIENCE_S, READING_SHARE, Overload, Queue, overload

LONG, SHORT = MAY_WAIT_S * 2, MAY_WAIT_S / 2


@pytest.fixture
def full() -> Iterator[None]:
    """This process has as much to do as it may."""
    limit, overload.limit = overload.limit, 0.0
    yield
    overload.limit = limit


def observe(queue: Queue, waits: dict[float, float]) -> Queue:
    for now, waited_s in waits.items():
        queue.note(waited_s, now)
    return queue


def test_waits_that_stay_long_are_too_long() -> None:
    end = 10.01 + PATIENCE_S
    assert observe(Queue(), {10.0: LONG, 10.1: LONG, end: LONG}).is_too_long(end)


def test_one_stall_is_not() -> None:
    assert not observe(Queue(), {10.0: LONG}).is_too_long(10 + PATIENCE_S / 2)
    assert not observe(Queue(), {10.0: LONG, 10.1: SHORT, 10.2: LONG}).is_too_long(10.2 + PATIENCE_S / 2)


def test_a_queue_in_which_nothing_waits_any_more_is_forgotten() -> None:
    queue = observe(Queue(), {10.0: LONG, 10 + PATIENCE_S: LONG})
    assert not queue.is_too_long(10 + PATIENCE_S + 2 * FORGOTTEN_AFTER_S)
    later = 20.0
    queue.note(LONG, later)
    assert not queue.is_too_long(later), "an old wait and a new one are not a time of waiting"


def test_fewer_are_let_in_while_waits_are_long_and_more_when_they_are_short_again() -> None:
    shop = Overload()
    shop.under_way = 500
    for step in range(30):
        now = step * PATIENCE_S
        shop.turns.note(LONG, now)
        shop.adjust(now)
        shop.under_way = min(shop.under_way, int(shop.limit))
    assert shop.limit == LEAST
    assert shop.sheds("POST", "/orders")
    for _ in range(100):
        now += PATIENCE_S
        shop.turns.note(SHORT, now)
        shop.adjust(now)
        shop.under_way = int(shop.limit)
    assert shop.limit == MOST


def test_what_is_not_wanted_is_not_allowed_for() -> None:
    shop = Overload()
    shop.limit = 100.0
    shop.under_way = 10
    shop.adjust(1.0)
    assert shop.limit == 100.0


def test_reading_goes_before_writing_and_health_never() -> None:
    shop = Overload()
    shop.limit = 100.0
    shop.under_way = int(100 * READING_SHARE)
    asked = [("GET", "/products"), ("POST", "/orders"), ("GET", "/health/live"), ("GET", "/metrics")]
    assert [shop.sheds(*one) for one in asked] == [True, False, False, False]
    shop.under_way = 100
    assert [shop.sheds(*one) for one in asked] == [True, True, False, False]


async def test_who_is_sent_away_is_told_when_to_come_again(web: Web, full: None) -> None:
    told = await web.post("/things", {"name": "x" * 2000})
    assert (told.status, told.headers["retry-after"], told.headers["content-type"]) == (503, "1", "application/problem+json")
    assert told.body["code"] == "overloaded"
    assert "connection" not in told.headers
    assert (await web.get("/things")).status == 503


async def test_the_connection_is_kept_for_the_next_try(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"name": "x"}'
    head = b"POST /things HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    request = head % (GOOD.encode(), len(body)) + b"%s\r\n" + body
    monkeypatch.setattr(kit_overload.overload, "limit", 0.0)
    answers = web.converse(request % b"")
    assert b" 503 " in await anext(answers)
    monkeypatch.setattr(kit_overload.overload, "limit", MOST)
    assert b" 201 " in await answers.asend(request % b"")
    await answers.aclose()


async def test_as_long_as_there_is_room_nobody_is_sent_away(web: Web) -> None:
    assert (await web.get("/things")).status == 200
    assert overload.under_way == 0
    assert is_problem(await web.get("/broken/00000000-0000-7000-8000-000000000004"), 500, "internal_error")
    assert overload.under_way == 0
