"""Carts that have served: ordered ones, and those of people who are gone."""

from uuid import UUID

from souk.carts.changing import LOCK_CARTS
from souk.carts.database import db
from souk.carts.reading import SELECT_CARTS, StoredCart
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
