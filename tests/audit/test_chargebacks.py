"""Orders and payments say the same of what banks took back, whatever else happens to the order, and the timeline tells it as what it is."""

from functools import partial

import pytest
from tests.audit.history import check, has_left, is_settled, order_mugs
from tests.orders.market import as_system
from tests.waiting import until

from souk import orders, payments, shipping
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


async def refund(order: orders.Order, amount: Money | None = None) -> None:
    with as_system():
        await payments.refund(RefundPayment(new_id(), order.id, amount, "a scratch"))


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


async def test_won_after_goods_came_back_a_person_decides(working_shop: Shop) -> None:
    """The bank had the money when they came back, so that none of it went back for them; when the shop has won it can."""
    order = await order_mugs(2)
    with as_system():
        for part in order.parts:
            parcel = await orders.pack_parcel(orders.NewParcel(order.id, part.seller_id))
            await shipping.dispatch_shipment(parcel.id, shipping.Consignment())
        await until(partial(has_left, order))
    await until(is_settled, 20)
    found = await take(order)
    [mugs] = [item for item in order.items if item.sku == "MUG"]
    with as_system():
        (back,) = await orders.request_return(order.id, orders.NewReturn((orders.ReturnedLine(mugs.id, 2),)))
        received = await orders.change_return(back.id, orders.ChangeReturn("received"))
    await until(is_settled, 20)
    await decide(found, True)
    with as_system():
        [told] = await payments.list_discrepancies(10)
        assert told.reason.startswith("won after goods were cancelled or came back")
        await payments.refund(RefundPayment(new_id(), order.id, received.refund, "they came back"))
        await payments.close_discrepancy(told.id, "refunded")
    await until(is_settled, 20)


async def test_won_after_nothing_came_back_nobody_has_to_decide(working_shop: Shop) -> None:
    order = await order_mugs(2)
    await refund(order, Money(300, "USD"))
    await decide(await take(order), True)
    with as_system():
        assert await payments.list_discrepancies(10) == ()
    await until(is_settled, 20)
