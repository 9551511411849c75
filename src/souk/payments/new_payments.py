"""Payments that are written down for the first time, together with what has come of the first attempts if some were made at once."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from souk.kit.db import Transaction, columns
from souk.kit.events import publish
from souk.payments.events import PaymentCaptured
from souk.payments.records import COLUMNS, Attempt, Case, PaymentRow
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
            status=derive(asked.amount.amount).status,
            method=None,
            decline_code=None,
            redirect_url=None,
            created_at=asked.expires_at,
            updated_at=asked.expires_at,
        ),
        is_new=True,
    )


async def open_payments(tx: Transaction, asked: Sequence[OpenPayment], cases: Mapping[UUID, Case] | None = None) -> dict[UUID, PaymentRow]:
    """Write payments of orders down, with what was decided about them; those that are new. The attempts themselves are not written.

    Where nothing is to be paid the payment is captured at once.
    """
    amounts = columns([one.amount for one in asked], "currency", "amount")
    owners = columns(asked, "order_id", "user_id", "guest_token_hash")
    derived = [derive(one.amount.amount, cases[one.order_id].attempts.values() if cases else ()) for one in asked]
    rest = [one.parts for one in asked], [one.expires_at for one in asked]
    rows = await tx.all(PaymentRow, OPEN_PAYMENTS, *owners, *amounts, *rest, *columns(derived, *Derived.__struct_fields__))
    await publish(tx, *(PaymentCaptured(row.id, row.id, row.money(0), at_once=True) for row in rows if row.amount == 0))
    return {row.id: row for row in rows}
