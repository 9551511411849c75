"""Change a cart as a whole, or give it up."""

from collections.abc import Iterable
from uuid import UUID

from msgspec import UNSET

from souk import pricing
from souk.carts.database import db
from souk.carts.reading import FIND_CARTS, StoredCart, may_see
from souk.carts.totals import get_cart
from souk.carts.types import Cart, CartChange, CartClosed, UnknownCurrency
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound

LOCK_CARTS = "SELECT id FROM carts.cart WHERE id = ANY($1) ORDER BY id FOR UPDATE"
TOUCH_CART = "UPDATE carts.cart SET version = version + 1, updated_at = now() WHERE id = $1"
CHANGE_CART = """
    UPDATE carts.cart SET currency = $2, email = $3, version = version + 1, updated_at = now()
    WHERE id = $1 AND (currency, email) IS DISTINCT FROM ($2, $3)
"""
DELETE_CART = """
    WITH emptied AS (DELETE FROM carts.cart_item WHERE cart_id = $1)
    DELETE FROM carts.cart WHERE id = $1
"""


@exposed()
async def update_cart(cart_id: UUID, change: CartChange) -> Cart:
    """Change the currency or the guest's e-mail address. Items without a price in the currency stay, and cannot be bought.

    Repeating changes nothing. Raises NotFound, CartClosed, UnknownCurrency.
    """
    if change.currency is not UNSET:
        check_currency(change.currency, await pricing.get_currencies())
    async with db.transaction() as tx:
        cart = await lock_open_cart(tx, cart_id)
        currency = cart.currency if change.currency is UNSET else change.currency
        email = cart.email if change.email is UNSET else change.email
        await tx.run(CHANGE_CART, cart_id, currency, email)
    return await get_cart(cart_id)


@exposed()
async def delete_cart(cart_id: UUID) -> None:
    """Give a cart up. Repeating is NotFound, as is another's cart. Raises CartClosed for one that was ordered."""
    async with db.transaction() as tx:
        await lock_open_cart(tx, cart_id)
        await tx.run(DELETE_CART, cart_id)


async def lock_open_cart(tx: Transaction, cart_id: UUID) -> StoredCart:
    """A cart of the caller's that can be changed, locked; raises NotFound, CartClosed."""
    cart = (await lock_carts(tx, [cart_id])).get(cart_id)
    if cart is None or not may_see(cart, caller()):
        raise NotFound
    if cart.status != "active":
        raise CartClosed(cart.status)
    return cart


async def lock_carts(tx: Transaction, cart_ids: Iterable[UUID]) -> dict[UUID, StoredCart]:
    """These carts, locked in the order of their ids. They are read after that, for their items may have changed while we waited."""
    await tx.run(LOCK_CARTS, list(cart_ids))
    return {cart.id: cart for cart in await tx.all(StoredCart, FIND_CARTS, list(cart_ids))}


async def touch_cart(tx: Transaction, cart_id: UUID) -> None:
    """A cart has a new version."""
    await tx.run(TOUCH_CART, cart_id)


def check_currency(currency: str, known: tuple[str, ...]) -> None:
    """Raise UnknownCurrency unless the shop sells in it."""
    if currency not in known:
        raise UnknownCurrency("currency", f"this shop sells in {', '.join(known)}")
