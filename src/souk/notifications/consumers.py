"""What notifications does when it hears of what people are told of, of favourites and prices, and of people who leave."""

from uuid import UUID

from souk.catalog.events import PriceChanged, ProductPublished, VariantRemoved
from souk.kit.db import Transaction
from souk.kit.events import Delivered, Event, subscribes
from souk.notifications import notices, people, prices, reminders, telling
from souk.notifications.prices import Favorite
from souk.orders.events import OrderPlaced
from souk.reviews.events import FavoriteAdded, FavoriteRemoved
from souk.users.events import UserErased


@subscribes(*telling.TOLD)
async def write_notices(tx: Transaction, news: tuple[Delivered[Event], ...]) -> None:
    """Write down what is to be told of each fact, and to whom."""
    await notices.write_notices(tx, (notice for one in news for notice in telling.find_notices(one)))


@subscribes(FavoriteAdded, FavoriteRemoved)
async def follow_favorites(tx: Transaction, news: tuple[Delivered[FavoriteAdded | FavoriteRemoved], ...]) -> None:
    """Know who keeps what in mind. Of several facts about one person and product the last one counts."""
    kept = {Favorite(one.event.product_id, one.event.user_id): isinstance(one.event, FavoriteAdded) for one in news}
    await prices.follow_favorites(tx, kept)


@subscribes(PriceChanged, ProductPublished, VariantRemoved)
async def note_prices(tx: Transaction, news: tuple[Delivered[PriceChanged | ProductPublished | VariantRemoved], ...]) -> None:
    """Look again at what products cost that somebody keeps in mind."""
    await prices.note_changes(tx, {one.event.product_id for one in news})


@subscribes(OrderPlaced)
async def stop_reminders(tx: Transaction, news: tuple[Delivered[OrderPlaced], ...]) -> None:
    """Do not remind anybody of a cart that they have ordered."""
    ordered: dict[UUID, UUID] = {
        one.event.cart_id: one.event.user_id for one in news if one.event.cart_id is not None and one.event.user_id is not None
    }
    await reminders.stop_reminders(tx, list(ordered.values()), list(ordered))


@subscribes(UserErased)
async def forget_users(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Forget what people who leave were told and keep in mind, and tell them nothing more."""
    await people.forget_people(tx, sorted({one.event.user_id for one in news}))
