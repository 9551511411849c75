"""What comes back lies where it was sent from, or in another store of its seller."""

import asyncio
from uuid import UUID

import pytest
from tests.audit.history import check
from tests.inventory.stock import SELLER, as_seller, ask, available, check_books, open_store, put_in_store

from souk import inventory
from souk.app import Shop
from souk.inventory.database import db
from souk.inventory.restocking import Piece, restock
from souk.inventory.types import ConfirmStock, ReserveStock, ShipStock, StockCount, StoreChange, StoreNotEmpty


async def sell_out(pieces: int = 3) -> tuple[UUID, ReserveStock]:
    """A store whose mugs have all been sent for one order."""
    store_id = await put_in_store("MUG", pieces)
    order = ask(("MUG", pieces))
    await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))
    await inventory.ship_stock(ShipStock(order.order_id))
    return store_id, order


async def bring_back(order: ReserveStock, pieces: int) -> None:
    async with db.transaction() as tx:
        await restock(tx, {Piece(order.order_id, SELLER, "MUG"): pieces})


async def in_store(store_id: UUID) -> int:
    with as_seller():
        return (await inventory.get_stock(store_id, "MUG")).on_hand


async def is_healthy() -> bool:
    return (await check()).broken == 0


async def test_pieces_come_back_where_they_were_sent_from(shop: Shop) -> None:
    store_id, order = await sell_out()
    await open_store(priority=1)
    await bring_back(order, 2)
    assert await in_store(store_id) == 2
    await check_books()


async def test_what_was_sent_from_a_store_that_is_closed_for_good_comes_back_into_another(shop: Shop) -> None:
    store_id, order = await sell_out()
    idle, later, next_one = await open_store(priority=1), await open_store(priority=3), await open_store(priority=2)
    with as_seller():
        await inventory.update_store(idle.id, StoreChange(active=False))
        await inventory.delete_store(store_id)
    await bring_back(order, 2)
    assert await in_store(next_one.id) == await available("MUG") == 2
    assert later.id != next_one.id
    await check_books()
    assert await is_healthy()


async def test_what_comes_back_to_a_seller_without_a_store_lies_nowhere(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    store_id, order = await sell_out()
    with as_seller():
        await inventory.delete_store(store_id)
    await bring_back(order, 2)
    assert "returned_to_no_store" in caplog.text
    assert await db.value("SELECT count(*) FROM inventory.stock") == 0
    await check_books()
    assert await is_healthy()


async def test_what_comes_back_before_it_is_known_to_have_left_is_there_all_the_same(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 3)
    order = ask(("MUG", 3))
    await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))
    await bring_back(order, 2)
    assert await in_store(store_id) == 5
    await inventory.ship_stock(ShipStock(order.order_id))
    assert (await in_store(store_id), await available("MUG")) == (2, 2)
    await check_books()


async def test_a_store_to_which_something_comes_back_is_not_closed(shop: Shop) -> None:
    store_id, order = await sell_out()

    async def bring_back_slowly() -> None:
        async with db.transaction() as tx:
            await restock(tx, {Piece(order.order_id, SELLER, "MUG"): 1})
            await asyncio.sleep(0.3)

    async def close_meanwhile() -> None:
        await asyncio.sleep(0.1)
        await inventory.delete_store(store_id)

    with as_seller():
        _, closed = await asyncio.gather(bring_back_slowly(), close_meanwhile(), return_exceptions=True)
    assert isinstance(closed, StoreNotEmpty)
    assert await in_store(store_id) == 1
    await check_books()


async def test_a_store_is_closed_or_gets_its_pieces_back_but_not_both(shop: Shop) -> None:
    for _ in range(10):
        store_id, order = await sell_out()
        with as_seller():
            closed, back = await asyncio.gather(inventory.delete_store(store_id), bring_back(order, 1), return_exceptions=True)
            assert back is None
            if isinstance(closed, StoreNotEmpty):
                assert await in_store(store_id) == 1
                await inventory.set_stock(StockCount(store_id, "MUG", 0))
                await inventory.delete_store(store_id)
    await check_books()
