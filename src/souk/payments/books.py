"""Payments as the audit compares them with the orders that they pay."""

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


@exposed(timeout=30.0)
async def read_payment_books(after: UUID, until: UUID) -> tuple[PaymentBook, ...]:
    """The payments of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(PaymentBook, READ_BOOKS, after, until)
