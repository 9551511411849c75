"""Chargebacks as people see them: admins all of a payment, sellers their share; and written down by hand where no gateway tells."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments.chargeback_booking import book_chargeback, decide, find_told, left_to_take
from souk.payments.chargeback_rows import COLUMNS, FIND_CHARGEBACKS, ChargebackRow, show_chargeback
from souk.payments.chargeback_types import (
    Chargeback,
    ChargebackDecided,
    ChargebackNotFound,
    ChargebackStatus,
    ChargebackTooLarge,
    NotChargeable,
    RecordChargeback,
    SellerChargeback,
)
from souk.payments.database import db
from souk.payments.gateways.gateway import ChargebackNews
from souk.payments.methods import WALLET
from souk.payments.news import add_chargebacks, follow_up
from souk.payments.records import FIND_PAYMENT, Case, Changes, PaymentRow, lock_cases, write
from souk.payments.types import CurrencyMismatch, PaymentNotFound

FIND_CHARGEBACK = f"SELECT {COLUMNS} FROM payments.chargeback AS c WHERE c.id = $1"
LIST_OF_SELLER = """
    SELECT c.id, c.payment_id AS order_id, s.seller_id, s.amount, s.debited, c.currency, c.reason, c.status, c.evidence_due_at,
           c.closed_at, c.created_at, greatest(c.updated_at, s.updated_at) AS updated_at
    FROM payments.chargeback_share AS s
    JOIN payments.chargeback AS c ON c.payment_id = s.payment_id AND c.id = s.chargeback_id
    WHERE s.seller_id = $1 AND ($2::uuid IS NULL OR s.chargeback_id < $2)
    ORDER BY s.chargeback_id DESC
    LIMIT $3
"""


class _Share(msgspec.Struct, frozen=True):
    id: UUID
    order_id: UUID
    seller_id: UUID
    amount: int
    debited: int
    currency: str
    reason: str
    status: ChargebackStatus
    evidence_due_at: datetime | None
    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime


@exposed()
async def list_chargebacks(order_id: UUID) -> tuple[Chargeback, ...]:
    """What banks have taken back of an order's payment, oldest first; for admins. Raises PaymentNotFound."""
    caller().principal.require_admin()
    if await db.maybe(PaymentRow, FIND_PAYMENT, order_id) is None:
        raise PaymentNotFound
    return tuple(show_chargeback(row) for row in await db.all(ChargebackRow, FIND_CHARGEBACKS, [order_id]))


@exposed()
async def list_seller_chargebacks(seller_id: UUID, limit: int, before: UUID | None = None) -> tuple[SellerChargeback, ...]:
    """A seller's shares of chargebacks, newest first, for the seller's team and admins; raises NotFound for anybody else."""
    if not caller().principal.manages(seller_id):
        raise NotFound
    rows = await db.search(_Share, LIST_OF_SELLER, seller_id, before, limit)
    return tuple(show_share(row) for row in rows)


@exposed(timeout=10.0)
async def record_chargeback(request: RecordChargeback) -> Chargeback:
    """Book a chargeback of which no gateway tells us; for admins.

    The same Idempotency-Key, or the same external_id of the same payment, books it once; news of the gateway under that id change
    nothing more. Raises PaymentNotFound, NotChargeable, CurrencyMismatch, InvalidField, ChargebackTooLarge.
    """
    caller().principal.require_admin()

    async def record(tx: Transaction) -> Chargeback:
        case = (await lock_cases(tx, (request.payment_id,))).get(request.payment_id)
        if case is None:
            raise PaymentNotFound
        await add_chargebacks(tx, {request.payment_id: case})
        return await book_request(tx, case, request)

    return await once(db, request, record)


async def book_request(tx: Transaction, case: Case, request: RecordChargeback) -> Chargeback:
    """Book what an admin writes down, unless it is booked already."""
    attempt, changes = case.captured, Changes()
    if attempt is None or attempt.gateway == WALLET:
        raise NotChargeable
    if {one.currency for one in (request.amount, request.fee) if one} != {attempt.currency}:
        raise CurrencyMismatch(attempt.currency)
    if request.fee and request.fee.amount < 0:
        raise InvalidField("fee", "is not to be below zero")
    external_id = request.external_id or str(new_id())
    told = find_told(case, attempt.gateway, external_id)
    if isinstance(told, ChargebackRow) and told.amount == request.amount.amount:
        return show_chargeback(told)
    left = left_to_take(case, attempt)
    if told is not None or not 0 < request.amount.amount <= left:
        raise ChargebackTooLarge(case.payment.money(left))
    about = request.amount, request.reason, request.evidence_due_at, request.fee
    book_chargeback(case, attempt.gateway, ChargebackNews(case.payment.id, attempt.id, external_id, "open", *about), changes)
    [row] = (await write(tx, changes)).chargebacks
    return show_chargeback(row)


@exposed(timeout=10.0)
async def close_chargeback(chargeback_id: UUID, won: bool) -> Chargeback:
    """Write down how a bank has decided; for admins. What is won is with the shop and its sellers again.

    Closing again in the same way changes nothing and returns it as it stands. Raises ChargebackNotFound, and ChargebackDecided if it
    was decided the other way.
    """
    caller().principal.require_admin()
    found = await db.maybe(ChargebackRow, FIND_CHARGEBACK, chargeback_id)
    if found is None:
        raise ChargebackNotFound
    changes = Changes()
    async with db.transaction() as tx:
        cases = await lock_cases(tx, (found.payment_id,))
        await add_chargebacks(tx, cases)
        case = cases[found.payment_id]
        row = case.chargebacks[chargeback_id]
        if row.status == "open":
            changes.put_chargeback(case, decide(case, row, won, changes))
        elif (row.status == "won") != won:
            raise ChargebackDecided(row.status)
        await write(tx, changes)
    follow_up(changes)
    return show_chargeback(await db.maybe(ChargebackRow, FIND_CHARGEBACK, chargeback_id) or found)


def show_share(row: _Share) -> SellerChargeback:
    return SellerChargeback(
        id=row.id,
        order_id=row.order_id,
        seller_id=row.seller_id,
        amount=Money(row.amount, row.currency),
        debited=Money(row.debited, row.currency),
        reason=row.reason,
        status=row.status,
        evidence_due_at=row.evidence_due_at,
        closed_at=row.closed_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
