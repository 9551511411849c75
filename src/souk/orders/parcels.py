"""Pack an order's lines into parcels, and follow what shipping tells of them: no piece is packed twice, or after it was cancelled."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk import shipping
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import publish
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.orders import reading
from souk.orders.database import db
from souk.orders.events import ParcelPacked
from souk.orders.reading import FIND_ORDERS, StoredLine, StoredOrder
from souk.orders.settling import LOCK_ORDERS, Moment, add_to_timeline
from souk.orders.types import LinePieces, NewParcel, NotPackable, TooMuchPacked
from souk.orders.worths import sales_earned

ADD_PARCEL = """
    INSERT INTO orders.parcel (order_id, id, seller_id, lines) VALUES ($1, $2, $3, $4)
    RETURNING order_id, id, seller_id, status, lines, created_at
"""
FIND_PARCELS = """
    SELECT order_id, id, seller_id, status, lines, created_at FROM orders.parcel WHERE order_id = ANY($1) ORDER BY order_id, id
"""
MOVE_PARCELS = """
    UPDATE orders.parcel
    SET status = $3, dispatched_at = coalesce(dispatched_at, CASE WHEN $3 <> 'canceled' THEN now() END), updated_at = now()
    WHERE order_id = ANY($1) AND id = ANY($2)
"""
COUNT = """
    UPDATE orders.order_line AS l
    SET packed = l.packed + u.packed, shipped = l.shipped + u.shipped, delivered = l.delivered + u.delivered
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[]) AS u (order_id, id, packed, shipped, delivered)
    WHERE l.order_id = u.order_id AND l.id = u.id
"""
HOW_FAR = """
    CASE WHEN sum(quantity) = sum(canceled) THEN 'canceled'
         WHEN sum(returned) > 0 AND sum(returned) = sum(quantity) - sum(canceled) THEN 'returned'
         WHEN sum(delivered) = sum(quantity) - sum(canceled) THEN 'delivered'
         WHEN sum(shipped) = sum(quantity) - sum(canceled) THEN 'fulfilled'
         WHEN sum(shipped) > 0 THEN 'partial'
         ELSE 'unfulfilled' END
"""
DERIVE_PARTS = f"""
    UPDATE orders.order_part AS p SET status = s.status, updated_at = now()
    FROM (SELECT order_id, seller_id, {HOW_FAR} AS status FROM orders.order_line WHERE order_id = ANY($1) GROUP BY order_id, seller_id) AS s
    WHERE p.order_id = s.order_id AND p.seller_id = s.seller_id AND p.status <> s.status
"""
DERIVE_ORDERS = f"""
    UPDATE orders.orders AS o SET fulfillment_status = s.status, version = o.version + 1, updated_at = now()
    FROM (SELECT order_id, {HOW_FAR} AS status FROM orders.order_line WHERE order_id = ANY($1) GROUP BY order_id) AS s
    WHERE o.id = s.order_id AND o.fulfillment_status <> s.status
"""

ParcelStatus = Literal["packed", "dispatched", "delivered", "canceled"]
# In which order a parcel gets on; what was cancelled gets no further.
STAGES: tuple[ParcelStatus, ...] = ("packed", "dispatched", "delivered")


class Parcel(msgspec.Struct, frozen=True):
    """What of an order is in a parcel."""

    order_id: UUID
    id: UUID
    seller_id: UUID
    status: ParcelStatus
    lines: tuple[LinePieces, ...]
    created_at: datetime


class Step(msgspec.Struct, frozen=True):
    """A parcel has got into a status."""

    order_id: UUID
    parcel_id: UUID
    status: ParcelStatus


@exposed(timeout=10.0)
async def pack_parcel(new: NewParcel) -> shipping.Shipment:
    """Pack lines of one's own part of a placed order into a parcel, or all that is left of it. The parcel, as it was packed.

    The same Idempotency-Key packs once. Raises NotFound for an order of which the caller sells nothing, NotPackable for one that is
    not placed or has nothing left to pack, TooMuchPacked for more of a line than is left.
    """
    seller_id = choose_part(await reading.find_visible(new.order_id), new.seller_id)

    async def work(tx: Transaction) -> shipping.Shipment:
        # The answer is kept with its key, and the address is not to be.
        return msgspec.structs.replace(show(await write_parcel(tx, new, seller_id)), address=None)

    parcel = await once(db, new, work)
    return show(await open_parcel(parcel.order_id, parcel.id))


async def open_parcel(order_id: UUID, parcel_id: UUID) -> shipping.OpenShipment:
    """Let shipping know of a parcel, and what it is told; again changes nothing."""
    order = await reading.find_order(order_id)
    parcel = next(one for one in await db.all(Parcel, FIND_PARCELS, [order_id]) if one.id == parcel_id)
    opened = describe(order, parcel)
    await shipping.open_shipment(opened)
    return opened


async def recall_parcels(order_id: UUID) -> None:
    """Have all parcels of an order cancelled, if none has left. Shipping decides; what it says is counted at once."""
    packed = [one for one in await db.all(Parcel, FIND_PARCELS, [order_id]) if one.status == "packed"]
    await recall(order_id, packed, None)


async def unpack(order: StoredOrder, wanted: Mapping[UUID, int]) -> None:
    """Have parcels cancelled until so many pieces of these lines are there, the newest first; one that has left stays as it is."""
    packed = [parcel for parcel in await db.all(Parcel, FIND_PARCELS, [order.id]) if parcel.status == "packed"]
    chosen = choose_parcels({line.id: wanted.get(line.id, 0) - left_to_pack(line) for line in order.lines}, packed)
    await recall(order.id, chosen, tuple(parcel.id for parcel in chosen))


async def recall(order_id: UUID, packed: Sequence[Parcel], only: tuple[UUID, ...] | None) -> None:
    """Have these parcels of an order cancelled by shipping, and count those that are."""
    if not packed:
        return
    for parcel in packed:  # so that there is something to cancel, should their packer have died before shipping knew
        await open_parcel(order_id, parcel.id)
    canceled = [one.id for one in await shipping.recall_shipments(order_id, only) if one.status == "canceled"]
    async with db.transaction() as tx:
        await follow(tx, [Step(order_id, parcel_id, "canceled") for parcel_id in canceled])


async def write_parcel(tx: Transaction, new: NewParcel, seller_id: UUID) -> shipping.OpenShipment:
    """Count the lines as packed, and tell; what shipping has to know."""
    await tx.run(LOCK_ORDERS, [new.order_id])
    order = await tx.one(StoredOrder, FIND_ORDERS, [new.order_id])
    lines = choose_lines(order, seller_id, new.items)
    parcel = await tx.one(Parcel, ADD_PARCEL, order.id, new_id(), seller_id, msgspec.to_builtins(lines))
    await count(tx, {(order.id, line.line_id): (line.quantity, 0, 0) for line in lines})
    await publish(tx, ParcelPacked(order.id, parcel.id, seller_id, lines))
    return describe(order, parcel)


async def follow(tx: Transaction, steps: Sequence[Step]) -> None:
    """Count what became of parcels: each step of a parcel counts once, and one that was missed counts with the next."""
    order_ids = sorted({step.order_id for step in steps})
    await tx.run(LOCK_ORDERS, order_ids)
    known = {parcel.id: parcel for parcel in await tx.all(Parcel, FIND_PARCELS, order_ids)}
    counts: defaultdict[tuple[UUID, UUID], tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    reached: dict[UUID, ParcelStatus] = {}
    leaving: list[Parcel] = []
    for step in steps:
        parcel = known[step.parcel_id]
        before = reached.get(parcel.id, parcel.status)
        changes = count_step(before, step.status)
        if changes is None:
            continue
        reached[parcel.id] = step.status
        leaving += [parcel] if changes[1] else []
        for line in parcel.lines:
            key = (parcel.order_id, line.line_id)
            counts[key] = add(counts[key], [change * line.quantity for change in changes])
    await tell_earnings(tx, leaving)
    for status in set(reached.values()):
        ids = sorted(parcel_id for parcel_id, now in reached.items() if now == status)
        await tx.run(MOVE_PARCELS, sorted({known[parcel_id].order_id for parcel_id in ids}), ids, status)
    await count(tx, counts)
    await derive_fulfillment(tx, order_ids)
    await add_to_timeline(tx, tuple(moment_of(known[parcel_id], now) for parcel_id, now in reached.items()))


def moment_of(parcel: Parcel, status: ParcelStatus) -> Moment:
    return Moment(parcel.order_id, f"parcel_{status}", {"shipment_id": str(parcel.id), "seller_id": str(parcel.seller_id)})


async def tell_earnings(tx: Transaction, leaving: Sequence[Parcel]) -> None:
    """Announce what sellers earn by parcels that have left and are not counted yet. The orders are locked."""
    if not leaving:
        return
    pieces: Counter[tuple[UUID, UUID]] = Counter()
    for parcel in leaving:
        pieces.update({(parcel.order_id, line.line_id): line.quantity for line in parcel.lines})
    for order in await tx.all(StoredOrder, FIND_ORDERS, sorted({parcel.order_id for parcel in leaving})):
        lines = tuple(msgspec.structs.replace(line, shipped=line.shipped + pieces[order.id, line.id]) for line in order.lines)
        parcels = {parcel.seller_id: parcel.id for parcel in leaving if parcel.order_id == order.id}
        await publish(tx, *sales_earned(order, msgspec.structs.replace(order, lines=lines), parcels))


async def derive_fulfillment(tx: Transaction, order_ids: list[UUID]) -> None:
    """Write on orders and parts how far their lines have come. The orders are locked."""
    await tx.run(DERIVE_PARTS, order_ids)
    await tx.run(DERIVE_ORDERS, order_ids)


async def count(tx: Transaction, counts: dict[tuple[UUID, UUID], tuple[int, int, int]]) -> None:
    """Add to the counters of lines (order, line): packed, shipped, delivered. The orders are locked."""
    if counts:
        keys, values = zip(*counts, strict=True), zip(*counts.values(), strict=True)
        await tx.run(COUNT, *map(list, keys), *map(list, values))


def add(one: tuple[int, int, int], other: Iterable[int]) -> tuple[int, int, int]:
    packed, shipped, delivered = (a + b for a, b in zip(one, other, strict=True))
    return packed, shipped, delivered


def count_step(before: ParcelStatus, after: ParcelStatus) -> tuple[int, int, int] | None:
    """By what a piece in a parcel changes the counters of its line: packed, shipped, delivered; None if that was counted before."""
    if after == "canceled":
        return (-1, 0, 0) if before == "packed" else None
    if before == "canceled" or STAGES.index(after) <= STAGES.index(before):
        return None
    return 0, int(before == "packed"), int(after == "delivered")


def choose_parcels(missing: Mapping[UUID, int], packed: Sequence[Parcel]) -> list[Parcel]:
    """Those of the parcels, the newest first, without which so many pieces of these lines are missing."""
    short = Counter(missing)
    chosen = []
    for parcel in reversed(packed):
        if any(short[line.line_id] > 0 for line in parcel.lines):
            chosen.append(parcel)
            short.subtract({line.line_id: line.quantity for line in parcel.lines})
    return chosen


def choose_part(order: StoredOrder, seller_id: UUID | None) -> UUID:
    """Whose part of the order it is about: the one that is named, or the only one that the caller sells."""
    who = caller().principal
    own = [part.seller_id for part in order.parts if who.manages(part.seller_id) and seller_id in (None, part.seller_id)]
    if not own:
        raise NotFound
    if len(own) > 1:
        raise InvalidField("seller_id", "is missing: this order has several sellers")
    return own[0]


def choose_lines(order: StoredOrder, seller_id: UUID, wanted: Iterable[LinePieces] | None) -> tuple[LinePieces, ...]:
    """What goes into a parcel of this seller: what is wanted, or all that is left. Raises NotPackable, TooMuchPacked, InvalidField.

    What needs no shipping goes by itself.
    """
    left = {line.id: left_to_pack(line) for line in order.lines if line.seller_id == seller_id}
    part = next(part for part in order.parts if part.seller_id == seller_id)
    if order.status != "placed" or not any(left.values()) or part.shipping_option == shipping.NO_SHIPPING:
        raise NotPackable(order.status, order.fulfillment_status)
    if wanted is None:
        return tuple(LinePieces(line_id, pieces) for line_id, pieces in left.items() if pieces)
    demand: defaultdict[UUID, int] = defaultdict(int)
    for line in wanted:
        demand[line.line_id] += line.quantity
    for line_id, pieces in demand.items():
        if line_id not in left:
            raise InvalidField("items", "hold a line that is not of this seller's part")
        if pieces > left[line_id]:
            raise TooMuchPacked(line_id, pieces, left[line_id])
    return tuple(LinePieces(line_id, pieces) for line_id, pieces in demand.items())


def left_to_pack(line: StoredLine) -> int:
    return line.quantity - line.canceled - line.packed


def describe(order: StoredOrder, parcel: Parcel) -> shipping.OpenShipment:
    """What shipping has to know of a parcel."""
    lines = {line.id: line for line in order.lines}
    part = next(part for part in order.parts if part.seller_id == parcel.seller_id)
    address = order.shipping_address
    return shipping.OpenShipment(
        id=parcel.id,
        order_id=order.id,
        order_number=order.number,
        seller_id=parcel.seller_id,
        created_at=parcel.created_at,
        lines=tuple(
            shipping.ShipmentLine(one.line_id, line.sku, line.name, one.quantity, line.product_id)
            for one, line in ((one, lines[one.line_id]) for one in parcel.lines)
        ),
        user_id=order.user_id,
        guest_token_hash=order.guest_token_hash,
        shipping_option=part.shipping_option,
        address=msgspec.convert(msgspec.to_builtins(address), shipping.Address) if address else None,
    )


def show(opened: shipping.OpenShipment) -> shipping.Shipment:
    """A parcel that has just been packed, as shipping will show it."""
    names = ("id", "order_id", "order_number", "seller_id", "lines", "shipping_option", "address", "created_at")
    return shipping.Shipment(status="packed", version=1, updated_at=opened.created_at, **{name: getattr(opened, name) for name in names})
