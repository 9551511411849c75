"""Products that people keep in mind."""

from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.ids import new_id
from souk.reviews import pacing
from souk.reviews.database import db
from souk.reviews.events import FavoriteAdded, FavoriteRemoved
from souk.reviews.settings import settings
from souk.reviews.types import Favorite, TooManyFavorites

FIND = "SELECT product_id, created_at FROM reviews.favorite WHERE user_id = $1 AND product_id = $2"
COUNT = "SELECT count(*) FROM reviews.favorite WHERE user_id = $1"
ADD = "INSERT INTO reviews.favorite (user_id, product_id, id) VALUES ($1, $2, $3) RETURNING product_id, created_at"
REMOVE = "DELETE FROM reviews.favorite WHERE user_id = $1 AND product_id = $2"
LIST = "SELECT id, product_id, created_at FROM reviews.favorite WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"

NEWEST = UUID(int=2**128 - 1)


class _Listed(Favorite, frozen=True, kw_only=True):
    id: UUID


@exposed()
async def add_favorite(product_id: UUID) -> Favorite:
    """Keep a product in mind. Again changes nothing and gives the first one. Raises TooManyFavorites.

    Whether there is such a product is not asked: what is gone for good is forgotten when the catalogue tells.
    """
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        await pacing.take_turn(tx, user_id)
        known = await tx.maybe(Favorite, FIND, user_id, product_id)
        if known is not None:
            return known
        if await tx.value(COUNT, user_id) >= settings.now.favorites:
            raise TooManyFavorites(settings.now.favorites)
        await publish(tx, FavoriteAdded(user_id, product_id))
        return await tx.one(Favorite, ADD, user_id, product_id, new_id())


@exposed()
async def get_favorite(product_id: UUID) -> Favorite:
    """A product that the caller keeps in mind. Changes nothing; raises NotFound for any other."""
    found = await db.maybe(Favorite, FIND, caller().principal.require_user(), product_id)
    if found is None:
        raise NotFound
    return found


@exposed()
async def list_favorites(limit: int, cursor: str | None) -> Page[Favorite]:
    """The products that the caller keeps in mind, the newest first. Changes nothing."""
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    rows = await db.all(_Listed, LIST, caller().principal.require_user(), before, limit + 1)
    page = make_page(rows, limit, lambda row: (row.id,))
    return Page(tuple(Favorite(row.product_id, row.created_at) for row in page.items), page.next)


@exposed()
async def remove_favorite(product_id: UUID) -> None:
    """Do not keep a product in mind any more; again changes nothing."""
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        if await tx.run(REMOVE, user_id, product_id):
            await publish(tx, FavoriteRemoved(user_id, product_id))
