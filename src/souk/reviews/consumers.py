"""What reviews does when it hears of what was delivered, of products, and of people who leave."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from souk.catalog.events import ProductPublished, ProductRemoved
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.orders.events import DigitalGoodsDelivered
from souk.reviews import leaving, purchases
from souk.reviews.purchases import Purchase
from souk.reviews.settings import settings
from souk.shipping.events import ShipmentDelivered, ShipmentDispatched
from souk.users.events import UserErased

Delivery = ShipmentDispatched | ShipmentDelivered | DigitalGoodsDelivered


@subscribes(ShipmentDispatched, ShipmentDelivered, DigitalGoodsDelivered)
async def keep_purchases(tx: Transaction, news: tuple[Delivered[Delivery], ...]) -> None:
    """Whoever received a product may review it."""
    await purchases.keep_purchases(tx, [purchase for one in news for purchase in find_purchases(one.event)])


def find_purchases(told: Delivery) -> Iterator[Purchase]:
    """What somebody with an account received. Lines of orders from before products were told have none."""
    key, delivered_at = arrival_of(told)
    for line in told.lines:
        if told.user_id is not None and line.product_id is not None:
            yield Purchase(key, line.product_id, told.user_id, told.seller_id, delivered_at)


def arrival_of(told: Delivery) -> tuple[UUID, datetime]:
    """By which id a purchase is kept, and when it arrived, or will have."""
    match told:
        case ShipmentDispatched():
            # Its seller may never say that it has arrived, and is not to decide by that who may review.
            return told.shipment_id, told.dispatched_at + timedelta(days=settings.now.arrives_days)
        case ShipmentDelivered():
            return told.shipment_id, told.delivered_at
        case DigitalGoodsDelivered():
            # The id of a parcel that shipping never sees has no time in it.
            return told.order_id, told.delivered_at


@subscribes(ProductPublished, ProductRemoved)
async def keep_listings(tx: Transaction, news: tuple[Delivered[ProductPublished | ProductRemoved], ...]) -> None:
    """Know who sells what; what is gone for good takes its reviews along. Of several facts about one product the last one counts."""
    known: dict[UUID, UUID] = {}
    gone: dict[UUID, UUID] = {}
    for event in (one.event for one in news):
        if isinstance(event, ProductPublished):
            known[event.product_id] = event.seller_id
        else:
            known.pop(event.product_id, None)
            gone[event.product_id] = event.seller_id
    await purchases.forget_products(tx, gone)
    await purchases.keep_listings(tx, known)


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Forget who wrote, voted, reported and kept in mind."""
    await leaving.forget_users(tx, [one.event.user_id for one in news])
