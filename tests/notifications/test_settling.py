"""What becomes of a message: decided purely, for every outcome, every urgency and every number of attempts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from souk.kit.ids import new_id
from souk.notifications.channels.channel import Accepted, Later, Refused, Unknown
from souk.notifications.settling import LONGEST_PAUSE_S, NOBODYS, Patience, Settled, find_pause, keep_together, settle, settle_orphan
from souk.notifications.types import Message

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def message(topic: str = "order_updates", attempts: int = 1, **fields: Any) -> Message:
    one = fields.pop("id", new_id())
    known: dict[str, Any] = {
        "id": one, "letter_id": one, "notice_id": new_id(), "user_id": new_id(), "order_id": None, "seller_id": None, "channel": "email",
        "kind": "order_shipped", "topic": topic, "mandatory": False, "content": {}, "due_at": NOW, "give_up_at": NOW + timedelta(days=3),
        "attempts": attempts,
    }  # fmt: skip
    return Message(**{**known, **fields})


def test_each_outcome_has_an_end_or_a_time() -> None:
    one = message()
    assert settle(one, Accepted(), NOW, 60) == Settled(one, "sent")
    assert settle(one, Refused("550 5.1.1"), NOW, 60) == Settled(one, "failed", "550 5.1.1")
    assert settle(one, Unknown("silence"), NOW, 60) == Settled(one, "sending", "outcome_unknown: silence", owner=NOBODYS)
    assert settle(one, Later("429", 7.0), NOW, 60).due_at == NOW + timedelta(seconds=7)
    assert settle(one, Later("not their turn yet", 0.0, tried=False), NOW, 60).untried


def test_pauses_grow_and_three_days_are_used() -> None:
    spent, attempts = 0.0, 0
    while True:
        attempts += 1
        settled = settle(message(attempts=attempts), Later("451"), NOW + timedelta(seconds=spent), 60)
        if settled.status == "failed":
            assert settled.reason == "given_up: 451"
            break
        assert settled.due_at is not None
        pause_s = (settled.due_at - NOW).total_seconds() - spent
        assert 0.8 * min(60 * 2 ** (attempts - 1), LONGEST_PAUSE_S) <= pause_s <= 1.2 * LONGEST_PAUSE_S
        spent += pause_s
    assert attempts > 15
    assert spent > 60 * 3600, "it is tried for most of three days"
    assert len({find_pause(3, 60) for _ in range(10)}) > 1


@pytest.mark.parametrize(
    ("topic", "accepted", "we_died", "status"),
    [
        ("promotions", True, True, "sent"), ("promotions", False, True, "waiting"), ("promotions", None, True, "failed"),
        ("order_updates", None, True, "waiting"), ("account", None, False, "waiting"), ("account", False, False, "waiting"),
        ("account", False, True, "waiting"), ("promotions", None, False, "failed"),
    ],
)  # fmt: skip
def test_of_what_nobody_knew(topic: str, accepted: bool | None, we_died: bool, status: str) -> None:
    settled = settle_orphan(message(topic, 3), accepted, NOW, Patience(60, we_died))
    assert settled.status == status
    if status == "waiting":
        assert settled.due_at is not None
        assert (settled.due_at == NOW) == (accepted is False and we_died), "nobody is asked again and again without a pause"


def test_the_first_message_of_a_letter_ends_last() -> None:
    head = message()
    other = message(letter_id=head.letter_id)
    waits = Settled(other, "waiting", "451", NOW)
    assert keep_together([Settled(head, "failed", "template: x"), waits]) == [Settled(head, "waiting", "451", NOW), waits]
    both = [Settled(head, "failed", "template: x"), Settled(other, "sent")]
    assert keep_together(both) == both
    assert keep_together([Settled(head, "sent"), Settled(other, "failed", "x")]) == [Settled(head, "sent"), Settled(other, "failed", "x")]
