"""Orders and payments say the same of what banks took back, whatever else happens to the order, and the timeline tells it as what it is."""

import pytest
from tests.audit.history import check, is_settled, order_mugs
from tests.orders.market import as_system
from tests.waiting import until

from souk import orders, payments
from souk.app import Shop
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import Chargeback, RecordChargeback, RefundPayment


async def take(order: orders.Order, amount: Money | None = None) -> Chargeback:
    """The buyer's bank takes the money back."""
    with as_system():
        return await payments.record_chargeback(RecordChargeback(order.id, amount or order.total, "fraudulent", fee=Money(1_500, "USD")))


async def decide(chargeback: Chargeback, won: bool) -> None:
    with as_system():
        await payments.close_chargeback(chargeback.id, won)


async def cancel(order: orders.Order) -> None:
    with as_system():
        await orders.cancel_order(order.id, orders.CancelOrder("changed my mind"))


async def refund(order: orders.Order) -> None:
    with as_system():
        await payments.refund(RefundPayment(new_id(), order.id, None, "a scratch"))


async def tells(order: orders.Order, payment_status: str, *timeline: str) -> None:
    """What the order shows when all is settled, and that the books of the whole shop agree then."""
    await until(is_settled, 20)
    with as_system():
        assert [entry.type for entry in await orders.get_timeline(order.id)] == ["placed", *timeline]
        assert (await orders.get_order(order.id)).payment_status == payment_status
    assert (await check(settled=True)).broken == 0


async def test_taken_and_won(working_shop: Shop) -> None:
    order = await order_mugs(2)
    found = await take(order)
    await tells(order, "refunded", "chargeback")
    await decide(found, True)
    await tells(order, "paid", "chargeback", "chargeback_won")


async def test_a_part_of_it_is_lost(working_shop: Shop) -> None:
    order = await order_mugs(2)
    await decide(await take(order, Money(700, "USD")), False)
    await tells(order, "partially_refunded", "chargeback", "chargeback_lost")


async def test_taken_after_all_had_been_refunded(working_shop: Shop) -> None:
    order = await order_mugs(2)
    await refund(order)
    found = await take(order)
    await tells(order, "refunded", "refunded", "chargeback")
    await decide(found, True)
    await tells(order, "refunded", "refunded", "chargeback", "chargeback_won")


@pytest.mark.parametrize("won", [True, False])
@pytest.mark.parametrize("amount", [700, None])
async def test_taken_and_then_the_order_is_cancelled(working_shop: Shop, won: bool, amount: int | None) -> None:
    order = await order_mugs(2)
    found = await take(order, None if amount is None else Money(amount, "USD"))
    await tells(order, "partially_refunded" if amount else "refunded", "chargeback")
    await cancel(order)
    rest = ["refunded"] if amount else []
    await tells(order, "refunded", "chargeback", "canceled", *rest)
    await decide(found, won)
    end = ["chargeback_won", "refunded"] if won else ["chargeback_lost"]
    await tells(order, "refunded", "chargeback", "canceled", *rest, *end)


@pytest.mark.parametrize("won", [True, False])
async def test_taken_after_the_order_was_cancelled(working_shop: Shop, won: bool) -> None:
    order = await order_mugs(2)
    await cancel(order)
    await decide(await take(order), won)
    await tells(order, "refunded", "canceled", "refunded", "chargeback", "chargeback_won" if won else "chargeback_lost")
