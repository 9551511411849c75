"""Parcels under way are followed: their carriers are asked where they are, in pauses that grow."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.kit.db import Transaction, refuse_open_transaction
from souk.kit.lines import Silent, Unreachable
from souk.shipping.carriers import find_carrier
from souk.shipping.carriers.carrier import Scan, Sighting
from souk.shipping.database import db
from souk.shipping.settings import settings
from souk.shipping.shipments import LOCK, Id
from souk.shipping.tracking import write_scans
from souk.shipping.types import CarrierUnknown

log = logging.getLogger(__name__)

LOCK_DUE = "SELECT id FROM shipping.shipment WHERE track_at <= now() ORDER BY track_at LIMIT $1 FOR UPDATE SKIP LOCKED"
# Written before anybody is asked, so that nobody asks twice: half as long again each time, up to twelve hours, and after sixty days never.
PUT_OFF = """
    UPDATE shipping.shipment SET track_asks = track_asks + 1,
        track_at = CASE WHEN dispatched_at > now() - interval '60 days'
                   THEN now() + make_interval(secs => least($2 * 1.5 ^ least(track_asks, 20), greatest($2, 43200))) END
    WHERE id = ANY($1)
"""
FIND_FOLLOWED = """
    SELECT shipment_id, carrier, tracking_number FROM shipping.label
    WHERE shipment_id = ANY($1) AND status = 'bought' AND tracking_number IS NOT NULL
"""


class Followed(msgspec.Struct, frozen=True):
    """A parcel that its carrier is asked for."""

    shipment_id: UUID
    carrier: str
    tracking_number: str


async def follow_parcels(limit: int | None = None) -> int:
    """Ask the carriers where parcels are whose time has come, and write down what they say; how many were asked for.

    Half as many as a carrier is called at once: who buys a label meanwhile finds a line that is free, and a transaction stays short.
    """
    async with db.transaction() as tx:
        due = [row.id for row in await tx.all(Id, LOCK_DUE, limit or max(settings.now.carrier_in_flight // 2, 1))]
        await tx.run(PUT_OFF, due, settings.now.track_every_s)
        followed = await tx.all(Followed, FIND_FOLLOWED, due)
    if followed:
        answers = await asyncio.gather(*(ask_where(one) for one in followed))
        async with db.transaction() as tx:
            await write_answers(tx, followed, answers)
    return len(due)


async def write_answers(tx: Transaction, followed: Sequence[Followed], answers: Sequence[Sighting | None]) -> None:
    # All of them in the order of their ids first, whoever carries them: as everybody locks parcels.
    await tx.all(Id, LOCK, [one.shipment_id for one in followed])
    told: defaultdict[str, dict[UUID, tuple[Scan, ...]]] = defaultdict(dict)
    for one, answer in zip(followed, answers, strict=True):
        if answer is not None and answer.scans:
            told[one.carrier][one.shipment_id] = answer.scans
    for carrier, scans in sorted(told.items()):
        await write_scans(tx, carrier, scans)


async def ask_where(one: Followed) -> Sighting | None:
    """What its carrier says of a parcel; None if it cannot be asked: its time comes again."""
    refuse_open_transaction("a carrier")
    try:
        return await find_carrier(one.carrier).track(one.tracking_number)
    except (Silent, Unreachable, CarrierUnknown, msgspec.DecodeError) as silence:
        log.warning("carrier_silent", extra={"carrier": one.carrier, "reason": str(silence)})
        return None
