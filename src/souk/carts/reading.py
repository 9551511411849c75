"""Read carts as they are stored, for those who may see them."""

import hashlib
import hmac
from datetime import datetime
from uuid import UUID

import msgspec

from souk.carts.database import db
from souk.carts.types import CartLine, CartLines, CartStatus
from souk.kit.batching import Asked
from souk.kit.callers import Caller
from souk.kit.calls import exposed
from souk.kit.errors import DomainError, NotFound

SELECT_CARTS = """
    SELECT c.id, c.user_id, c.guest_token_hash, c.email, c.currency, c.coupon, c.status, c.merged_into, c.version,
           c.created_at, c.updated_at,
           coalesce((SELECT jsonb_agg(to_jsonb(i) - 'cart_id' ORDER BY i.id)
                     FROM carts.cart_item AS i WHERE i.cart_id = c.id), '[]') AS items
    FROM carts.cart AS c
"""
FIND_CARTS = f"{SELECT_CARTS} WHERE c.id = ANY($1)"


class StoredItem(msgspec.Struct, frozen=True):
    """A row of cart_item."""

    id: UUID
    sku: str
    product_id: UUID
    variant_id: UUID
    seller_id: UUID
    name: str
    quantity: int
    created_at: datetime
    updated_at: datetime


class StoredCart(msgspec.Struct, frozen=True):
    """A row of cart with its items, in the order in which they came."""

    id: UUID
    user_id: UUID | None
    guest_token_hash: bytes | None
    email: str | None
    currency: str
    coupon: str | None
    status: CartStatus
    merged_into: UUID | None
    version: int
    created_at: datetime
    updated_at: datetime
    items: tuple[StoredItem, ...]


@exposed.batched(timeout=3.0, lanes=2)
async def get_cart_lines(asked: tuple[Asked[UUID], ...]) -> tuple[CartLines | DomainError, ...]:
    """What lies in a cart, without prices, in one statement however many ask. Changes nothing; another's cart is NotFound."""
    found = await find_visible(asked)
    return tuple(NotFound() if cart is None else make_lines(cart) for cart in found)


async def find_visible(asked: tuple[Asked[UUID], ...]) -> tuple[StoredCart | None, ...]:
    """For each who asks their cart, or None if there is none that they may see."""
    rows = await db.all(StoredCart, FIND_CARTS, list({one.request for one in asked}))
    carts = {cart.id: cart for cart in rows}
    found = (carts.get(one.request) for one in asked)
    return tuple(cart if cart and may_see(cart, one.caller) else None for cart, one in zip(found, asked, strict=True))


def may_see(cart: StoredCart, who: Caller) -> bool:
    """Whether a cart is there for the caller: their own, or any for an admin."""
    return who.principal.is_admin or is_owner(cart, who)


def is_owner(cart: StoredCart, who: Caller) -> bool:
    """Whether a cart is the caller's. One without a user belongs to whoever has the guest's token."""
    if cart.user_id is not None:
        return who.principal.owns(cart.user_id)
    if cart.guest_token_hash is None or who.guest_token is None:
        return False
    return hmac.compare_digest(cart.guest_token_hash, hash_token(who.guest_token))


def hash_token(token: str) -> bytes:
    """What is kept of a guest's token."""
    return hashlib.sha256(token.encode()).digest()


def make_lines(cart: StoredCart) -> CartLines:
    return CartLines(
        id=cart.id,
        user_id=cart.user_id,
        currency=cart.currency,
        coupon=cart.coupon,
        lines=tuple(CartLine(item.sku, item.quantity) for item in cart.items),
        guest_token_hash=cart.guest_token_hash.hex() if cart.guest_token_hash else None,
        version=cart.version,
        status=cart.status,
    )
