"""What inventory does when it hears of new items, of pieces that leave, will not, come back or have arrived, and of people who leave."""

from collections import Counter
from uuid import UUID

from souk.catalog.events import VariantAdded, VariantRemoved
from souk.inventory import availability, cancellations, restocking, shipments, subscriptions
from souk.inventory.events import StockArrived
from souk.inventory.restocking import Piece
from souk.inventory.types import ShipStock, StockLine
from souk.kit.callers import caller
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.orders.events import ItemsCancelled, ReturnReceived
from souk.shipping.events import ShipmentDispatched
from souk.users.events import UserErased


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
    if gone:
        await availability.forget_items(tx, gone)
        await subscriptions.forget_variants(tx, gone)
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


@subscribes(ItemsCancelled)
async def release_cancelled_pieces(tx: Transaction, news: tuple[Delivered[ItemsCancelled], ...]) -> None:
    """What is cancelled of an order is for sale again."""
    await cancellations.release_pieces(tx, [(one.event.order_id, one.event.lines) for one in news])


@subscribes(ReturnReceived)
async def restock_returned_pieces(tx: Transaction, news: tuple[Delivered[ReturnReceived], ...]) -> None:
    """What came back and can be sold again is for sale again."""
    back: Counter[Piece] = Counter()
    for event, line in ((one.event, line) for one in news for line in one.event.lines):
        back[Piece(event.order_id, event.seller_id, line.sku)] += line.resellable
    await restocking.restock(tx, +back)


@subscribes(StockArrived, kind="call")
async def tell_subscribers(news: tuple[Delivered[StockArrived], ...]) -> None:
    """Tell those who wait for what has arrived. Whoever is told does not wait any more, so that each is told once."""
    await subscriptions.tell_subscribers({sku for one in news for sku in one.event.skus})


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Forget what people who leave were waiting for."""
    await subscriptions.forget_users(tx, [one.event.user_id for one in news])
