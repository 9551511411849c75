"""Coupons on carts: checked when they are put on, used when the order is placed."""

from uuid import UUID

import msgspec

from souk import pricing
from souk.carts.changing import lock_open_cart
from souk.carts.database import db
from souk.carts.offers import find_offers
from souk.carts.reading import FIND_CARTS, StoredCart, may_see
from souk.carts.totals import get_cart, make_request
from souk.carts.types import Cart, CartClosed, CartEmpty
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound

SET_COUPON = """
    UPDATE carts.cart SET coupon = $2, version = version + 1, updated_at = now() WHERE id = $1 AND coupon IS DISTINCT FROM $2
"""


@exposed()
async def set_cart_coupon(cart_id: UUID, code: str) -> Cart:
    """Put a coupon on a cart, in place of the one that is there. It is not used up before the order is placed.

    Repeating changes nothing. Raises NotFound, CartClosed, CartEmpty if nothing in the cart can be bought, and what pricing refuses.
    """
    cart = await db.maybe(StoredCart, FIND_CARTS, [cart_id])
    if cart is None or not may_see(cart, caller()):
        raise NotFound
    if cart.status != "active":
        raise CartClosed(cart.status)
    request = make_request(cart, await find_offers(item.sku for item in cart.items))
    if not request.lines:
        raise CartEmpty
    await pricing.quote(msgspec.structs.replace(request, coupon=code))
    return await set_coupon(cart_id, code.strip())


@exposed()
async def clear_cart_coupon(cart_id: UUID) -> Cart:
    """Take the coupon off a cart. Repeating changes nothing. Raises NotFound, CartClosed."""
    return await set_coupon(cart_id, None)


async def set_coupon(cart_id: UUID, code: str | None) -> Cart:
    async with db.transaction() as tx:
        await lock_open_cart(tx, cart_id)
        await tx.run(SET_COUPON, cart_id, code)
    return await get_cart(cart_id)
