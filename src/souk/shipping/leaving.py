"""People who leave: what we keep of the parcels that went to them, and what of it is forgotten."""

from uuid import UUID

from souk.kit.db import Transaction
from souk.kit.personal import exports_user_data
from souk.shipping.database import db
from souk.shipping.shipments import SELECT_SHIPMENTS, StoredShipment, show

FIND_OF_USER = f"{SELECT_SHIPMENTS} WHERE s.user_id = $1 ORDER BY s.id LIMIT 10000"
# What is still on its way needs its address.
FORGET = """
    UPDATE shipping.shipment SET address = NULL, version = version + 1, updated_at = now()
    WHERE user_id = ANY($1) AND status IN ('delivered', 'canceled') AND address IS NOT NULL
"""


@exports_user_data
async def export_shipments(user_id: UUID) -> dict[str, object]:
    """The parcels that went to a user."""
    return {"shipments": [show(one) for one in await db.all(StoredShipment, FIND_OF_USER, user_id)]}


async def forget_users(tx: Transaction, user_ids: list[UUID]) -> None:
    """Take the addresses off the parcels of people who are gone."""
    await tx.run(FORGET, user_ids)
