"""Create, change and remove products."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.catalog import records
from souk.catalog.database import db
from souk.catalog.events import ProductRemoved, VariantRemoved
from souk.catalog.reading import MOST_AT_ONCE, read_products
from souk.catalog.records import ProductRow, VariantRow
from souk.catalog.sellers import check_owner, choose_seller
from souk.catalog.types import ExternalIdTaken, NewProduct, NewVariant, NotSellable, Product, ProductChange, SkuTaken
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import Conflict, InvalidField, NotFound, Stale
from souk.kit.events import publish
from souk.kit.idempotency import once
from souk.kit.ids import new_id

FIND_OWNERS = "SELECT id, seller_id FROM catalog.product WHERE id = ANY($1) ORDER BY id"
FIND_PRODUCT_VARIANTS = "SELECT id, sku FROM catalog.variant WHERE product_id = $1 ORDER BY id"
FORGET_PRODUCT = "DELETE FROM catalog.product WHERE id = $1"


class _Owner(msgspec.Struct, frozen=True):
    id: UUID
    seller_id: UUID


class _Variant(msgspec.Struct, frozen=True):
    id: UUID
    sku: str


@exposed(timeout=30.0)
async def create_products(new: tuple[NewProduct, ...]) -> tuple[Product, ...]:
    """Create up to 500 products with their variants, all of them or none.

    The same Idempotency-Key creates them once; so does a product id that the caller made. Raises Forbidden for who sells
    nothing, NotFound for another's seller, SkuTaken, ExternalIdTaken, UnknownCategory, CurrencyNotSold, NotSellable.
    """
    if len(new) > MOST_AT_ONCE:
        raise InvalidField("products", f"are to be at most {MOST_AT_ONCE}")
    wanted = [to_row(product) for product in new]
    variants = [to_variant(row, variant) for row, product in zip(wanted, new, strict=True) for variant in product.variants]
    check_skus(variants)

    async def work(tx: Transaction) -> tuple[Product, ...]:
        written = await records.add_products(tx, wanted)
        await records.add_variants(tx, [variant for variant in variants if variant.product_id in written])
        await require_known(tx, [row for row in wanted if row.id not in written])
        return await read_products(tx, tuple(row.id for row in wanted))

    return await once(db, new, work)


@exposed()
async def change_product(product_id: UUID, change: ProductChange, only_if: tuple[int, ...] | None = None) -> Product:
    """Change the fields that are given, if the product's version is one of `only_if`. What is the same already makes no new version.

    Raises NotFound for another's product, Stale, UnknownCategory, ExternalIdTaken, NotSellable when it is published without a variant.
    """
    async with db.transaction() as tx:
        product = await lock_product(tx, product_id, only_if)
        wanted = apply_change(product, change)
        if not records.is_same(wanted, product):
            if wanted.status == "published" and not wanted.live_variants:
                raise NotSellable
            await records.change_products(tx, [(product, wanted)])
            await records.touch_products(tx, [product_id])
        (shown,) = await read_products(tx, (product_id,))
    return shown


@exposed()
async def remove_product(product_id: UUID, only_if: tuple[int, ...] | None = None) -> None:
    """Remove a product for good, with variants, prices and images; orders keep what they froze. Its SKUs can be used again.

    To take it off sale only, archive it. Raises NotFound for another's product and when it is gone already, Stale.
    """
    async with db.transaction() as tx:
        product = await lock_product(tx, product_id, only_if)
        variants = await tx.all(_Variant, FIND_PRODUCT_VARIANTS, product_id)
        await records.drop_files(tx, product_id)
        await tx.run(FORGET_PRODUCT, product_id)
        await publish(
            tx,
            *(VariantRemoved(product_id, variant.id, variant.sku) for variant in variants),
            ProductRemoved(product_id, product.seller_id),
        )


async def lock_product(tx: Transaction, product_id: UUID, only_if: tuple[int, ...] | None = None) -> ProductRow:
    """A product of the caller's, which nobody else changes until the transaction ends; raises NotFound and Stale."""
    product = next(iter(await records.lock_products(tx, [product_id])), None)
    if product is None:
        raise NotFound
    check_owner(product.seller_id)
    if only_if is not None and product.version not in only_if:
        raise Stale
    return product


async def require_known(tx: Transaction, missing: list[ProductRow]) -> None:
    """Products that were not written are there already under the caller's id, or are refused."""
    if not missing:
        return
    known = {row.id: row.seller_id for row in await tx.all(_Owner, FIND_OWNERS, [product.id for product in missing])}
    for product in missing:
        if product.id not in known:
            raise ExternalIdTaken(product.external_id or "")
        if known[product.id] != product.seller_id:
            raise Conflict


def apply_change(product: ProductRow, change: ProductChange) -> ProductRow:
    """The product as it is to be. A new primary category takes the old one's place; `category_ids` are the others."""
    given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    primary = product.category_id if change.category_id is UNSET else change.category_id
    others = set(product.category_ids) - {product.category_id} if change.category_ids is UNSET else set(change.category_ids)
    given["category_ids"] = tuple(sorted(others | ({primary} if primary else set())))
    for name in ("name", "brand"):
        if isinstance(given.get(name), str):
            given[name] = given[name].strip()
    return msgspec.structs.replace(product, **given)


def to_row(new: NewProduct) -> ProductRow:
    """The product to write; raises what is wrong with it."""
    if new.status == "published" and not new.variants:
        raise NotSellable
    primary = {new.category_id} if new.category_id else set()
    return ProductRow(
        id=new.id or new_id(),
        seller_id=choose_seller(new.seller_id),
        name=new.name.strip(),
        external_id=new.external_id,
        description=new.description,
        brand=new.brand.strip() if new.brand else None,
        category_id=new.category_id,
        category_ids=tuple(sorted(primary | set(new.category_ids))),
        attributes=new.attributes,
        tax_category=new.tax_category,
        requires_shipping=new.requires_shipping,
        status=new.status,
    )


def to_variant(product: ProductRow, new: NewVariant) -> VariantRow:
    """The variant to write; raises CurrencyNotSold and PriceRepeated."""
    records.check_prices(new.sku, new.prices)
    return VariantRow(new_id(), product.id, product.seller_id, new.sku, new.prices, new.name, new.attributes, new.weight_g)


def check_skus(variants: list[VariantRow]) -> None:
    """Raises SkuTaken if two of the variants have one SKU."""
    seen: set[str] = set()
    for variant in variants:
        if variant.sku in seen:
            raise SkuTaken(variant.sku)
        seen.add(variant.sku)
