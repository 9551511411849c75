"""REST: paying an order, refunds, and where gateways send their webhooks."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from souk import payments
from souk.kit.http import ADMIN, GUEST_OR_USER, PUBLIC, SIGNED_WEBHOOK, Cursor, Limit, Page, make_page, read_cursor, route
from souk.kit.money import Money
from souk.payments import http_chargebacks, http_sellers, http_wallet
from souk.payments.http_wallet import request_id
from souk.payments.types import (
    ChargeRequest,
    Destination,
    Discrepancy,
    DiscrepancyStatus,
    Method,
    Payment,
    PaymentMethod,
    Refund,
    RefundPayment,
    ReturnUrl,
    Token,
    Webhook,
    WebhookReceipt,
)

OpenOrClosed = Annotated[DiscrepancyStatus, QueryParameter(description="By default those that nobody has closed")]


class PayOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pay an order: by card with the payment provider's token, out of the wallet, or in another app with a way back."""

    order_id: UUID
    method: Method
    token: Token | None = None
    return_url: ReturnUrl | None = None


class RefundOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give money back. Without an amount, all that is left."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, examples=["arrived broken"])]
    amount: Money | None = None
    to: Destination = "origin"


class CloseDiscrepancy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of a discrepancy."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, examples=["paid back by hand at the gateway"])]


@route("GET", "/payment-methods", PUBLIC, tags=["payments"])
async def list_payment_methods() -> Page[PaymentMethod]:
    """The ways to pay that this shop offers."""
    return Page(await payments.list_payment_methods())


@route("POST", "/payments", GUEST_OR_USER, tags=["payments"])
async def pay_order(data: JSONBody[PayOrder]) -> Payment:
    """Pay an order. A declined payment is answered as such and may be tried again; `next_action` says where the buyer has to go."""
    request = ChargeRequest(data.order_id, data.method, data.token, data.return_url, request_id(data.order_id))
    return await payments.charge(request)


@route("GET", "/payments/{payment_id:uuid}", GUEST_OR_USER, tags=["payments"])
async def get_payment(payment_id: FromPath[UUID]) -> Payment:
    """How a payment stands; a payment has the id of its order."""
    return await payments.get_payment(payment_id)


@route("POST", "/payments/{payment_id:uuid}/refunds", ADMIN, tags=["payments"])
async def refund_payment(payment_id: FromPath[UUID], data: JSONBody[RefundOrder]) -> Refund:
    """Give a part of a payment back, or all of it, to where it came from or to the buyer's wallet."""
    return await payments.refund(RefundPayment(request_id(payment_id), payment_id, data.amount, data.reason, data.to))


@route("GET", "/payments/{payment_id:uuid}/refunds", GUEST_OR_USER, tags=["payments"])
async def list_refunds(payment_id: FromPath[UUID]) -> Page[Refund]:
    """The refunds of a payment, oldest first."""
    return Page(await payments.list_refunds(payment_id))


@route("GET", "/payments/discrepancies", ADMIN, tags=["payments"])
async def list_discrepancies(status: OpenOrClosed = "open", limit: Limit = 50, cursor: Cursor = None) -> Page[Discrepancy]:
    """Where gateways and our books say otherwise, newest first."""
    after = read_cursor(cursor, tuple[UUID])
    rows = await payments.list_discrepancies(limit + 1, after[0] if after else None, status)
    return make_page(rows, limit, lambda row: (row.id,))


@route("POST", "/payments/discrepancies/{discrepancy_id:uuid}/close", ADMIN, status_code=200, tags=["payments"])
async def close_discrepancy(discrepancy_id: FromPath[UUID], data: JSONBody[CloseDiscrepancy]) -> Discrepancy:
    """Say what came of a discrepancy. Closing again changes nothing: the first reason stays."""
    return await payments.close_discrepancy(discrepancy_id, data.reason)


@route("POST", "/payments/webhooks/{gateway:str}", SIGNED_WEBHOOK, status_code=200, tags=["payments"])
async def receive_webhook(request: Request[object, object, State], gateway: FromPath[str]) -> WebhookReceipt:
    """Where a gateway tells us what happened, signed by it."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return await payments.receive_webhook(Webhook(gateway, headers, await request.body()))


routes: tuple[BaseRouteHandler, ...] = (
    list_payment_methods,
    pay_order,
    get_payment,
    refund_payment,
    list_refunds,
    list_discrepancies,
    close_discrepancy,
    receive_webhook,
    *http_wallet.routes,
    *http_sellers.routes,
    *http_chargebacks.routes,
)
