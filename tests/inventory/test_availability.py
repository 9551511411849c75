"""What can be sold is told per seller, and per store of a product."""

from datetime import UTC, datetime

import pytest
from tests.conftest import asked_by
from tests.inventory.stock import SELLER, as_seller, ask, open_store, put_in_store
from tests.waiting import until

from souk import catalog, inventory
from souk.app import Shop
from souk.catalog.events import VariantAdded, VariantRemoved
from souk.catalog.products import remove_product
from souk.inventory import consumers
from souk.inventory.database import db
from souk.inventory.types import Availability, NewStore, StockCount
from souk.kit.errors import NotFound
from souk.kit.events import Delivered
from souk.kit.ids import new_id


async def hear(*events: VariantAdded | VariantRemoved) -> None:
    async with db.transaction() as tx:
        await consumers.learn_items(tx, tuple(Delivered(event, new_id(), datetime.now(UTC)) for event in events))


async def test_pieces_of_one_seller_add_up_over_stores(shop: Shop) -> None:
    await put_in_store("MUG", 2)
    await put_in_store("MUG", 3)
    other = new_id()
    await put_in_store("MUG", 7, other)
    await inventory.reserve_stock(ask(("MUG", 1)))
    found = await inventory.get_availability(("MUG", "CUP"))
    assert set(found) == {Availability("MUG", SELLER, 4), Availability("MUG", other, 7)}


async def test_a_product_is_available_per_store(shop: Shop) -> None:
    product_id = new_id()
    mug, cup = VariantAdded(product_id, SELLER, new_id(), "MUG"), VariantAdded(product_id, SELLER, new_id(), "CUP")
    await hear(mug, cup)
    first, second = await open_store(), await open_store()
    with as_seller():
        await inventory.set_stock_levels(tuple(StockCount(store.id, sku, 5) for store in (first, second) for sku in ("MUG", "CUP")))
    with as_seller(new_id()), pytest.raises(NotFound):
        await inventory.set_stock(StockCount(first.id, "MUG", 9))
    await inventory.reserve_stock(ask(("MUG", 2)))
    page = await inventory.list_product_availability(product_id, 3, None)
    rest = await inventory.list_product_availability(product_id, 3, page.next)
    found = {(row.sku, row.store_id): (row.name, row.country, row.available) for row in (*page.items, *rest.items)}
    assert found == {
        ("CUP", first.id): ("A store", "DE", 5),
        ("CUP", second.id): ("A store", "DE", 5),
        ("MUG", first.id): ("A store", "DE", 3),
        ("MUG", second.id): ("A store", "DE", 5),
    }


async def test_a_variant_that_is_gone_is_not_available(shop: Shop) -> None:
    product_id = new_id()
    mug, cup = VariantAdded(product_id, SELLER, new_id(), "MUG"), VariantAdded(product_id, SELLER, new_id(), "CUP")
    await put_in_store("MUG", 5)
    await hear(mug, cup, VariantRemoved(product_id, mug.variant_id, "MUG"))
    assert (await inventory.list_product_availability(product_id, 10, None)).items == ()
    await hear(VariantRemoved(product_id, cup.variant_id, "CUP"), mug)
    assert [row.sku for row in (await inventory.list_product_availability(product_id, 10, None)).items] == ["MUG"]
    await hear(VariantRemoved(product_id, mug.variant_id, "MUG"))
    with pytest.raises(NotFound):
        await inventory.list_product_availability(product_id, 10, None)


async def test_a_sku_that_went_over_to_another_product_is_not_forgotten_with_the_first(shop: Shop) -> None:
    first, second = new_id(), new_id()
    added, removed = VariantAdded(first, SELLER, new_id(), "MUG"), VariantRemoved(first, new_id(), "MUG")
    again = VariantAdded(second, SELLER, new_id(), "MUG")
    await put_in_store("MUG", 5)
    await hear(added)
    await hear(again, removed)
    assert [row.sku for row in (await inventory.list_product_availability(second, 10, None)).items] == ["MUG"]
    await hear(VariantRemoved(second, again.variant_id, "MUG"), removed)
    with pytest.raises(NotFound):
        await inventory.list_product_availability(second, 10, None)


async def test_the_catalogue_tells_of_its_variants_by_itself(working_shop: Shop) -> None:
    new = catalog.NewProduct("A mug", (catalog.NewVariant("MUG", (catalog.Price(1000, "USD"),)),), seller_id=SELLER)
    with asked_by("admin"):
        (product,) = await catalog.create_products((new,))
    await put_in_store("MUG", 3)

    async def shown() -> bool:
        try:
            return bool((await inventory.list_product_availability(product.id, 10, None)).items)
        except NotFound:
            return False

    await until(shown)
    with as_seller(new_id()), pytest.raises(NotFound):
        other = await inventory.create_store(NewStore("Theirs", "DE"))
        await inventory.set_stock(StockCount(other.id, "MUG", 1))


async def test_stock_of_a_sku_outlives_its_product(working_shop: Shop) -> None:
    new = catalog.NewProduct("A mug", (catalog.NewVariant("MUG", (catalog.Price(1000, "USD"),)),), seller_id=SELLER, status="published")

    async def list_mug() -> catalog.Product:
        with asked_by("admin"):
            return (await catalog.create_products((new,)))[0]

    async def shows(product: catalog.Product, pieces: int) -> bool:
        return [one.stock_available for one in await catalog.get_products((product.id,))] == [pieces]

    first = await list_mug()
    store_id = await put_in_store("MUG", 3)
    await until(lambda: shows(first, 3))
    with asked_by("admin"):
        await remove_product(first.id)
    second = await list_mug()
    assert await shows(second, 3)
    with as_seller():
        await inventory.set_stock(StockCount(store_id, "MUG", 5))
    await until(lambda: shows(second, 5))
