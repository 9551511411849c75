"""Let what is set aside for an order leave its stores, whole or parcel by parcel."""

from collections import defaultdict
from uuid import UUID

import msgspec

from souk.inventory.database import db
from souk.inventory.levels import Change, Delta, Place, move_levels, write_movements
from souk.inventory.reservations import lock_reservations
from souk.inventory.types import NotConfirmed, NotReserved, Reservation, ReservedLine, ShipStock, StockLine
from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import DomainError, NotFound
from souk.kit.ids import new_id

WRITE_SHIPPED_LINES = """
    UPDATE inventory.reservation_line AS l SET shipped = l.shipped + u.quantity
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS u (order_id, store_id, sku, quantity)
    WHERE l.order_id = u.order_id AND l.sku = u.sku AND l.store_id = u.store_id
"""
WRITE_PARCELS = """
    UPDATE inventory.reservation AS r
    SET shipments = r.shipments || u.shipments, status = CASE WHEN u.last THEN 'shipped' ELSE r.status END, updated_at = now()
    FROM (SELECT p.order_id, array_agg(p.shipment_id) AS shipments, bool_or(p.last) AS last
          FROM unnest($1::uuid[], $2::uuid[], $3::bool[]) AS p (order_id, shipment_id, last)
          GROUP BY p.order_id) AS u
    WHERE r.order_id = u.order_id
"""


class Parcel(msgspec.Struct, frozen=True):
    """What leaves at once for an order."""

    order_id: UUID
    shipment_id: UUID
    lines: tuple[ReservedLine, ...]
    after: Reservation

    @property
    def last(self) -> bool:
        return self.after.status == "shipped"


@exposed.batched(timeout=5.0)
async def ship_stock(asked: tuple[Asked[ShipStock], ...]) -> tuple[Reservation | DomainError, ...]:
    """Let these lines of a confirmed order leave, or all that is still set aside for it; the reservation after that.

    The same parcel leaves once, and an order without parcels leaves once as a whole: repeating changes nothing. Raises NotFound
    for an order that nothing was set aside for, NotConfirmed for one that is not paid or was given up, NotReserved for more than
    is still set aside.
    """
    async with db.transaction() as tx:
        reservations = await lock_reservations(tx, [one.request.order_id for one in asked])
        parcels: list[Parcel] = []
        answers: list[Reservation | DomainError] = []
        for one in asked:
            decision = pack(one.request, reservations.get(one.request.order_id))
            if isinstance(decision, Parcel):
                reservations[decision.order_id] = decision.after
                parcels.append(decision)
                decision = decision.after
            answers.append(decision)
        await write_parcels(tx, tuple(parcels))
    return tuple(answers)


async def write_parcels(tx: Transaction, parcels: tuple[Parcel, ...]) -> None:
    """Write what leaves: lines, reservations, counters and movements."""
    if not parcels:
        return
    shipped: defaultdict[tuple[UUID, UUID, str], int] = defaultdict(int)
    deltas: defaultdict[Place, Delta] = defaultdict(Delta)
    for parcel in parcels:
        for line in parcel.lines:
            shipped[parcel.order_id, line.store_id, line.sku] += line.quantity
            deltas[line.store_id, line.sku] += Delta(-line.quantity, -line.quantity)
    order_ids, store_ids, skus = (list(column) for column in zip(*shipped, strict=True))
    await tx.run(WRITE_SHIPPED_LINES, order_ids, store_ids, skus, list(shipped.values()))
    await tx.run(WRITE_PARCELS, *columns(parcels, "order_id", "shipment_id", "last"))
    await move_levels(tx, deltas)
    changes = tuple(
        Change(new_id(), store_id, sku, "shipped", -quantity, "shipped", order_id)
        for (order_id, store_id, sku), quantity in shipped.items()
    )
    await write_movements(tx, changes)


def pack(request: ShipStock, found: Reservation | None) -> Parcel | Reservation | DomainError:
    """Decide what leaves: a parcel, nothing because it has left before, or why not."""
    if found is None:
        return NotFound()
    shipment_id = request.shipment_id or request.order_id
    if shipment_id in found.shipments or (found.status == "shipped" and not request.lines):
        return found
    if found.status != "confirmed":
        return NotConfirmed(found.status)
    demand = add_up_lines(request.lines) or open_pieces(found)
    open_now = open_pieces(found)
    for sku, asked in demand.items():
        if asked > open_now.get(sku, 0):
            return NotReserved(sku, asked, open_now.get(sku, 0))
    lines = tuple(take_out(line, demand) for line in found.lines)
    left = tuple(
        msgspec.structs.replace(line, shipped=line.shipped + leaving.quantity) for line, leaving in zip(found.lines, lines, strict=True)
    )
    whole = all(line.shipped == line.quantity for line in left)
    after = msgspec.structs.replace(
        found, status="shipped" if whole else found.status, lines=left, shipments=(*found.shipments, shipment_id)
    )
    return Parcel(request.order_id, shipment_id, tuple(line for line in lines if line.quantity), after)


def add_up_lines(lines: tuple[StockLine, ...]) -> dict[str, int]:
    """How many pieces of each SKU; two lines of one SKU are one demand."""
    demand: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        demand[line.sku] += line.quantity
    return demand


def open_pieces(reservation: Reservation) -> dict[str, int]:
    """How many pieces of each SKU are still set aside."""
    left: defaultdict[str, int] = defaultdict(int)
    for line in reservation.lines:
        left[line.sku] += line.quantity - line.shipped
    return left


def take_out(line: ReservedLine, demand: dict[str, int]) -> ReservedLine:
    """What leaves of a line; the demand falls by it."""
    leaving = min(line.quantity - line.shipped, demand.get(line.sku, 0))
    if leaving:
        demand[line.sku] -= leaving
    return ReservedLine(line.store_id, line.sku, leaving)
