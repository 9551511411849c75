"""Payments as the audit compares them with the orders that they pay."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.payments.database import db

READ_BOOKS = """
    SELECT id, currency, captured, refunding, refunded FROM payments.payment WHERE id > $1 AND id <= $2 AND kind = 'order'
"""


class PaymentBook(msgspec.Struct, frozen=True):
    """What came and went of the payment of an order; refunding is what is back or promised."""

    id: UUID
    currency: str
    captured: int
    refunding: int
    refunded: int


@exposed(timeout=30.0)
async def read_payment_books(after: UUID, until: UUID) -> tuple[PaymentBook, ...]:
    """The payments of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(PaymentBook, READ_BOOKS, after, until)
