"""The buyer pays in another app: approves there, refuses, or never comes back."""

import pytest
from tests.payments.money import announced, balance, close, look_up, open_order, pay
from tests.payments.outside import Outside, until

from souk import payments
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import InvalidField
from souk.kit.ids import new_id
from souk.payments import ledger, reconciling
from souk.payments.database import db
from souk.payments.events import PaymentCaptured, PaymentFailed
from souk.payments.types import ChargeRequest, Payment


async def go_to_the_app(order: Payment) -> str:
    """Begin to pay there; the address of the page that the buyer sees."""
    asked = await pay(order, None, "redirect")
    assert asked.status == "requires_action"
    assert asked.next_action is not None
    return asked.next_action.redirect_url


async def turns(order: Payment, status: str) -> None:
    async def has_turned() -> bool:
        return (await look_up(order)).status == status

    await until(has_turned)


async def test_approved(outside: Outside) -> None:
    order = await open_order()
    page = await go_to_the_app(order)
    assert await outside.visit(page, "approve") == 303
    await turns(order, "captured")
    paid = await look_up(order)
    assert (paid.method, paid.next_action, paid.redirect_url) == ("redirect", None, None)
    assert await balance(ledger.clearing("redirect", "EUR")) == -10_000
    assert len(await announced(PaymentCaptured)) == 1


async def test_refused(outside: Outside) -> None:
    order = await open_order()
    await outside.visit(await go_to_the_app(order), "refuse")
    await turns(order, "declined")
    assert (await look_up(order)).decline_code == "refused"
    assert [event["reason"] for event in await announced(PaymentFailed)] == ["refused"]
    assert (await pay(order)).status == "captured"


async def test_abandoned(outside: Outside) -> None:
    order = await open_order(minutes=0.02)
    await go_to_the_app(order)
    await turns(order, "declined")
    assert (await look_up(order)).decline_code == "expired"


async def test_approved_but_the_webhook_is_lost(outside: Outside) -> None:
    order = await open_order()
    page = await go_to_the_app(order)
    await outside.control(hold_webhooks=True)
    await outside.visit(page, "approve")
    assert (await look_up(order)).status == "requires_action"
    await db.pool.execute("UPDATE payments.attempt SET check_at = now()")
    await reconciling.settle_open_attempts()
    assert (await look_up(order)).status == "captured"


async def test_a_card_that_asks_the_buyer(outside: Outside) -> None:
    approved, refused = await open_order(), await open_order()
    pages = [(await pay(order, "tok_requires_action")).redirect_url for order in (approved, refused)]
    assert await outside.visit(str(pages[0]), "approve") == 303
    await outside.visit(str(pages[1]), "refuse")
    await turns(approved, "captured")
    await turns(refused, "declined")
    assert (await look_up(refused)).decline_code == "authentication_refused"


async def test_the_same_attempt_is_one_question(outside: Outside) -> None:
    order, attempt_id = await open_order(), new_id()
    first = await pay(order, None, "redirect", attempt_id)
    assert await pay(order, None, "redirect", attempt_id) == first
    assert len(await outside.sales_of(order.id, attempt_id, "checkouts")) == 1


async def test_a_question_whose_answer_was_lost_is_asked_once(outside: Outside) -> None:
    order, attempt_id = await open_order(), new_id()
    await outside.control(next="timeout_charged", on="checkout")
    assert (await pay(order, None, "redirect", attempt_id)).status == "pending"
    assert (await pay(order, None, "redirect", attempt_id)).status == "requires_action"
    assert len(await outside.sales_of(order.id, attempt_id, "checkouts")) == 1


async def test_whoever_gives_up_and_pays_by_card_is_not_asked_any_more(outside: Outside) -> None:
    order, attempt_id = await open_order(), new_id()
    page = (await pay(order, None, "redirect", attempt_id)).redirect_url
    assert (await pay(order)).status == "captured"

    async def is_withdrawn() -> bool:
        [checkout] = await outside.sales_of(order.id, attempt_id, "checkouts")
        return bool(checkout["status"] == "canceled")

    await until(is_withdrawn)
    assert await outside.visit(str(page), "approve") == 409
    assert await outside.book_of(order.id) == [("capture", 10_000)]


async def test_the_question_of_a_closed_order_is_withdrawn(outside: Outside) -> None:
    order = await open_order()
    page = await go_to_the_app(order)
    assert (await close(order)).status == "voided"
    assert await outside.visit(page, "approve") == 409
    assert await announced(PaymentFailed) == []


async def test_a_question_that_could_not_be_withdrawn_is_paid_back(outside: Outside) -> None:
    order = await open_order()
    page = await go_to_the_app(order)
    await outside.control(next="declined", on="cancel")
    assert (await close(order)).status == "voided"
    assert await outside.visit(page, "approve") == 303
    await turns(order, "refunded")
    assert await outside.book_of(order.id) == [("capture", 10_000), ("refund", 10_000)]
    assert await announced(PaymentCaptured) == []


async def test_a_way_back_is_needed(outside: Outside) -> None:
    order = await open_order()
    with asking(Caller(SYSTEM)), pytest.raises(InvalidField, match="return_url"):
        await payments.charge(ChargeRequest(order.id, "redirect", None, None, new_id()))
