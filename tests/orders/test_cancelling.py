"""A cancelled order gives back stock, coupon and money, once."""

import asyncio

import pytest
from tests.orders.market import as_buyer, as_system, available, buy, fill_cart, make_seller, open_market, put_on_sale

from souk import orders, payments
from souk.app import Shop
from souk.kit.ids import new_id

BUYER = new_id()


@pytest.fixture
async def placed(shop: Shop) -> orders.Order:
    """An order of one of ten mugs."""
    await open_market()
    await put_on_sale("MUG", 1200, 10, await make_seller())
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        return await orders.place_order(buy(cart_id))


async def test_a_cancelled_order_is_refunded_in_full(placed: orders.Order) -> None:
    with as_buyer(BUYER):
        canceled = await orders.cancel_order(placed.id, orders.CancelOrder("changed my mind"))
    assert (canceled.status, canceled.payment_status, canceled.fulfillment_status) == ("canceled", "refunded", "canceled")
    assert await available("MUG") == 10
    with as_system():
        payment = await payments.get_payment(placed.id)
    assert payment.refunded == payment.captured == placed.total


async def test_cancelling_again_and_at_once_changes_nothing_more(placed: orders.Order) -> None:
    with as_buyer(BUYER):
        answers = await asyncio.gather(*(orders.cancel_order(placed.id, orders.CancelOrder()) for _ in range(8)), return_exceptions=True)
        again = await orders.cancel_order(placed.id, orders.CancelOrder("later"))
    assert any(isinstance(answer, orders.Order) for answer in answers)
    assert again.status == "canceled"
    assert await available("MUG") == 10
    with as_system():
        payment = await payments.get_payment(placed.id)
    assert payment.refunded == placed.total


async def test_an_unpaid_order_can_be_cancelled(placed: orders.Order) -> None:
    cart_id = await fill_cart(BUYER, ("MUG", 2))
    with as_buyer(BUYER):
        waiting = await orders.place_order(buy(cart_id, None))
        assert await available("MUG") == 7
        canceled = await orders.cancel_order(waiting.id, orders.CancelOrder("no"))
    assert (canceled.status, await available("MUG")) == ("canceled", 9)


async def test_the_timeline_tells_what_happened(placed: orders.Order) -> None:
    with as_buyer(BUYER):
        await orders.cancel_order(placed.id, orders.CancelOrder("changed my mind"))
        timeline = await orders.get_timeline(placed.id)
    assert [entry.type for entry in timeline] == ["placed", "canceled"]
    assert timeline[1].data == {"reason": "changed my mind"}
