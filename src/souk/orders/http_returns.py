"""Returns and the terms on which goods are taken back, over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from souk.kit.errors import InvalidField
from souk.kit.http import GUEST_OR_USER, PUBLIC, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route
from souk.orders import receiving, return_policies, returns
from souk.orders.return_types import ChangeReturn, NewReturn, PolicyTerms, Return, ReturnPolicy, ReturnStatus

SellerId = Annotated[UUID | None, QueryParameter(description="The returns to this seller account")]
OrderId = Annotated[UUID | None, QueryParameter(description="The returns of this order")]


@route("POST", "/orders/{order_id:uuid}/returns", GUEST_OR_USER)
async def request_return(order_id: FromPath[UUID], data: JSONBody[NewReturn]) -> Page[Return]:
    """Ask to send goods back: one return for each of their sellers. Send an Idempotency-Key: a repeated request asks once."""
    return Page(await returns.request_return(order_id, data))


@route("GET", "/returns", GUEST_OR_USER)
async def list_returns(
    order_id: OrderId = None,
    seller_id: SellerId = None,
    status: FromQuery[ReturnStatus | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Return]:
    """Returns: of an order, the oldest first; or to your seller account, the newest first."""
    if order_id is not None:
        return Page(await returns.get_returns_of(order_id))
    if seller_id is None:
        raise InvalidField("order_id", "or seller_id is missing")
    key = read_cursor(cursor, tuple[UUID])
    rows = await returns.list_returns(seller_id, status, key[0] if key else None, limit + 1)
    return make_page(rows, limit, lambda one: (one.id,))


@route("GET", "/returns/{return_id:uuid}", GUEST_OR_USER)
async def get_return(return_id: FromPath[UUID]) -> Return:
    """A return: what comes back, on which terms, and what goes back for it."""
    return await returns.get_return(return_id)


@route("PATCH", "/returns/{return_id:uuid}", GUEST_OR_USER)
async def change_return(return_id: FromPath[UUID], data: JSONBody[ChangeReturn]) -> Return:
    """Approve, refuse or receive a return to you (what has arrived is paid back at once), or give up your own (`canceled`)."""
    return await receiving.change_return(return_id, data)


@route("POST", "/return-policies", SIGNED_IN)
async def set_return_policy(data: JSONBody[PolicyTerms]) -> ReturnPolicy:
    """Say on which terms you take goods back, of a category or all, for orders from now on (an admin: for everybody)."""
    return await return_policies.set_return_policy(data)


@route("GET", "/return-policies", PUBLIC)
async def list_return_policies(seller_id: FromQuery[UUID | None] = None) -> Page[ReturnPolicy]:
    """The terms that are in force: everybody's, and a seller's own."""
    return Page(await return_policies.list_return_policies(seller_id))


@route("DELETE", "/return-policies/{policy_id:uuid}", SIGNED_IN)
async def remove_return_policy(policy_id: FromPath[UUID]) -> None:
    """Take terms back, for orders from now on."""
    await return_policies.remove_return_policy(policy_id)


routes: tuple[BaseRouteHandler, ...] = (
    request_return,
    list_returns,
    get_return,
    change_return,
    set_return_policy,
    list_return_policies,
    remove_return_policy,
)
