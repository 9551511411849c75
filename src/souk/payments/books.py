"""Payments as the audit compares them with the orders that they pay, and with the labels of their parcels."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.payments.database import db

# What is given for nothing in particular after something came back may be for that.
READ_BOOKS = """
    SELECT p.id, p.currency, p.captured, p.refunding, p.refunded, p.earned, p.released, back.returned, back.repaid
    FROM payments.payment AS p
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(r.amount) FILTER (WHERE r.cause = 'returned'), 0)::bigint AS returned,
               coalesce(sum(r.amount) FILTER (WHERE r.cause IN ('goodwill', 'elsewhere') AND r.created_at > r.since), 0)::bigint AS repaid
        FROM (SELECT amount, cause, status, created_at, min(created_at) FILTER (WHERE cause = 'returned') OVER () AS since
              FROM payments.refund WHERE payment_id = p.id) AS r
        WHERE r.status <> 'failed'
    ) AS back
    WHERE p.id > $1 AND p.id <= $2 AND p.kind = 'order'
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
    """What came and went of the payment of an order: refunding is back or promised, released was let go for what was cancelled.

    Returned is what goes back for returns, repaid what has been given since the first of them for nothing in particular.
    """

    id: UUID
    currency: str
    captured: int
    refunding: int
    refunded: int
    earned: int
    released: int
    returned: int
    repaid: int


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
