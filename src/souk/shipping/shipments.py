"""Parcels: opened when a seller has packed one, dispatched, delivered, or cancelled before they leave."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.kit.batching import Asked
from souk.kit.callers import Caller, caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import DomainError, NotFound
from souk.kit.events import publish
from souk.shipping.database import db
from souk.shipping.events import ShipmentCancelled, ShipmentDelivered, ShipmentDispatched, ShippedLine
from souk.shipping.forgetting import MAY_FORGET, forget_details
from souk.shipping.settings import settings
from souk.shipping.types import Consignment, OpenShipment, Shipment, ShipmentStatus, WrongShipmentStatus

SELECT_SHIPMENTS = """
    SELECT s.id, s.order_id, s.order_number, s.seller_id, s.status, s.lines, s.shipping_option, s.address, s.carrier, s.tracking_number,
           s.tracking_status, s.weight_g, s.dispatched_at, s.delivered_at, s.canceled_at, s.version, s.created_at, s.updated_at,
           s.user_id, s.guest_token_hash
    FROM shipping.shipment AS s
"""
FIND = f"{SELECT_SHIPMENTS} WHERE s.id = ANY($1) ORDER BY s.id"
FIND_OF_ORDER = f"{SELECT_SHIPMENTS} WHERE s.order_id = $1 ORDER BY s.id LIMIT 1000"
LIST_OF_SELLER = f"{SELECT_SHIPMENTS} WHERE s.seller_id = $1 AND ($2::uuid IS NULL OR s.id > $2) ORDER BY s.id LIMIT $3"
# Whoever changes a parcel holds this lock, and reads only when it has it (decision 7).
LOCK = "SELECT id FROM shipping.shipment WHERE id = ANY($1) ORDER BY id FOR UPDATE"
LOCK_OF_ORDER = "SELECT id FROM shipping.shipment WHERE order_id = $1 ORDER BY id FOR UPDATE"
OPEN = """
    INSERT INTO shipping.shipment (id, order_id, order_number, seller_id, user_id, guest_token_hash, status, shipping_option, created_at,
                                   updated_at, address, lines)
    SELECT u.id, u.order_id, u.order_number, u.seller_id, u.user_id, u.guest_token_hash, 'packed', u.shipping_option, u.created_at,
           u.created_at, u.address, u.lines
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::bytea[], $7::text[], $8::timestamptz[], $9::jsonb[],
                $10::jsonb[])
         AS u (id, order_id, order_number, seller_id, user_id, guest_token_hash, shipping_option, created_at, address, lines)
    ORDER BY u.id
    ON CONFLICT (id) DO NOTHING
"""
MOVE = f"""
    UPDATE shipping.shipment AS s SET status = $2, version = version + 1, updated_at = now(),
        dispatched_at = CASE WHEN $2 = 'dispatched' THEN now() ELSE dispatched_at END,
        delivered_at = CASE WHEN $2 = 'delivered' THEN now() END,
        canceled_at = CASE WHEN $2 = 'canceled' THEN now() END,
        track_at = (
            SELECT now() + make_interval(secs => $3) FROM shipping.label AS l
            WHERE $2 = 'dispatched' AND l.shipment_id = s.id AND l.status = 'bought' AND l.carrier <> 'manual'
        ),
        address = CASE WHEN NOT ({MAY_FORGET.format(status="$2", parcel="s")}) THEN address END
    WHERE id = ANY($1)
"""
# What is not sent needs no label.
VOID_LABELS = """
    UPDATE shipping.label SET status = 'voiding', failure_code = NULL, asks = 0, check_at = now(), voiding_since = now(), updated_at = now()
    WHERE shipment_id = ANY($1) AND status = 'bought'
"""
WRITE_CONSIGNMENT = """
    UPDATE shipping.shipment SET carrier = $2, tracking_number = $3, weight_g = $4, version = version + 1, updated_at = now() WHERE id = $1
"""

# From which status a parcel gets into another.
BEFORE: dict[ShipmentStatus, ShipmentStatus] = {"dispatched": "packed", "delivered": "dispatched", "canceled": "packed"}


class StoredShipment(Shipment, frozen=True, kw_only=True):
    """A row of shipment: what is shown, and whose it is."""

    user_id: UUID | None
    guest_token_hash: bytes | None


class Id(msgspec.Struct, frozen=True):
    """A row that is no more than named."""

    id: UUID


@exposed.batched(timeout=5.0)
async def open_shipment(asked: tuple[Asked[OpenShipment], ...]) -> tuple[Shipment | DomainError, ...]:
    """Write down a parcel that was packed, for orders: whose caller may pack it is checked there. The same id again gives the first."""
    wanted = list({one.request.id: one.request for one in asked}.values())
    async with db.transaction() as tx:
        names = ("id", "order_id", "order_number", "seller_id", "user_id", "guest_token_hash", "shipping_option", "created_at")
        as_json = [[msgspec.to_builtins(value) for value in column] for column in columns(wanted, "address", "lines")]
        await tx.run(OPEN, *columns(wanted, *names), *as_json)
        found = {one.id: one for one in await tx.all(StoredShipment, FIND, [one.id for one in wanted])}
    return tuple(show(found[one.request.id]) for one in asked)


@exposed()
async def get_shipment(shipment_id: UUID) -> Shipment:
    """A parcel, for its seller, its buyer and admins. Changes nothing; raises NotFound."""
    found = await db.maybe(StoredShipment, FIND, [shipment_id])
    if found is None or not may_see(found, caller()):
        raise NotFound
    return show(found)


@exposed()
async def get_shipments_of(order_id: UUID) -> tuple[Shipment, ...]:
    """Those parcels of an order that the caller may see, the oldest first. Changes nothing."""
    who = caller()
    return tuple(show(one) for one in await db.all(StoredShipment, FIND_OF_ORDER, order_id) if may_see(one, who))


@exposed()
async def list_shipments(seller_id: UUID, after: UUID | None, limit: int) -> tuple[Shipment, ...]:
    """The parcels of one's own seller account (any for an admin), the oldest first. Changes nothing; raises NotFound for another's."""
    if not caller().principal.manages(seller_id):
        raise NotFound
    return tuple(show(one) for one in await db.all(StoredShipment, LIST_OF_SELLER, seller_id, after, limit))


@exposed()
async def change_shipment(shipment_id: UUID, consignment: Consignment) -> Shipment:
    """Say who carries a parcel of one's own, under which number, and what it weighs; what is left out stays as it is.

    Raises NotFound, and WrongShipmentStatus for one that was cancelled.
    """
    async with db.transaction() as tx:
        found = await lock_own(tx, shipment_id)
        if found.status == "canceled":
            raise WrongShipmentStatus(found.status)
        await write_consignment(tx, found, consignment)
        return show(await tx.one(StoredShipment, FIND, [shipment_id]))


@exposed()
async def dispatch_shipment(shipment_id: UUID, consignment: Consignment) -> Shipment:
    """A parcel of one's own leaves: its pieces leave their store. Dispatching it again changes nothing.

    Raises NotFound, and WrongShipmentStatus for one that was cancelled.
    """
    async with db.transaction() as tx:
        found = await lock_own(tx, shipment_id)
        if found.status == "packed":
            await write_consignment(tx, found, consignment)
        dispatched = await move_on(tx, found, "dispatched")
        if found.tracking_status != "delivered":
            return dispatched
        await deliver_arrived(tx, [shipment_id])
        return show(await tx.one(StoredShipment, FIND, [shipment_id]))


@exposed()
async def deliver_shipment(shipment_id: UUID) -> Shipment:
    """A parcel of one's own has arrived. Saying so again changes nothing.

    Raises NotFound, and WrongShipmentStatus for one that has not left.
    """
    async with db.transaction() as tx:
        return await move_on(tx, await lock_own(tx, shipment_id), "delivered")


@exposed()
async def cancel_shipment(shipment_id: UUID) -> Shipment:
    """Unpack a parcel of one's own before it leaves: its pieces can go into another. Cancelling it again changes nothing.

    Raises NotFound, and WrongShipmentStatus for one that has left.
    """
    async with db.transaction() as tx:
        return await move_on(tx, await lock_own(tx, shipment_id), "canceled")


@exposed()
async def recall_shipments(order_id: UUID, only: tuple[UUID, ...] | None = None) -> tuple[Shipment, ...]:
    """For orders: cancel those of these parcels of an order that have not left; without `only` all, or none if one of them has left.

    All parcels of the order as they are then; again changes nothing.
    """
    async with db.transaction() as tx:
        ids = [row.id for row in await tx.all(Id, LOCK_OF_ORDER, order_id)]
        found = await tx.all(StoredShipment, FIND, ids)
        if only is not None or all(one.dispatched_at is None for one in found):
            wanted = ids if only is None else only
            await move(tx, [one for one in found if one.status == "packed" and one.id in wanted], "canceled")
        return tuple(show(one) for one in await tx.all(StoredShipment, FIND, ids))


async def find_own(shipment_id: UUID) -> StoredShipment:
    """A parcel of the caller's sellers (any for an admin); raises NotFound."""
    found = await db.maybe(StoredShipment, FIND, [shipment_id])
    if found is None or not caller().principal.manages(found.seller_id):
        raise NotFound
    return found


async def lock_own(tx: Transaction, shipment_id: UUID) -> StoredShipment:
    """A parcel of the caller's sellers (any for an admin), which nobody else changes until the transaction ends; raises NotFound."""
    await tx.all(Id, LOCK, [shipment_id])
    found = await tx.maybe(StoredShipment, FIND, [shipment_id])
    if found is None or not caller().principal.manages(found.seller_id):
        raise NotFound
    return found


async def move_on(tx: Transaction, found: StoredShipment, status: ShipmentStatus) -> Shipment:
    """The parcel in this status, unless it is in it already; raises WrongShipmentStatus."""
    if has_been(found, status):
        return show(found)
    if found.status != BEFORE[status]:
        raise WrongShipmentStatus(found.status)
    await move(tx, [found], status)
    return show(await tx.one(StoredShipment, FIND, [found.id]))


async def move(tx: Transaction, shipments: Sequence[StoredShipment], status: ShipmentStatus) -> None:
    """Write that these parcels, which are locked, are in this status now, and tell."""
    if not shipments:
        return
    ids = [one.id for one in shipments]
    await tx.run(MOVE, ids, status, settings.now.track_every_s)
    if status == "canceled":
        await tx.run(VOID_LABELS, ids)
    moved = await tx.all(StoredShipment, FIND, ids)
    await forget_details(tx, [one.id for one in moved if one.address is None])
    await publish(tx, *(tell(one) for one in moved))


async def deliver_arrived(tx: Transaction, ids: list[UUID]) -> None:
    """Deliver those of these locked parcels that have left and that their carrier says it has delivered, if the shop wants that."""
    if settings.now.deliver_by_tracking:
        found = await tx.all(StoredShipment, FIND, ids)
        await move(tx, [one for one in found if one.status == "dispatched" and one.tracking_status == "delivered"], "delivered")


async def write_consignment(tx: Transaction, found: StoredShipment, consignment: Consignment) -> None:
    """Write what is given; the parcel is locked."""
    now = {name: getattr(found, name) for name in consignment.__struct_fields__}
    given = {name: value for name in now if (value := getattr(consignment, name)) is not msgspec.UNSET}
    if given.items() - now.items():
        await tx.run(WRITE_CONSIGNMENT, found.id, *(now | given).values())


def has_been(found: StoredShipment, status: ShipmentStatus) -> bool:
    """Whether a parcel has got into this status before: what is delivered was dispatched."""
    return found.status == status or (status == "dispatched" and found.status == "delivered")


def tell(shipment: StoredShipment) -> ShipmentDispatched | ShipmentDelivered | ShipmentCancelled:
    """The event of the status that a parcel is in."""
    lines = tuple(ShippedLine(line.line_id, line.sku, line.quantity, line.product_id) for line in shipment.lines)
    if shipment.delivered_at is not None:
        return ShipmentDelivered(shipment.id, shipment.order_id, shipment.seller_id, lines, shipment.delivered_at, shipment.user_id)
    if shipment.dispatched_at is not None:
        return ShipmentDispatched(shipment.id, shipment.order_id, shipment.seller_id, lines, shipment.dispatched_at, shipment.user_id)
    return ShipmentCancelled(shipment.id, shipment.order_id, shipment.seller_id, lines)


def may_see(shipment: StoredShipment, who: Caller) -> bool:
    """Whether this is its seller, its buyer, a guest with the order's token, or an admin."""
    if who.principal.manages(shipment.seller_id) or (shipment.user_id is not None and who.principal.owns(shipment.user_id)):
        return True
    return shipment.user_id is None and who.holds(shipment.guest_token_hash)


def show(stored: StoredShipment) -> Shipment:
    """What is shown of a row."""
    return Shipment(**{name: getattr(stored, name) for name in Shipment.__struct_fields__})
