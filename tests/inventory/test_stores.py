"""Sellers keep their own stores; nobody else sees them."""

import asyncio

import pytest
from tests.conftest import asked_by
from tests.inventory.stock import SELLER, as_seller, ask, available, check_books, open_store, put_in_store

from souk import inventory
from souk.app import Shop
from souk.inventory.types import NewStore, OutOfStock, StockCount, StoreChange, StoreNotEmpty
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound, Stale
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id


async def test_a_seller_opens_changes_and_closes_a_store(shop: Shop) -> None:
    with as_seller():
        store = await inventory.create_store(NewStore("Leipzig", "DE"))
        assert (store.seller_id, store.active, store.priority, store.version) == (SELLER, True, 100, 1)
        changed = await inventory.update_store(store.id, StoreChange(name="Halle", priority=1))
        assert (changed.name, changed.country, changed.priority, changed.version) == ("Halle", "DE", 1, 2)
        assert changed.updated_at > store.updated_at
        assert await inventory.get_store(store.id) == changed
        await inventory.delete_store(store.id)
        with pytest.raises(NotFound):
            await inventory.get_store(store.id)


async def test_another_sellers_store_is_not_there(shop: Shop) -> None:
    store = await open_store()
    with as_seller(new_id()):
        for asked in (
            inventory.get_store(store.id),
            inventory.update_store(store.id, StoreChange(name="Mine")),
            inventory.delete_store(store.id),
            inventory.list_stock(store.id, 10, None),
            inventory.get_stock(store.id, "MUG"),
            inventory.set_stock(StockCount(store.id, "MUG", 1)),
            inventory.set_threshold(store.id, "MUG", 1),
            inventory.list_movements(store.id, None, 10, None),
            inventory.set_stock_levels((StockCount(store.id, "MUG", 1),)),
        ):
            with pytest.raises(NotFound):
                await asked
        with pytest.raises(NotFound):
            await inventory.create_store(NewStore("Not mine", "DE", seller_id=SELLER))
        assert (await inventory.list_stores(None, 10, None)).items == ()
        assert (await inventory.list_stores(SELLER, 10, None)).items == ()


async def test_an_admin_sees_all_stores_and_names_the_seller(shop: Shop) -> None:
    first, second = await open_store(), await open_store(new_id())
    with asked_by("admin"):
        assert [one.id for one in (await inventory.list_stores(None, 10, None)).items] == [first.id, second.id]
        assert [one.id for one in (await inventory.list_stores(second.seller_id, 10, None)).items] == [second.id]
        with pytest.raises(InvalidField, match="seller_id"):
            await inventory.create_store(NewStore("Whose?", "DE"))
        assert (await inventory.create_store(NewStore("Theirs", "DE", seller_id=SELLER))).seller_id == SELLER


async def test_who_sells_nothing_opens_no_store_and_who_sells_for_two_says_for_which(shop: Shop) -> None:
    with asked_by("buyer"), pytest.raises(Forbidden):
        await inventory.create_store(NewStore("A dream", "DE"))
    sellers = (new_id(), new_id())
    with asked_by("seller", sells_for=sellers):
        with pytest.raises(InvalidField, match="seller_id"):
            await inventory.create_store(NewStore("Whose?", "DE"))
        assert (await inventory.create_store(NewStore("Ours", "DE", seller_id=sellers[1]))).seller_id == sellers[1]


async def test_stores_are_listed_page_by_page(shop: Shop) -> None:
    stores = [await open_store() for _ in range(5)]
    seen = []
    cursor = None
    with as_seller():
        while True:
            page = await inventory.list_stores(None, 2, cursor)
            seen += [store.id for store in page.items]
            cursor = page.next
            if cursor is None:
                break
    assert seen == [store.id for store in stores]


async def test_a_repeated_request_opens_one_store(shop: Shop) -> None:
    who = Principal("user", new_id(), ("seller",), (SELLER,))
    with asking(Caller(who, idempotency_key="open-1")):
        twins = await asyncio.gather(*(inventory.create_store(NewStore("Leipzig", "DE")) for _ in range(5)))
        assert len(set(twins)) == 1
        with pytest.raises(IdempotencyKeyReused):
            await inventory.create_store(NewStore("Halle", "DE"))
    with as_seller():
        assert len((await inventory.list_stores(None, 10, None)).items) == 1


async def test_nobody_overwrites_a_change_that_they_have_not_seen(shop: Shop) -> None:
    store = await open_store()
    with as_seller():
        names = (f"Name {number}" for number in range(5))
        changes = [inventory.update_store(store.id, StoreChange(name=name, version=store.version)) for name in names]
        answers = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(answer, Stale) for answer in answers) == 4


async def test_a_store_with_stock_cannot_be_closed(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 3)
    with as_seller():
        with pytest.raises(StoreNotEmpty) as refused:
            await inventory.delete_store(store_id)
        assert (refused.value.sku, refused.value.on_hand) == ("MUG", 3)
        await inventory.set_stock(StockCount(store_id, "MUG", 0))
        await inventory.delete_store(store_id)
    await check_books()


async def test_a_store_is_closed_or_gets_a_delivery_but_not_both(shop: Shop) -> None:
    for _ in range(10):
        store_id = await put_in_store("MUG", 0)
        with as_seller():
            closed, delivered = await asyncio.gather(
                inventory.delete_store(store_id), inventory.set_stock(StockCount(store_id, "MUG", 5)), return_exceptions=True
            )
        assert isinstance(closed, StoreNotEmpty) != isinstance(delivered, NotFound)
    await check_books()


async def test_nothing_is_sold_out_of_a_store_that_is_not_active(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 3)
    with as_seller():
        await inventory.update_store(store_id, StoreChange(active=False))
        await check_books()
        assert await inventory.get_availability(("MUG",)) == ()
        with pytest.raises(OutOfStock):
            await inventory.reserve_stock(ask(("MUG", 1)))
        await inventory.set_stock(StockCount(store_id, "MUG", 4))
        await check_books()
        await inventory.update_store(store_id, StoreChange(active=True))
    await inventory.reserve_stock(ask(("MUG", 1)))
    assert await available("MUG") == 3
    await check_books()
