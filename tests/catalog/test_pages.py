"""Pages and variants in memory show what the tables hold: what this process changes at once, what another one changes a moment later."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from uuid import UUID

import PIL.Image
import pytest
from tests.catalog.goods import SELLER, as_admin, as_seller, create, mug, variant
from tests.waiting import until

from souk import catalog, inventory
from souk.app import Shop
from souk.catalog import categories, images, importing, pages, products, sellers, selling, settings, variants
from souk.catalog.database import db
from souk.catalog.merging import NumberedRow
from souk.catalog.rows import ImportRow
from souk.catalog.types import CategoryChange, ImageChange, NewCategory, Price, Product, ProductChange, VariantChange
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


async def test_a_page_in_memory_says_all_that_the_product_says(working_shop: Shop) -> None:
    odd = {"huge": 1e20, "tiny": 1e-300, "whole": 2.0, "quote": '"\\\u2028é', "nothing": None, "many": ["a", "b"], "yes": True}
    (product,) = await create(mug(variants=(variant("MUG-S", attributes=odd), variant("MUG-L")), attributes=odd, brand="Kumo"))
    assert await warm_page(product.id) == product


async def test_a_page_shows_a_change_of_another_process_a_moment_later(working_shop: Shop) -> None:
    (product,) = await create(mug())
    names = ["Stoneware mug"]

    async def shows_what_was() -> bool:
        before = await warm_page(product.id)
        names.append(f"Cup {len(names)}")
        await db.pool.execute(RENAME, product.id, names[-1])
        return (await pages.get_product(product.id, None)).name == before.name

    # That it was made is news, too, and may be heard between any two of these.
    await until(shows_what_was)
    await db.pool.execute(TELL, product.id)

    async def shows_it() -> bool:
        return (await pages.get_product(product.id, None)).name == names[-1]

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


async def keep_variant(sku: str) -> None:
    async def is_kept() -> bool:
        await catalog.get_variants((sku,))
        return selling.variants.peek(sku) is not None

    await until(is_kept)


async def test_what_is_bought_costs_what_it_costs_now(working_shop: Shop) -> None:
    (product,) = await create(mug())
    (variant,) = product.variants
    await keep_variant(variant.sku)
    with as_seller():
        await change_variant(product.id, variant.id, VariantChange(prices=(Price(5, "USD"),)), None)
    assert await price_of(variant.sku) == (Money(5, "USD"),)
    with as_seller():
        await products.remove_product(product.id, None)
    assert await catalog.get_variants((variant.sku, "UNKNOWN")) == ()


async def test_a_price_of_another_process_is_taken_a_moment_later(working_shop: Shop) -> None:
    (product,) = await create(mug())
    (variant,) = product.variants
    await keep_variant(variant.sku)
    await db.pool.execute("UPDATE catalog.price SET amount = 6 WHERE variant_id = $1", variant.id)
    await db.pool.execute(TELL, product.id)

    async def costs_six() -> bool:
        return await price_of(variant.sku) == (Money(6, "USD"),)

    await until(costs_six, within_s=1.0)


async def all_changes(product: Product, picture: bytes, found: UUID) -> AsyncIterator[str]:
    """Makes every change that shows of a product, one after the other."""
    (blue, red) = product.variants
    yield str(await products.change_product(product.id, ProductChange(name="Cup", tax_category="reduced", requires_shipping=False)))
    yield str(await products.change_product(product.id, ProductChange(category_id=found)))
    with as_admin():
        above = await categories.create_category(NewCategory("Above"))
        yield str(await categories.change_category(found, CategoryChange(parent_id=above.id)))
        yield str(await categories.change_category(found, CategoryChange(name="Renamed")))
    yield str(await products.change_product(product.id, ProductChange(category_id=None)))
    for change in (
        VariantChange(name="light"),
        VariantChange(attributes={"colour": "light"}),
        VariantChange(weight_g=7),
        VariantChange(prices=(Price(5, "USD"),)),
        VariantChange(archived=True),
        VariantChange(archived=False),
    ):
        yield str(await change_variant(product.id, blue.id, change))
    yield str(await variants.add_variant(product.id, variant("MUG-GREEN")))
    yield str(await variants.remove_variant(product.id, red.id))
    first = await images.add_image(product.id, picture, "first")
    yield "a picture"
    second = await images.add_image(product.id, picture, "second")
    yield str(await images.change_image(product.id, first.id, ImageChange(position=9)))
    yield str(await images.remove_image(product.id, second.id))
    row = ImportRow(sku="MUG-BLUE", name="Imported", prices=(Price(6, "USD"),), weight_g=9)
    yield str(await importing.import_rows((NumberedRow(1, row),), SELLER))
    for suspended in (True, False):
        async with db.transaction() as tx:
            await sellers.set_suspended(tx, SELLER, suspended=suspended)
        yield f"suspended: {suspended}"
    for status in ("archived", "published", "draft", "published"):
        yield str(await products.change_product(product.id, ProductChange(status=status)))
    yield str(await products.remove_product(product.id))
    yield str(await products.create_products((mug("MUG-BLUE", name="New"),)))


@pytest.fixture
def place_for_pictures(tmp_path: Path) -> Iterator[None]:
    home = settings.place.now.home
    settings.place.replace(home=tmp_path)
    yield
    settings.place.replace(home=home)


@pytest.mark.usefixtures("place_for_pictures")
async def test_whatever_changes_memory_says_what_the_tables_say(working_shop: Shop) -> None:
    skus = ("MUG-BLUE", "MUG-GREEN", "MUG-RED")
    with as_admin():
        category = await categories.create_category(NewCategory("Cups"))
    (product,) = await create(mug(variants=(variant("MUG-BLUE"), variant("MUG-RED"))))
    picture = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(picture, "PNG")
    seen: list[object] = []
    with as_seller():
        async for change in all_changes(product, picture.getvalue(), category.id):
            tables = {**await selling.load_variants(skus)}, {**await pages.load_pages((product.id,))}
            memory = await selling.variants.get_many(skus), await pages.pages.get_many((product.id,))
            assert memory == tables, change
            assert tables not in seen[-1:], f"changed nothing: {change}"
            seen.append(tables)
            # What was told at the commit comes once more, a moment later: then it stays in memory until the next change.
            await asyncio.sleep(0.05)
            await until(lambda tables=tables: is_kept(*tables))
    assert len(seen) > 20


async def is_kept(kept_variants: Mapping[str, object], kept_pages: Mapping[UUID, object]) -> bool:
    await selling.variants.get_many(kept_variants)
    await pages.pages.get_many(kept_pages)
    return all(selling.variants.peek(sku) for sku in kept_variants) and all(pages.pages.peek(one) for one in kept_pages)
