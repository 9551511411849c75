"""Money goes back at most once, and never more than came."""

import asyncio

import asyncpg
import pytest
from tests.conftest import asked_by
from tests.payments.money import announced, balance, close, fill_wallet, give_back, look_up, open_order, pay

from souk import payments
from souk.app import Shop
from souk.kit.errors import Forbidden, InvalidField
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.events import PaymentRefunded, WalletCredited
from souk.payments.types import CurrencyMismatch, NoWallet, PaymentNotFound, Refund, RefundPayment, RefundTooLarge

pytestmark = pytest.mark.usefixtures("test_gateway")


async def test_a_part_and_then_the_rest(shop: Shop) -> None:
    order = await open_order(10_000)
    await pay(order)
    part = await give_back(order, 4_000)
    assert (part.status, part.amount, part.to, part.payment_id) == ("succeeded", Money(4_000, "EUR"), "origin", order.id)
    assert ((await look_up(order)).status, (await look_up(order)).refunded) == ("partially_refunded", Money(4_000, "EUR"))
    rest = await give_back(order)
    assert rest.amount == Money(6_000, "EUR")
    assert ((await look_up(order)).status, (await look_up(order)).refunded) == ("refunded", Money(10_000, "EUR"))
    assert [event["amount"]["amount"] for event in await announced(PaymentRefunded)] == [4_000, 6_000]
    # Nothing was cancelled: the goods are still to be paid for when they leave, and until then their seller has given the money.
    assert await balance(ledger.order_funds("EUR")) == 10_000
    assert await balance(ledger.platform_revenue("EUR")) == -1_000
    assert await balance(ledger.clearing("test", "EUR")) == 0
    with pytest.raises(RefundTooLarge) as refused:
        await give_back(order)
    assert refused.value.refundable == Money(0, "EUR")


async def test_thirty_two_times_sixty_percent(shop: Shop) -> None:
    order = await open_order(10_000)
    await pay(order)
    answers = await asyncio.gather(*(give_back(order, 6_000) for _ in range(32)), return_exceptions=True)
    assert sum(isinstance(answer, Refund) for answer in answers) == 1
    assert sum(isinstance(answer, RefundTooLarge) for answer in answers) == 31
    assert (await look_up(order)).refunded == Money(6_000, "EUR")


async def test_the_same_refund_is_made_once(shop: Shop) -> None:
    order, refund_id = await open_order(10_000), new_id()
    await pay(order)
    twins = await asyncio.gather(*(give_back(order, 6_000, refund_id) for _ in range(16)))
    assert len(set(twins)) == 1
    assert await give_back(order, 6_000, refund_id) == twins[0]
    with pytest.raises(IdempotencyKeyReused):
        await give_back(order, 1_000, refund_id)


async def test_what_cannot_be_refunded(shop: Shop) -> None:
    unpaid, paid = await open_order(), await open_order(guest_token="a-secret")
    await pay(paid)
    with pytest.raises(RefundTooLarge):
        await give_back(unpaid, 1)
    with pytest.raises(RefundTooLarge):
        await give_back(paid, 10_001)
    with pytest.raises(InvalidField):
        await give_back(paid, 0)
    with pytest.raises(InvalidField):
        await give_back(paid, -1)
    with pytest.raises(NoWallet):
        await give_back(paid, 1, to="wallet")
    with asked_by("admin"), pytest.raises(CurrencyMismatch):
        await payments.refund(RefundPayment(new_id(), paid.id, Money(1, "USD"), "a reason"))
    with asked_by("admin"), pytest.raises(PaymentNotFound):
        await payments.refund(RefundPayment(new_id(), new_id(), None, "a reason"))
    with asked_by("buyer"), pytest.raises(Forbidden):
        await payments.refund(RefundPayment(new_id(), paid.id, None, "a reason"))


async def test_to_the_wallet_instead(shop: Shop) -> None:
    anna = new_id()
    order = await open_order(10_000, anna)
    await pay(order)
    assert (await give_back(order, 3_000, to="wallet")).status == "succeeded"
    assert await balance(ledger.wallet(anna, "EUR")) == 3_000
    assert [event["user_id"] for event in await announced(WalletCredited)] == [str(anna)]


async def test_what_a_wallet_paid_goes_back_to_it(shop: Shop) -> None:
    anna = new_id()
    await fill_wallet(anna, 10_000)
    order = await open_order(10_000, anna)
    await pay(order, None, "wallet")
    assert (await close(order)).status == "refunded"
    assert await balance(ledger.wallet(anna, "EUR")) == 10_000


async def test_a_closed_payment_gives_back_what_is_left(shop: Shop) -> None:
    order, never_paid = await open_order(10_000), await open_order()
    await pay(order)
    await give_back(order, 1_000)
    closed = await close(order)
    assert (closed.status, closed.refunded) == ("refunded", Money(10_000, "EUR"))
    assert await close(order) == closed
    assert [event["amount"]["amount"] for event in await announced(PaymentRefunded)] == [1_000, 9_000]
    assert (await close(never_paid)).status == "voided"


async def test_closing_and_refunding_at_once(shop: Shop) -> None:
    orders = [await open_order(10_000) for _ in range(10)]
    await asyncio.gather(*(pay(order) for order in orders))
    work = [step for order in orders for step in (close(order), give_back(order, 6_000), close(order), give_back(order, 6_000))]
    await asyncio.gather(*work, return_exceptions=True)
    assert {(await look_up(order)).refunded.amount for order in orders} == {10_000}
    assert await balance(ledger.order_funds("EUR")) == 0


async def test_the_database_itself_refuses_to_give_back_too_much(shop: Shop) -> None:
    order = await open_order()
    await pay(order)
    with pytest.raises(asyncpg.CheckViolationError, match="never_refunded_above_captured"):
        await db.pool.execute("UPDATE payments.payment SET refunding = 10001 WHERE id = $1", order.id)


async def test_refunds_are_listed_for_the_owner(shop: Shop) -> None:
    anna = new_id()
    order = await open_order(10_000, anna)
    await pay(order)
    made = [await give_back(order, 1_000), await give_back(order, 2_000)]
    with asked_by("buyer", user_id=anna):
        assert list(await payments.list_refunds(order.id)) == made
    with asked_by("buyer"), pytest.raises(PaymentNotFound):
        await payments.list_refunds(order.id)
