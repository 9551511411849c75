"""Carts that have served: ordered ones, those of people who are gone, and those that guests left behind."""

from uuid import UUID

from souk.carts.changing import LOCK_CARTS
from souk.carts.database import db
from souk.carts.reading import SELECT_CARTS, StoredCart
from souk.carts.settings import settings
from souk.kit.db import Transaction
from souk.kit.personal import exports_user_data

MARK_ORDERED = """
    UPDATE carts.cart AS c SET status = 'ordered', order_id = u.order_id, version = c.version + 1, updated_at = now()
    FROM unnest($1::uuid[], $2::uuid[]) AS u (cart_id, order_id)
    WHERE c.id = u.cart_id AND c.status <> 'ordered'
"""
FIND_CARTS_OF_USER = f"{SELECT_CARTS} WHERE c.user_id = $1 ORDER BY c.id LIMIT 10000"
FORGET_CURRENT = "DELETE FROM carts.current_cart WHERE user_id = ANY($1)"
FORGET_ITEMS = "DELETE FROM carts.cart_item WHERE cart_id IN (SELECT id FROM carts.cart WHERE user_id = ANY($1))"
FORGET_CARTS = "DELETE FROM carts.cart WHERE user_id = ANY($1)"
# A cart that is being changed is not old, so it is not waited for.
REMOVE_OLD_CARTS_OF_GUESTS = """
    WITH old AS MATERIALIZED (
        SELECT id FROM carts.cart
        WHERE user_id IS NULL AND created_at < now() - make_interval(days => $1) AND updated_at < now() - make_interval(days => $1)
        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED),
    emptied AS (DELETE FROM carts.cart_item AS i USING old WHERE i.cart_id = old.id)
    DELETE FROM carts.cart AS c USING old WHERE c.id = old.id
"""

CARTS_AT_ONCE = 1000


async def close_ordered(tx: Transaction, orders: dict[UUID, UUID]) -> None:
    """These carts became these orders."""
    await tx.run(LOCK_CARTS, list(orders))
    await tx.run(MARK_ORDERED, list(orders), list(orders.values()))


@exports_user_data
async def export_carts(user_id: UUID) -> dict[str, object]:
    """What we keep of a user: their carts."""
    carts = await db.all(StoredCart, FIND_CARTS_OF_USER, user_id)
    names = ("id", "email", "currency", "coupon", "status", "items", "created_at", "updated_at")
    return {"carts": [{name: getattr(cart, name) for name in names} for cart in carts]}


async def forget_users(tx: Transaction, user_ids: list[UUID]) -> None:
    """Drop every cart of these users."""
    await tx.run(FORGET_CURRENT, user_ids)
    await tx.run(FORGET_ITEMS, user_ids)
    await tx.run(FORGET_CARTS, user_ids)


async def forget_guest_carts() -> int:
    """Drop the carts of guests, ordered or not, that did not change for some days, with the addresses in them; how many there were."""
    forgotten = 0
    while True:
        async with db.transaction() as tx:
            removed = await tx.run(REMOVE_OLD_CARTS_OF_GUESTS, settings.now.guest_days, CARTS_AT_ONCE)
        forgotten += removed
        if removed < CARTS_AT_ONCE:
            return forgotten
