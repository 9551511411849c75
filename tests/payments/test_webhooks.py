"""Only the gateway's own word counts, and it counts once."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator

import pytest
from tests.payments.money import announced, look_up, open_order, pay

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id
from souk.payments.database import db
from souk.payments.events import PaymentCaptured, PaymentFailed
from souk.payments.settings import settings
from souk.payments.types import GatewayUnknown, Payment, Webhook, WebhookForged

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
NEXT_SECRET = "whsec_" + base64.b64encode(b"the secret that comes after that").decode()


@pytest.fixture
async def asked(shop: Shop) -> AsyncIterator[Payment]:
    """An order that a gateway was asked for and has not said anything about."""
    settings.replace(sandbox_url="http://127.0.0.1:1", sandbox_webhook_secrets=(SECRET,), gateway_timeout_s=0.2)
    order = await open_order()
    await db.pool.execute(
        "INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint, check_at)"
        " VALUES ($1, $1, 'sandbox', 'card', 10000, 'EUR', 'pending', '', now())",
        order.id,
    )
    await db.pool.execute("UPDATE payments.payment SET status = 'pending'")
    yield order


def told(order: Payment, event_id: str = "evt_1", secret: str = SECRET, sent_at: int | None = None, **data: object) -> Webhook:
    """A webhook as the card processor sends it, signed without the code that verifies."""
    sale = {"id": "ch_1", "status": "succeeded", "amount": 10_000, "currency": "EUR", "reference": f"{order.id}.{order.id}"}
    sale |= {"amount_captured": data.get("amount", 10_000), "amount_refunded": 0, **data}
    body = json.dumps({"id": event_id, "type": "charge.succeeded", "created_at": "", "data": sale}).encode()
    sent = str(int(time.time()) if sent_at is None else sent_at)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{event_id}.{sent}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return Webhook("sandbox", {"webhook-id": event_id, "webhook-timestamp": sent, "webhook-signature": signature}, body)


async def test_a_genuine_webhook_has_its_effect_once(asked: Payment) -> None:
    first = await payments.receive_webhook(told(asked))
    again = await asyncio.gather(*(payments.receive_webhook(told(asked)) for _ in range(16)))
    assert (first.status, {one.status for one in again}) == ("applied", {"repeated"})
    assert (await look_up(asked)).status == "captured"
    assert len(await announced(PaymentCaptured)) == 1


async def test_many_deliveries_at_once_are_one(asked: Payment) -> None:
    receipts = await asyncio.gather(*(payments.receive_webhook(told(asked)) for _ in range(32)))
    assert sorted(one.status for one in receipts) == ["applied"] + ["repeated"] * 31
    assert len(await announced(PaymentCaptured)) == 1


async def test_another_event_of_the_same_capture_changes_nothing(asked: Payment) -> None:
    for number in range(5):
        assert (await payments.receive_webhook(told(asked, f"evt_{number}"))).status == "applied"
    assert len(await announced(PaymentCaptured)) == 1


async def test_old_news_do_not_undo_newer(asked: Payment) -> None:
    await payments.receive_webhook(told(asked, "evt_2"))
    await payments.receive_webhook(told(asked, "evt_1", status="requires_action", amount_captured=0))
    await payments.receive_webhook(told(asked, "evt_0", status="declined", amount_captured=0))
    assert (await look_up(asked)).status == "captured"


async def test_a_decline_is_told_of_once(asked: Payment) -> None:
    for number in range(3):
        await payments.receive_webhook(told(asked, f"evt_{number}", status="declined", decline_code="stolen", amount_captured=0))
    assert [event["reason"] for event in await announced(PaymentFailed)] == ["stolen"]
    # The gateway has the last word: what it took after all pays the order.
    await payments.receive_webhook(told(asked, "evt_9"))
    assert (await look_up(asked)).status == "captured"


def without(webhook: Webhook, **headers: str | None) -> Webhook:
    changed = {**webhook.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Webhook(webhook.gateway, {name: value for name, value in changed.items() if value is not None}, webhook.body)


async def test_forgeries(asked: Payment) -> None:
    genuine = told(asked)
    forgeries = [
        told(asked, secret=NEXT_SECRET),
        told(asked, sent_at=int(time.time()) - 301),
        told(asked, sent_at=int(time.time()) + 301),
        without(genuine, webhook_signature=None),
        without(genuine, webhook_signature=""),
        without(genuine, webhook_signature=genuine.headers["webhook-signature"].replace("v1,", "v1a,")),
        without(genuine, webhook_signature="v1,é"),
        without(genuine, webhook_id=None),
        without(genuine, webhook_id="evt_2"),
        without(genuine, webhook_timestamp="soon"),
        without(genuine, webhook_timestamp="1e9"),
        Webhook("sandbox", genuine.headers, genuine.body.replace(b"10000", b"10001")),
        Webhook("sandbox", genuine.headers, b" " + genuine.body),
        Webhook("sandbox", {}, b""),
    ]
    for forged in forgeries:
        with pytest.raises(WebhookForged):
            await payments.receive_webhook(forged)
    assert (await look_up(asked)).status == "pending"
    assert await db.value("SELECT count(*) FROM payments.gateway_event") == 0


async def test_while_a_secret_is_rotated_both_count(asked: Payment) -> None:
    settings.replace(sandbox_webhook_secrets=(NEXT_SECRET, SECRET))
    assert (await payments.receive_webhook(told(asked))).status == "applied"
    assert (await payments.receive_webhook(told(asked, "evt_2", NEXT_SECRET))).status == "applied"
    two = without(told(asked, "evt_3"), webhook_signature="v1,bm9uc2Vuc2U= " + told(asked, "evt_3").headers["webhook-signature"])
    assert (await payments.receive_webhook(two)).status == "applied"


async def test_what_contradicts_our_books_is_kept_and_has_no_effect(asked: Payment) -> None:
    lies = ({"amount": 9_999}, {"currency": "USD"}, {"amount": 1, "status": "declined"})
    for number, lie in enumerate(lies):
        assert (await payments.receive_webhook(told(asked, f"evt_{number}", **lie))).status == "refused"
        assert (await payments.receive_webhook(told(asked, f"evt_{number}", **lie))).status == "repeated"
    assert (await look_up(asked)).status == "pending"
    with asking(Caller(SYSTEM)):
        kept = await payments.list_discrepancies(10)
    assert {(one.source, one.external_id, one.payment_id) for one in kept} == {("webhook", f"evt_{n}", asked.id) for n in range(3)}


async def test_news_of_what_is_not_ours(asked: Payment) -> None:
    for number, reference in enumerate((f"{new_id()}.{new_id()}", f"{asked.id}.{new_id()}", "till 4", "")):
        assert (await payments.receive_webhook(told(asked, f"evt_{number}", reference=reference))).status == "refused"
    # An id of the other app of the same sandbox does not speak for the card processor.
    assert (await payments.receive_webhook(told(asked, "evt_9", id="co_1"))).status == "refused"
    assert (await look_up(asked)).status == "pending"


async def test_a_gateway_that_is_not_set_up(asked: Payment) -> None:
    for gateway in ("nobody", "wallet", "test", "external"):
        with pytest.raises(GatewayUnknown):
            await payments.receive_webhook(Webhook(gateway, {}, b"{}"))


async def test_a_batch_with_everything_in_it(asked: Payment) -> None:
    other = await open_order(guest_token="x")
    settings.replace(test_gateway=True)
    await pay(other, method="test")
    webhooks = [told(asked, "evt_1"), told(asked, "evt_2", amount=5), told(other, "evt_3"), told(asked, "evt_1"), told(asked, "evt_4")]
    receipts = await asyncio.gather(*(payments.receive_webhook(webhook) for webhook in webhooks))
    assert [one.status for one in receipts] == ["applied", "refused", "refused", "repeated", "applied"]
    assert (await look_up(asked)).status == "captured"
