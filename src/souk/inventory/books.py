"""Reservations as the audit compares them with the orders for which they were made."""

from uuid import UUID

import msgspec

from souk.inventory.database import db
from souk.inventory.types import ReservationStatus
from souk.kit.callers import caller
from souk.kit.calls import exposed

READ_BOOKS = """
    SELECT r.order_id, r.status,
           (SELECT string_agg(l.pieces || ' ' || l.sku, ', ' ORDER BY l.sku COLLATE "C")
            FROM (SELECT line.sku, sum(line.quantity) AS pieces FROM inventory.reservation_line AS line
                  WHERE line.order_id = r.order_id GROUP BY line.sku) AS l) AS pieces
    FROM inventory.reservation AS r
    WHERE r.order_id > $1 AND r.order_id <= $2
"""


class ReservationBook(msgspec.Struct, frozen=True):
    """What is or was set aside for an order: `3 MUG, 1 POT`."""

    order_id: UUID
    status: ReservationStatus
    pieces: str | None


@exposed(timeout=30.0)
async def read_reservation_books(after: UUID, until: UUID) -> tuple[ReservationBook, ...]:
    """The reservations of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(ReservationBook, READ_BOOKS, after, until)
