"""What users does when it hears of views and orders."""

from souk.catalog.events import ProductViewed
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.orders.events import OrderPlaced
from souk.users import activity
from souk.users.activity import Doing


@subscribes(ProductViewed)
async def note_views(tx: Transaction, news: tuple[Delivered[ProductViewed], ...]) -> None:
    """Write down what signed-in users looked at."""
    doings: list[Doing] = []
    for one in news:
        view = one.event
        if view.user_id is not None:
            doings.append(Doing(one.event_id, view.user_id, "view", view.viewed_at, product_id=view.product_id))
    await activity.note(tx, doings)


@subscribes(OrderPlaced)
async def note_purchases(tx: Transaction, news: tuple[Delivered[OrderPlaced], ...]) -> None:
    """Write down what signed-in users bought."""
    doings: list[Doing] = []
    for one in news:
        order = one.event
        if order.user_id is not None:
            doings.append(Doing(one.event_id, order.user_id, "purchase", order.placed_at, order_id=order.order_id))
    await activity.note(tx, doings)
