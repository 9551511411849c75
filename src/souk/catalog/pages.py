"""Product pages as everybody sees them, kept in memory until a fact says that they have changed, with the stock of now."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from souk.catalog import media
from souk.catalog.database import db
from souk.catalog.events import OF_A_PRODUCT, OF_MANY, OfAProduct, OfMany, RatingShown
from souk.catalog.levels import Levels
from souk.catalog.reading import READ_PRODUCTS, get_products
from souk.catalog.settings import shop
from souk.catalog.types import Product
from souk.inventory.events import StockChanged
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.kit.events import Delivered, remembers
from souk.kit.memory import Memory
from souk.kit.sharing import Shared

# A page of one variant takes 1.7 kB, one of three variants and pictures 3.5 kB, a SKU 0.5 kB; those that are looked at most are few.
PAGES_KEPT = 32_000
SKUS_KEPT = 32_000


# As JSON a page takes about half of what its objects do, and the collector does not walk through it; reading it costs 4 us.
# MessagePack would be smaller, but has no integers as large as an attribute may be.
_decoder = msgspec.json.Decoder(Product)


async def load_pages(ids: Sequence[UUID]) -> Mapping[UUID, bytes]:
    """Published products as JSON, with prices in the shop's own currency first and without their stock."""
    seen_by_everybody: tuple[object, ...] = (shop.now.currencies[0], media.base_url(), False, [], False)
    products = await db.all(Product, READ_PRODUCTS, list(ids), *seen_by_everybody)
    # A copy, because what the encoder gives holds on to up to twice the memory that it needs.
    return {product.id: bytes(memoryview(msgspec.json.encode(product))) for product in products}


def check_page(page: bytes) -> bytes:
    """The page as it came; raises what the decoder raises if it is none."""
    _decoder.decode(page)
    return page


shared = Shared[UUID, bytes](
    "page", bytes, check_page, like=Product, depends_on=lambda: (shop.now.currencies[0], media.base_url())
)
pages = Memory(load_pages, PAGES_KEPT, shared=shared)
levels = Levels(SKUS_KEPT)


@remembers(pages, *OF_A_PRODUCT, RatingShown, *OF_MANY)
def forget_pages(news: tuple[Delivered[OfAProduct | RatingShown | OfMany], ...]) -> None:
    """What has changed is read again when somebody asks for it."""
    if any(isinstance(one.event, OfMany) for one in news):
        pages.clear()
    else:
        pages.forget({one.event.product_id for one in news if not isinstance(one.event, OfMany)})


@remembers(levels, StockChanged)
def hear_levels(news: tuple[Delivered[StockChanged], ...]) -> None:
    """What can be sold has changed."""
    levels.hear(one.event for one in news)


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
    kept = await pages.get(product_id)
    if kept is None:
        raise NotFound
    page = _decoder.decode(kept)
    return with_stock(page, await levels.find_available(page.seller_id, [variant.sku for variant in page.variants]))


def with_stock(page: Product, available: Mapping[str, int]) -> Product:
    """The page with what can be sold now."""
    variants = tuple(
        variant
        if variant.stock_available == available[variant.sku]
        else msgspec.structs.replace(variant, stock_available=available[variant.sku])
        for variant in page.variants
    )
    total = sum(variant.stock_available for variant in variants if not variant.archived)
    return msgspec.structs.replace(page, variants=variants, stock_available=total)
