"""Variants: what can be bought under a SKU."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.catalog import records
from souk.catalog.database import db
from souk.catalog.events import VariantRemoved
from souk.catalog.products import lock_product, to_variant
from souk.catalog.reading import read_products
from souk.catalog.records import ProductRow, VariantRow
from souk.catalog.types import MOST_VARIANTS, NewVariant, NotSellable, ProductVariant, TooManyVariants, VariantChange
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound, Stale
from souk.kit.events import publish
from souk.kit.idempotency import once

FORGET_VARIANT = "DELETE FROM catalog.variant WHERE id = $1"


@exposed()
async def add_variant(product_id: UUID, new: NewVariant) -> ProductVariant:
    """Add a variant to a product of the caller's; the same Idempotency-Key adds it once.

    Raises NotFound for another's product, SkuTaken, TooManyVariants, CurrencyNotSold, PriceRepeated.
    """

    async def work(tx: Transaction) -> ProductVariant:
        product = await lock_product(tx, product_id)
        if product.variants >= MOST_VARIANTS:
            raise TooManyVariants(MOST_VARIANTS)
        added = to_variant(product, new)
        await records.add_variants(tx, [added])
        await records.touch_products(tx, [product_id])
        return await read_variant(tx, product_id, added.id)

    return await once(db, (product_id, new), work)


@exposed()
async def change_variant(
    product_id: UUID, variant_id: UUID, change: VariantChange, only_if: tuple[int, ...] | None = None
) -> ProductVariant:
    """Change the fields that are given, if the variant's version is one of `only_if`. What is the same already makes no new version.

    Raises NotFound for another's, Stale, CurrencyNotSold, PriceRepeated, NotSellable when a published product would have none left.
    """
    async with db.transaction() as tx:
        product = await lock_product(tx, product_id)
        variant = await find_variant(tx, product_id, variant_id, only_if)
        given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
        wanted = msgspec.structs.replace(variant, **given)
        wanted = msgspec.structs.replace(wanted, prices=tuple(sorted(wanted.prices, key=lambda price: price.currency)))
        if not records.is_same(wanted, variant):
            records.check_prices(variant.sku, wanted.prices)
            if wanted.archived and not variant.archived:
                refuse_last(product)
            await records.change_variants(tx, [(variant, wanted)])
            await records.touch_products(tx, [product_id])
        return await read_variant(tx, product_id, variant_id)


@exposed()
async def remove_variant(product_id: UUID, variant_id: UUID, only_if: tuple[int, ...] | None = None) -> None:
    """Remove a variant for good; its SKU can be used again. Raises NotFound, Stale, NotSellable for a published product's last one."""
    async with db.transaction() as tx:
        product = await lock_product(tx, product_id)
        variant = await find_variant(tx, product_id, variant_id, only_if)
        if not variant.archived:
            refuse_last(product)
        await tx.run(FORGET_VARIANT, variant_id)
        await records.find_lowest_prices(tx, {product_id})
        await publish(tx, VariantRemoved(product_id, variant_id, variant.sku))
        await records.touch_products(tx, [product_id])


async def find_variant(tx: Transaction, product_id: UUID, variant_id: UUID, only_if: tuple[int, ...] | None) -> VariantRow:
    """A variant of a product that is locked; raises NotFound and Stale."""
    variants = await tx.all(VariantRow, records.FIND_VARIANTS_OF, [product_id])
    variant = next((one for one in variants if one.id == variant_id), None)
    if variant is None:
        raise NotFound
    if only_if is not None and variant.version not in only_if:
        raise Stale
    return variant


async def read_variant(tx: Transaction, product_id: UUID, variant_id: UUID) -> ProductVariant:
    """The variant as its seller sees it."""
    (product,) = await read_products(tx, (product_id,))
    return next(variant for variant in product.variants if variant.id == variant_id)


def refuse_last(product: ProductRow) -> None:
    """Raises NotSellable if a published product has one live variant only."""
    if product.status == "published" and product.live_variants == 1:
        raise NotSellable
