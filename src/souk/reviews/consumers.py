"""What reviews does when it hears of parcels that arrived, of products, and of people who leave."""

from collections.abc import Iterator
from uuid import UUID

from souk.catalog.events import ProductPublished, ProductRemoved
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.orders.events import DigitalGoodsDelivered
from souk.reviews import leaving, purchases
from souk.reviews.purchases import Purchase
from souk.shipping.events import ShipmentDelivered
from souk.users.events import UserErased


@subscribes(ShipmentDelivered, DigitalGoodsDelivered)
async def keep_purchases(tx: Transaction, news: tuple[Delivered[ShipmentDelivered | DigitalGoodsDelivered], ...]) -> None:
    """Whoever received a product may review it."""
    await purchases.keep_purchases(tx, [purchase for one in news for purchase in find_purchases(one.event)])


def find_purchases(told: ShipmentDelivered | DigitalGoodsDelivered) -> Iterator[Purchase]:
    """What somebody with an account received. Lines of orders from before products were told have none."""
    # A parcel that shipping never sees has an id without a time.
    key = told.order_id if isinstance(told, DigitalGoodsDelivered) else told.shipment_id
    for line in told.lines:
        if told.user_id is not None and line.product_id is not None:
            yield Purchase(key, line.product_id, told.user_id, told.seller_id, told.delivered_at)


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
