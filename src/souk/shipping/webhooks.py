"""Webhooks of carriers: taken if the carrier signed them; what they tell of a parcel has its effect once."""

from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import Unavailable
from souk.kit.lines import Silent, Unreachable
from souk.shipping.carriers import find_carrier
from souk.shipping.carriers.carrier import Sighting
from souk.shipping.database import db
from souk.shipping.shipments import Id
from souk.shipping.tracking import write_scans
from souk.shipping.types import CarrierReceipt, CarrierWebhook

# A carrier may use a number again after a year: the newest parcel is meant. With a label that was given back none travels.
FIND_PARCEL = """
    SELECT shipment_id AS id FROM shipping.label WHERE carrier = $1 AND tracking_number = $2 AND status = 'bought'
    ORDER BY shipment_id DESC LIMIT 1
"""


@exposed(timeout=10.0)
async def receive_tracking(webhook: CarrierWebhook) -> CarrierReceipt:
    """Apply what a carrier tells us of a parcel. Told again it changes nothing, and the order in which things are told does not matter.

    Raises CarrierUnknown, and WebhookForged for a message that the carrier did not sign, or signed long ago.
    """
    carrier = find_carrier(webhook.carrier)
    try:
        told = await carrier.read_webhook(webhook.headers, webhook.body)
    except (Silent, Unreachable) as silence:
        raise Unavailable(f"{webhook.carrier} does not say whether it sent this") from silence
    if told is None:
        return CarrierReceipt("ignored")
    async with db.transaction() as tx:
        return await apply_sighting(tx, webhook.carrier, told)


async def apply_sighting(tx: Transaction, carrier: str, told: Sighting) -> CarrierReceipt:
    """Write what a carrier says of a parcel of ours."""
    parcel = await tx.maybe(Id, FIND_PARCEL, carrier, told.tracking_number)
    if parcel is None:
        return CarrierReceipt("ignored")
    added = await write_scans(tx, carrier, {parcel.id: told.scans})
    return CarrierReceipt("applied" if added else "repeated")
