"""Orders and quotes over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from souk.kit.http import GUEST_OR_USER, SIGNED_IN, Cursor, Limit, Page, route
from souk.orders import cancelling, changing, http_returns, parcels, placing, quoting, reading
from souk.orders.types import CancelOrder, CartQuote, ChangeOrder, NewParcel, Order, OrderStatus, PlaceOrder, QuoteCart, TimelineEntry
from souk.shipping import Shipment

SellerId = Annotated[UUID | None, QueryParameter(description="Only orders with a part of this seller, and only that part")]


@route("POST", "/quotes", GUEST_OR_USER, status_code=200)
async def quote_cart(data: JSONBody[QuoteCart]) -> CartQuote:
    """What a cart costs at an address, with the shipping options of each seller's part."""
    return await quoting.quote_cart(data)


@route("POST", "/orders", GUEST_OR_USER)
async def place_order(data: JSONBody[PlaceOrder]) -> Order:
    """Turn a cart into an order, and pay it if a payment is given.

    Send an Idempotency-Key: a repeated request gives the same order. Without `payment`, or after a declined one, the order is
    a draft that waits for `POST /payments` until `expires_at`. `next_action` says where to send the buyer.
    """
    return await placing.place_order(data)


@route("GET", "/orders", SIGNED_IN)
async def list_orders(
    seller_id: SellerId = None, status: FromQuery[OrderStatus | None] = None, limit: Limit = 20, cursor: Cursor = None
) -> Page[Order]:
    """Orders, newest first: your own; those with a part of your seller account; all of them for an admin."""
    return await reading.list_orders(None, seller_id, status, limit, cursor)


@route("GET", "/users/{user_id:uuid}/orders", SIGNED_IN)
async def list_orders_of_user(user_id: FromPath[UUID], limit: Limit = 20, cursor: Cursor = None) -> Page[Order]:
    """A user's orders, newest first: your own, or anybody's for an admin."""
    return await reading.list_orders(user_id, None, None, limit, cursor)


@route("GET", "/orders/{order_id:uuid}", GUEST_OR_USER)
async def get_order(order_id: FromPath[UUID]) -> Order:
    """An order with how its payment stands; a seller sees their own part."""
    return await reading.get_order(order_id)


@route("PATCH", "/orders/{order_id:uuid}", GUEST_OR_USER)
async def change_order(order_id: FromPath[UUID], data: JSONBody[ChangeOrder]) -> Order:
    """Change the note, the address or, while the order is not paid, the shipping option; an unpaid order is quoted again."""
    return await changing.change_order(order_id, data)


@route("POST", "/orders/{order_id:uuid}/cancel", GUEST_OR_USER, status_code=200)
async def cancel_order(order_id: FromPath[UUID], data: JSONBody[CancelOrder | None] = None) -> Order:
    """Cancel an order before anything is shipped, or pieces that are not, or as a seller what you have not sent; money goes back."""
    return await cancelling.cancel_order(order_id, data or CancelOrder())


@route("DELETE", "/orders/{order_id:uuid}", GUEST_OR_USER, status_code=200)
async def delete_order(order_id: FromPath[UUID]) -> Order:
    """The same as POST /orders/{order_id}/cancel."""
    return await cancelling.cancel_order(order_id, CancelOrder())


@route("GET", "/orders/{order_id:uuid}/timeline", GUEST_OR_USER)
async def get_timeline(order_id: FromPath[UUID]) -> Page[TimelineEntry]:
    """What happened to an order, oldest first."""
    return Page(await reading.get_timeline(order_id))


@route("POST", "/shippings", SIGNED_IN)
async def pack_parcel(data: JSONBody[NewParcel]) -> Shipment:
    """Pack lines of an order for your buyer, or all that is left of your part. Send an Idempotency-Key: a repeated request packs once."""
    return await parcels.pack_parcel(data)


routes: tuple[BaseRouteHandler, ...] = (
    quote_cart,
    place_order,
    list_orders,
    list_orders_of_user,
    get_order,
    change_order,
    cancel_order,
    delete_order,
    get_timeline,
    pack_parcel,
    *http_returns.routes,
)
