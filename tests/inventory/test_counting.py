"""Stock is counted, and what is set aside for orders cannot be counted away."""

import asyncio

import pytest
from tests.inventory.stock import SELLER, as_seller, ask, check_books, count_events, open_store, put_in_store

from souk import inventory
from souk.app import Shop
from souk.inventory import availability
from souk.inventory.database import db
from souk.inventory.types import StockCount, StockReserved
from souk.kit.errors import NotFound
from souk.kit.ids import new_id


async def test_a_count_leaves_a_movement_for_the_difference(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 10)
    with as_seller():
        stock = await inventory.set_stock(StockCount(store_id, "MUG", 7), "two were broken, one is missing")
        assert (stock.on_hand, stock.reserved, stock.available) == (7, 0, 7)
        assert await inventory.get_stock(store_id, "MUG") == stock
        latest, first = (await inventory.list_movements(store_id, "MUG", 10, None)).items
    assert (latest.kind, latest.quantity, latest.reason) == ("adjusted", -3, "two were broken, one is missing")
    assert (first.kind, first.quantity, first.reason) == ("adjusted", 10, "counted")
    await check_books()


async def test_counting_the_same_again_changes_nothing(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 10)
    with as_seller():
        before = await inventory.get_stock(store_id, "MUG")
        told = await count_events("StockChanged")
        assert await inventory.set_stock(StockCount(store_id, "MUG", 10)) == before
        assert len((await inventory.list_movements(store_id, None, 10, None)).items) == 1
    assert await count_events("StockChanged") == told


async def test_what_is_set_aside_cannot_be_counted_away(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 10)
    await inventory.reserve_stock(ask(("MUG", 4)))
    with as_seller():
        with pytest.raises(StockReserved) as refused:
            await inventory.set_stock(StockCount(store_id, "MUG", 3))
        assert (refused.value.on_hand, refused.value.reserved) == (10, 4)
        assert (await inventory.set_stock(StockCount(store_id, "MUG", 4))).available == 0
    await check_books()


async def test_a_sku_that_never_lay_there_is_not_found(shop: Shop) -> None:
    store = await open_store()
    with as_seller(), pytest.raises(NotFound):
        await inventory.get_stock(store.id, "MUG")


async def test_another_sellers_sku_cannot_be_stocked(shop: Shop) -> None:
    store = await open_store()
    async with db.transaction() as tx:
        await availability.learn_items(tx, {"MUG": (new_id(), new_id()), "CUP": (new_id(), SELLER)})
    with as_seller():
        with pytest.raises(NotFound):
            await inventory.set_stock(StockCount(store.id, "MUG", 3))
        assert (await inventory.set_stock(StockCount(store.id, "CUP", 3))).available == 3


async def test_many_counts_at_once_and_again(shop: Shop) -> None:
    stores = [await open_store() for _ in range(2)]
    counts = tuple(StockCount(store.id, f"SKU-{number:04}", number) for store in stores for number in range(600))
    with as_seller():
        assert await inventory.set_stock_levels(counts) == 2 * 599
        assert await inventory.set_stock_levels(counts) == 0
        listed = await inventory.list_stock(stores[0].id, 100, None)
        assert [stock.on_hand for stock in listed.items] == list(range(100))
        assert (await inventory.list_stock(stores[0].id, 100, listed.next)).items[0].sku == "SKU-0100"
    await check_books()


async def test_counts_and_sales_at_once_stay_in_step(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 200)
    with as_seller():
        counts = [inventory.set_stock(StockCount(store_id, "MUG", 200 + number)) for number in range(20)]
        sales = [inventory.reserve_stock(ask(("MUG", 1))) for _ in range(50)]
        await asyncio.gather(*counts, *sales)
        assert (await inventory.get_stock(store_id, "MUG")).reserved == 50
    await check_books()
