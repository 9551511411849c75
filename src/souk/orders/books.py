"""Orders as the audit compares them with what other contexts know of them."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.orders.database import db
from souk.orders.types import OrderStatus

READ_BOOKS = """
    SELECT o.id, o.status, o.currency, o.total, o.captured, o.refunded, o.coupon,
           coalesce((SELECT p.step <> 'done' FROM orders.placement AS p WHERE p.order_id = o.id), false) AS under_way,
           (SELECT string_agg(l.pieces || ' ' || l.sku, ', ' ORDER BY l.sku COLLATE "C")
            FROM (SELECT line.sku, sum(line.quantity) AS pieces FROM orders.order_line AS line
                  WHERE line.order_id = o.id GROUP BY line.sku) AS l) AS pieces
    FROM orders.orders AS o
    WHERE o.id > $1 AND o.id <= $2
    ORDER BY o.id
    LIMIT $3
"""


class OrderBook(msgspec.Struct, frozen=True):
    """What an order says of its money, its coupon and its pieces (`3 MUG, 1 POT`); under way while its saga has not ended."""

    id: UUID
    status: OrderStatus
    currency: str
    total: int
    captured: int
    refunded: int
    coupon: str | None
    under_way: bool
    pieces: str | None


@exposed(timeout=30.0)
async def read_order_books(after: UUID, until: UUID, limit: int) -> tuple[OrderBook, ...]:
    """Orders of a range of ids, in their order; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(OrderBook, READ_BOOKS, after, until, limit)
