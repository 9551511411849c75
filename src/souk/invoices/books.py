"""What is credited of orders, as the audit compares it with what came back of them."""

from uuid import UUID

import msgspec

from souk.invoices.database import db
from souk.kit.callers import caller
from souk.kit.calls import exposed

READ_BOOKS = """
    SELECT order_id, sum(amount)::bigint AS credited
    FROM (SELECT order_id, total AS amount FROM invoices.invoice WHERE order_id > $1 AND order_id <= $2 AND kind = 'credit_note'
          UNION ALL
          SELECT order_id, (request ->> 'total')::bigint FROM invoices.credit_due WHERE order_id > $1 AND order_id <= $2) AS note
    GROUP BY order_id
"""


class CreditBook(msgspec.Struct, frozen=True):
    """How much is credited to the buyer of an order, or will be when it is invoiced."""

    order_id: UUID
    credited: int


@exposed(timeout=30.0)
async def read_credit_books(after: UUID, until: UUID) -> tuple[CreditBook, ...]:
    """What is credited of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(CreditBook, READ_BOOKS, after, until)
