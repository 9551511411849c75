"""What is heard counts only in order and without a gap: what is known is dropped, and what is missing is read in the outbox."""

import asyncio
import random
from datetime import UTC, datetime
from uuid import UUID

import pytest

from souk.kit.brokers.ears import Ear, chain_after
from souk.kit.brokers.messages import Heard, Message, write_messages
from souk.kit.outbox import START, Fact, Position

SECRET = "a-secret-that-both-processes-were-given"


def at(number: int) -> Position:
    return (1, number) if number else START


def fact(number: int) -> Fact:
    return Fact(1, number, UUID(int=number), "kit.Noted", UUID(int=1), "{}", "", datetime.now(UTC))


def heard(*numbers: int) -> list[Heard]:
    return [Heard(fact(number), at(number - 1)) for number in numbers]


def messages(*numbers: int) -> list[Message]:
    return [message for number in numbers for message in write_messages("kit", at(number - 1), [fact(number)], SECRET)]


@pytest.mark.parametrize(
    ("end", "came", "taken", "gap"),
    [
        (0, (), [], False),
        (0, (1, 2, 3), [1, 2, 3], False),
        (2, (1, 2, 3), [3], False),
        (3, (1, 2, 3), [], False),
        (0, (1, 1, 2, 2, 1), [1, 2], False),
        (0, (3, 1, 2), [1, 2, 3], False),
        (0, (2, 3), [], True),
        (0, (1, 2, 4, 5), [1, 2], True),
        (3, (1, 9), [], True),
    ],
)
def test_what_follows_without_a_gap_is_taken(end: int, came: tuple[int, ...], taken: list[int], gap: bool) -> None:
    found, beyond = chain_after(at(end), heard(*came))
    assert ([one.id for one in found], beyond) == (taken, gap)


def test_whatever_happens_on_the_way_nothing_is_taken_out_of_order_or_with_a_gap() -> None:
    dice = random.Random(7)
    for _ in range(300):
        end, came = dice.randint(0, 9), dice.choices(range(1, 15), k=dice.randint(0, 30))
        found, gap = chain_after(at(end), heard(*came))
        assert [one.id for one in found] == list(range(end + 1, end + 1 + len(found)))
        assert gap == any(number > end + len(found) for number in came)


def test_one_that_contradicts_what_is_known_is_a_gap() -> None:
    assert chain_after(at(5), [Heard(fact(6), at(3))]) == ((), True)


async def test_an_ear_waits_for_what_comes_next() -> None:
    ear = Ear("kit", (SECRET,))
    waiting = asyncio.create_task(ear.take_after(START, 5.0))
    await asyncio.sleep(0.01)
    ear.hear(messages(1, 2))
    assert [one.id for one in await waiting] == [1, 2]
    assert await ear.take_after(at(2), 0.01) == ()


async def test_what_is_known_does_not_end_the_wait() -> None:
    ear = Ear("kit", (SECRET,))
    ear.hear(messages(1, 2))
    waiting = asyncio.create_task(ear.take_after(at(2), 5.0))
    await asyncio.sleep(0.01)
    ear.hear(messages(1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    ear.hear(messages(3))
    assert [one.id for one in await waiting] == [3]


async def test_a_gap_is_told_at_once_and_once() -> None:
    ear = Ear("kit", (SECRET,))
    ear.hear(messages(1, 3))
    assert [one.id for one in await ear.take_after(START, 5.0)] == [1]
    assert await ear.take_after(at(1), 60.0) == ()
    ear.hear(messages(4))
    assert [one.id for one in await ear.take_after(at(3), 5.0)] == [4]


async def test_what_is_not_believed_may_stand_for_what_is_missing() -> None:
    ear = Ear("kit", (SECRET,))
    ear.hear([Message(b"{}", "")])
    assert not ear.trusted
    assert await ear.take_after(START, 60.0) == ()


async def test_who_does_not_listen_for_long_loses_the_oldest_and_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ear, "KEEP", 3)
    ear = Ear("kit", (SECRET,))
    ear.hear(messages(1, 2, 3, 4, 5))
    assert await ear.take_after(START, 60.0) == ()
    assert ear.trusted
    ear.doubt()
    assert not ear.trusted
    ear.hear(messages(6))
    assert ear.trusted
