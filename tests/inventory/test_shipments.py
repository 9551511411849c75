"""What was set aside leaves once, whole or parcel by parcel."""

import asyncio

import pytest
from tests.inventory.stock import SELLER, as_seller, ask, available, check_books, put_in_store

from souk import inventory
from souk.app import Shop
from souk.inventory.database import db
from souk.inventory.types import ConfirmStock, NotConfirmed, NotReserved, ReleaseStock, ReserveStock, ShipStock, StockLine
from souk.kit.errors import NotFound
from souk.kit.ids import new_id


async def confirm(order: ReserveStock) -> None:
    await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))


def lines(sku: str, quantity: int) -> tuple[StockLine, ...]:
    return (StockLine(sku, SELLER, quantity),)


async def on_hand(sku: str) -> int:
    return int(await db.value("SELECT sum(on_hand) FROM inventory.stock WHERE sku = $1", sku))


async def test_an_order_leaves_the_stores(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 10)
    order = ask(("MUG", 3))
    await confirm(order)
    shipped = await inventory.ship_stock(ShipStock(order.order_id))
    assert shipped.status == "shipped"
    with as_seller():
        stock = await inventory.get_stock(store_id, "MUG")
        left, _ = (await inventory.list_movements(store_id, "MUG", 10, None)).items
    assert (stock.on_hand, stock.reserved) == (7, 0)
    assert (left.kind, left.quantity, left.order_id) == ("shipped", -3, order.order_id)
    await check_books()


async def test_shipping_again_changes_nothing(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    order = ask(("MUG", 3))
    await confirm(order)
    twins = await asyncio.gather(*(inventory.ship_stock(ShipStock(order.order_id)) for _ in range(8)))
    assert len(set(twins)) == 1
    assert await inventory.ship_stock(ShipStock(order.order_id)) == twins[0]
    assert (await inventory.release_stock(ReleaseStock(order.order_id))).status == "shipped"
    assert await on_hand("MUG") == 7
    await check_books()


async def test_an_order_leaves_parcel_by_parcel(shop: Shop) -> None:
    await put_in_store("MUG", 2)
    await put_in_store("MUG", 3)
    order = ask(("MUG", 4))
    await confirm(order)
    first, second = new_id(), new_id()
    for _ in range(2):
        part = await inventory.ship_stock(ShipStock(order.order_id, lines("MUG", 3), first))
        assert (part.status, part.shipments) == ("confirmed", (first,))
        assert sum(line.shipped for line in part.lines) == 3
        assert await on_hand("MUG") == 2
    with pytest.raises(NotReserved) as refused:
        await inventory.ship_stock(ShipStock(order.order_id, lines("MUG", 2), second))
    assert (refused.value.asked, refused.value.left) == (2, 1)
    whole = await inventory.ship_stock(ShipStock(order.order_id, (), second))
    assert (whole.status, whole.shipments) == ("shipped", (first, second))
    assert await inventory.ship_stock(ShipStock(order.order_id)) == whole
    assert (await on_hand("MUG"), await available("MUG")) == (1, 1)
    await check_books()


async def test_parcels_of_one_order_at_once(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    order = ask(("MUG", 10))
    await confirm(order)
    await asyncio.gather(*(inventory.ship_stock(ShipStock(order.order_id, lines("MUG", 1), new_id())) for _ in range(10)))
    assert (await inventory.ship_stock(ShipStock(order.order_id))).status == "shipped"
    assert await on_hand("MUG") == 0
    await check_books()


async def test_what_has_not_left_can_be_given_back(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    order = ask(("MUG", 4))
    await confirm(order)
    await inventory.ship_stock(ShipStock(order.order_id, lines("MUG", 1), new_id()))
    assert (await inventory.release_stock(ReleaseStock(order.order_id))).status == "shipped"
    await confirm(order)
    await inventory.ship_stock(ShipStock(order.order_id))
    assert (await on_hand("MUG"), await available("MUG")) == (9, 9)
    await check_books()


async def test_nothing_leaves_for_an_order_that_is_not_paid(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    unpaid, given_up = ask(("MUG", 1)), ask(("MUG", 1))
    await inventory.reserve_stock(unpaid)
    await inventory.release_stock(ReleaseStock(given_up.order_id))
    for order, status in ((unpaid, "held"), (given_up, "released")):
        with pytest.raises(NotConfirmed) as refused:
            await inventory.ship_stock(ShipStock(order.order_id))
        assert (refused.value.reservation, refused.value.status) == (status, 409)
    with pytest.raises(NotFound):
        await inventory.ship_stock(ShipStock(new_id()))
    assert await on_hand("MUG") == 10


async def test_what_is_not_in_the_order_does_not_leave(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    await put_in_store("CUP", 10)
    order = ask(("MUG", 1))
    await confirm(order)
    with pytest.raises(NotReserved):
        await inventory.ship_stock(ShipStock(order.order_id, lines("CUP", 1), new_id()))
    assert await on_hand("CUP") == 10


async def test_many_orders_leave_at_once(shop: Shop) -> None:
    await put_in_store("MUG", 500)
    await put_in_store("CUP", 500)
    orders = [ask(("MUG", 2), ("CUP", 1)) for _ in range(100)]
    await asyncio.gather(*(confirm(order) for order in orders))
    shipped = await asyncio.gather(*(inventory.ship_stock(ShipStock(order.order_id)) for order in orders))
    assert {one.status for one in shipped} == {"shipped"}
    assert (await on_hand("MUG"), await on_hand("CUP")) == (300, 400)
    await check_books()
