"""The rows of payments, attempts and refunds: how they are locked, and the one place that writes them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.db import Transaction, columns
from souk.kit.events import Event, publish
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.chargeback_rows import ChargebackRow, NewChargeback, NewShare, write_chargebacks
from souk.payments.database import db
from souk.payments.ledger import Account, Transfer
from souk.payments.methods import WALLET
from souk.payments.settings import settings
from souk.payments.shares import RefundShare, SaleShare
from souk.payments.types import Destination, NextAction, Payment, PaymentPart, PaymentStatus, RefundCause, RefundStatus

COLUMNS = """
    p.id, p.kind, p.user_id, p.guest_token_hash, p.currency, p.amount, p.expires_at, p.closed_at, p.captured, p.refunding, p.refunded,
    p.earned, p.released,
    p.status, p.method, p.decline_code, p.redirect_url, p.created_at, p.updated_at
"""
FIND_PAYMENT = f"SELECT {COLUMNS} FROM payments.payment AS p WHERE p.id = $1"
# Attempts and refunds change only under the lock of their payment, so they are read after it.
LOCK_PAYMENTS = f"SELECT {COLUMNS}, p.parts FROM payments.payment AS p WHERE p.id = ANY($1) ORDER BY p.id FOR NO KEY UPDATE"
FIND_ATTEMPTS = """
    SELECT payment_id, id, gateway, method, amount, currency, status, gateway_id, decline_code, redirect_url, fingerprint
    FROM payments.attempt WHERE payment_id = ANY($1) ORDER BY payment_id, created_at, id
"""
FIND_REFUNDS = """
    SELECT payment_id, id, attempt_id, amount, currency, destination, surplus, reason, status, gateway_id, failure_code,
           cause, funds, shares, created_at, updated_at
    FROM payments.refund WHERE payment_id = ANY($1) ORDER BY payment_id, created_at, id
"""
# What is open is looked at again after a while, and the older it is the more seldom: at half its age, ten minutes at the most.
WRITE_ATTEMPTS = """
    INSERT INTO payments.attempt AS a
        (payment_id, id, gateway, method, amount, currency, status, gateway_id, decline_code, redirect_url, fingerprint, check_at, owner)
    SELECT u.*, CASE WHEN u.status IN ('pending', 'requires_action') THEN now() + make_interval(secs => $12) END, $13
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
                $10::text[], $11::bytea[])
        AS u (payment_id, id, gateway, method, amount, currency, status, gateway_id, decline_code, redirect_url, fingerprint)
    /* only */
    ORDER BY u.payment_id, u.id
    ON CONFLICT (payment_id, id) DO UPDATE SET
        status = excluded.status, gateway_id = excluded.gateway_id, decline_code = excluded.decline_code,
        redirect_url = excluded.redirect_url, owner = excluded.owner, updated_at = now(),
        check_at = CASE WHEN excluded.check_at IS NOT NULL
            THEN greatest(excluded.check_at, now() + least((now() - a.created_at) / 2, interval '10 minutes')) END
"""
WRITE_REFUNDS = """
    INSERT INTO payments.refund AS r
        (payment_id, id, attempt_id, amount, currency, destination, surplus, reason, status, gateway_id, failure_code,
         cause, funds, shares, check_at, owner)
    SELECT u.*, CASE WHEN u.status = 'pending' THEN now() + make_interval(secs => $15) END, $16
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::boolean[], $8::text[], $9::text[],
                $10::text[], $11::text[], $12::text[], $13::bigint[], $14::jsonb[])
        AS u (payment_id, id, attempt_id, amount, currency, destination, surplus, reason, status, gateway_id, failure_code,
              cause, funds, shares)
    ORDER BY u.payment_id, u.id
    ON CONFLICT (payment_id, id) DO UPDATE SET
        status = excluded.status, gateway_id = excluded.gateway_id, failure_code = excluded.failure_code, owner = excluded.owner,
        updated_at = now(),
        check_at = CASE WHEN excluded.check_at IS NOT NULL
            THEN greatest(excluded.check_at, now() + least((now() - r.created_at) / 2, interval '10 minutes')) END
    RETURNING payment_id, id, attempt_id, amount, currency, destination, surplus, reason, status, gateway_id, failure_code,
              cause, funds, shares, created_at, updated_at
"""
# The writer of amounts and statuses: whatever happened, they follow from the attempts and the refunds. Shown is the attempt that
# brought the money, else one that may have, else the last one. What a new payment is written with follows
# by the same rules from new_payments.derive.
DERIVE_PAYMENTS = f"""
    UPDATE payments.payment AS p SET
        captured = come.captured, refunding = gone.refunding, refunded = gone.refunded, released = gone.released,
        method = shown.method, decline_code = shown.decline_code, redirect_url = shown.redirect_url,
        closed_at = CASE WHEN u.closing THEN coalesce(p.closed_at, now()) ELSE p.closed_at END,
        close_reason = coalesce(p.close_reason, u.reason),
        status = CASE
            WHEN come.captured > 0 AND gone.refunded = come.captured THEN 'refunded'
            WHEN come.captured > 0 AND gone.refunded > 0 THEN 'partially_refunded'
            WHEN come.captured > 0 THEN 'captured'
            WHEN shown.status = 'pending' THEN 'pending'
            WHEN u.closing OR p.closed_at IS NOT NULL THEN 'voided'
            WHEN p.amount = 0 THEN 'captured'
            ELSE coalesce(shown.status, 'none') END,
        updated_at = now()
    FROM unnest($1::uuid[], $2::text[]) AS given (id, reason)
    CROSS JOIN LATERAL (SELECT given.id, given.reason, given.reason IS NOT NULL AS closing) AS u
    LEFT JOIN LATERAL (
        SELECT a.status, a.method, a.decline_code, a.redirect_url FROM payments.attempt AS a
        WHERE a.payment_id = u.id AND a.status <> 'surplus'
        ORDER BY a.status = 'captured' DESC, a.status = 'pending' DESC, a.created_at DESC, a.id DESC
        LIMIT 1
    ) AS shown ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(a.amount), 0) AS captured FROM payments.attempt AS a WHERE a.payment_id = u.id AND a.status = 'captured'
    ) AS come
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(r.amount) FILTER (WHERE r.status <> 'failed'), 0) AS refunding,
               coalesce(sum(r.amount) FILTER (WHERE r.status = 'succeeded'), 0) AS refunded,
               coalesce(sum(r.funds) FILTER (WHERE r.status <> 'failed'), 0) AS released
        FROM payments.refund AS r WHERE r.payment_id = u.id AND NOT r.surplus
    ) AS gone
    WHERE p.id = u.id
    RETURNING {COLUMNS}
"""
KEEP_DISCREPANCIES = """
    INSERT INTO payments.discrepancy (id, gateway, source, external_id, reason, told, payment_id)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::uuid[])
        AS u (id, gateway, source, external_id, reason, told, payment_id)
    ORDER BY u.gateway, u.source, u.external_id
    ON CONFLICT (gateway, source, external_id) DO NOTHING
"""
KEEP_ENTRIES = """
    INSERT INTO payments.book_entry (payment_id, reference, gateway, external_id)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS u (payment_id, reference, gateway, external_id)
    ORDER BY u.payment_id, u.reference
    ON CONFLICT (payment_id, reference) DO NOTHING
"""

# The currency (ISO 4217: none) of a row that only says that its order was given up before anything was to be paid.
NEVER_OPENED = "XXX"


class PaymentRow(msgspec.Struct, frozen=True):
    """A payment as its row says."""

    id: UUID
    kind: Literal["order", "deposit"]
    user_id: UUID | None
    guest_token_hash: str | None
    currency: str
    amount: int
    expires_at: datetime
    closed_at: datetime | None
    captured: int
    refunding: int
    refunded: int
    earned: int
    released: int
    status: PaymentStatus
    method: str | None
    decline_code: str | None
    redirect_url: str | None
    created_at: datetime
    updated_at: datetime

    def money(self, amount: int) -> Money:
        return Money(amount, self.currency)


class _Locked(PaymentRow, frozen=True, kw_only=True):
    parts: tuple[PaymentPart, ...]


class Attempt(msgspec.Struct, frozen=True):
    """A try to get the money of a payment."""

    payment_id: UUID
    id: UUID
    gateway: str
    method: str
    amount: int
    currency: str
    status: Literal["pending", "requires_action", "captured", "surplus", "declined"]
    gateway_id: str | None
    decline_code: str | None
    redirect_url: str | None
    fingerprint: bytes

    @property
    def is_open(self) -> bool:
        return self.status in ("pending", "requires_action")

    @property
    def has_money(self) -> bool:
        return self.status in ("captured", "surplus")


class NewRefund(msgspec.Struct, frozen=True):
    """Money of an attempt on its way back."""

    payment_id: UUID
    id: UUID
    attempt_id: UUID
    amount: int
    currency: str
    destination: Destination
    surplus: bool
    reason: str
    status: RefundStatus = "pending"
    gateway_id: str | None = None
    failure_code: str | None = None
    cause: RefundCause = "goodwill"
    funds: int = 0
    shares: tuple[RefundShare, ...] = ()


class RefundRow(NewRefund, frozen=True, kw_only=True):
    """A refund as its row says."""

    created_at: datetime
    updated_at: datetime


class Contradiction(msgspec.Struct, frozen=True):
    """What a gateway said against our books."""

    gateway: str
    source: str
    external_id: str
    reason: str
    told: object
    payment_id: UUID | None


class BookEntry(msgspec.Struct, frozen=True):
    """What stands in a gateway's book of an attempt or a refund of ours, by its reference in the ledger."""

    payment_id: UUID
    reference: str
    gateway: str
    external_id: str


class Case(msgspec.Struct):
    """A payment with its attempts and refunds, locked; decisions of one batch see what those before them decided."""

    payment: PaymentRow
    attempts: dict[UUID, Attempt] = {}
    refunds: dict[UUID, NewRefund] = {}
    sales: tuple[SaleShare, ...] = ()
    chargebacks: dict[UUID, NewChargeback] = {}  # read only where they matter
    is_new: bool = False  # its row is written in this transaction: nobody has seen it without these attempts

    @property
    def captured(self) -> Attempt | None:
        """The attempt that brought the money, if one has."""
        return next((attempt for attempt in self.attempts.values() if attempt.status == "captured"), None)

    @property
    def left(self) -> int:
        """What of the money that pays the order nobody was promised back."""
        return self.left_of(self.captured) if self.captured else 0

    def left_of(self, attempt: Attempt) -> int:
        """What an attempt brought and nobody was promised back."""
        promised = sum(one.amount for one in self.refunds.values() if one.attempt_id == attempt.id and one.status != "failed")
        return attempt.amount - promised if attempt.has_money else 0

    @property
    def given(self) -> tuple[RefundShare, ...]:
        """Who has given what of the refunds that were not refused."""
        return tuple(share for one in self.refunds.values() if one.status != "failed" and not one.surplus for share in one.shares)

    @property
    def funds(self) -> int:
        """What is set aside of the money that came, for no seller has earned it and it has not gone back."""
        captured = self.captured.amount if self.captured else 0
        return captured - self.payment.earned - sum(share.funds for share in self.given)

    @property
    def idle(self) -> int:
        """What of the funds nobody will earn: all of an order that is given up, else what refused refunds were to let go."""
        if self.payment.closed_at is not None:
            return self.funds
        refunds = self.refunds.values()
        refused = sum(one.funds for one in refunds if one.status == "failed" and one.cause == "canceled")
        used = sum(one.funds for one in refunds if one.status != "failed" and one.cause != "canceled")
        return min(max(refused - used, 0), self.funds)

    def source_of(self, attempt: Attempt) -> Account:
        """Where an attempt's money comes from and a refund to its origin goes."""
        if attempt.gateway == WALLET and self.payment.user_id is not None:
            return ledger.wallet(self.payment.user_id, attempt.currency)
        return ledger.clearing(attempt.gateway, attempt.currency)


class Changes:
    """What a transaction is going to write. Decisions fill it; `write` writes it, set by set, the ledger last."""

    def __init__(self) -> None:
        self.attempts: dict[tuple[UUID, UUID], Attempt] = {}
        self.refunds: dict[tuple[UUID, UUID], NewRefund] = {}
        self.chargebacks: dict[tuple[UUID, UUID], NewChargeback] = {}
        self.chargeback_shares: list[NewShare] = []
        self.touched: dict[UUID, str | None] = {}  # payments, and the reason if one is closed now
        self.transfers: list[Transfer] = []
        self.events: list[Event] = []
        self.contradictions: list[Contradiction] = []
        self.entries: list[BookEntry] = []
        self.to_refund: list[tuple[NewRefund, Attempt]] = []  # gateways to ask after the commit
        self.to_void: list[Attempt] = []

    def put_attempt(self, case: Case, attempt: Attempt) -> None:
        case.attempts[attempt.id] = attempt
        self.attempts[attempt.payment_id, attempt.id] = attempt
        self.touched.setdefault(attempt.payment_id, None)

    def put_refund(self, case: Case, refund: NewRefund) -> None:
        case.refunds[refund.id] = refund
        self.refunds[refund.payment_id, refund.id] = refund
        self.touched.setdefault(refund.payment_id, None)

    def put_chargeback(self, case: Case, chargeback: NewChargeback) -> None:
        case.chargebacks[chargeback.id] = chargeback
        self.chargebacks[chargeback.payment_id, chargeback.id] = chargeback

    def move(self, cause_id: UUID, reference: str, kind: str, way: tuple[Account, Account], amount: int) -> None:
        self.transfers.append(Transfer(cause_id, reference, kind, *way, amount))


async def lock_cases(tx: Transaction, payment_ids: Iterable[UUID]) -> dict[UUID, Case]:
    """These payments, locked until the end of the transaction, with their attempts and refunds."""
    payments = await tx.all(_Locked, LOCK_PAYMENTS, list(set(payment_ids)))
    cases = {row.id: Case(row, sales=tuple(map(sale_of, row.parts))) for row in payments}
    for attempt in await tx.all(Attempt, FIND_ATTEMPTS, list(cases)):
        cases[attempt.payment_id].attempts[attempt.id] = attempt
    for refund in await tx.all(RefundRow, FIND_REFUNDS, list(cases)):
        cases[refund.payment_id].refunds[refund.id] = refund
    return cases


def sale_of(part: PaymentPart) -> SaleShare:
    """A seller's part of a payment, as the ledger divides it."""
    return SaleShare(part.seller_id, part.amount.amount, part.tax.amount, part.commission.amount, part.platform_discount.amount)


class Written(msgspec.Struct, frozen=True):
    """The rows that `write` touched, as they are now."""

    payments: dict[UUID, PaymentRow]
    refunds: dict[tuple[UUID, UUID], RefundRow]
    chargebacks: tuple[ChargebackRow, ...]


async def write(tx: Transaction, changes: Changes) -> Written:
    """Write everything that was decided; the last call of its transaction."""
    if changes.attempts:
        await tx.run(WRITE_ATTEMPTS, *values_of_attempts(changes))
    refunds: tuple[RefundRow, ...] = ()
    if changes.refunds:
        made = [msgspec.structs.replace(one, shares=msgspec.to_builtins(one.shares)) for one in changes.refunds.values()]
        fields = columns(made, *NewRefund.__struct_fields__)
        refunds = await tx.all(RefundRow, WRITE_REFUNDS, *fields, settings.now.first_check_s, tx.database.owner)
    chargebacks = await write_chargebacks(tx, changes.chargebacks.values(), changes.chargeback_shares)
    payments: tuple[PaymentRow, ...] = ()
    if changes.touched:
        payments = await tx.all(PaymentRow, DERIVE_PAYMENTS, list(changes.touched), list(changes.touched.values()))
    if changes.contradictions:
        named = columns(changes.contradictions, "gateway", "source", "external_id", "reason", "told", "payment_id")
        await tx.run(KEEP_DISCREPANCIES, [new_id() for _ in changes.contradictions], *named)
    if changes.entries:
        await tx.run(KEEP_ENTRIES, *columns(changes.entries, *BookEntry.__struct_fields__))
    await publish(tx, *changes.events)
    await ledger.post(tx, changes.transfers)
    return Written({row.id: row for row in payments}, {(row.payment_id, row.id): row for row in refunds}, chargebacks)


def values_of_attempts(changes: Changes) -> tuple[object, ...]:
    """What WRITE_ATTEMPTS takes."""
    return *columns(list(changes.attempts.values()), *Attempt.__struct_fields__), settings.now.first_check_s, db.owner


def show_payment(row: PaymentRow) -> Payment:
    """A payment as others see it."""
    waits = row.status == "requires_action" and row.redirect_url is not None
    return Payment(
        id=row.id,
        order_id=row.id,
        amount=row.money(row.amount),
        captured=row.money(row.captured),
        refunded=row.money(row.refunded),
        status=row.status,
        method=row.method,
        decline_code=row.decline_code,
        redirect_url=row.redirect_url if waits else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        next_action=NextAction(row.redirect_url) if waits and row.redirect_url else None,
        expires_at=row.expires_at,
    )
