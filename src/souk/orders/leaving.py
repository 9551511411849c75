"""People who leave: what we keep of a user's orders, and what of it is forgotten."""

from uuid import UUID

from souk.kit.db import Transaction
from souk.kit.personal import exports_user_data
from souk.orders.database import db
from souk.orders.reading import SELECT_ORDERS, StoredOrder, make_order
from souk.orders.returns import COLUMNS, StoredReturn, show
from souk.orders.types import TimelineEntry

FIND_OF_USER = f"{SELECT_ORDERS} WHERE o.user_id = $1 ORDER BY o.id LIMIT 10000"
OF_USERS = "order_id = ANY(ARRAY(SELECT id FROM orders.orders WHERE user_id = ANY($1)))"
FIND_RETURNS = f"SELECT {COLUMNS} FROM orders.returns WHERE {OF_USERS} ORDER BY order_id, id LIMIT 10000"
FIND_MOMENTS = f"SELECT id, type, data, actor_id, created_at FROM orders.timeline WHERE {OF_USERS} ORDER BY order_id, id LIMIT 100000"
# The books keep the order under the user's id, which nothing leads back to a person any more. An order that is still to be
# shipped needs its address: contracts are kept also with those who leave.
FORGET = """
    UPDATE orders.orders SET email = NULL, note = NULL, version = version + 1, updated_at = now(),
        shipping_address = CASE WHEN status = 'placed' AND fulfillment_status IN ('unfulfilled', 'partial') THEN shipping_address END
    WHERE user_id = ANY($1)
"""
FORGET_RETURNS = f"UPDATE orders.returns SET note = NULL, reason = NULL, version = version + 1, updated_at = now() WHERE {OF_USERS}"
FORGET_WORDS = f"UPDATE orders.timeline SET data = data - 'reason' WHERE {OF_USERS} AND type IN ('canceled', 'items_canceled')"
FORGET_ANSWERS = "DELETE FROM orders.idempotency_key WHERE subject = ANY($1::text[])"


@exports_user_data
async def export_orders(user_id: UUID) -> dict[str, object]:
    """A user's orders, whole, what happened to them, and what came back."""
    return {
        "orders": [make_order(order) for order in await db.all(StoredOrder, FIND_OF_USER, user_id)],
        "returns": [show(row) for row in await db.all(StoredReturn, FIND_RETURNS, [user_id])],
        "timeline": await db.all(TimelineEntry, FIND_MOMENTS, [user_id]),
    }


async def forget_users(tx: Transaction, user_ids: list[UUID]) -> None:
    """Take addresses and words off the orders and returns of people who are gone."""
    await tx.run(FORGET, user_ids)
    await tx.run(FORGET_RETURNS, user_ids)
    await tx.run(FORGET_WORDS, user_ids)
    await tx.run(FORGET_ANSWERS, [str(user_id) for user_id in user_ids])
