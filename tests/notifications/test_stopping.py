"""A process that is stopped while it sends: what it has offered to nobody is sent by others, of the rest nobody can tell."""

import asyncio
from collections import Counter

import pytest
from tests.notifications.conftest import Post
from tests.notifications.feeds import as_system, make_people
from tests.notifications.mails import count_statuses, intend, rows, send
from tests.notifications.relays import FaultyRelay, open_relay
from tests.waiting import until

from souk.notifications import sending
from souk.notifications.channels.channel import Carrier, Letter, Outcome
from souk.notifications.channels.email import Email

pytestmark = pytest.mark.usefixtures("shop")

COUNT, CONVERSATIONS = 40, 4


async def stop_while_it_sends(relay: FaultyRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process is told to that has waited long enough for its relay."""
    monkeypatch.setattr(sending, "FINISH_WITHIN_S", 0.0)
    sender = asyncio.create_task(send())

    async def is_under_way() -> bool:
        return relay.stalled == CONVERSATIONS

    await until(is_under_way)
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender


@pytest.mark.parametrize("kind", ["campaign", "order_shipped", "reset_password"])
@pytest.mark.parametrize("word", ["MAIL", "DATA"])
async def test_what_nobody_was_offered_is_sent_by_others_at_once(post: Post, monkeypatch: pytest.MonkeyPatch, word: str, kind: str) -> None:
    """Without a book in which one could look, and be it an advertisement."""
    await intend(await make_people(COUNT), kind)
    async with open_relay(word) as relay:
        post.use(smtp_port=relay.port, smtp_is_sandbox=False, smtp_connections=CONVERSATIONS, smtp_timeout_s=30.0)
        await stop_while_it_sends(relay, monkeypatch)
    found = Counter((row.status, row.reason, row.attempts) for row in (await rows()).values())
    assert found == {("waiting", sending.STOPPED, 0): COUNT}
    post.use(smtp_is_sandbox=False)
    await send()
    assert await count_statuses() == {"sent": COUNT}
    assert len({one["letter_id"] for one in await post.letters()}) == len(await post.letters()) == COUNT


async def test_of_what_was_offered_nobody_can_tell(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    await intend(await make_people(COUNT), "campaign")
    async with open_relay(".") as relay:
        post.use(smtp_port=relay.port, smtp_is_sandbox=False, smtp_connections=CONVERSATIONS, smtp_timeout_s=30.0)
        await stop_while_it_sends(relay, monkeypatch)
    assert await count_statuses() == {"sending": CONVERSATIONS, "waiting": COUNT - CONVERSATIONS}
    post.use(smtp_is_sandbox=False, orphan_grace_s=0.001)
    await send()
    assert Counter((row.status, row.reason) for row in (await rows()).values()) == {
        ("sent", None): COUNT - CONVERSATIONS,
        ("failed", "outcome_unknown"): CONVERSATIONS,
    }


class Stumbling(Email):
    """A carrier with a fault of its own, after a few letters."""

    async def deliver(self, letters: list[Letter], offered: set) -> list[Outcome]:  # type: ignore[override, type-arg]
        await super().deliver(letters[:3], offered)
        raise RuntimeError("planted")


async def test_a_fault_of_ours_costs_what_it_had_in_its_hands_alone(post: Post) -> None:
    post.use(smtp_is_sandbox=False)
    await intend(await make_people(COUNT), "campaign")
    carrier: Carrier = Stumbling(post.settings())
    with as_system():
        await sending.send(await sending.claim("email", 4711), carrier, 4711)
    await carrier.close()
    assert await count_statuses() == {"sending": 3, "waiting": COUNT - 3}
    assert len(await post.letters()) == 3
