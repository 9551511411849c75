"""Lists of carts."""

from uuid import UUID

from souk.carts.database import db
from souk.carts.offers import find_offers
from souk.carts.reading import SELECT_CARTS, StoredCart
from souk.carts.totals import price_carts
from souk.carts.types import Cart
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound

LIST_CARTS = f"{SELECT_CARTS} WHERE $1::uuid IS NULL OR c.id < $1 ORDER BY c.id DESC LIMIT $2"
LIST_CARTS_OF_USER = f"""
    {SELECT_CARTS} WHERE c.user_id = $3 AND ($1::uuid IS NULL OR c.id < $1) ORDER BY c.id DESC LIMIT $2
"""


@exposed()
async def list_carts(user_id: UUID | None, before: UUID | None, limit: int) -> tuple[Cart, ...]:
    """Carts at the prices of now, the newest first: one's own; for an admin all of them, or a user's.

    Changes nothing. Raises Unauthenticated for a guest, NotFound for another user's.
    """
    who = caller().principal
    if user_id is None and who.is_admin:
        stored = await db.search(StoredCart, LIST_CARTS, before, limit)
    else:
        mine = user_id or who.require_user()
        if not (who.owns(mine) or who.is_admin):
            raise NotFound
        stored = await db.search(StoredCart, LIST_CARTS_OF_USER, before, limit, mine)
    return await price_carts(stored, await find_offers(item.sku for cart in stored for item in cart.items))
