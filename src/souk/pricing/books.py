"""Uses of coupons as the audit compares them with the orders that bear them."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.pricing.database import db

READ_BOOKS = """
    SELECT order_id, code FROM pricing.redemption WHERE order_id > $1 AND order_id <= $2 AND status = 'redeemed'
"""


class RedemptionBook(msgspec.Struct, frozen=True):
    """A coupon that counts an order."""

    order_id: UUID
    code: str


@exposed(timeout=30.0)
async def read_redemption_books(after: UUID, until: UUID) -> tuple[RedemptionBook, ...]:
    """The uses of coupons that count, of a range of orders; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(RedemptionBook, READ_BOOKS, after, until)
