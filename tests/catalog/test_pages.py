"""Pages and variants in memory show what the tables hold: what this process changes at once, what another one changes a moment later."""

from uuid import UUID

import pytest
from tests.catalog.goods import SELLER, as_seller, create, mug
from tests.waiting import until

from souk import catalog, inventory
from souk.app import Shop
from souk.catalog import pages, products, selling
from souk.catalog.database import db
from souk.catalog.types import Price, Product, ProductChange, VariantChange
from souk.catalog.variants import change_variant
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.users.events import SellerApproved, SellerSuspended

RENAME = "UPDATE catalog.product SET name = $2, version = version + 1 WHERE id = $1"
TELL = """
    INSERT INTO catalog.outbox (event_id, type, aggregate_id, payload, request_id)
    VALUES (gen_random_uuid(), 'catalog.ProductChanged', $1, json_build_object('product_id', $1::uuid, 'version', 2), '')
"""
TELL_OF_SELLER = """
    INSERT INTO users.outbox (event_id, type, aggregate_id, payload, request_id)
    VALUES (gen_random_uuid(), $2, $1, json_build_object('seller_id', $1::uuid, 'user_id', $1::uuid), '')
"""


async def warm_page(product_id: UUID) -> Product:
    """The page, which is in memory from now on."""

    async def is_kept() -> bool:
        await pages.get_product(product_id, None)
        return pages.pages.peek(product_id) is not None

    await until(is_kept)
    return await pages.get_product(product_id, None)


async def price_of(sku: str) -> tuple[Money, ...]:
    (variant,) = await catalog.get_variants((sku,))
    return variant.prices


async def test_a_page_shows_a_change_of_this_process_at_once(working_shop: Shop) -> None:
    (product,) = await create(mug())
    assert await warm_page(product.id) == product
    with as_seller():
        await products.change_product(product.id, ProductChange(name="Cup"), None)
    assert (await pages.get_product(product.id, None)).name == "Cup"
    with as_seller():
        await products.remove_product(product.id, None)
    with pytest.raises(NotFound):
        await pages.get_product(product.id, None)


async def test_a_page_shows_a_change_of_another_process_a_moment_later(working_shop: Shop) -> None:
    (product,) = await create(mug())
    await warm_page(product.id)
    await db.pool.execute(RENAME, product.id, "Cup")
    assert (await pages.get_product(product.id, None)).name == "Stoneware mug"
    await db.pool.execute(TELL, product.id)

    async def shows_it() -> bool:
        return (await pages.get_product(product.id, None)).name == "Cup"

    await until(shows_it, within_s=2.0)


async def test_a_page_shows_the_stock_of_now(working_shop: Shop) -> None:
    (product,) = await create(mug())
    await warm_page(product.id)

    async def shows(pieces: int) -> bool:
        page = await pages.get_product(product.id, None)
        return page.stock_available == page.variants[0].stock_available == pieces

    with asking(Caller(SYSTEM)):
        store = await inventory.create_store(inventory.NewStore("Store", "DE", seller_id=SELLER))
        for pieces in (7, 3, 0):
            await inventory.set_stock_levels((inventory.StockCount(store.id, product.variants[0].sku, pieces),))
            await until(lambda pieces=pieces: shows(pieces), within_s=2.0)
    assert (await pages.get_product(product.id, None)).version == product.version


async def test_what_a_suspended_seller_offers_is_not_there(working_shop: Shop) -> None:
    (product,) = await create(mug())
    await warm_page(product.id)

    async def is_there(expected: bool) -> bool:
        try:
            return (await pages.get_product(product.id, None)).id == product.id and expected
        except NotFound:
            return not expected

    await db.pool.execute(TELL_OF_SELLER, SELLER, f"users.{SellerSuspended.__name__}")
    await until(lambda: is_there(False))
    assert [one.active for one in await catalog.get_variants((product.variants[0].sku,))] == [False]
    await db.pool.execute(TELL_OF_SELLER, SELLER, f"users.{SellerApproved.__name__}")
    await until(lambda: is_there(True))


async def test_a_seller_sees_the_draft_and_nobody_else_its_page(working_shop: Shop) -> None:
    (draft,) = await create(mug(status="draft"))
    with as_seller():
        assert (await pages.get_product(draft.id, None)).status == "draft"
    for _ in range(2):
        with pytest.raises(NotFound):
            await pages.get_product(draft.id, None)
    with pytest.raises(NotFound):
        await pages.get_product(new_id(), None)


async def test_what_is_bought_costs_what_it_costs_now(working_shop: Shop) -> None:
    (product,) = await create(mug())
    (variant,) = product.variants

    async def is_kept() -> bool:
        await price_of(variant.sku)
        return selling.variants.peek(variant.sku) is not None

    await until(is_kept)
    with as_seller():
        await change_variant(product.id, variant.id, VariantChange(prices=(Price(5, "USD"),)), None)
    assert await price_of(variant.sku) == (Money(5, "USD"),)
    await until(is_kept)
    # Another process, of which nothing was heard yet.
    await db.pool.execute("UPDATE catalog.price SET amount = 6 WHERE variant_id = $1", variant.id)
    await db.pool.execute(RENAME, product.id, "Cup")
    assert await price_of(variant.sku) == (Money(6, "USD"),)
    await db.pool.execute("DELETE FROM catalog.product WHERE id = $1", product.id)
    assert await catalog.get_variants((variant.sku, "UNKNOWN")) == ()
