"""Tracking: what carriers tell of parcels on their way, and where that says they are."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import publish
from souk.kit.ids import new_id
from souk.shipping.carriers.carrier import Scan
from souk.shipping.carriers.manual import MANUAL
from souk.shipping.database import db
from souk.shipping.events import TrackingChanged
from souk.shipping.shipments import FIND, LOCK, Id, StoredShipment, deliver_arrived, lock_own, may_see
from souk.shipping.types import NewTracking, Tracking, TrackingEvent, TrackingStatus

LONGEST_TEXT = 200
# Which event says where a parcel is, the first of: one after which nothing more is to come, one that says anything at all, one of a
# carrier and not of the seller, the newest.
FIRST = (
    "(status IN ('delivered', 'return_to_sender', 'cancelled')) DESC, (status <> 'unknown') DESC, (carrier <> 'manual') DESC, "
    "occurred_at DESC, event_id DESC"
)
# Of a parcel whose address is forgotten nobody needs to know where it was.
ADD_EVENTS = """
    INSERT INTO shipping.tracking_event (shipment_id, carrier, event_id, status, message, place, occurred_at)
    SELECT u.shipment_id, $1, u.event_id, u.status, CASE WHEN s.address IS NOT NULL THEN u.message END,
           CASE WHEN s.address IS NOT NULL THEN u.place END, u.occurred_at
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
         AS u (shipment_id, event_id, status, message, place, occurred_at)
    JOIN shipping.shipment AS s ON s.id = u.shipment_id
    ORDER BY u.shipment_id, u.event_id
    ON CONFLICT DO NOTHING
"""
DERIVE = f"""
    UPDATE shipping.shipment AS s SET tracking_status = d.status, version = s.version + 1, updated_at = now(), track_asks = 0,
        track_at = CASE WHEN d.status NOT IN ('delivered', 'return_to_sender', 'cancelled') THEN s.track_at END
    FROM (SELECT DISTINCT ON (shipment_id) shipment_id, status, occurred_at FROM shipping.tracking_event
          WHERE shipment_id = ANY($1) ORDER BY shipment_id, {FIRST}) AS d
    WHERE s.id = ANY($1) AND s.id = d.shipment_id AND s.tracking_status IS DISTINCT FROM d.status
    RETURNING s.id, s.order_id, s.seller_id, s.tracking_status, d.occurred_at
"""
LIST_EVENTS = """
    SELECT status, message, place, occurred_at, carrier, created_at FROM shipping.tracking_event
    WHERE shipment_id = $1 ORDER BY occurred_at DESC, event_id DESC LIMIT 500
"""


class _Change(msgspec.Struct, frozen=True):
    """Where a parcel is said to be now, which is not where it was."""

    id: UUID
    order_id: UUID
    seller_id: UUID
    tracking_status: TrackingStatus
    occurred_at: datetime


@exposed()
async def get_tracking(shipment_id: UUID) -> Tracking:
    """Where a parcel is and was, for its seller, its buyer and admins. Changes nothing; raises NotFound."""
    found = await db.maybe(StoredShipment, FIND, [shipment_id])
    if found is None or not may_see(found, caller()):
        raise NotFound
    events = await db.all(TrackingEvent, LIST_EVENTS, shipment_id)
    return Tracking(found.id, found.carrier, found.tracking_number, found.tracking_status, events, found.created_at, found.updated_at)


@exposed()
async def report_tracking(shipment_id: UUID, told: NewTracking) -> None:
    """Say where a parcel of one's own is, if no carrier does: what carriers tell goes before. The same id again changes nothing.

    Raises NotFound, and InvalidField for what is to happen in more than a day: clocks differ, and time zones are mistaken.
    """
    if told.occurred_at > datetime.now(UTC) + timedelta(days=1):
        raise InvalidField("occurred_at", "lies in the future")
    async with db.transaction() as tx:
        await lock_own(tx, shipment_id)
        scan = Scan(str(told.id or new_id()), told.status, told.occurred_at, told.message, told.place)
        await write_scans(tx, MANUAL, {shipment_id: (scan,)})


async def write_scans(tx: Transaction, carrier: str, told: Mapping[UUID, Sequence[Scan]]) -> int:
    """Keep what a carrier told of parcels, each event once, and say where they are by it: nobody else does. How many were new.

    What comes late, again or out of order does no harm. A parcel that its carrier says it has delivered is delivered.
    """
    ids = sorted(told)
    await tx.all(Id, LOCK, ids)
    scans = {(shipment_id, one.event_id): one for shipment_id in ids for one in told[shipment_id]}
    rows = [(shipment_id, event_id, one.status, clip(one.message), clip(one.place), one.occurred_at)
            for (shipment_id, event_id), one in scans.items()]  # fmt: skip
    added = await tx.run(ADD_EVENTS, carrier, *map(list, zip(*rows, strict=True))) if rows else 0
    if added:
        changes = await tx.all(_Change, DERIVE, ids)
        await publish(tx, *(TrackingChanged(one.id, one.order_id, one.seller_id, one.tracking_status, one.occurred_at) for one in changes))
        await deliver_arrived(tx, ids)
    return added


def clip(text: str | None) -> str | None:
    """As much of a carrier's words as we keep."""
    return text.replace("\x00", "")[:LONGEST_TEXT] if text else None
