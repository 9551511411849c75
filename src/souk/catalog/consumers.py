"""What catalog does when it hears of stock, ratings, sellers and erased users."""

from souk.catalog import ratings, sellers, stock, views
from souk.inventory.events import StockChanged
from souk.kit.db import Transaction
from souk.kit.events import Delivered, subscribes
from souk.reviews.events import RatingChanged
from souk.users.events import SellerApproved, SellerSuspended, UserErased


@subscribes(StockChanged)
async def show_stock(tx: Transaction, news: tuple[Delivered[StockChanged], ...]) -> None:
    """Keep what can be sold of each SKU."""
    await stock.keep_levels(tx, [one.event for one in news])


@subscribes(RatingChanged)
async def show_ratings(tx: Transaction, news: tuple[Delivered[RatingChanged], ...]) -> None:
    """Show what buyers think of each product."""
    await ratings.show_ratings(tx, [one.event for one in news])


@subscribes(SellerSuspended, SellerApproved)
async def hide_sellers(tx: Transaction, news: tuple[Delivered[SellerSuspended | SellerApproved], ...]) -> None:
    """Hide the products of a suspended seller, and show them again when the seller is back."""
    for one in news:
        await sellers.set_suspended(tx, one.event.seller_id, suspended=isinstance(one.event, SellerSuspended))


@subscribes(UserErased)
async def forget_viewers(tx: Transaction, news: tuple[Delivered[UserErased], ...]) -> None:
    """Forget who looked at what."""
    await views.forget_viewers(tx, [one.event.user_id for one in news])
