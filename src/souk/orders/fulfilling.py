"""Fulfil what needs no shipping: parts of digital goods are delivered as soon as their order is placed."""

from datetime import datetime
from uuid import UUID, uuid5

import msgspec

from souk import inventory, shipping
from souk.kit.callers import caller
from souk.kit.db import Transaction
from souk.kit.events import publish
from souk.orders.database import db
from souk.orders.events import DeliveredLine, DigitalGoodsDelivered
from souk.orders.parcels import FIND_PARCELS, Parcel, Step, count, follow, left_to_pack
from souk.orders.reading import FIND_ORDERS, StoredOrder
from souk.orders.settling import LOCK_ORDERS
from souk.orders.types import LinePieces
from souk.orders.worths import lines_of

# A parcel that shipping never sees.
ADD_PARCEL = """
    INSERT INTO orders.parcel (order_id, id, seller_id, lines) VALUES ($1, $2, $3, $4) ON CONFLICT (order_id, id) DO NOTHING
    RETURNING created_at
"""


async def fulfill_digital_parts(order_id: UUID) -> None:
    """Deliver the parts of an order that need no shipping, and let their stock leave. Again changes nothing."""
    async with db.transaction() as tx:
        await tx.run(LOCK_ORDERS, [order_id])
        order = await tx.one(StoredOrder, FIND_ORDERS, [order_id])
        parcels = {part.seller_id: parcel_of(order, part.seller_id) for part in order.parts if part.shipping_option == shipping.NO_SHIPPING}
        if order.status == "placed":
            await deliver(tx, order, parcels)
        delivered = [parcel for parcel in await tx.all(Parcel, FIND_PARCELS, [order_id]) if parcel.id in parcels.values()]
    for parcel in delivered:
        await let_leave(order, parcel)


def parcel_of(order: StoredOrder, seller_id: UUID) -> UUID:
    """The parcel of a part, which is the same however often it is fulfilled."""
    return uuid5(order.id, f"digital:{seller_id}")


async def deliver(tx: Transaction, order: StoredOrder, parcels: dict[UUID, UUID]) -> None:
    """Count what has not been cancelled of these parts as packed, sent and delivered. The order is locked."""
    steps: list[Step] = []
    for part in order.parts:
        lines = tuple(LinePieces(line.id, left) for line in lines_of(order, part) if (left := left_to_pack(line)))
        if part.seller_id in parcels and lines:
            parcel_id = parcels[part.seller_id]
            delivered_at = await tx.value(ADD_PARCEL, order.id, parcel_id, part.seller_id, msgspec.to_builtins(lines))
            if delivered_at is not None:
                await count(tx, {(order.id, line.line_id): (line.quantity, 0, 0) for line in lines})
                await publish(tx, tell(order, part.seller_id, parcel_id, lines, delivered_at))
            steps.append(Step(order.id, parcel_id, "delivered"))
    if steps:
        await follow(tx, steps)


def tell(order: StoredOrder, seller_id: UUID, parcel_id: UUID, pieces: tuple[LinePieces, ...], at: datetime) -> DigitalGoodsDelivered:
    """The news of a part that was delivered."""
    known = {line.id: line for line in order.lines}
    lines = tuple(DeliveredLine(one.line_id, known[one.line_id].product_id, known[one.line_id].sku, one.quantity) for one in pieces)
    return DigitalGoodsDelivered(order.id, parcel_id, seller_id, order.user_id, lines, at)


async def let_leave(order: StoredOrder, parcel: Parcel) -> None:
    """Let the stock of a parcel leave, once."""
    skus = {line.id: line.sku for line in order.lines}
    pieces = tuple(inventory.StockLine(skus[line.line_id], parcel.seller_id, line.quantity) for line in parcel.lines)
    (answer,) = await inventory.ship_stock.many([(inventory.ShipStock(order.id, pieces, parcel.id), caller())])
    if isinstance(answer, Exception):
        raise answer
