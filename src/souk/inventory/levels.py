"""Change what lies in stores and what is set aside there, and tell of it: the only place where a stock level changes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from souk.inventory.alerts import Moved, watch_levels
from souk.inventory.events import StockArrived, StockChanged, StockLevel
from souk.inventory.types import MovementKind, Stock
from souk.kit.callers import caller
from souk.kit.db import Transaction, columns
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.kit.ids import new_id

STOCK = """
    s.store_id, s.seller_id, s.sku, s.on_hand, s.reserved, s.on_hand - s.reserved AS available, s.threshold, s.version,
    s.created_at, s.updated_at
"""
# With what news and alerts are made of.
MOVED = """
    s.store_id, s.seller_id, s.sku, s.on_hand - s.reserved AS available, s.threshold, s.version, place.active,
    EXISTS (SELECT FROM inventory.alert AS a WHERE a.store_id = s.store_id AND a.sku = s.sku AND a.closed_at IS NULL) AS alerted
"""
ADD_LEVELS = """
    INSERT INTO inventory.stock (store_id, sku, seller_id)
    SELECT place.id, u.sku, place.seller_id
    FROM unnest($1::uuid[], $2::text[]) AS u (store_id, sku)
    JOIN inventory.store AS place ON place.id = u.store_id
    ORDER BY u.sku, place.id
    ON CONFLICT DO NOTHING
"""
# Not joined with unnest: PostgreSQL 18.1 loses rows of such a join that it had to wait for. So it locks every pair of a store and a SKU.
LOCK_LEVELS = f"""
    SELECT {STOCK}
    FROM inventory.stock AS s
    WHERE s.store_id = ANY($1) AND s.sku = ANY($2)
    ORDER BY s.sku, s.store_id
    FOR UPDATE
"""
MOVE_LEVELS = f"""
    UPDATE inventory.stock AS s
    SET on_hand = s.on_hand + u.on_hand, reserved = s.reserved + u.reserved, version = s.version + 1, updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS u (store_id, sku, on_hand, reserved)
    JOIN inventory.store AS place ON place.id = u.store_id
    WHERE s.sku = u.sku AND s.store_id = u.store_id
    RETURNING {MOVED}
"""
LOCK_STORE_LEVELS = "SELECT s.sku FROM inventory.stock AS s WHERE s.store_id = $1 ORDER BY s.sku FOR UPDATE"
# The version rises, because what can be sold out of the store changes though its pieces do not.
TOUCH_STORE = f"""
    UPDATE inventory.stock AS s SET version = s.version + 1, updated_at = now()
    FROM inventory.store AS place
    WHERE place.id = $1 AND s.store_id = place.id
    RETURNING {MOVED}
"""
WRITE_MOVEMENTS = """
    INSERT INTO inventory.movement (id, store_id, sku, kind, delta, reason, order_id, other_store_id, actor_id)
    SELECT u.*, $9::uuid FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::uuid[], $8::uuid[]) AS u
"""

# An event has at most so many levels, so that it stays small however many SKUs a store has.
LEVELS_PER_EVENT = 500

Place = tuple[UUID, str]  # a store and a SKU


class Delta(msgspec.Struct, frozen=True):
    """By how much the counters of a level change."""

    on_hand: int = 0
    reserved: int = 0

    def __add__(self, other: "Delta") -> "Delta":
        return Delta(self.on_hand + other.on_hand, self.reserved + other.reserved)

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class Change(msgspec.Struct, frozen=True):
    """Pieces that come or go, and why."""

    id: UUID
    store_id: UUID
    sku: str
    kind: MovementKind
    delta: int
    reason: str
    order_id: UUID | None = None
    other_store_id: UUID | None = None


def make_change(place: Place, kind: MovementKind, delta: int, reason: str, other_store_id: UUID | None = None) -> Change:
    """A change of what lies in a store, with an id of its own."""
    return Change(new_id(), *place, kind, delta, reason, None, other_store_id)


async def lock_levels(tx: Transaction, places: Iterable[Place]) -> dict[Place, Stock]:
    """The levels of these SKUs in these stores, locked in the order of their keys; new ones begin with nothing.

    Raises NotFound if one of the stores is gone.
    """
    wanted = set(places)
    store_ids, skus = [store_id for store_id, _ in wanted], [sku for _, sku in wanted]
    await tx.run(ADD_LEVELS, store_ids, skus)
    locked = {(stock.store_id, stock.sku): stock for stock in await tx.all(Stock, LOCK_LEVELS, store_ids, skus)}
    if not wanted <= locked.keys():
        raise NotFound
    return locked


async def move_levels(tx: Transaction, deltas: Mapping[Place, Delta]) -> None:
    """Change counters, one update per store and SKU, and tell of it. The caller has locked the levels before."""
    if not deltas:
        return
    store_ids, skus = [store_id for store_id, _ in deltas], [sku for _, sku in deltas]
    moved = await tx.all(Moved, MOVE_LEVELS, store_ids, skus, *columns(tuple(deltas.values()), "on_hand", "reserved"))
    # What leaves a store was not for sale any more: nothing new to tell.
    changed = tuple(row for row in moved if deltas[row.store_id, row.sku].available)
    await announce(tx, changed, tuple(row for row in changed if 0 < row.available <= deltas[row.store_id, row.sku].available))


async def change_on_hand(tx: Transaction, changes: tuple[Change, ...]) -> None:
    """Let pieces come and go, each with its movement. The caller has locked the levels and knows that enough is there."""
    if not changes:
        return
    deltas: defaultdict[Place, Delta] = defaultdict(Delta)
    for change in changes:
        deltas[change.store_id, change.sku] += Delta(on_hand=change.delta)
    await move_levels(tx, deltas)
    await write_movements(tx, changes)


async def write_movements(tx: Transaction, changes: tuple[Change, ...]) -> None:
    """Write down what came and went."""
    names = ("id", "store_id", "sku", "kind", "delta", "reason", "order_id", "other_store_id")
    await tx.run(WRITE_MOVEMENTS, *columns(changes, *names), caller().principal.user_id)


async def announce_store(tx: Transaction, store_id: UUID) -> None:
    """Tell what can be sold out of a store that was opened or closed."""
    await tx.run(LOCK_STORE_LEVELS, store_id)
    moved = await tx.all(Moved, TOUCH_STORE, store_id)
    await announce(tx, moved, tuple(row for row in moved if row.available > 0))


async def announce(tx: Transaction, moved: tuple[Moved, ...], arrived: tuple[Moved, ...]) -> None:
    """Publish the new levels and those of them that were empty, and raise and close the alerts that follow."""
    by_store: defaultdict[tuple[UUID, UUID], list[StockLevel]] = defaultdict(list)
    for row in moved:
        by_store[row.store_id, row.seller_id].append(StockLevel(row.sku, row.available if row.active else 0, row.version))
    skus: defaultdict[tuple[UUID, UUID], list[str]] = defaultdict(list)
    for row in arrived:
        if row.active:
            skus[row.store_id, row.seller_id].append(row.sku)
    changed = (
        StockChanged(store_id, seller_id, tuple(levels[start : start + LEVELS_PER_EVENT]))
        for (store_id, seller_id), levels in by_store.items()
        for start in range(0, len(levels), LEVELS_PER_EVENT)
    )
    filled = (
        StockArrived(store_id, seller_id, tuple(those[start : start + LEVELS_PER_EVENT]))
        for (store_id, seller_id), those in skus.items()
        for start in range(0, len(those), LEVELS_PER_EVENT)
    )
    await publish(tx, *changed, *filled, *await watch_levels(tx, moved))
