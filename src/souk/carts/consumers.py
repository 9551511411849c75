"""What carts does when it hears of orders and of people who leave."""

from uuid import UUID

from souk.carts import closing
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.orders.events import OrderPlaced
from souk.users.events import UserErased


@subscribes(OrderPlaced)
async def close_ordered_carts(tx: Transaction, news: tuple[Delivered[OrderPlaced], ...]) -> None:
    """What was ordered cannot be changed any more."""
    orders: dict[UUID, UUID] = {one.event.cart_id: one.event.order_id for one in news if one.event.cart_id is not None}
    await closing.close_ordered(tx, orders)


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Drop the carts of people who leave."""
    await closing.forget_users(tx, [one.event.user_id for one in news])
