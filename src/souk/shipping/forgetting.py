"""What is forgotten of a parcel whose buyer has left: its address, where carriers saw it and what they said, and the carrier's paper."""

from uuid import UUID

from souk.kit.db import Transaction

# True of a parcel that is about to be in this status, or is: nobody needs its address any more. An open label still does.
MAY_FORGET = """{status} IN ('delivered', 'canceled')
    AND EXISTS (SELECT FROM shipping.departure AS d WHERE d.user_id = {parcel}.user_id)
    AND NOT EXISTS (SELECT FROM shipping.label AS l WHERE l.shipment_id = {parcel}.id AND l.status = 'asked')"""
FORGET_ADDRESSES = f"""
    UPDATE shipping.shipment AS s SET address = NULL, version = version + 1, updated_at = now()
    WHERE id = ANY($1) AND address IS NOT NULL AND {MAY_FORGET.format(status="s.status", parcel="s")}
    RETURNING id
"""
FORGET_PLACES = """
    UPDATE shipping.tracking_event SET place = NULL, message = NULL
    WHERE shipment_id = ANY($1) AND (place IS NOT NULL OR message IS NOT NULL)
"""
FORGET_DOCUMENTS = "UPDATE shipping.label SET document = NULL, updated_at = now() WHERE shipment_id = ANY($1) AND document IS NOT NULL"


async def forget_details(tx: Transaction, ids: list[UUID]) -> None:
    """Take off what else is known of these parcels, whose address is forgotten and which are locked."""
    if ids:
        await tx.run(FORGET_PLACES, ids)
        await tx.run(FORGET_DOCUMENTS, ids)
