"""A seller sees of an order what concerns their own goods, and nothing of who bought them or of other sellers."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.orders.market import as_buyer, as_system
from tests.orders.test_cancelling_items import is_refunded, pieces
from tests.orders.test_parcels import BUYER, Sale, as_seller, sell
from tests.waiting import until

from souk import orders, payments
from souk.app import Shop
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders.return_types import ChangeReturn, NewReturn, ReturnedLine
from souk.orders.types import CancelOrder, LinePieces, TimelineEntry


@pytest.fixture
async def sale(working_shop: Shop) -> AsyncIterator[Sale]:
    """Mugs and bowls of two sellers: pieces of both are cancelled, sent and come back, and the buyer gets something for the trouble."""
    sale = await sell()
    both = tuple(LinePieces(sale.line(seller_id), 1) for seller_id in (sale.mugs, sale.bowls))
    with as_buyer(BUYER):
        await orders.cancel_order(sale.order.id, CancelOrder("my sister has one", both))
    for seller_id in (sale.mugs, sale.bowls):
        await sale.dispatch(await sale.pack(seller_id))
    await sale.is_seen_as("fulfilled", "fulfilled", "fulfilled")
    with as_system():
        await payments.refund(payments.RefundPayment(new_id(), sale.order.id, Money(100, "USD"), "for the trouble"))
    await is_refunded(sale, 1200 + 800 + 100)
    with as_buyer(BUYER):
        back = await orders.request_return(sale.order.id, NewReturn(tuple(ReturnedLine(one.line_id, 1) for one in both)))
    for one in back:
        with as_seller(one.seller_id):
            await orders.change_return(one.id, ChangeReturn("received"))
    await is_refunded(sale, 2 * (1200 + 800) + 500 + 100)
    yield sale


async def read(sale: Sale, *seller_ids: UUID) -> tuple[TimelineEntry, ...]:
    with as_seller(*seller_ids):
        return await orders.get_timeline(sale.order.id)


async def test_a_seller_reads_of_their_own_goods_only(sale: Sale) -> None:
    seen = await read(sale, sale.mugs)
    assert [one.type for one in seen] == ["placed", "items_canceled", "parcel_dispatched", "return_requested", "return_received"]
    assert {one.actor_id for one in seen} == {None}
    assert {one.data.get("seller_id") for one in seen[1:]} == {str(sale.mugs)}
    assert seen[1].data["items"] == [{"line_id": str(sale.line(sale.mugs)), "quantity": 1}]
    told = repr(seen)
    for others in (BUYER, sale.bowls, sale.line(sale.bowls)):
        assert str(others) not in told


async def test_buyer_and_admin_read_it_whole(sale: Sale) -> None:
    async def is_told() -> bool:
        with as_buyer(BUYER):
            return [one.type for one in await orders.get_timeline(sale.order.id)].count("refunded") == 4

    await until(is_told)
    with as_buyer(BUYER):
        whole = await orders.get_timeline(sale.order.id)
    with as_system():
        assert await orders.get_timeline(sale.order.id) == whole
    types = [one.type for one in whole]
    assert types.count("return_received") == types.count("items_canceled") == 2
    assert {one.actor_id for one in whole} > {BUYER, None}


async def test_a_seller_of_an_order_that_is_cancelled_learns_that_and_not_why(working_shop: Shop) -> None:
    sale = await sell()
    with as_seller(sale.bowls):
        await orders.cancel_order(sale.order.id, CancelOrder("broken in the kiln"))
    with as_buyer(BUYER):
        await orders.cancel_order(sale.order.id, pieces(sale, sale.mugs, 3))
    seen = await read(sale, sale.mugs)
    assert [(one.type, one.data) for one in seen] == [("placed", {}), ("canceled", {})]
    assert [one.type for one in await read(sale, sale.mugs, sale.bowls)] == ["placed", "items_canceled", "canceled"]
