"""Orders as the audit compares them with what other contexts know of them."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.orders.database import db
from souk.orders.types import OrderStatus
from souk.shipping import NO_SHIPPING

# What the first pieces of a line cost, as orders.worths has it.
WORTH = "((2 * l.total * {pieces} + l.quantity) / (2 * l.quantity))"
READ_BOOKS = f"""
    SELECT o.id, o.status, o.currency, o.total, o.captured, o.refunded, o.coupon,
           coalesce((SELECT p.step <> 'done' FROM orders.placement AS p WHERE p.order_id = o.id), false) AS under_way,
           (SELECT string_agg(l.pieces || ' ' || l.sku, ', ' ORDER BY l.sku COLLATE "C")
            FROM (SELECT line.sku, sum(line.quantity - line.canceled) AS pieces FROM orders.order_line AS line
                  WHERE line.order_id = o.id GROUP BY line.sku HAVING sum(line.quantity - line.canceled) > 0) AS l) AS pieces,
           w.earned, w.canceled,
           (SELECT coalesce(sum(r.refund), 0)::bigint FROM orders.returns AS r WHERE r.order_id = o.id) AS returned
    FROM orders.orders AS o
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(s.earned + CASE WHEN s.shipped THEN p.total - s.total ELSE 0 END), 0)::bigint AS earned,
               coalesce(sum(s.canceled + CASE WHEN s.gone THEN p.total - s.total ELSE 0 END), 0)::bigint AS canceled
        FROM orders.order_part AS p
        JOIN (SELECT l.seller_id, sum(l.total) AS total, bool_or(l.shipped > 0) AS shipped, bool_and(l.canceled = l.quantity) AS gone,
                     sum({WORTH.format(pieces="l.shipped")}) AS earned,
                     sum(l.total - {WORTH.format(pieces="(l.quantity - l.canceled)")}) AS canceled
              FROM orders.order_line AS l WHERE l.order_id = o.id GROUP BY l.seller_id) AS s USING (seller_id)
        WHERE p.order_id = o.id
    ) AS w
    WHERE o.id > $1 AND o.id <= $2
    ORDER BY o.id
    LIMIT $3
"""
# Shipping never sees the parcels of recorded orders, which came from no cart, and those of parts that need no shipping.
READ_PARCELS = f"""
    SELECT p.order_id, string_agg(p.id || ' ' || p.status, ', ' ORDER BY p.id) AS parcels
    FROM orders.parcel AS p
    JOIN orders.orders AS o ON o.id = p.order_id
    JOIN orders.order_part AS part ON part.order_id = p.order_id AND part.seller_id = p.seller_id
    WHERE p.order_id > $1 AND p.order_id <= $2 AND o.cart_id IS NOT NULL AND part.shipping_option IS DISTINCT FROM '{NO_SHIPPING}'
    GROUP BY p.order_id
"""


class OrderBook(msgspec.Struct, frozen=True):
    """What an order says of its money, its coupon and its pieces that are not cancelled (`3 MUG, 1 POT`).

    It is under way while its saga has not ended. Earned, canceled and returned is what pieces that have left, were cancelled and came back
    are worth.
    """

    id: UUID
    status: OrderStatus
    currency: str
    total: int
    captured: int
    refunded: int
    coupon: str | None
    under_way: bool
    pieces: str | None
    earned: int
    canceled: int
    returned: int


class ParcelBook(msgspec.Struct, frozen=True):
    """The parcels that an order counts, by their ids, each with its status."""

    order_id: UUID
    parcels: str


@exposed(timeout=30.0)
async def read_order_books(after: UUID, until: UUID, limit: int) -> tuple[OrderBook, ...]:
    """Orders of a range of ids, in their order; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(OrderBook, READ_BOOKS, after, until, limit)


@exposed(timeout=30.0)
async def read_parcel_books(after: UUID, until: UUID) -> tuple[ParcelBook, ...]:
    """The parcels of a range of orders that shipping carries, which those of recorded orders are not; for admins. Changes nothing."""
    caller().principal.require_admin()
    return await db.all(ParcelBook, READ_PARCELS, after, until)
