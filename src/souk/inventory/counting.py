"""What lies in stores: read it, count it anew, and say at which number it is low."""

from collections.abc import Iterable
from uuid import UUID

from souk.inventory.alerts import Moved, watch_levels
from souk.inventory.database import db
from souk.inventory.levels import MOVED, STOCK, change_on_hand, lock_levels, make_change
from souk.inventory.movements import check_room, check_seller
from souk.inventory.stores import get_store, keep_stores
from souk.inventory.types import Sku, Stock, StockCount
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.kit.http import Page, make_page, read_cursor

FIND_STOCK = f"SELECT {STOCK} FROM inventory.stock AS s WHERE s.sku = $2 AND s.store_id = $1"
LIST_STOCK = f"SELECT {STOCK} FROM inventory.stock AS s WHERE s.store_id = $1 AND s.sku > $2 ORDER BY s.sku LIMIT $3"
SET_THRESHOLD = f"""
    UPDATE inventory.stock AS s SET threshold = $3, updated_at = now()
    FROM inventory.store AS place
    WHERE s.store_id = $1 AND s.sku = $2 AND place.id = s.store_id
    RETURNING {MOVED}
"""

# How many counts one transaction writes, so that none holds its locks for long.
COUNTS_AT_ONCE = 500
COUNTED = "counted"


@exposed()
async def get_stock(store_id: UUID, sku: str) -> Stock:
    """What lies in a store of one SKU. Changes nothing; NotFound if it never lay there or the store is another's."""
    await get_store(store_id)
    stock = await db.maybe(Stock, FIND_STOCK, store_id, sku)
    if stock is None:
        raise NotFound
    return stock


@exposed()
async def list_stock(store_id: UUID, limit: int, cursor: str | None) -> Page[Stock]:
    """What lies in a store, by SKU. Changes nothing; another's store is NotFound."""
    await get_store(store_id)
    (after,) = read_cursor(cursor, tuple[Sku]) or ("",)
    return make_page(await db.all(Stock, LIST_STOCK, store_id, after, limit + 1), limit, lambda stock: (stock.sku,))


@exposed()
async def set_stock(count: StockCount, reason: str | None = None) -> Stock:
    """Write down how many pieces of a SKU were counted in a store; the difference is a movement.

    Repeating changes nothing. Raises NotFound for another's store or SKU, StockReserved with the figures of now if more is set
    aside for orders than was counted.
    """
    async with db.transaction() as tx:
        await count_stock(tx, (count,), reason or COUNTED)
        return await tx.one(Stock, FIND_STOCK, count.store_id, count.sku)


@exposed(timeout=60.0)
async def set_stock_levels(counts: tuple[StockCount, ...]) -> int:
    """Write down many counts, 500 a transaction; how many of them changed something.

    Repeating changes nothing, also after it was interrupted. Raises what set_stock raises; then the 500 with the culprit are not written.
    """
    changed = 0
    for start in range(0, len(counts), COUNTS_AT_ONCE):
        async with db.transaction() as tx:
            changed += await count_stock(tx, counts[start : start + COUNTS_AT_ONCE], COUNTED)
    return changed


@exposed()
async def set_threshold(store_id: UUID, sku: str, threshold: int | None) -> Stock:
    """Say at how many available pieces the seller is to be told; None for never. An alert is raised or closed at once if it is due.

    Repeating changes nothing. Another's store is NotFound.
    """
    async with db.transaction() as tx:
        stores = await keep_stores(tx, [store_id])
        await check_seller(tx, [sku], stores[store_id].seller_id)
        await lock_levels(tx, [(store_id, sku)])
        moved = await tx.all(Moved, SET_THRESHOLD, store_id, sku, threshold)
        await publish(tx, *await watch_levels(tx, moved))
        return await tx.one(Stock, FIND_STOCK, store_id, sku)


async def count_stock(tx: Transaction, counts: tuple[StockCount, ...], reason: str) -> int:
    """Set levels to what was counted, the last count of each counts; how many changed."""
    await check_owners(tx, counts)
    counted = {(count.store_id, count.sku): count.on_hand for count in counts}
    locked = await lock_levels(tx, counted)
    deltas = {place: on_hand - locked[place].on_hand for place, on_hand in counted.items() if on_hand != locked[place].on_hand}
    for place, delta in deltas.items():
        check_room(locked[place], delta)
    await change_on_hand(tx, tuple(make_change(place, "adjusted", delta, reason) for place, delta in deltas.items()))
    return len(deltas)


async def check_owners(tx: Transaction, counts: Iterable[StockCount]) -> None:
    """Raise NotFound if one of the stores or one of the SKUs is another's."""
    skus: dict[UUID, list[str]] = {}
    for count in counts:
        skus.setdefault(count.store_id, []).append(count.sku)
    stores = await keep_stores(tx, skus)
    for store_id, its in skus.items():
        await check_seller(tx, its, stores[store_id].seller_id)
