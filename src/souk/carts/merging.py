"""Carts of users: the one that they are filling, and what becomes of a guest's cart when the guest signs in."""

from uuid import UUID

from souk.carts.changing import lock_carts
from souk.carts.database import db
from souk.carts.items import REMOVE_ITEMS
from souk.carts.reading import StoredCart, is_owner
from souk.carts.totals import get_cart
from souk.carts.types import MOST_LINES, MOST_PIECES, Cart, CartClosed, TooManyLines
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound

FIND_CURRENT = """
    SELECT c.id FROM carts.current_cart AS p JOIN carts.cart AS c ON c.id = p.cart_id AND c.status = 'active' WHERE p.user_id = $1
"""
# The user's row is ours until the transaction ends; without one, this cart is the current one now.
TAKE_CURRENT = """
    INSERT INTO carts.current_cart AS p (user_id, cart_id) VALUES ($1, $2)
    ON CONFLICT (user_id) DO UPDATE SET updated_at = now()
    RETURNING p.cart_id
"""
MOVE_CURRENT = "UPDATE carts.current_cart SET cart_id = $2, updated_at = now() WHERE user_id = $1"
ADOPT_CART = """
    UPDATE carts.cart SET user_id = $2, guest_token_hash = NULL, version = version + 1, updated_at = now() WHERE id = $1
"""
MERGE_ITEMS = """
    INSERT INTO carts.cart_item AS i (cart_id, sku, id, product_id, variant_id, seller_id, name, quantity)
    SELECT $2, g.sku, g.id, g.product_id, g.variant_id, g.seller_id, g.name, g.quantity FROM carts.cart_item AS g WHERE g.cart_id = $1
    ON CONFLICT (cart_id, sku) DO UPDATE SET quantity = least($3, i.quantity + excluded.quantity), updated_at = now()
"""
MERGE_CART = """
    UPDATE carts.cart SET coupon = coalesce(coupon, $2), version = version + 1, updated_at = now() WHERE id = $1
"""
CLOSE_MERGED = """
    UPDATE carts.cart
    SET status = 'merged', merged_into = $2, user_id = $3, guest_token_hash = NULL, version = version + 1, updated_at = now()
    WHERE id = $1
"""


@exposed()
async def get_current_cart() -> Cart:
    """The cart that the user is filling: the one that they made or claimed last. Changes nothing; NotFound if there is none."""
    cart_id: UUID | None = await db.value(FIND_CURRENT, caller().principal.require_user())
    if cart_id is None:
        raise NotFound
    return await get_cart(cart_id)


@exposed()
async def claim_cart(cart_id: UUID) -> Cart:
    """A guest's cart, whose token the caller has, becomes the signed-in user's, or goes into the one that they are filling.

    Quantities add up to at most 999 pieces; the user's own currency and coupon win. Repeating gives the same cart. Raises
    Unauthenticated, NotFound, CartClosed for one that was ordered, TooManyLines if the two do not fit into one.
    """
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        current_id: UUID = await tx.value(TAKE_CURRENT, user_id, cart_id)
        carts = await lock_carts(tx, {cart_id, current_id})
        cart, current = carts.get(cart_id), carts.get(current_id)
        if cart is None or not is_owner(cart, caller()):
            raise NotFound
        if cart.status == "ordered":
            raise CartClosed(cart.status)
        if cart.merged_into is not None:
            kept_id = cart.merged_into
        elif current is None or current.status != "active" or current.id == cart.id:
            kept_id = cart.id
            await adopt(tx, cart, user_id)
        else:
            kept_id = current.id
            await merge(tx, cart, current, user_id)
    return await get_cart(kept_id)


async def adopt(tx: Transaction, cart: StoredCart, user_id: UUID) -> None:
    """The cart is the user's, and the one that they are filling; no token opens it any more."""
    await tx.run(MOVE_CURRENT, user_id, cart.id)
    if cart.user_id is None:
        await tx.run(ADOPT_CART, cart.id, user_id)


async def merge(tx: Transaction, cart: StoredCart, current: StoredCart, user_id: UUID) -> None:
    """Everything in the cart goes into the one that the user is filling."""
    if len({item.sku for item in (*cart.items, *current.items)}) > MOST_LINES:
        raise TooManyLines(MOST_LINES)
    await tx.run(MERGE_ITEMS, cart.id, current.id, MOST_PIECES)
    await tx.run(REMOVE_ITEMS, cart.id)
    await tx.run(MERGE_CART, current.id, cart.coupon)
    await tx.run(CLOSE_MERGED, cart.id, current.id, user_id)
