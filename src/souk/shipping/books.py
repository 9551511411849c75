"""Parcels as the audit compares them with the orders that they are of."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.shipping.database import db

READ_BOOKS = """
    SELECT order_id, string_agg(id || ' ' || status, ', ' ORDER BY id) AS parcels, bool_or(dispatched_at IS NOT NULL) AS dispatched
    FROM shipping.shipment
    WHERE order_id > $1 AND order_id <= $2
    GROUP BY order_id
"""


class ShipmentBook(msgspec.Struct, frozen=True):
    """The parcels of an order by their ids, each with its status, and whether one of them has left."""

    order_id: UUID
    parcels: str
    dispatched: bool


@exposed(timeout=30.0)
async def read_shipment_books(after: UUID, until: UUID) -> tuple[ShipmentBook, ...]:
    """The parcels of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(ShipmentBook, READ_BOOKS, after, until)
