"""Facts travel as signed batches of CloudEvents that say what comes before them; whatever is not exactly that is refused."""

import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from souk.kit.brokers import check_broker_url
from souk.kit.brokers.messages import LARGEST_BYTES, Heard, Message, Refused, read_message, sign, write_messages
from souk.kit.ids import new_id
from souk.kit.outbox import START, Fact

SECRET = "a-secret-that-both-processes-were-given"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def fact(number: int, payload: str = '{"note_id": 1}', request_id: str = "request-7") -> Fact:
    return Fact(7, number, new_id(), "kit.Noted", UUID(int=number), payload, request_id, NOON)


def write(*facts: Fact) -> list[Message]:
    return write_messages("kit", START, facts, SECRET)


def read(message: Message) -> tuple[Heard, ...]:
    return read_message("kit", message, (SECRET,))


def changed(message: Message, **change: object) -> Message:
    """The same, of which the last event says something else, or nothing where that is None."""
    *others, last = json.loads(message.body)
    body = json.dumps([*others, {name: value for name, value in (last | change).items() if value is not None}]).encode()
    return Message(body, sign(body, SECRET))


def test_what_is_written_is_read_and_knows_what_came_before() -> None:
    facts = [fact(1), fact(2, request_id="")]
    (message,) = write(*facts)
    first, second = read(message)
    assert (first.fact, first.previous) == (facts[0], START)
    assert (second.fact, second.previous) == (facts[1], facts[0].position)


def test_many_go_together_as_far_as_a_broker_takes_them() -> None:
    facts = [fact(number, payload=json.dumps("x" * (LARGEST_BYTES // 4))) for number in range(1, 9)]
    messages = write(*facts)
    assert all(len(message.body) <= LARGEST_BYTES * 1.01 for message in messages)
    assert [len(read(message)) for message in messages] == [3, 3, 2]
    assert [heard.fact for message in messages for heard in read(message)] == facts
    assert write() == []


def test_it_is_a_cloud_event_that_others_can_read() -> None:
    one = fact(1)
    (message,) = write(one)
    (told,) = json.loads(message.body)
    assert told == {
        "specversion": "1.0",
        "id": str(one.event_id),
        "source": "/souk/kit",
        "type": "kit.Noted",
        "subject": str(one.aggregate_id),
        "time": "2026-11-22T12:00:00Z",
        "datacontenttype": "application/json",
        "position": "7.1",
        "previous": "0.0",
        "requestid": "request-7",
        "data": {"note_id": 1},
    }


@pytest.mark.parametrize("signature", ["", "ü", sign(b"another body", SECRET)])
def test_what_the_shop_has_not_signed_is_forged(signature: str) -> None:
    (message,) = write(fact(1))
    with pytest.raises(Refused, match="forged"):
        read_message("kit", msgspec.structs.replace(message, signature=signature), (SECRET,))


def test_what_was_signed_with_another_secret_or_told_of_another_source_is_forged() -> None:
    (message,) = write(fact(1))
    assert read_message("kit", message, ("a-new-secret", SECRET))[0].fact.id == 1
    with pytest.raises(Refused, match="forged"):
        read_message("kit", message, ("a-new-secret",))
    with pytest.raises(Refused, match="forged"):
        read_message("orders", message, (SECRET,))


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "2.0"},
        {"position": "seven"},
        {"previous": None},
        {"id": "no-id"},
        {"time": "noon"},
        {"subject": None},
    ],
)
def test_what_cannot_be_read_is_refused(change: dict[str, str | None]) -> None:
    (message,) = write(fact(1), fact(2))
    with pytest.raises(Refused, match="unreadable"):
        read(changed(message, **change))


@pytest.mark.parametrize("body", [b"", b"\xff", b"{}", b"[", b"[1]"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="unreadable"):
        read(Message(body, sign(body, SECRET)))


def test_one_of_another_source_makes_all_of_them_forged() -> None:
    (message,) = write(fact(1), fact(2))
    with pytest.raises(Refused, match="forged"):
        read(changed(message, source="/souk/orders"))


def test_what_later_releases_add_does_not_disturb() -> None:
    (message,) = write(fact(1))
    assert read(changed(message, traceparent="00-1-2-01", flavour="mint"))[0].fact.id == 1


def test_what_is_too_large_is_not_sent_and_its_follower_says_that_it_was_there() -> None:
    large = fact(2, payload=json.dumps("x" * LARGEST_BYTES))
    (message,) = write(fact(1), large, fact(3))
    first, last = read(message)
    assert (first.fact.id, last.fact.id) == (1, 3)
    assert last.previous == large.position


@pytest.mark.parametrize("url", ["redis://shop:geheim@h", "kafka://", "amqp:", "h:9092"])
def test_an_address_of_nothing_we_know_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="address") as refusal:
        check_broker_url(url)
    assert "geheim" not in str(refusal.value)
