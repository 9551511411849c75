"""What can be sold of a SKU or a product, and which product a SKU belongs to."""

from collections.abc import Collection
from uuid import UUID

from souk.inventory.database import db
from souk.inventory.types import Availability, Sku, StoreAvailability
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor

SUM_UP = """
    SELECT s.sku, s.seller_id, sum(s.on_hand - s.reserved)::bigint AS available
    FROM inventory.stock AS s
    JOIN inventory.store AS place ON place.id = s.store_id AND place.active
    WHERE s.sku = ANY($1)
    GROUP BY s.sku, s.seller_id
    ORDER BY s.sku, s.seller_id
"""
HAS_ITEMS = "SELECT EXISTS (SELECT FROM inventory.item WHERE product_id = $1)"
LIST_OF_PRODUCT = """
    SELECT s.sku, s.store_id, place.name, place.country, s.on_hand - s.reserved AS available, s.updated_at
    FROM inventory.item AS i
    JOIN inventory.stock AS s ON s.sku = i.sku AND s.seller_id = i.seller_id
    JOIN inventory.store AS place ON place.id = s.store_id AND place.active
    WHERE i.product_id = $1 AND (s.sku, s.store_id) > ($2, $3)
    ORDER BY s.sku, s.store_id LIMIT $4
"""
LEARN_ITEMS = """
    INSERT INTO inventory.item (sku, product_id, seller_id)
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[]) AS u (sku, product_id, seller_id) ORDER BY u.sku
    ON CONFLICT (sku) DO UPDATE SET product_id = excluded.product_id, seller_id = excluded.seller_id, updated_at = now()
"""
FORGET_ITEMS = """
    DELETE FROM inventory.item AS i USING unnest($1::text[], $2::uuid[]) AS u (sku, product_id)
    WHERE i.sku = u.sku AND i.product_id = u.product_id
"""

FIRST = UUID(int=0)


@exposed()
async def get_availability(skus: tuple[str, ...]) -> tuple[Availability, ...]:
    """What each seller can sell of these SKUs; a SKU without stock is not in the answer. Changes nothing, refuses nobody."""
    return await db.all(Availability, SUM_UP, list(skus))


@exposed()
async def list_product_availability(product_id: UUID, limit: int, cursor: str | None) -> Page[StoreAvailability]:
    """What can be sold of a product's SKUs in each active store. Changes nothing; NotFound for a product without variants."""
    if not await db.value(HAS_ITEMS, product_id):
        raise NotFound
    after = read_cursor(cursor, tuple[Sku, UUID]) or ("", FIRST)
    rows = await db.all(StoreAvailability, LIST_OF_PRODUCT, product_id, *after, limit + 1)
    return make_page(rows, limit, lambda row: (row.sku, row.store_id))


async def learn_items(tx: Transaction, items: dict[str, tuple[UUID, UUID]]) -> None:
    """Remember which product, of which seller, these SKUs belong to."""
    products, sellers = [product_id for product_id, _ in items.values()], [seller_id for _, seller_id in items.values()]
    await tx.run(LEARN_ITEMS, list(items), products, sellers)


async def forget_items(tx: Transaction, items: Collection[tuple[str, UUID]]) -> None:
    """Forget SKUs that these products do not have any more. What lies in stores stays there."""
    await tx.run(FORGET_ITEMS, [sku for sku, _ in items], [product_id for _, product_id in items])
