"""Product pages as everybody sees them, kept in memory until a fact says that they have changed; their stock for half a second."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from souk.catalog import media
from souk.catalog.database import db
from souk.catalog.events import (
    CategoryChanged,
    ListingsHidden,
    ListingsShown,
    PriceChanged,
    ProductChanged,
    ProductPublished,
    ProductRemoved,
    VariantAdded,
    VariantRemoved,
)
from souk.catalog.reading import READ_PRODUCTS, get_products
from souk.catalog.settings import shop
from souk.catalog.types import Product
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.kit.events import Delivered, remembers
from souk.kit.memory import Memory

# A subquery, not a join: of a join PostgreSQL may think that it is cheaper to read the whole table of levels.
FIND_STOCK = """
    SELECT v.product_id, v.sku,
           (SELECT coalesce(sum(l.available), 0)::bigint FROM catalog.stock_level AS l
            WHERE l.sku = v.sku AND l.seller_id = v.seller_id) AS available
    FROM catalog.variant AS v
    WHERE v.product_id = ANY($1)
"""

# A page takes some kilobytes; those that are looked at most are few.
PAGES_KEPT = 20_000
# The stock on a page is at most a second old: half of it here, and what inventory's news takes to come to the table.
STOCK_KEPT_S = 0.5

OfMany = CategoryChanged | ListingsHidden | ListingsShown


class _Level(msgspec.Struct, frozen=True):
    product_id: UUID
    sku: str
    available: int


async def load_pages(ids: Sequence[UUID]) -> Mapping[UUID, Product]:
    """Published products, with prices in the shop's own currency first."""
    seen_by_everybody: tuple[object, ...] = (shop.now.currencies[0], media.base_url(), False, [])
    return {product.id: product for product in await db.all(Product, READ_PRODUCTS, list(ids), *seen_by_everybody)}


async def load_stock(ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, int]]:
    """How many pieces of each SKU of these products can be sold."""
    found: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for level in await db.all(_Level, FIND_STOCK, list(ids)):
        found[level.product_id][level.sku] = level.available
    return found


pages = Memory(load_pages, PAGES_KEPT)
stock = Memory(load_stock, PAGES_KEPT, age_s=STOCK_KEPT_S)


@remembers(
    pages,
    *(ProductChanged, ProductPublished, ProductRemoved, PriceChanged, VariantAdded, VariantRemoved),
    *(CategoryChanged, ListingsHidden, ListingsShown),
)
def forget_pages(news: tuple[Delivered[ProductChanged | OfMany], ...]) -> None:
    """What has changed is read again when somebody asks for it."""
    if any(isinstance(one.event, OfMany) for one in news):
        pages.clear()
    else:
        changed = {one.event.product_id for one in news if not isinstance(one.event, OfMany)}
        pages.forget(changed)
        stock.forget(changed)


@exposed()
async def get_product(product_id: UUID, currency: str | None = None) -> Product:
    """One product with the stock of this second, prices in this currency where it has one. Changes nothing.

    Raises NotFound for what does not exist, and for what is not published unless it is the caller's.
    """
    who = caller().principal
    if who.is_admin or who.seller_ids or currency not in (None, shop.now.currencies[0]):
        found = await get_products((product_id,), currency)
        if not found:
            raise NotFound
        return found[0]
    page = await pages.get(product_id)
    if page is None:
        raise NotFound
    return with_stock(page, await stock.get(product_id) or {})


def with_stock(page: Product, levels: Mapping[str, int]) -> Product:
    """The page with what can be sold now."""
    variants = tuple(
        variant
        if variant.stock_available == (available := levels.get(variant.sku, 0))
        else msgspec.structs.replace(variant, stock_available=available)
        for variant in page.variants
    )
    total = sum(variant.stock_available for variant in variants if not variant.archived)
    return msgspec.structs.replace(page, variants=variants, stock_available=total)
