"""Payments that are written down for the first time, together with what has come of the first attempts if some were made at once."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from souk.kit.db import Transaction, columns, part
from souk.kit.events import APPEND, News, publish
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.events import PaymentCaptured
from souk.payments.ledger import POST_TRANSFERS
from souk.payments.records import COLUMNS, WRITE_ATTEMPTS, Attempt, Case, Changes, PaymentRow, values_of_attempts
from souk.payments.types import OpenPayment, PaymentStatus

OPEN_PAYMENTS = f"""
    INSERT INTO payments.payment AS p
        (kind, id, user_id, guest_token_hash, currency, amount, parts, expires_at, captured, status, method, decline_code, redirect_url)
    SELECT 'order', u.*
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::jsonb[], $7::timestamptz[], $8::bigint[], $9::text[],
                $10::text[], $11::text[], $12::text[])
        AS u (id, user_id, guest_token_hash, currency, amount, parts, expires_at, captured, status, method, decline_code, redirect_url)
    ORDER BY u.id
    ON CONFLICT (id) DO NOTHING
    RETURNING {COLUMNS}
"""
# All that is new in one statement, for one round trip a batch; of what was there before nothing. The balances move at its end, as they
# do at the end of a transaction, by the trigger that reads all transfers.
WRITE_NEW = f"""
    WITH opened AS ({OPEN_PAYMENTS}),
         tried AS ({part(WRITE_ATTEMPTS, 12, "WHERE u.payment_id IN (SELECT id FROM opened)")}),
         posted AS ({part(POST_TRANSFERS, 25, "WHERE u.cause_id IN (SELECT id FROM opened)")}),
         announced AS ({part(APPEND.format(schema="payments"), 33, "WHERE u.aggregate_id IN (SELECT id FROM opened)")})
    SELECT * FROM opened
"""


class Derived(msgspec.Struct, frozen=True):
    """What a payment's row says of its attempts."""

    captured: int
    status: PaymentStatus
    method: str | None = None
    decline_code: str | None = None
    redirect_url: str | None = None


def derive(amount: int, attempts: Iterable[Attempt] = ()) -> Derived:
    """What DERIVE_PAYMENTS makes of attempts that begin together, of a payment that is open and of which nothing went back."""
    told = [attempt for attempt in attempts if attempt.status != "surplus"]
    shown = max(told, key=lambda one: (one.status == "captured", one.status == "pending", one.id), default=None)
    if shown is None or shown.status == "surplus":
        return Derived(0, "none" if amount else "captured")
    captured = shown.amount if shown.status == "captured" else 0
    return Derived(captured, shown.status, shown.method, shown.decline_code, shown.redirect_url)


def new_case(asked: OpenPayment) -> Case:
    """A payment as it is before anybody has tried to pay it; its times are those of its row only when that is written."""
    return Case(
        PaymentRow(
            id=asked.order_id,
            kind="order",
            user_id=asked.user_id,
            guest_token_hash=asked.guest_token_hash,
            currency=asked.amount.currency,
            amount=asked.amount.amount,
            expires_at=asked.expires_at,
            closed_at=None,
            captured=0,
            refunding=0,
            refunded=0,
            earned=0,
            released=0,
            status=derive(asked.amount.amount).status,
            method=None,
            decline_code=None,
            redirect_url=None,
            created_at=asked.expires_at,
            updated_at=asked.expires_at,
        ),
        is_new=True,
    )


async def open_payments(tx: Transaction, asked: Sequence[OpenPayment]) -> dict[UUID, PaymentRow]:
    """Write payments of orders down before anybody tries to pay them; those that are new. Nothing to pay is captured at once."""
    rows = await tx.all(PaymentRow, OPEN_PAYMENTS, *values_of(asked, [derive(one.amount.amount) for one in asked]))
    await publish(tx, *(paid_already(row.id, row.money(0)) for row in rows if row.amount == 0))
    return {row.id: row for row in rows}


async def write_new(cases: Mapping[UUID, Case], asked: Sequence[OpenPayment], changes: Changes) -> dict[UUID, PaymentRow]:
    """Write payments of orders down as they come out of first attempts, with these and all that follows from them; those that are new."""
    await ledger.open_accounts(db, changes.transfers)
    derived = [derive(one.amount.amount, cases[one.order_id].attempts.values()) for one in asked]
    news = News([*(paid_already(one.order_id, one.amount) for one in asked if one.amount.amount == 0), *changes.events])
    attempts, transfers = values_of_attempts(changes), ledger.values_of(changes.transfers)
    rows = await db.write(PaymentRow, WRITE_NEW, *values_of(asked, derived), *attempts, *transfers, *news.values)
    written = {row.id: row for row in rows}
    news.tell(db, written)
    return written


def paid_already(payment_id: UUID, nothing: Money) -> PaymentCaptured:
    """The news of an order that costs nothing."""
    return PaymentCaptured(payment_id, payment_id, nothing, at_once=True)


def values_of(asked: Sequence[OpenPayment], derived: Sequence[Derived]) -> tuple[object, ...]:
    """What OPEN_PAYMENTS takes."""
    amounts = columns([one.amount for one in asked], "currency", "amount")
    owners = columns(asked, "order_id", "user_id", "guest_token_hash")
    rest = [one.parts for one in asked], [one.expires_at for one in asked]
    return *owners, *amounts, *rest, *columns(derived, *Derived.__struct_fields__)
