"""How many pieces can be sold, as inventory last told."""

from collections.abc import Sequence

from souk.inventory.events import StockChanged
from souk.kit.db import Transaction

KEEP_LEVELS = """
    INSERT INTO catalog.stock_level (sku, store_id, seller_id, available, version)
    SELECT DISTINCT ON (u.sku, u.store_id) u.sku, u.store_id, u.seller_id, u.available, u.version
    FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[]) AS u (sku, store_id, seller_id, available, version)
    ORDER BY u.sku, u.store_id, u.version DESC
    ON CONFLICT (sku, store_id) DO UPDATE
    SET seller_id = excluded.seller_id, available = excluded.available, version = excluded.version, updated_at = now()
    WHERE catalog.stock_level.version < excluded.version
"""


async def keep_levels(tx: Transaction, changes: Sequence[StockChanged]) -> None:
    """Remember the newest level of each SKU in each store; an older one that comes late is dropped."""
    rows = [(level.sku, change.store_id, change.seller_id, level.available, level.version) for change in changes for level in change.levels]
    if rows:
        await tx.run(KEEP_LEVELS, *(list(column) for column in zip(*rows, strict=True)))
