"""An order is paid once, by whoever may pay it, while it can be paid."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest
from tests.conftest import asked_by
from tests.payments.money import announced, balance, close, fill_wallet, look_up, open_order, pay

from souk import payments
from souk.app import Shop
from souk.kit.callers import ANONYMOUS, SYSTEM, Caller, asking
from souk.kit.errors import Forbidden, InvalidField
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.events import PaymentCaptured, PaymentFailed
from souk.payments.settings import settings
from souk.payments.types import (
    AlreadyPaid,
    ChargeRequest,
    MethodNotOffered,
    OpenPayment,
    Payment,
    PaymentClosed,
    PaymentExpired,
    PaymentNotFound,
    PayOrder,
    TooManyAttempts,
)

pytestmark = pytest.mark.usefixtures("test_gateway")


async def test_a_payment_is_opened_once_per_order(shop: Shop) -> None:
    first = await open_order(12_900)
    assert (first.status, first.amount, first.captured, first.order_id) == ("none", Money(12_900, "EUR"), Money(0, "EUR"), first.id)
    again = OpenPayment(first.id, None, None, Money(1, "USD"), (), first.expires_at)
    assert await payments.open_payment(again) == first
    assert set(await asyncio.gather(*(payments.open_payment(again) for _ in range(8)))) == {first}


async def test_what_was_given_up_first_is_not_opened_later(shop: Shop) -> None:
    late = OpenPayment(new_id(), new_id(), None, Money(100, "EUR"), (), datetime.now(UTC))
    with asked_by("buyer", user_id=late.user_id):
        assert await payments.close_payment(late.order_id, "sold out") is None
        assert await payments.close_payment(late.order_id, "sold out") is None
    with pytest.raises(PaymentClosed):
        await payments.open_payment(late)
    order = msgspec.structs.replace(late, order_id=new_id())
    raced = await asyncio.gather(payments.open_payment(order), payments.close_payment(order.order_id, "x"), return_exceptions=True)
    opened, closed = raced
    assert isinstance(opened, PaymentClosed) == (closed is None)


async def test_where_nothing_is_to_be_paid_the_payment_is_captured(shop: Shop) -> None:
    order = await open_order(0)
    assert order.status == "captured"
    assert [event["order_id"] for event in await announced(PaymentCaptured)] == [str(order.id)]
    with pytest.raises(AlreadyPaid):
        await pay(order)


async def test_a_card_is_charged(shop: Shop) -> None:
    order = await open_order(12_900)
    paid = await pay(order)
    assert (paid.status, paid.method, paid.captured, paid.decline_code) == ("captured", "card", Money(12_900, "EUR"), None)
    assert await look_up(order) == paid
    assert await balance(ledger.clearing("test", "EUR")) == -12_900
    assert await balance(ledger.order_funds("EUR")) == 12_900
    [event] = await announced(PaymentCaptured)
    money = {"amount": 12_900, "currency": "EUR"}
    assert event == {"order_id": str(order.id), "payment_id": str(order.id), "amount": money, "at_once": False}


async def test_a_declined_card_may_be_followed_by_another(shop: Shop) -> None:
    order = await open_order()
    declined = await pay(order, "tok_declined")
    assert (declined.status, declined.decline_code, declined.captured.amount) == ("declined", "card_declined", 0)
    [event] = await announced(PaymentFailed)
    assert (event["order_id"], event["reason"]) == (str(order.id), "card_declined")
    paid = await pay(order)
    assert (paid.status, paid.decline_code) == ("captured", None)


def order_of(amount: int = 10_000) -> PayOrder:
    """An order of a stranger that nobody has opened a payment for."""
    return PayOrder(
        OpenPayment(new_id(), None, None, Money(amount, "EUR"), (), datetime.now(UTC) + timedelta(minutes=15)), "card", "tok_visa"
    )


async def test_an_order_is_opened_and_paid_in_one_go_and_once(shop: Shop) -> None:
    request = order_of()
    with asking(Caller(SYSTEM)):
        answers = await asyncio.gather(*(payments.pay_order(request) for _ in range(16)))
        assert {answer.status for answer in answers} == {"captured"}
        assert await payments.pay_order(request) == await payments.get_payment(request.opening.order_id)
    assert await balance(ledger.order_funds("EUR")) == 10_000
    assert len(await announced(PaymentCaptured)) == 1


async def test_an_order_that_was_opened_before_is_paid_all_the_same(shop: Shop) -> None:
    opened, declined = order_of(), msgspec.structs.replace(order_of(), token="tok_declined")
    with asking(Caller(SYSTEM)):
        await payments.open_payment(opened.opening)
        assert (await payments.pay_order(opened)).status == "captured"
        first = await payments.pay_order(declined)
        assert (first.status, await payments.pay_order(declined)) == ("declined", first)
        assert (await payments.charge(ChargeRequest(first.id, "card", "tok_visa", None, new_id()))).status == "captured"
        assert (await payments.pay_order(declined)).status == "captured"


async def test_what_is_free_or_paid_otherwise_is_answered_as_it_stands(shop: Shop) -> None:
    free, paid = order_of(0), order_of()
    with asking(Caller(SYSTEM)):
        assert (await payments.pay_order(free)).status == "captured"
        await payments.open_payment(paid.opening)
        await payments.charge(ChargeRequest(paid.opening.order_id, "card", "tok_visa", None, new_id()))
        assert (await payments.pay_order(paid)).status == "captured"
    assert await balance(ledger.order_funds("EUR")) == 10_000


async def test_an_order_that_was_given_up_is_not_paid(shop: Shop) -> None:
    request = order_of()
    with asking(Caller(SYSTEM)):
        await payments.close_payment(request.opening.order_id, "sold out")
        with pytest.raises(PaymentClosed):
            await payments.pay_order(request)


async def test_the_same_attempt_takes_the_money_once(shop: Shop) -> None:
    order, attempt_id = await open_order(), new_id()
    first = await pay(order, attempt_id=attempt_id)
    twins = await asyncio.gather(*(pay(order, attempt_id=attempt_id) for _ in range(32)))
    assert set(twins) == {first}
    assert await balance(ledger.order_funds("EUR")) == 10_000
    with pytest.raises(IdempotencyKeyReused):
        await pay(order, "tok_declined", attempt_id=attempt_id)


async def test_of_many_attempts_at_once_one_pays(shop: Shop) -> None:
    order = await open_order()
    answers = await asyncio.gather(*(pay(order) for _ in range(32)), return_exceptions=True)
    assert sum(isinstance(answer, Payment) for answer in answers) == 1
    assert sum(isinstance(answer, AlreadyPaid) for answer in answers) == 31
    assert await balance(ledger.order_funds("EUR")) == 10_000
    assert len(await announced(PaymentCaptured)) == 1


async def test_a_thousand_orders_at_once(shop: Shop) -> None:
    orders = await asyncio.gather(*(open_order(100 + number) for number in range(1000)))
    paid = await asyncio.gather(*(pay(order) for order in orders))
    assert [one.captured for one in paid] == [order.amount for order in orders]
    assert await balance(ledger.order_funds("EUR")) == sum(order.amount.amount for order in orders)
    assert len(await announced(PaymentCaptured)) == 1000


async def test_nobody_pays_or_sees_what_is_not_theirs(shop: Shop) -> None:
    anna, ben = new_id(), new_id()
    hers, guests = await open_order(user_id=anna), await open_order(guest_token="a-secret")
    request = ChargeRequest(hers.id, "card", "tok_visa", None, new_id())
    strangers = (Caller(ANONYMOUS), Caller(ANONYMOUS, guest_token="a-guess"))
    for stranger in strangers:
        for order in (hers, guests):
            with asking(stranger), pytest.raises(PaymentNotFound):
                await payments.get_payment(order.id)
            with asking(stranger), pytest.raises(PaymentNotFound):
                await payments.charge(ChargeRequest(order.id, "card", "tok_visa", None, new_id()))
    with asked_by("buyer", user_id=ben), pytest.raises(PaymentNotFound):
        await payments.charge(request)
    with asked_by("buyer", user_id=ben), pytest.raises(PaymentNotFound):
        await payments.close_payment(hers.id, "spite")
    with asked_by("buyer", user_id=anna):
        assert (await payments.charge(request)).status == "captured"
        assert (await payments.get_payment(hers.id)).status == "captured"
    with asking(Caller(ANONYMOUS, guest_token="a-secret")):
        assert (await payments.charge(ChargeRequest(guests.id, "card", "tok_visa", None, new_id()))).status == "captured"
    with asked_by("admin"):
        assert (await payments.get_payment(guests.id)).status == "captured"
    with asking(Caller(SYSTEM)), pytest.raises(PaymentNotFound):
        await payments.get_payment(new_id())


async def test_a_guests_token_is_not_kept(shop: Shop) -> None:
    order = await open_order(guest_token="a-secret")
    kept = await db.value("SELECT guest_token_hash FROM payments.payment WHERE id = $1", order.id)
    assert kept == hashlib.sha256(b"a-secret").hexdigest()


async def test_what_expired_or_is_closed_or_paid_cannot_be_paid(shop: Shop) -> None:
    late, closed, done = await open_order(minutes=-1), await open_order(), await open_order()
    await close(closed)
    await pay(done)
    for order, refusal in ((late, PaymentExpired), (closed, PaymentClosed), (done, AlreadyPaid)):
        with pytest.raises(refusal):
            await pay(order)


async def test_a_method_wants_what_it_needs(shop: Shop) -> None:
    order = await open_order()
    with pytest.raises(InvalidField, match="token"):
        await pay(order, token=None)
    with pytest.raises(MethodNotOffered):
        await pay(order, method="cheque")
    with pytest.raises(MethodNotOffered):
        await pay(order, method="redirect")
    with pytest.raises(MethodNotOffered):
        await pay(order, method="wallet")
    assert (await look_up(order)).status == "none"


async def test_who_tries_cards_is_stopped(shop: Shop) -> None:
    order = await open_order()
    for _ in range(20):
        await pay(order, "tok_declined")
    with pytest.raises(TooManyAttempts):
        await pay(order)


async def test_a_wallet_pays_as_long_as_there_is_money(shop: Shop) -> None:
    anna = new_id()
    await fill_wallet(anna, 25_000)
    orders = [await open_order(10_000, anna) for _ in range(4)]
    paid = await asyncio.gather(*(pay(order, None, "wallet") for order in orders))
    assert sorted(one.status for one in paid) == ["captured", "captured", "declined", "declined"]
    assert {one.decline_code for one in paid} == {None, "insufficient_funds"}
    assert await balance(ledger.wallet(anna, "EUR")) == 5_000
    assert await balance(ledger.order_funds("EUR")) == 20_000


async def test_only_the_shop_says_that_an_order_was_paid_elsewhere(shop: Shop) -> None:
    anna = new_id()
    order = await open_order(user_id=anna)
    with asked_by("buyer", user_id=anna), pytest.raises(MethodNotOffered):
        await payments.charge(ChargeRequest(order.id, "external", None, None, new_id()))
    assert (await pay(order, None, "external")).status == "captured"
    assert await balance(ledger.clearing("external", "EUR")) == -10_000


async def test_the_database_itself_refuses_a_second_capture(shop: Shop) -> None:
    order = await open_order()
    await pay(order)
    with pytest.raises(asyncpg.UniqueViolationError):
        await db.pool.execute(
            "INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint)"
            " VALUES ($1, $2, 'test', 'card', 10000, 'EUR', 'captured', '')",
            order.id,
            new_id(),
        )


async def test_only_a_demo_takes_money_that_does_not_exist(shop: Shop) -> None:
    settings.replace(test_gateway=False)
    order = await open_order()
    with pytest.raises(MethodNotOffered):
        await pay(order)
    with asked_by("buyer"), pytest.raises(Forbidden):
        await payments.allow_test_gateway()
    with asking(Caller(SYSTEM)):
        await payments.allow_test_gateway()
        await payments.allow_test_gateway()
    assert [one.method for one in await payments.list_payment_methods()] == ["card", "wallet"]
    assert (await pay(order)).status == "captured"
