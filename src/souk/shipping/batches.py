"""Many parcels at once: a pallet leaves or arrives, and each parcel of it is answered for."""

from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.shipping.database import db
from souk.shipping.shipments import BEFORE, FIND, LOCK, Id, StoredShipment, deliver_arrived, has_been, move
from souk.shipping.types import ShipmentAnswer, ShipmentIds, ShipmentStatus, WrongShipmentStatus


@exposed(timeout=10.0)
async def dispatch_shipments(wanted: ShipmentIds) -> tuple[ShipmentAnswer, ...]:
    """Those of these parcels that are one's own and packed leave; the answers in their order. Again changes nothing."""
    async with db.transaction() as tx:
        return await move_many(tx, wanted.ids, "dispatched")


@exposed(timeout=10.0)
async def deliver_shipments(wanted: ShipmentIds) -> tuple[ShipmentAnswer, ...]:
    """Those of these parcels that are one's own and have left have arrived; the answers in their order. Again changes nothing."""
    async with db.transaction() as tx:
        return await move_many(tx, wanted.ids, "delivered")


async def move_many(tx: Transaction, wanted: tuple[UUID, ...], status: ShipmentStatus) -> tuple[ShipmentAnswer, ...]:
    """Move those on that can be, with as many statements as for one."""
    who = caller().principal
    ids = sorted(set(wanted))
    await tx.all(Id, LOCK, ids)
    own = [one for one in await tx.all(StoredShipment, FIND, ids) if who.manages(one.seller_id)]
    await move(tx, [one for one in own if one.status == BEFORE[status]], status)
    arrived = [one.id for one in own if status == "dispatched" and one.tracking_status == "delivered"]
    if arrived:
        await deliver_arrived(tx, arrived)
    now = {one.id: one for one in await tx.all(StoredShipment, FIND, [one.id for one in own])}
    return tuple(answer_for(shipment_id, now.get(shipment_id), status) for shipment_id in wanted)


def answer_for(shipment_id: UUID, found: StoredShipment | None, wanted: ShipmentStatus) -> ShipmentAnswer:
    """How a parcel stands, and the code of the refusal if it could not be moved on."""
    if found is None:
        return ShipmentAnswer(shipment_id, None, NotFound.code)
    return ShipmentAnswer(shipment_id, found.status, None if has_been(found, wanted) else WrongShipmentStatus.code)
