"""REST: chargebacks, as admins and sellers see them, and written down by hand."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from souk import payments
from souk.kit.http import ADMIN, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route
from souk.kit.money import Money
from souk.payments.chargeback_types import Chargeback, ExternalId, ReasonCode, RecordChargeback, SellerChargeback


class TakenBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A buyer's bank has taken this much back. With the gateway's id for it, what the gateway tells later is known to be the same."""

    amount: Money
    reason: ReasonCode
    external_id: ExternalId | None = None
    evidence_due_at: Annotated[datetime, Meta(tz=True)] | None = None
    fee: Money | None = None


class CloseChargeback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the bank has decided."""

    won: bool


@route("GET", "/payments/{payment_id:uuid}/chargebacks", ADMIN, tags=["payments"])
async def list_chargebacks(payment_id: FromPath[UUID]) -> Page[Chargeback]:
    """What banks have taken back of a payment, oldest first."""
    return Page(await payments.list_chargebacks(payment_id))


@route("POST", "/payments/{payment_id:uuid}/chargebacks", ADMIN, tags=["payments"])
async def record_chargeback(payment_id: FromPath[UUID], data: JSONBody[TakenBack]) -> Chargeback:
    """Write down a chargeback of which no gateway tells: of a bank transfer, or of a gateway without webhooks for it."""
    about = data.amount, data.reason, data.external_id, data.evidence_due_at, data.fee
    return await payments.record_chargeback(RecordChargeback(payment_id, *about))


@route("POST", "/payments/chargebacks/{chargeback_id:uuid}/close", ADMIN, status_code=200, tags=["payments"])
async def close_chargeback(chargeback_id: FromPath[UUID], data: JSONBody[CloseChargeback]) -> Chargeback:
    """Say how the bank has decided. Saying it again changes nothing; the opposite is refused."""
    return await payments.close_chargeback(chargeback_id, data.won)


@route("GET", "/sellers/{seller_id:uuid}/chargebacks", SIGNED_IN, tags=["payments"])
async def list_seller_chargebacks(seller_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None) -> Page[SellerChargeback]:
    """A seller's shares of chargebacks, newest first: of which order, for which reason, and until when evidence is due."""
    after = read_cursor(cursor, tuple[UUID])
    rows = await payments.list_seller_chargebacks(seller_id, limit + 1, after[0] if after else None)
    return make_page(rows, limit, lambda row: (row.id,))


routes: tuple[BaseRouteHandler, ...] = (
    list_chargebacks,
    record_chargeback,
    close_chargeback,
    list_seller_chargebacks,
)
