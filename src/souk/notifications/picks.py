"""What is recommended to whom: what can be had of what they say they like, and have neither bought nor been shown of late."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk import catalog, orders, users
from souk.kit.ids import first_id
from souk.kit.money import Money
from souk.notifications.database import db
from souk.notifications.settings import settings
from souk.notifications.types import Content
from souk.users import Preferences

FIND_SHOWN = """
    SELECT DISTINCT m.user_id, (item ->> 'product_id')::uuid AS product_id
    FROM notifications.message AS m CROSS JOIN LATERAL jsonb_array_elements(m.content -> 'items') AS item
    WHERE m.user_id = ANY($1) AND m.id >= $2 AND m.kind = 'recommendations' AND m.status IN ('waiting', 'sending', 'sent')
"""

# Likings of one kind that are looked at for one person; names that catalog is asked for at once, and how much of each.
LIKINGS = 20
SHELVES_AT_ONCE = 200
ON_A_SHELF = 40

# By what it is of, a category or a brand, and by that one's name.
Liking = tuple[str, str]
Shelves = dict[Liking, tuple[catalog.ShelfProduct, ...]]


class Shown(msgspec.Struct, frozen=True):
    """A product was recommended to somebody of late."""

    user_id: UUID
    product_id: UUID


async def find_picks(user_ids: Sequence[UUID]) -> dict[UUID, Content]:
    """What is recommended to each of these people now; nobody is in the answer for whom there is nothing.

    A handful of calls, however many people: goods are asked for by what is liked, and not by who likes it.
    """
    likings = {one.user_id: one for one in await users.get_preferences(tuple(user_ids))}
    shelves = await fill_shelves({liking for one in likings.values() for liking in likings_of(one)})
    since = datetime.now(UTC) - timedelta(weeks=settings.now.recommendations_weeks)
    seen: dict[UUID, set[UUID]] = {user_id: set() for user_id in user_ids}
    for bought in await orders.list_bought(tuple(user_ids), since):
        seen[bought.user_id].add(bought.product_id)
    for shown in await db.all(Shown, FIND_SHOWN, list(user_ids), first_id(since.timestamp())):
        seen[shown.user_id].add(shown.product_id)
    chosen = {user_id: choose_picks(its, shelves, seen[user_id], settings.now.recommendations_most) for user_id, its in likings.items()}
    return {user_id: {"items": items} for user_id, items in chosen.items() if items}


async def fill_shelves(likings: Iterable[Liking]) -> Shelves:
    """What can be had of each of these categories and brands."""
    shelves: Shelves = {}
    wanted = sorted(likings)
    for start in range(0, len(wanted), SHELVES_AT_ONCE):
        some = wanted[start : start + SHELVES_AT_ONCE]
        categories, brands = (tuple(name for kind, name in some if kind == one) for one in ("category", "brand"))
        for shelf in await catalog.list_shelves(categories, brands, ON_A_SHELF):
            shelves[shelf.kind, shelf.name] = shelf.products
    return shelves


def likings_of(preferences: Preferences) -> Iterator[Liking]:
    """What somebody likes, however they write it."""
    for kind, names in (("category", preferences.categories), ("brand", preferences.brands)):
        yield from dict.fromkeys((kind, name.lower()) for name in names[:LIKINGS])


def choose_picks(likings: Preferences, shelves: Shelves, seen: Collection[UUID], most: int) -> list[Content]:
    """A few products for somebody: those first that they like for most reasons, of these the best rated, of these the newest."""
    reasons: dict[UUID, int] = {}
    products: dict[UUID, catalog.ShelfProduct] = {}
    for liking in likings_of(likings):
        for product in shelves.get(liking, ()):
            products[product.id] = product
            reasons[product.id] = reasons.get(product.id, 0) + 1
    ranked = sorted(products.values(), key=lambda one: (reasons[one.id], one.rating or 0.0, one.id), reverse=True)
    priced = ((one, find_price(one.prices, likings.currency)) for one in ranked if one.id not in seen)
    return [{"product_id": one.id, "name": one.name, "price": price} for one, price in priced if price is not None][:most]


def find_price(prices: Sequence[Money], currency: str | None) -> Money | None:
    """What it costs in somebody's currency, or in the shop's for who has none."""
    return next((price for price in prices if currency in (None, price.currency)), None)
