"""People who leave: what we keep of the parcels that went to them, and of where they sent theirs from, and what of it is forgotten."""

from uuid import UUID

import msgspec

from souk.kit.db import Transaction
from souk.kit.personal import exports_user_data
from souk.shipping.database import db
from souk.shipping.forgetting import FORGET_ADDRESSES, forget_details
from souk.shipping.senders import find_set_by, forget_set_by
from souk.shipping.shipments import SELECT_SHIPMENTS, Id, StoredShipment, show
from souk.shipping.types import TrackingEvent

FIND_OF_USER = f"{SELECT_SHIPMENTS} WHERE s.user_id = $1 ORDER BY s.id LIMIT 10000"
FIND_EVENTS_OF_USER = """
    SELECT t.shipment_id, t.status, t.message, t.place, t.occurred_at, t.carrier, t.created_at
    FROM shipping.tracking_event AS t JOIN shipping.shipment AS s ON s.id = t.shipment_id
    WHERE s.user_id = $1 ORDER BY t.shipment_id, t.occurred_at LIMIT 100000
"""
# What is still on its way needs its address: whoever moves it on forgets it then (MOVE).
REMEMBER = "INSERT INTO shipping.departure (user_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING"
# So that nobody moves a parcel on who has not read that its buyer has left.
LOCK_OF_USERS = "SELECT id FROM shipping.shipment WHERE user_id = ANY($1) AND address IS NOT NULL ORDER BY id FOR UPDATE"


class _EventOf(TrackingEvent, frozen=True, kw_only=True):
    """What a carrier told of one of the parcels."""

    shipment_id: UUID


@exports_user_data
async def export_shipments(user_id: UUID) -> dict[str, object]:
    """The parcels that went to a user, what carriers told of them, and the addresses that they have set for sellers."""
    return {
        "shipments": [show(one) for one in await db.all(StoredShipment, FIND_OF_USER, user_id)],
        "tracking": [msgspec.to_builtins(one) for one in await db.all(_EventOf, FIND_EVENTS_OF_USER, user_id)],
        "senders": await find_set_by(user_id),
    }


async def forget_users(tx: Transaction, user_ids: list[UUID]) -> None:
    """Take the addresses off the parcels of people who are gone, and remember them for those that have not arrived yet.

    What they have set as the address of a sender goes, too.
    """
    await forget_set_by(tx, user_ids)
    await tx.run(REMEMBER, user_ids)
    theirs = [row.id for row in await tx.all(Id, LOCK_OF_USERS, user_ids)]
    await forget_details(tx, [row.id for row in await tx.all(Id, FORGET_ADDRESSES, theirs)])
