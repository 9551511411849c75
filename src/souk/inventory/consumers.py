"""What inventory does when it hears of new items and of parcels that leave."""

from uuid import UUID

from souk.catalog.events import VariantAdded, VariantRemoved
from souk.inventory import availability, shipments
from souk.inventory.types import ShipStock, StockLine
from souk.kit.callers import caller
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.shipping.events import ShipmentDispatched


@subscribes(VariantAdded, VariantRemoved)
async def learn_items(tx: Transaction, news: tuple[Delivered[VariantAdded | VariantRemoved], ...]) -> None:
    """Know which product a SKU belongs to and who sells it. Of several facts about one SKU the last one counts.

    A SKU may be another product's by the time that its removal from the first one is told: only what is still that product's goes.
    """
    known: dict[str, tuple[UUID, UUID]] = {}
    gone: set[tuple[str, UUID]] = set()
    for event in (one.event for one in news):
        if isinstance(event, VariantAdded):
            known[event.sku] = (event.product_id, event.seller_id)
            continue
        gone.add((event.sku, event.product_id))
        if event.sku in known and known[event.sku][0] == event.product_id:
            del known[event.sku]
    await availability.forget_items(tx, gone)
    await availability.learn_items(tx, known)


@subscribes(ShipmentDispatched, kind="call")
async def ship_dispatched_stock(news: tuple[Delivered[ShipmentDispatched], ...]) -> None:
    """What is in a parcel that left is not in its stores any more. The parcel's id makes it leave once."""
    parcels = [
        ShipStock(
            one.event.order_id,
            tuple(StockLine(line.sku, one.event.seller_id, line.quantity) for line in one.event.lines),
            one.event.shipment_id,
        )
        for one in news
    ]
    for answer in await shipments.ship_stock.many([(parcel, caller()) for parcel in parcels]):
        if isinstance(answer, Exception):
            raise answer
