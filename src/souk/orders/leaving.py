"""People who leave: what we keep of a user's orders, and what of it is forgotten."""

from uuid import UUID

from souk.kit.db import Transaction
from souk.kit.personal import exports_user_data
from souk.orders.database import db
from souk.orders.reading import SELECT_ORDERS, StoredOrder, make_order

FIND_OF_USER = f"{SELECT_ORDERS} WHERE o.user_id = $1 ORDER BY o.id LIMIT 10000"
# The books keep the order under the user's id, which nothing leads back to a person any more. An order that is still to be
# shipped needs its address: contracts are kept also with those who leave.
FORGET = """
    UPDATE orders.orders SET email = NULL, note = NULL, version = version + 1, updated_at = now(),
        shipping_address = CASE WHEN status = 'placed' AND fulfillment_status IN ('unfulfilled', 'partial') THEN shipping_address END
    WHERE user_id = ANY($1)
"""


@exports_user_data
async def export_orders(user_id: UUID) -> dict[str, object]:
    """A user's orders, whole."""
    return {"orders": [make_order(order) for order in await db.all(StoredOrder, FIND_OF_USER, user_id)]}


async def forget_users(tx: Transaction, user_ids: list[UUID]) -> None:
    """Take addresses and notes off the orders of people who are gone."""
    await tx.run(FORGET, user_ids)
