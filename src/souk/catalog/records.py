"""Write products, variants, prices and categories, many at once; whoever calls has checked who may and holds the locks."""

from collections.abc import Collection, Sequence
from uuid import UUID

import asyncpg
import msgspec

from souk.catalog.events import PriceChanged, ProductChanged, ProductPublished, VariantAdded
from souk.catalog.settings import shop
from souk.catalog.types import (
    Attributes,
    CurrencyNotSold,
    ExternalIdTaken,
    Price,
    PriceRepeated,
    ProductStatus,
    SkuTaken,
    UnknownCategory,
)
from souk.kit.db import Transaction, columns
from souk.kit.events import publish
from souk.kit.money import Money

ADD_PRODUCTS = """
    INSERT INTO catalog.product (id, seller_id, external_id, name, description, brand, category_id, attributes, tax_category,
                                 requires_shipping, status, rating_average, rating_count, published_at)
    SELECT u.id, u.seller_id, u.external_id, u.name, u.description, u.brand, u.category_id, u.attributes, u.tax_category,
           u.requires_shipping, u.status, u.rating_average::numeric(3,2), u.rating_count,
           CASE WHEN u.status = 'published' THEN now() END
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::jsonb[], $9::text[],
                $10::boolean[], $11::text[], $12::float8[], $13::bigint[])
         AS u (id, seller_id, external_id, name, description, brand, category_id, attributes, tax_category, requires_shipping,
               status, rating_average, rating_count)
    ORDER BY u.seller_id, u.external_id, u.id
    ON CONFLICT DO NOTHING
    RETURNING id
"""
# In the order of the SKUs, so that two writers that want the same ones wait for each other and cannot deadlock.
ADD_VARIANTS = """
    INSERT INTO catalog.variant (id, product_id, seller_id, sku, name, attributes, weight_g)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[], $7::bigint[])
         AS u (id, product_id, seller_id, sku, name, attributes, weight_g)
    ORDER BY u.sku
    ON CONFLICT (sku) DO NOTHING
    RETURNING id
"""
SET_PRICES = """
    INSERT INTO catalog.price (variant_id, currency, amount)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
    ON CONFLICT (variant_id, currency) DO UPDATE SET amount = excluded.amount, updated_at = now()
    WHERE catalog.price.amount <> excluded.amount
"""
FORGET_OTHER_PRICES = """
    DELETE FROM catalog.price AS old
    WHERE old.variant_id = ANY($1)
      AND NOT EXISTS (SELECT FROM unnest($1::uuid[], $2::text[]) AS u (variant_id, currency)
                      WHERE u.variant_id = old.variant_id AND u.currency = old.currency)
"""
FORGET_LOWEST_PRICES = "DELETE FROM catalog.lowest_price WHERE product_id = ANY($1)"
FIND_LOWEST_PRICES = """
    INSERT INTO catalog.lowest_price (product_id, currency, amount)
    SELECT v.product_id, m.currency, min(m.amount)
    FROM catalog.variant AS v JOIN catalog.price AS m ON m.variant_id = v.id
    WHERE v.product_id = ANY($1) AND NOT v.archived
    GROUP BY v.product_id, m.currency
"""
FIND_CATEGORIES = "SELECT id FROM catalog.category WHERE id = ANY($1) ORDER BY id FOR KEY SHARE"
PUT_IN_CATEGORIES = """
    INSERT INTO catalog.product_category (category_id, product_id)
    SELECT * FROM unnest($1::uuid[], $2::uuid[])
    ON CONFLICT DO NOTHING
"""
TAKE_OUT_OF_CATEGORIES = """
    DELETE FROM catalog.product_category AS old
    WHERE old.product_id = ANY($1)
      AND NOT EXISTS (SELECT FROM unnest($2::uuid[], $3::uuid[]) AS u (product_id, category_id)
                      WHERE u.product_id = old.product_id AND u.category_id = old.category_id)
"""
CHANGE_PRODUCTS = """
    UPDATE catalog.product AS p
    SET external_id = u.external_id, name = u.name, description = u.description, brand = u.brand, category_id = u.category_id,
        attributes = u.attributes, tax_category = u.tax_category, requires_shipping = u.requires_shipping, status = u.status,
        rating_average = u.rating_average::numeric(3,2), rating_count = u.rating_count,
        published_at = CASE WHEN u.status = 'published' THEN coalesce(p.published_at, now()) ELSE p.published_at END
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::jsonb[], $8::text[], $9::boolean[],
                $10::text[], $11::float8[], $12::bigint[])
         AS u (id, external_id, name, description, brand, category_id, attributes, tax_category, requires_shipping, status,
               rating_average, rating_count)
    WHERE p.id = u.id
"""
TOUCH_PRODUCTS = """
    UPDATE catalog.product SET version = version + 1, updated_at = now() WHERE id = ANY($1) RETURNING id, version
"""
CHANGE_VARIANTS = """
    UPDATE catalog.variant AS v
    SET name = u.name, attributes = u.attributes, weight_g = u.weight_g, archived = u.archived, version = v.version + 1, updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::bigint[], $5::boolean[]) AS u (id, name, attributes, weight_g, archived)
    WHERE v.id = u.id
"""
DROP_FILES = """
    INSERT INTO catalog.loose_file (file, remove_at)
    SELECT file, now() FROM catalog.image WHERE product_id = $1 AND ($2::uuid IS NULL OR id = $2)
"""
# Whoever changes anything of a product, its variants and images included, holds this lock, and reads only when it has it:
# a statement that waits for a lock still sees other tables as they were before.
LOCK_PRODUCTS = "SELECT id FROM catalog.product WHERE id = ANY($1) ORDER BY id FOR UPDATE"
FIND_PRODUCTS = """
    SELECT p.id, p.seller_id, p.external_id, p.name, p.description, p.brand, p.category_id, p.attributes, p.tax_category,
           p.requires_shipping, p.status, p.rating_average::float8 AS rating_average, p.rating_count, p.version,
           p.reviews_version > 0 AS reviewed,
           ARRAY(SELECT category_id FROM catalog.product_category WHERE product_id = p.id ORDER BY category_id) AS category_ids,
           (SELECT count(*) FROM catalog.variant WHERE product_id = p.id) AS variants,
           (SELECT count(*) FROM catalog.variant WHERE product_id = p.id AND NOT archived) AS live_variants
    FROM catalog.product AS p WHERE p.id = ANY($1)
    ORDER BY p.id
"""
FIND_VARIANTS_OF = """
    SELECT v.id, v.product_id, v.seller_id, v.sku, v.name, v.attributes, v.weight_g, v.archived, v.version,
           coalesce((SELECT jsonb_agg(jsonb_build_object('amount', m.amount, 'currency', m.currency) ORDER BY m.currency)
                     FROM catalog.price AS m WHERE m.variant_id = v.id), '[]') AS prices
    FROM catalog.variant AS v WHERE v.product_id = ANY($1)
    ORDER BY v.id
"""


class ProductRow(msgspec.Struct, frozen=True):
    """A product's own columns: to be written, or read while nobody else can change them."""

    id: UUID
    seller_id: UUID
    name: str
    external_id: str | None = None
    description: str = ""
    brand: str | None = None
    category_id: UUID | None = None
    category_ids: tuple[UUID, ...] = ()
    attributes: Attributes = {}
    tax_category: str = "standard"
    requires_shipping: bool = True
    status: ProductStatus = "draft"
    rating_average: float | None = None
    rating_count: int = 0
    reviewed: bool = False
    version: int = 1
    variants: int = 0
    live_variants: int = 0


class VariantRow(msgspec.Struct, frozen=True):
    """A variant's own columns: to be written, or read while nobody else can change them."""

    id: UUID
    product_id: UUID
    seller_id: UUID
    sku: str
    prices: tuple[Price, ...]
    name: str = ""
    attributes: Attributes = {}
    weight_g: int = 0
    archived: bool = False
    version: int = 1


class _Id(msgspec.Struct, frozen=True):
    id: UUID


class _Touched(msgspec.Struct, frozen=True):
    id: UUID
    version: int


async def lock_products(tx: Transaction, product_ids: Collection[UUID]) -> tuple[ProductRow, ...]:
    """Those of the products that exist, which nobody else changes until the transaction ends."""
    await tx.all(_Id, LOCK_PRODUCTS, list(product_ids))
    return await tx.all(ProductRow, FIND_PRODUCTS, list(product_ids))


async def add_products(tx: Transaction, products: Sequence[ProductRow]) -> set[UUID]:
    """Write new products without their variants, and tell which can be bought; the ids of those that were written.

    A product whose id or external id is taken is not written. Raises UnknownCategory.
    """
    if not products:
        return set()
    fields = (
        "id", "seller_id", "external_id", "name", "description", "brand", "category_id", "attributes", "tax_category",
        "requires_shipping", "status", "rating_average", "rating_count",
    )  # fmt: skip
    await require_categories(tx, {category_id for product in products for category_id in product.category_ids})
    written = {row.id for row in await tx.all(_Id, ADD_PRODUCTS, *columns(products, *fields))}
    new = [product for product in products if product.id in written]
    await put_in_categories(tx, [(product.id, category_id) for product in new for category_id in product.category_ids])
    await publish(tx, *(ProductPublished(product.id, product.seller_id) for product in new if product.status == "published"))
    return written


async def add_variants(tx: Transaction, variants: Sequence[VariantRow]) -> None:
    """Add variants to products and tell of them; raises SkuTaken. The versions of their products are the caller's to touch."""
    if not variants:
        return
    fields = ("id", "product_id", "seller_id", "sku", "name", "attributes", "weight_g")
    written = {row.id for row in await tx.all(_Id, ADD_VARIANTS, *columns(variants, *fields))}
    if taken := [variant.sku for variant in variants if variant.id not in written]:
        raise SkuTaken(taken[0])
    await set_prices(tx, {variant.id: variant.prices for variant in variants})
    await find_lowest_prices(tx, {variant.product_id for variant in variants})
    await publish(tx, *(VariantAdded(one.product_id, one.seller_id, one.id, one.sku) for one in variants))


async def change_products(tx: Transaction, changes: Sequence[tuple[ProductRow, ProductRow]]) -> None:
    """Write products (before, after) and tell which can be bought now; their versions are the caller's to touch.

    Raises UnknownCategory, and ExternalIdTaken for a seller's second one.
    """
    if not changes:
        return
    after = [wanted for _, wanted in changes]
    await require_categories(tx, {category_id for product in after for category_id in product.category_ids})
    fields = (
        "id", "external_id", "name", "description", "brand", "category_id", "attributes", "tax_category", "requires_shipping",
        "status", "rating_average", "rating_count",
    )  # fmt: skip
    try:
        await tx.run(CHANGE_PRODUCTS, *columns(after, *fields))
    except asyncpg.UniqueViolationError as taken:
        raise ExternalIdTaken(after[0].external_id or "") from taken
    places = [(product.id, category_id) for product in after for category_id in product.category_ids]
    ids, category_ids = [product_id for product_id, _ in places], [category_id for _, category_id in places]
    await tx.run(TAKE_OUT_OF_CATEGORIES, [product.id for product in after], ids, category_ids)
    await put_in_categories(tx, places)
    published = [wanted for product, wanted in changes if wanted.status == "published" != product.status]
    await publish(tx, *(ProductPublished(product.id, product.seller_id) for product in published))


async def change_variants(tx: Transaction, changes: Sequence[tuple[VariantRow, VariantRow]]) -> None:
    """Write variants (before, after) and tell of new prices; the versions of their products are the caller's to touch."""
    if not changes:
        return
    after = [wanted for _, wanted in changes]
    await tx.run(CHANGE_VARIANTS, *columns(after, "id", "name", "attributes", "weight_g", "archived"))
    priced = [wanted for variant, wanted in changes if wanted.prices != variant.prices]
    await set_prices(tx, {variant.id: variant.prices for variant in priced})
    await find_lowest_prices(tx, {variant.product_id for variant in after})
    await publish(tx, *(PriceChanged(one.product_id, one.sku, tuple(Money(p.amount, p.currency) for p in one.prices)) for one in priced))


async def touch_products(tx: Transaction, product_ids: Collection[UUID]) -> None:
    """Something that belongs to these products has changed: give them a new version and tell."""
    if product_ids:
        touched = await tx.all(_Touched, TOUCH_PRODUCTS, sorted(product_ids))
        await publish(tx, *(ProductChanged(row.id, row.version) for row in touched))


async def drop_files(tx: Transaction, product_id: UUID, image_id: UUID | None = None) -> None:
    """Let the files of a product's images, or of one of them, be removed."""
    await tx.run(DROP_FILES, product_id, image_id)


async def set_prices(tx: Transaction, prices: dict[UUID, tuple[Price, ...]]) -> None:
    """Give each variant exactly these prices."""
    if not prices:
        return
    owners = [variant_id for variant_id, those in prices.items() for _ in those]
    flat = [price for those in prices.values() for price in those]
    currencies, amounts = columns(flat, "currency", "amount")
    await tx.run(FORGET_OTHER_PRICES, owners, currencies)
    await tx.run(SET_PRICES, owners, currencies, amounts)


async def find_lowest_prices(tx: Transaction, product_ids: set[UUID]) -> None:
    """Derive the prices of lists again for products whose variants or prices have changed."""
    ids = sorted(product_ids)
    await tx.run(FORGET_LOWEST_PRICES, ids)
    await tx.run(FIND_LOWEST_PRICES, ids)


async def require_categories(tx: Transaction, wanted: set[UUID]) -> None:
    """Raises UnknownCategory unless all exist; they cannot be removed until the transaction ends."""
    if not wanted:
        return
    known = {row.id for row in await tx.all(_Id, FIND_CATEGORIES, sorted(wanted))}
    for missing in sorted(wanted - known):
        raise UnknownCategory(str(missing))


async def put_in_categories(tx: Transaction, places: Sequence[tuple[UUID, UUID]]) -> int:
    """Put products (first) in categories (second); how many were not there yet."""
    if not places:
        return 0
    return await tx.run(PUT_IN_CATEGORIES, [category_id for _, category_id in places], [product_id for product_id, _ in places])


def is_same(one: msgspec.Struct, other: msgspec.Struct) -> bool:
    """Whether two rows say the same. They are compared as JSON because in Python True == 1."""
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")


def check_prices(sku: str, prices: Sequence[Price]) -> None:
    """Raises CurrencyNotSold or PriceRepeated."""
    seen: set[str] = set()
    for price in prices:
        if price.currency not in shop.now.currencies:
            raise CurrencyNotSold(price.currency)
        if price.currency in seen:
            raise PriceRepeated(sku, price.currency)
        seen.add(price.currency)
