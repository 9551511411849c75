"""What shipping does when it hears of people who leave."""

from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.shipping import leaving
from souk.users.events import UserErased


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Take addresses off the parcels of people who leave."""
    await leaving.forget_users(tx, [one.event.user_id for one in news])
