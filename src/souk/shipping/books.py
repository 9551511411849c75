"""Parcels as the audit compares them with the orders that they are of, and with what their labels cost."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.shipping.database import db

READ_BOOKS = """
    SELECT s.order_id, string_agg(s.id || ' ' || s.status, ', ' ORDER BY s.id) AS parcels,
           bool_or(s.dispatched_at IS NOT NULL) AS dispatched,
           string_agg(s.id || ' ' || l.price || ' ' || l.currency, ', ' ORDER BY s.id) AS labels
    FROM shipping.shipment AS s
    LEFT JOIN shipping.label AS l ON l.shipment_id = s.id AND l.status IN ('bought', 'voiding') AND l.price > 0
    WHERE s.order_id > $1 AND s.order_id <= $2
    GROUP BY s.order_id
"""


class ShipmentBook(msgspec.Struct, frozen=True):
    """The parcels of an order by their ids, each with its status, whether one of them has left, and what their labels cost."""

    order_id: UUID
    parcels: str
    dispatched: bool
    labels: str | None


@exposed(timeout=30.0)
async def read_shipment_books(after: UUID, until: UUID) -> tuple[ShipmentBook, ...]:
    """The parcels of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(ShipmentBook, READ_BOOKS, after, until)
