"""Carts over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar import Response
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from souk.carts import changing, coupons, creating, items, listing, merging, totals
from souk.carts.types import Cart, CartChange, CouponCode, ItemChange, NewCart, NewItem
from souk.kit.http import GUEST_OR_USER, PUBLIC, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route

UserId = Annotated[UUID | None, QueryParameter(description="Only carts of this user; for anybody but yourself you have to be an admin")]


@route("POST", "/carts", PUBLIC)
async def create_cart(data: JSONBody[NewCart]) -> Response[Cart]:
    """Make a cart. A guest's is opened by its `token`, told this once, here and in the header Souk-Token: send it in that header.

    A user's cart becomes the one at `/carts/current`; carts that they made before stay as they are, and nothing of them is added.
    """
    cart = await creating.create_cart(data)
    return Response(cart, headers={"Souk-Token": cart.token} if isinstance(cart.token, str) else {})


@route("GET", "/carts", SIGNED_IN)
async def list_carts(user_id: UserId = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Cart]:
    """Carts at the prices of now, the newest first: your own; for an admin all of them, or those of a user."""
    key = read_cursor(cursor, tuple[UUID])
    return make_page(await listing.list_carts(user_id, key[0] if key else None, limit + 1), limit, lambda cart: (cart.id,))


@route("GET", "/carts/current", SIGNED_IN)
async def get_current_cart() -> Cart:
    """The cart that you are filling: the one that you made or claimed last, on whatever device."""
    return await merging.get_current_cart()


@route("GET", "/carts/{cart_id:uuid}", GUEST_OR_USER)
async def get_cart(cart_id: FromPath[UUID]) -> Cart:
    """A cart at the prices of now."""
    return await totals.get_cart(cart_id)


@route("PATCH", "/carts/{cart_id:uuid}", GUEST_OR_USER)
async def update_cart(cart_id: FromPath[UUID], data: JSONBody[CartChange]) -> Cart:
    """Change the currency, or the e-mail address of a guest."""
    return await changing.update_cart(cart_id, data)


@route("DELETE", "/carts/{cart_id:uuid}", GUEST_OR_USER)
async def delete_cart(cart_id: FromPath[UUID]) -> None:
    """Give a cart up."""
    await changing.delete_cart(cart_id)


@route("POST", "/carts/{cart_id:uuid}/items", GUEST_OR_USER)
async def add_cart_item(cart_id: FromPath[UUID], data: JSONBody[NewItem]) -> Cart:
    """Put pieces of a SKU into a cart, added to those that are there. Send an Idempotency-Key: a repeated request adds them once."""
    return await items.add_cart_item(cart_id, data)


@route("DELETE", "/carts/{cart_id:uuid}/items", GUEST_OR_USER, status_code=200)
async def empty_cart(cart_id: FromPath[UUID]) -> Cart:
    """Take everything out of a cart."""
    return await items.empty_cart(cart_id)


@route("PATCH", "/carts/{cart_id:uuid}/items/{item_id:uuid}", GUEST_OR_USER)
async def set_item_quantity(cart_id: FromPath[UUID], item_id: FromPath[UUID], data: JSONBody[ItemChange]) -> Cart:
    """Say how many pieces of an item there are to be."""
    return await items.set_item_quantity(cart_id, item_id, data.quantity)


@route("DELETE", "/carts/{cart_id:uuid}/items/{item_id:uuid}", GUEST_OR_USER, status_code=200)
async def remove_cart_item(cart_id: FromPath[UUID], item_id: FromPath[UUID]) -> Cart:
    """Take an item out of a cart."""
    return await items.remove_cart_item(cart_id, item_id)


@route("POST", "/carts/{cart_id:uuid}/coupon", GUEST_OR_USER, status_code=200)
async def set_cart_coupon(cart_id: FromPath[UUID], data: JSONBody[CouponCode]) -> Cart:
    """Put a coupon on a cart. It is used when the order is placed."""
    return await coupons.set_cart_coupon(cart_id, data.code)


@route("DELETE", "/carts/{cart_id:uuid}/coupon", GUEST_OR_USER, status_code=200)
async def clear_cart_coupon(cart_id: FromPath[UUID]) -> Cart:
    """Take the coupon off a cart."""
    return await coupons.clear_cart_coupon(cart_id)


@route("POST", "/carts/{cart_id:uuid}/merge", SIGNED_IN, status_code=200)
async def claim_cart(cart_id: FromPath[UUID]) -> Cart:
    """After signing in: make a guest's cart yours, or put what is in it into the cart that you are filling.

    Send the guest's token in the header Souk-Token beside your access token.
    """
    return await merging.claim_cart(cart_id)


routes: tuple[BaseRouteHandler, ...] = (
    create_cart,
    list_carts,
    get_current_cart,
    get_cart,
    update_cart,
    delete_cart,
    add_cart_item,
    empty_cart,
    set_item_quantity,
    remove_cart_item,
    set_cart_coupon,
    clear_cart_coupon,
    claim_cart,
)
