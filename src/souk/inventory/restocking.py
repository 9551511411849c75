"""Put pieces of an order that came back into the store from which they had left."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.inventory.levels import Change, change_on_hand, lock_levels
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.ids import new_id

# Of several stores the one that sent most.
FIND_STORES = """
    SELECT DISTINCT ON (order_id, sku) order_id, sku, store_id FROM inventory.reservation_line
    WHERE order_id = ANY($1) AND shipped > 0
    ORDER BY order_id, sku, shipped DESC, store_id
"""


class _Sent(msgspec.Struct, frozen=True):
    order_id: UUID
    sku: str
    store_id: UUID


async def restock(tx: Transaction, back: Sequence[tuple[UUID, str, int]]) -> None:
    """Let pieces (order, SKU, how many) come back. The caller sees to it that it is told once. Raises NotFound for what never left."""
    pieces: Counter[tuple[UUID, str]] = Counter()
    for order_id, sku, quantity in back:
        pieces[order_id, sku] += quantity
    wanted = {key: quantity for key, quantity in pieces.items() if quantity}
    if not wanted:
        return
    sent = await tx.all(_Sent, FIND_STORES, sorted({order_id for order_id, _ in wanted}))
    stores = {(one.order_id, one.sku): one.store_id for one in sent}
    if wanted.keys() - stores.keys():
        raise NotFound
    await lock_levels(tx, {(stores[key], key[1]) for key in wanted})
    changes = (Change(new_id(), stores[key], key[1], "returned", quantity, "returned", key[0]) for key, quantity in wanted.items())
    await change_on_hand(tx, tuple(changes))
