"""PayPal by REST: the buyer approves in their app, we capture, and whatever is lost on the way is found again."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.payments.conftest import PATIENCE
from tests.payments.money import announced, balance, close, give_back, look_up, open_order, pay
from tests.payments.paypal_server import CLIENT_ID, GENUINE, SECRET, WEBHOOK_ID, FakePayPal
from tests.ports import find_free_port

from souk import payments
from souk.app import Shop
from souk.kit.errors import Unavailable
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger, reconciling
from souk.payments.database import db
from souk.payments.events import PaymentCaptured
from souk.payments.gateways.paypal import _Amount, from_paypal, to_paypal
from souk.payments.settings import settings
from souk.payments.types import Payment, Webhook, WebhookForged, WebhookReceipt


@pytest.fixture
async def paypal(shop: Shop) -> AsyncIterator[FakePayPal]:
    fake, port = FakePayPal(), find_free_port()
    runner = web.AppRunner(fake.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    fake.url = f"http://127.0.0.1:{port}"
    settings.replace(paypal_url=fake.url, paypal_client_id=CLIENT_ID, paypal_secret=SECRET, paypal_webhook_id=WEBHOOK_ID, **PATIENCE)
    yield fake
    await runner.cleanup()


async def begin(order: Payment) -> str:
    """The buyer is sent to PayPal; the id of the order over there."""
    asked = await pay(order, None, "paypal")
    assert asked.status == "requires_action"
    assert asked.redirect_url is not None
    return asked.redirect_url.partition("token=")[2]


async def hear(event: dict[str, Any], signature: str = GENUINE) -> WebhookReceipt:
    names = ("auth-algo", "cert-url", "transmission-id", "transmission-time")
    headers = {f"paypal-{name}": "x" for name in names} | {"paypal-transmission-sig": signature}
    return await payments.receive_webhook(Webhook("paypal", headers, json.dumps(event).encode()))


async def look_again() -> None:
    await db.pool.execute("UPDATE payments.attempt SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.settle_open_attempts()
    await db.pool.execute("UPDATE payments.refund SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.retry_refunds()


async def test_approved_and_captured(paypal: FakePayPal) -> None:
    order = await open_order(12_900)
    paypal_id = await begin(order)
    assert (await hear(paypal.approve(paypal_id))).status == "applied"
    assert (await look_up(order)).captured == Money(12_900, "EUR")
    assert paypal.orders[paypal_id]["purchase_units"][0]["amount"] == {"currency_code": "EUR", "value": "129.00"}
    assert await balance(ledger.clearing("paypal", "EUR")) == -12_900
    assert (await hear(paypal.approve(paypal_id))).status == "repeated"
    assert (await hear(paypal.tell_capture(paypal_id))).status == "applied"
    assert len(await announced(PaymentCaptured)) == 1


async def test_never_approved(paypal: FakePayPal) -> None:
    order = await open_order()
    await begin(order)
    await look_again()
    assert (await look_up(order)).status == "requires_action"


async def test_approved_but_the_webhook_is_lost(paypal: FakePayPal) -> None:
    order = await open_order()
    paypal.approve(await begin(order))
    await look_again()
    assert (await look_up(order)).status == "captured"


async def test_captured_but_the_answer_is_lost(paypal: FakePayPal) -> None:
    order = await open_order()
    paypal_id = await begin(order)
    event = paypal.approve(paypal_id)
    paypal.lose_next = True
    with pytest.raises(Unavailable, match="paypal"):
        await hear(event)
    assert (await look_up(order)).status == "requires_action"
    assert (await hear(event)).status == "applied"
    assert (await look_up(order)).status == "captured"


async def test_ordered_but_the_answer_is_lost(paypal: FakePayPal) -> None:
    order, attempt_id = await open_order(), new_id()
    paypal.lose_next = True
    assert (await pay(order, None, "paypal", attempt_id)).status == "pending"
    assert (await pay(order, None, "paypal", attempt_id)).status == "requires_action"
    assert len(paypal.orders) == 1


async def test_the_buyers_account_is_empty(paypal: FakePayPal) -> None:
    order = await open_order()
    event = paypal.approve(await begin(order))
    paypal.decline_next = True
    await hear(event)
    assert ((await look_up(order)).status, (await look_up(order)).decline_code) == ("declined", "instrument_declined")


async def test_refunds(paypal: FakePayPal) -> None:
    order = await open_order(10_000)
    await hear(paypal.approve(await begin(order)))
    assert (await give_back(order, 4_000)).status == "succeeded"
    paypal.decline_next = True
    assert ((refused := await give_back(order, 1_000)).status, refused.failure_code) == ("failed", "refund_not_allowed")
    paypal.lose_next = True
    assert (await give_back(order, 2_000)).status == "pending"
    await look_again()
    assert (await look_up(order)).refunded == Money(6_000, "EUR")
    assert (await close(order)).status == "refunded"
    assert [refund["amount"]["value"] for refund in paypal.refunds] == ["40.00", "20.00", "40.00"]
    assert await balance(ledger.clearing("paypal", "EUR")) == 0


async def test_an_order_that_was_closed_is_not_captured(paypal: FakePayPal) -> None:
    order = await open_order()
    paypal_id = await begin(order)
    assert (await close(order)).status == "voided"
    assert paypal.orders[paypal_id]["status"] == "PAYER_ACTION_REQUIRED"
    await hear(paypal.approve(paypal_id))
    assert (await look_up(order)).status in ("captured", "refunded"), "the app was quicker: the money goes back"
    await look_again()
    assert (await look_up(order)).status == "refunded"


@pytest.mark.parametrize("signature", ["", "signed by a stranger"])
async def test_a_forged_webhook(paypal: FakePayPal, signature: str) -> None:
    order = await open_order()
    paypal_id = await begin(order)
    event = {**paypal.approve(paypal_id), "id": "forged"}
    with pytest.raises(WebhookForged):
        await hear(event, signature)
    assert paypal.orders[paypal_id]["status"] == "APPROVED"


async def test_a_wrong_secret_charges_nobody(paypal: FakePayPal) -> None:
    settings.replace(paypal_secret="wrong")
    order = await open_order()
    declined = await pay(order, None, "paypal")
    assert (declined.status, declined.decline_code) == ("declined", "gateway_unavailable")


@pytest.mark.parametrize(
    ("money", "value"),
    [
        (Money(12_905, "EUR"), "129.05"),
        (Money(5, "USD"), "0.05"),
        (Money(500, "JPY"), "500"),
        (Money(12_900, "HUF"), "129"),
        (Money(12_950, "TWD"), "129.50"),
    ],
)
def test_amounts(money: Money, value: str) -> None:
    written = to_paypal(money)
    assert written == {"currency_code": money.currency, "value": value}
    assert from_paypal(_Amount(**written)) == money
