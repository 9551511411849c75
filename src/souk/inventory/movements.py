"""Pieces that come, go or are counted anew: each change of what lies in a store has its movement."""

from uuid import UUID

from souk.inventory.database import db
from souk.inventory.levels import Change, Place, change_on_hand, lock_levels, make_change
from souk.inventory.stores import get_store, keep_stores
from souk.inventory.types import (
    MOST_PIECES,
    Movement,
    MovementKind,
    NewMovement,
    RecordedMovement,
    Stock,
    StockReserved,
    TooManyPieces,
)
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once

MOVEMENT = "id, store_id, sku, kind, delta AS quantity, reason, order_id, actor_id, other_store_id, created_at"
FIND_MOVEMENTS = f"SELECT {MOVEMENT} FROM inventory.movement WHERE id = ANY($1) ORDER BY id"
LIST_MOVEMENTS = f"SELECT {MOVEMENT} FROM inventory.movement WHERE store_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
LIST_MOVEMENTS_OF_SKU = f"""
    SELECT {MOVEMENT} FROM inventory.movement WHERE store_id = $1 AND sku = $4 AND id < $2 ORDER BY id DESC LIMIT $3
"""
# A SKU that the catalogue has not told of yet may be stocked; another seller's may not.
FIND_FOREIGN = "SELECT sku FROM inventory.item WHERE sku = ANY($1) AND seller_id <> $2 LIMIT 1"

NEWEST = UUID(int=2**128 - 1)


@exposed()
async def record_movement(store_id: UUID, request: NewMovement) -> RecordedMovement:
    """Receive pieces, correct their number, or bring them to another store of the same seller.

    The same Idempotency-Key moves them once. Raises NotFound for another's store or SKU, StockReserved if fewer would be left
    than are set aside for orders.
    """
    check_quantity(request)

    async def work(tx: Transaction) -> RecordedMovement:
        seller_id = await find_seller(tx, store_id, request.to_store_id)
        await check_seller(tx, [request.sku], seller_id)
        changes = make_changes(store_id, request)
        places = [(change.store_id, change.sku) for change in changes]
        locked = await lock_levels(tx, places)
        for change in changes:
            check_room(locked[change.store_id, change.sku], change.delta)
        await change_on_hand(tx, changes)
        movements = await tx.all(Movement, FIND_MOVEMENTS, [change.id for change in changes])
        after = await lock_levels(tx, places)
        return RecordedMovement(movements, tuple(after[place] for place in places))

    return await once(db, (store_id, request), work)


@exposed()
async def list_movements(store_id: UUID, sku: str | None, limit: int, cursor: str | None) -> Page[Movement]:
    """What came to a store and left it, the newest first. Changes nothing; another's store is NotFound."""
    await get_store(store_id)
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    if sku is None:
        rows = await db.all(Movement, LIST_MOVEMENTS, store_id, before, limit + 1)
    else:
        rows = await db.all(Movement, LIST_MOVEMENTS_OF_SKU, store_id, before, limit + 1, sku)
    return make_page(rows, limit, lambda movement: (movement.id,))


async def find_seller(tx: Transaction, store_id: UUID, to_store_id: UUID | None) -> UUID:
    """Whose pieces move; raises NotFound unless the store, and the one to which they go, belong to one of the caller's sellers."""
    stores = await keep_stores(tx, {store_id, to_store_id or store_id})
    sellers = {store.seller_id for store in stores.values()}
    if len(sellers) > 1:
        raise NotFound
    return sellers.pop()


async def check_seller(tx: Transaction, skus: list[str], seller_id: UUID) -> None:
    """Raise NotFound if one of these SKUs is another seller's."""
    if await tx.value(FIND_FOREIGN, skus, seller_id) is not None:
        raise NotFound


def check_quantity(request: NewMovement) -> None:
    """Raise InvalidField unless the numbers and the other store make sense for this kind of movement."""
    if request.quantity == 0 or (request.quantity < 0 and request.kind != "adjust"):
        raise InvalidField("quantity", "is to be above zero, or below it to adjust")
    if (request.to_store_id is not None) != (request.kind == "transfer"):
        raise InvalidField("to_store_id", "is due for a transfer and for nothing else")


def make_changes(store_id: UUID, request: NewMovement) -> tuple[Change, ...]:
    """The movement of a request, or the two of a transfer."""
    place = (store_id, request.sku)
    if request.to_store_id is None:
        kinds: dict[str, MovementKind] = {"receive": "received", "adjust": "adjusted"}
        return (make_change(place, kinds[request.kind], request.quantity, request.reason),)
    if request.to_store_id == store_id:
        raise InvalidField("to_store_id", "is the store itself")
    there: Place = (request.to_store_id, request.sku)
    return (
        make_change(place, "transferred", -request.quantity, request.reason, request.to_store_id),
        make_change(there, "transferred", request.quantity, request.reason, store_id),
    )


def check_room(stock: Stock, delta: int) -> None:
    """Raise StockReserved if fewer pieces would be left than are set aside, TooManyPieces if there would be too many."""
    left = stock.on_hand + delta
    if left < stock.reserved:
        raise StockReserved(stock.store_id, stock.sku, stock.on_hand, stock.reserved)
    if left > MOST_PIECES:
        raise TooManyPieces(stock.sku, stock.on_hand)
