"""PayPal by REST: the buyer approves in their app, we capture, and whatever is lost on the way is found again."""

import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from tests.payments.conftest import PATIENCE
from tests.payments.money import announced, balance, close, give_back, look_up, open_order, pay
from tests.payments.paypal_server import CLIENT_ID, GENUINE, SECRET, WEBHOOK_ID, FakePayPal
from tests.ports import find_free_port

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Unavailable
from souk.kit.ids import first_id, new_id
from souk.kit.money import Money
from souk.payments import jobs, ledger, reconciling
from souk.payments.database import db
from souk.payments.events import PaymentCaptured, PaymentRefunded
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


async def buy(paypal: FakePayPal, amount: int = 10_000) -> tuple[Payment, str]:
    """An order that is paid; the id of the order over there."""
    order = await open_order(amount)
    paypal_id = await begin(order)
    await hear(paypal.approve(paypal_id))
    return order, paypal_id


async def discrepancies() -> list[tuple[UUID | None, str]]:
    with asking(Caller(SYSTEM)):
        return sorted(((one.payment_id, one.reason) for one in await payments.list_discrepancies(100) if one.source == "book"), key=str)


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
    assert (await give_back(order, 1_500)).status == "pending"
    paypal.forbid_next = True
    assert (await give_back(order, 500)).status == "pending"
    await look_again()
    assert (await look_up(order)).refunded == Money(6_000, "EUR")
    assert (await close(order)).status == "refunded"
    assert [refund["amount"]["value"] for refund in paypal.refunds] == ["40.00", "15.00", "5.00", "40.00"]
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


async def test_a_report_that_agrees(paypal: FakePayPal) -> None:
    bought = [(await buy(paypal))[0] for _ in range(3)]
    assert (await give_back(bought[0], 4_000)).status == "succeeded"
    paypal.move("FEE", "T0106", "-3.50")
    paypal.move("TO-THE-BANK", "T0400", "-200.00")
    paypal.move("PENDING", "T0006", "9.00", "P")
    assert await jobs.reconcile_books() == 4
    assert await discrepancies() == []
    assert (len(await announced(PaymentCaptured)), len(await announced(PaymentRefunded))) == (3, 1)
    asked = paypal.reports
    assert await jobs.reconcile_books() == 0
    assert paypal.reports == asked, "a report is not asked for every few seconds"


async def test_what_is_too_young_for_a_report_is_read_later(paypal: FakePayPal) -> None:
    paypal.refreshed = timedelta(hours=-6)
    paypal.move("EARLY", "T0006", "7.00")
    assert await jobs.reconcile_books() == 0
    paypal.refreshed = timedelta(hours=-1)
    assert await jobs.reconcile_books() == 1


async def test_a_report_that_is_too_large_is_read_in_parts(paypal: FakePayPal) -> None:
    paypal.largest_report = 1
    for hours in (20, 12, 5):
        paypal.happens = timedelta(hours=-hours)
        await buy(paypal)
    assert await jobs.reconcile_books() == 3
    assert await discrepancies() == []


async def test_what_the_report_has_and_we_do_not(paypal: FakePayPal) -> None:
    stranger, (order, paypal_id) = new_id(), await buy(paypal)
    [line] = paypal.transactions
    paypal.move("TILL", "T0006", "7.00", custom_field="till 4")
    paypal.move("BARE", "T0006", "7.00")
    paypal.move("UNKNOWN", "T0006", "8.00", custom_field=f"{stranger}.{new_id()}")
    paypal.move("OTHER", "T0006", "9.00", custom_field=line["custom_field"])
    paypal.move("CHARGEBACK", "T1201", "-100.00", paypal_reference_id=f"CAPTURE-{paypal_id}")
    paypal.move("BACK", "T1107", "-7.00", paypal_reference_id="TILL")
    assert await jobs.reconcile_books() == 7
    nobodys = (None, "no payment of ours")
    ours = ["10000 EUR were asked for, 900 EUR told of", "no refund of ours"]
    expected = [nobodys, nobodys, nobodys, (stranger, "no attempt of ours"), *((order.id, reason) for reason in ours)]
    assert await discrepancies() == sorted(expected, key=str)
    assert await balance(ledger.clearing("paypal", "EUR")) == -10_000


async def test_a_capture_that_only_the_report_tells_of(paypal: FakePayPal) -> None:
    order = await open_order()
    event = paypal.approve(await begin(order))
    paypal.lose_next = True
    with pytest.raises(Unavailable, match="paypal"):
        await hear(event)
    assert (await look_up(order)).status == "requires_action"
    await jobs.reconcile_books()
    assert (await look_up(order)).status == "captured"


@pytest.mark.parametrize("says_for_what", [True, False])
async def test_a_refund_that_somebody_made_over_there(paypal: FakePayPal, says_for_what: bool) -> None:
    order, paypal_id = await buy(paypal)
    [line] = paypal.transactions
    custom = {"custom_field": line["custom_field"]} if says_for_what else {}
    paypal.move("BY-HAND", "T1107", "-25.00", paypal_reference_id=f"CAPTURE-{paypal_id}", **custom)
    await jobs.reconcile_books()
    await db.pool.execute("DELETE FROM payments.book_position")
    assert await jobs.reconcile_books() == 2, "read once more"
    assert ((await look_up(order)).status, (await look_up(order)).refunded.amount) == ("partially_refunded", 2_500)
    assert len(await announced(PaymentRefunded)) == 1
    assert await discrepancies() == []


async def pass_four_hours(order: Payment) -> None:
    """The money of an order came four hours ago, and the report has been read far beyond that."""
    now = time.time()
    await db.pool.execute("ALTER TABLE payments.transfer DISABLE TRIGGER USER")
    four_hours_ago = first_id(now - 4 * 3_600)
    await db.pool.execute("UPDATE payments.transfer SET id = $2 WHERE cause_id = $1 AND kind = 'captured'", order.id, four_hours_ago)
    await db.pool.execute("ALTER TABLE payments.transfer ENABLE TRIGGER USER")
    place = "INSERT INTO payments.book_position (gateway, position, compared) VALUES ('paypal', $1, $2)"
    await db.pool.execute(place, str(int(now - 3 * 3_600 - 1_200)), first_id(now - 12 * 3_600))


@pytest.mark.parametrize("stands", [True, False])
async def test_what_came_late_into_the_report_is_found_at_a_second_look(paypal: FakePayPal, stands: bool) -> None:
    order, _ = await buy(paypal)
    await pass_four_hours(order)
    if not stands:
        paypal.transactions.clear()
    await jobs.reconcile_books()
    with asking(Caller(SYSTEM)):
        found = [(one.source, one.payment_id) for one in await payments.list_discrepancies(100)]
    assert found == ([] if stands else [("ledger", order.id)])
    position, reports = await db.value("SELECT position FROM payments.book_position"), paypal.reports
    assert int(position) > time.time() - 3 * 3_600 - 60, "the second look leaves the place where the first one ended"
    await jobs.reconcile_books()
    assert paypal.reports == reports, "it is not looked for again and again"


async def test_money_that_was_on_its_way_in_the_report_and_came_later_is_not_missing(paypal: FakePayPal) -> None:
    order, _ = await buy(paypal)
    paypal.transactions[0]["transaction_status"] = "P"
    paypal.move("REFUND-ON-ITS-WAY", "T1107", "-1.00", "P")
    await jobs.reconcile_books()
    await db.pool.execute("DELETE FROM payments.book_position")
    paypal.transactions.clear()
    await pass_four_hours(order)
    await jobs.reconcile_books()
    with asking(Caller(SYSTEM)):
        assert await payments.list_discrepancies(100) == ()


async def test_a_report_that_we_may_not_read_is_read_later(paypal: FakePayPal) -> None:
    await buy(paypal)
    settings.replace(paypal_secret="wrong")
    assert await jobs.reconcile_books() == 0
    settings.replace(paypal_secret=SECRET)
    assert await jobs.reconcile_books() == 1


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
    assert from_paypal(_Amount(money.currency, f"-{value}")).amount == -money.amount
