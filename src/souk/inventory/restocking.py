"""Put pieces of an order that came back into the store from which they had left."""

import logging
from collections.abc import Collection, Mapping
from uuid import UUID

import msgspec

from souk.inventory.levels import Change, change_on_hand, lock_levels
from souk.inventory.stores import KEEP_STORES, STORE
from souk.inventory.types import Store
from souk.kit.db import Transaction
from souk.kit.ids import new_id

log = logging.getLogger(__name__)

# Of several stores the one that sent most. That it has left is told by others, and may come later than that it is back.
FIND_SENDERS = """
    SELECT DISTINCT ON (order_id, sku) order_id, sku, store_id FROM inventory.reservation_line
    WHERE order_id = ANY($1)
    ORDER BY order_id, sku, shipped DESC, store_id
"""
KEEP_STORES_OF_SELLERS = f"SELECT {STORE} FROM inventory.store WHERE seller_id = ANY($1) ORDER BY id FOR KEY SHARE"


class Piece(msgspec.Struct, frozen=True):
    """What comes back, to whom, and for which order it had left."""

    order_id: UUID
    seller_id: UUID
    sku: str


class _Sent(msgspec.Struct, frozen=True):
    order_id: UUID
    sku: str
    store_id: UUID


async def restock(tx: Transaction, back: Mapping[Piece, int]) -> None:
    """Let so many pieces come back. The caller sees to it that it is told once.

    Where their store is gone they lie in another of their seller's; a seller who has none keeps them outside of the books.
    """
    stores = await find_stores(tx, back.keys())
    for piece in back.keys() - stores.keys():
        log.warning("returned_to_no_store", extra={"order_id": str(piece.order_id), "sku": piece.sku, "quantity": back[piece]})
    await lock_levels(tx, {(store_id, piece.sku) for piece, store_id in stores.items()})
    changes = (
        Change(new_id(), store_id, piece.sku, "returned", back[piece], "returned", piece.order_id) for piece, store_id in stores.items()
    )
    await change_on_hand(tx, tuple(changes))


async def find_stores(tx: Transaction, pieces: Collection[Piece]) -> dict[Piece, UUID]:
    """Where these pieces go: to stores none of which is closed for good until the transaction ends."""
    sent = await tx.all(_Sent, FIND_SENDERS, sorted({piece.order_id for piece in pieces}))
    senders = {(one.order_id, one.sku): one.store_id for one in sent}
    kept = {store.id for store in await tx.all(Store, KEEP_STORES, list(senders.values()))}
    found = {piece: store_id for piece in pieces if (store_id := senders.get((piece.order_id, piece.sku))) in kept}
    if lost := [piece for piece in pieces if piece not in found]:
        others = await tx.all(Store, KEEP_STORES_OF_SELLERS, sorted({piece.seller_id for piece in lost}))
        nearest = {store.seller_id: store.id for store in sorted(others, key=lambda one: (one.active, -one.priority))}
        found |= {piece: nearest[piece.seller_id] for piece in lost if piece.seller_id in nearest}
    return found
