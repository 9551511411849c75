"""Payments as the audit compares them with the orders that they pay, and with the labels of their parcels."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.payments.database import db

READ_BOOKS = """
    SELECT p.id, p.currency, p.captured, p.refunding, p.refunded, p.earned, p.released,
           (SELECT coalesce(sum(r.amount), 0)::bigint FROM payments.refund AS r
            WHERE r.payment_id = p.id AND r.cause = 'returned') AS returned
    FROM payments.payment AS p WHERE p.id > $1 AND p.id <= $2 AND p.kind = 'order'
"""

READ_LABELS = """
    SELECT order_id, string_agg(shipment_id || ' ' || amount || ' ' || currency, ', ' ORDER BY shipment_id) AS labels
    FROM (
        SELECT cause_id AS order_id, split_part(reference, ':', 2)::uuid AS shipment_id, currency,
               sum(CASE kind WHEN 'label' THEN amount ELSE -amount END) AS amount
        FROM payments.transfer
        WHERE cause_id > $1 AND cause_id <= $2 AND starts_with(reference, 'label:')
        GROUP BY 1, 2, 3
    ) AS label
    WHERE amount <> 0
    GROUP BY order_id
"""


class PaymentBook(msgspec.Struct, frozen=True):
    """What came and went of the payment of an order: refunding is back or promised, released was let go for what was cancelled."""

    id: UUID
    currency: str
    captured: int
    refunding: int
    refunded: int
    earned: int
    released: int
    returned: int


class LabelBook(msgspec.Struct, frozen=True):
    """What sellers gave for the labels of an order and did not get back, parcel by parcel."""

    order_id: UUID
    labels: str


@exposed(timeout=30.0)
async def read_label_books(after: UUID, until: UUID) -> tuple[LabelBook, ...]:
    """What labels cost in a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(LabelBook, READ_LABELS, after, until)


@exposed(timeout=30.0)
async def read_payment_books(after: UUID, until: UUID) -> tuple[PaymentBook, ...]:
    """The payments of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(PaymentBook, READ_BOOKS, after, until)
