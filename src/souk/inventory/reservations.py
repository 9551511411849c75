"""Set stock aside for an order, make that final when it is paid, give it back when it is not."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from souk.inventory.database import db
from souk.inventory.levels import Delta, Place, move_levels
from souk.inventory.types import (
    Confirmation,
    ConfirmStock,
    OutOfStock,
    ReleaseStock,
    Reservation,
    ReservationStatus,
    ReservedLine,
    ReserveStock,
    Shortage,
    StockLine,
)
from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import DomainError

HOLD_S = 15 * 60

# Stock is locked before reservations, both in the order of their keys, so that no two batches can deadlock.
LOCK_LEVELS = """
    SELECT s.store_id, s.sku, s.seller_id, s.on_hand - s.reserved AS available, place.priority, place.active
    FROM inventory.stock AS s
    JOIN inventory.store AS place ON place.id = s.store_id
    WHERE s.sku = ANY($1)
    ORDER BY s.sku, s.store_id
    FOR UPDATE OF s
"""
LOCK_RESERVATIONS = "SELECT order_id FROM inventory.reservation WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE"
# A statement of its own: while the one above waits, lines may be written that it could not see any more.
FIND_RESERVATIONS = """
    SELECT r.order_id, r.status, r.expires_at, r.shipments,
           coalesce((SELECT jsonb_agg(to_jsonb(l) - 'order_id' - 'created_at' ORDER BY l.sku, l.store_id)
                     FROM inventory.reservation_line AS l WHERE l.order_id = r.order_id), '[]') AS lines
    FROM inventory.reservation AS r
    WHERE r.order_id = ANY($1)
    ORDER BY r.order_id
"""
# An order that was released a moment ago, by somebody whose row we could not see yet, stays so until it is paid.
SET_ASIDE = """
    INSERT INTO inventory.reservation AS r (order_id, status, expires_at)
    SELECT u.order_id, $2::text, CASE WHEN $2 = 'held' THEN now() + make_interval(secs => $3) END
    FROM unnest($1::uuid[]) AS u (order_id)
    ORDER BY u.order_id
    ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, expires_at = excluded.expires_at, updated_at = now()
    WHERE excluded.status = 'confirmed'
    RETURNING order_id, status, expires_at
"""
REMEMBER_RELEASED = """
    INSERT INTO inventory.reservation (order_id, status)
    SELECT u.order_id, 'released' FROM unnest($1::uuid[]) AS u (order_id) ORDER BY u.order_id
    ON CONFLICT (order_id) DO NOTHING
    RETURNING order_id
"""
FORGET_LINES = "DELETE FROM inventory.reservation_line WHERE order_id = ANY($1)"
WRITE_LINES = """
    INSERT INTO inventory.reservation_line (order_id, store_id, sku, quantity)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])
"""
FIND_SKUS = "SELECT DISTINCT sku FROM inventory.reservation_line WHERE order_id = ANY($1)"
SETTLE = """
    UPDATE inventory.reservation SET status = $2, expires_at = NULL, updated_at = now() WHERE order_id = ANY($1)
"""
# Locked in the order of their keys first. What is not held (any more) is left out.
CONFIRM_HELD = """
    WITH held AS MATERIALIZED (
        SELECT order_id FROM inventory.reservation WHERE order_id = ANY($1) AND status = 'held' ORDER BY order_id FOR UPDATE
    )
    UPDATE inventory.reservation AS r SET status = 'confirmed', expires_at = NULL, updated_at = now()
    FROM held WHERE r.order_id = held.order_id
    RETURNING r.order_id, r.status
"""
FIND_EXPIRED = """
    SELECT order_id FROM inventory.reservation WHERE status = 'held' AND expires_at < now() ORDER BY expires_at LIMIT $1
"""


# What each order gets: pieces out of stores, or why not.
Decisions = dict[UUID, tuple[ReservedLine, ...] | OutOfStock]


class Level(msgspec.Struct, frozen=True):
    """What can still be set aside of a SKU in a store."""

    store_id: UUID
    sku: str
    seller_id: UUID
    available: int
    priority: int = 0
    active: bool = True


class _Sku(msgspec.Struct, frozen=True):
    sku: str


class _Key(msgspec.Struct, frozen=True):
    order_id: UUID


class _Header(msgspec.Struct, frozen=True):
    order_id: UUID
    status: ReservationStatus
    expires_at: datetime | None


@exposed.batched(timeout=5.0)
async def reserve_stock(asked: tuple[Asked[ReserveStock], ...]) -> tuple[Reservation | DomainError, ...]:
    """Set every line of an order aside for 15 minutes, or none of them and raise OutOfStock.

    Orders are served in the order in which they asked. Asking again for the same order returns its reservation, also when
    it has been released meanwhile.
    """
    wanted = {one.request.order_id: one.request.lines for one in asked}
    async with db.transaction() as tx:
        levels = await tx.all(Level, LOCK_LEVELS, skus_of(wanted))
        known = await find_reservations(tx, wanted)
        fresh = {order_id: lines for order_id, lines in wanted.items() if order_id not in known}
        decisions = allocate(fresh, levels)
        made = await set_aside(tx, decisions, "held")
        late = [order_id for order_id, decision in decisions.items() if not isinstance(decision, OutOfStock) and order_id not in made]
        released = await find_reservations(tx, late) if late else {}
    answers = known | made | released
    return tuple(answers.get(one.request.order_id) or refusal_of(decisions, one.request.order_id) for one in asked)


@exposed.batched(timeout=5.0)
async def confirm_stock(asked: tuple[Asked[ConfirmStock], ...]) -> tuple[Confirmation | DomainError, ...]:
    """Take the expiry off what is set aside for a paid order; if it was given back meanwhile set it aside again.

    Raises OutOfStock if that is not possible any more. Asking again for the same order changes nothing.
    """
    wanted = {one.request.order_id: one.request.lines for one in asked}
    # Counters do not move, so that no level is locked: the hot rows of a sale are left to those who reserve.
    answers = {one.order_id: one for one in await db.write(Confirmation, CONFIRM_HELD, list(wanted))}
    decisions: Decisions = {}
    if others := {order_id: lines for order_id, lines in wanted.items() if order_id not in answers}:
        async with db.transaction() as tx:
            levels = await tx.all(Level, LOCK_LEVELS, skus_of(others))
            kept = await keep_confirmed(tx, others)
            decisions = allocate({order_id: lines for order_id, lines in others.items() if order_id not in kept}, levels)
            made = await set_aside(tx, decisions, "confirmed")
        answers |= kept | {order_id: Confirmation(order_id, one.status) for order_id, one in made.items()}
    return tuple(answers.get(one.request.order_id) or refusal_of(decisions, one.request.order_id) for one in asked)


async def keep_confirmed(tx: Transaction, order_ids: Iterable[UUID]) -> dict[UUID, Confirmation]:
    """Those of these orders whose stock is final, some of them since now."""
    known = await find_reservations(tx, order_ids)
    if held := [order_id for order_id, found in known.items() if found.status == "held"]:
        await tx.run(SETTLE, held, "confirmed")
    return {
        order_id: Confirmation(order_id, "confirmed" if found.status == "held" else found.status)
        for order_id, found in known.items()
        if found.status in ("held", "confirmed", "shipped")
    }


@exposed.batched(timeout=5.0)
async def release_stock(asked: tuple[Asked[ReleaseStock], ...]) -> tuple[Reservation | DomainError, ...]:
    """Give back what is set aside for an order that will not happen, and remember that: a late reserve_stock sets nothing aside.

    Releasing again, or what has been shipped, changes nothing and returns the reservation as it is.
    """
    order_ids = dict.fromkeys(one.request.order_id for one in asked)
    answers: dict[UUID, Reservation] = {}
    # A second turn is for orders whose stock was being set aside at this very moment: now that can be seen.
    while left := [order_id for order_id in order_ids if order_id not in answers]:
        async with db.transaction() as tx:
            answers |= await release(tx, left, ("held", "confirmed"))
            missing = [order_id for order_id in left if order_id not in answers]
            remembered = await tx.all(_Key, REMEMBER_RELEASED, missing) if missing else ()
        answers |= {row.order_id: Reservation(row.order_id, "released", None, ()) for row in remembered}
    return tuple(answers[one.request.order_id] for one in asked)


async def release(tx: Transaction, order_ids: list[UUID], statuses: tuple[ReservationStatus, ...]) -> dict[UUID, Reservation]:
    """Give back what is set aside for those of these orders that are in one of these statuses; all of their reservations.

    If a part has left already, that is all that leaves: the order counts as shipped.
    """
    known = await lock_reservations(tx, order_ids)
    live = {order_id: found for order_id, found in known.items() if found.status in statuses}
    if live:
        await move_reserved(tx, [line for found in live.values() for line in found.lines], -1)
    given_back = {
        order_id: msgspec.structs.replace(found, status="shipped" if found.shipments else "released", expires_at=None)
        for order_id, found in live.items()
    }
    for status in ("released", "shipped"):
        if settled := [order_id for order_id, found in given_back.items() if found.status == status]:
            await tx.run(SETTLE, settled, status)
    return known | given_back


async def release_expired(limit: int = 500) -> int:
    """Give back what was set aside for orders that were not paid in time; how many orders."""
    async with db.transaction() as tx:
        expired = await tx.all(_Key, FIND_EXPIRED, limit)
        order_ids = [row.order_id for row in expired]
        # Not those that were paid since we looked.
        answers = await release(tx, order_ids, ("held",)) if order_ids else {}
    return sum(found.status == "released" for found in answers.values())


async def lock_reservations(tx: Transaction, order_ids: list[UUID]) -> dict[UUID, Reservation]:
    """The reservations of these orders, locked, and before them the levels of their SKUs.

    One that got its lines while we waited is left out, as if it were not there yet: its levels are not locked.
    """
    skus = {row.sku for row in await tx.all(_Sku, FIND_SKUS, order_ids)}
    await tx.all(Level, LOCK_LEVELS, list(skus))
    found = await find_reservations(tx, order_ids)
    return {order_id: one for order_id, one in found.items() if all(line.sku in skus for line in one.lines)}


async def find_reservations(tx: Transaction, order_ids: Iterable[UUID]) -> dict[UUID, Reservation]:
    """The reservations of these orders, locked."""
    locked = await tx.all(_Key, LOCK_RESERVATIONS, list(order_ids))
    found = await tx.all(Reservation, FIND_RESERVATIONS, [row.order_id for row in locked]) if locked else ()
    return {reservation.order_id: reservation for reservation in found}


async def set_aside(tx: Transaction, decisions: Decisions, status: ReservationStatus) -> dict[UUID, Reservation]:
    """Write the decisions that gave lines: reservations, their lines, the counters, and the news."""
    granted = {order_id: lines for order_id, lines in decisions.items() if not isinstance(lines, OutOfStock)}
    if not granted:
        return {}
    headers = await tx.all(_Header, SET_ASIDE, list(granted), status, float(HOLD_S))
    made = {row.order_id: Reservation(row.order_id, row.status, row.expires_at, granted[row.order_id]) for row in headers}
    if made:
        if status == "confirmed":
            await tx.run(FORGET_LINES, list(made))  # what was released and is set aside again
        lines = [line for one in made.values() for line in one.lines]
        owners = [one.order_id for one in made.values() for _ in one.lines]
        await tx.run(WRITE_LINES, owners, *columns(lines, "store_id", "sku", "quantity"))
        await move_reserved(tx, lines, +1)
    return made


async def move_reserved(tx: Transaction, lines: list[ReservedLine], sign: int) -> None:
    """Raise or lower the counters by what has not left yet of the lines."""
    deltas: defaultdict[Place, Delta] = defaultdict(Delta)
    for line in lines:
        deltas[line.store_id, line.sku] += Delta(reserved=sign * (line.quantity - line.shipped))
    await move_levels(tx, deltas)


def refusal_of(decisions: Decisions, order_id: UUID) -> OutOfStock:
    """Why an order got nothing."""
    decision = decisions[order_id]
    return decision if isinstance(decision, OutOfStock) else OutOfStock(())


def skus_of(wanted: dict[UUID, tuple[StockLine, ...]]) -> list[str]:
    return sorted({line.sku for lines in wanted.values() for line in lines})


def allocate(wanted: dict[UUID, tuple[StockLine, ...]], levels: tuple[Level, ...]) -> Decisions:
    """Decide first come, first served which order gets which pieces out of which store: all of its lines, or OutOfStock.

    A line is taken whole from the first store (by priority) that has it all, else out of several. Two lines of one SKU are
    one demand.
    """
    left: defaultdict[tuple[UUID, str], dict[UUID, int]] = defaultdict(dict)
    for level in sorted(levels, key=lambda one: (one.priority, one.store_id)):
        if level.active:
            left[level.seller_id, level.sku][level.store_id] = level.available
    decisions: Decisions = {}
    for order_id, lines in wanted.items():
        demand: defaultdict[tuple[UUID, str], int] = defaultdict(int)
        for line in lines:
            demand[line.seller_id, line.sku] += line.quantity
        shortages = tuple(
            Shortage(sku, asked, sum(left[seller_id, sku].values()))
            for (seller_id, sku), asked in demand.items()
            if sum(left[seller_id, sku].values()) < asked
        )
        decisions[order_id] = OutOfStock(shortages) if shortages else take(demand, left)
    return decisions


def take(demand: dict[tuple[UUID, str], int], left: dict[tuple[UUID, str], dict[UUID, int]]) -> tuple[ReservedLine, ...]:
    """Take a demand that can be met out of what is left."""
    taken: list[ReservedLine] = []
    for (seller_id, sku), asked in demand.items():
        stores = left[seller_id, sku]
        for store_id, quantity in pick_stores(asked, stores).items():
            stores[store_id] -= quantity
            taken.append(ReservedLine(store_id, sku, quantity))
    return tuple(taken)


def pick_stores(asked: int, levels: dict[UUID, int]) -> dict[UUID, int]:
    """How many pieces come from which store; together the stores have enough."""
    for store_id, available in levels.items():
        if available >= asked:
            return {store_id: asked}
    picked: dict[UUID, int] = {}
    for store_id, available in levels.items():
        taken = min(available, asked - sum(picked.values()))
        if taken > 0:
            picked[store_id] = taken
    return picked
