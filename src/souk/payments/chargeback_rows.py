"""The rows of chargebacks and of what they take from sellers: how they are read under the lock of their payment, and written."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.db import Transaction, columns
from souk.kit.money import Money
from souk.payments.chargeback_types import Chargeback, ChargebackStatus

COLUMNS = """
    c.payment_id, c.id, c.attempt_id, c.gateway, c.external_id, c.amount, c.currency, c.reason, c.status, c.evidence_due_at, c.loss,
    c.fee, c.fee_returned, c.fee_currency, c.closed_at, c.created_at, c.updated_at
"""
FIND_CHARGEBACKS = f"SELECT {COLUMNS} FROM payments.chargeback AS c WHERE c.payment_id = ANY($1) ORDER BY c.payment_id, c.id LIMIT 10000"
WRITE_CHARGEBACKS = f"""
    INSERT INTO payments.chargeback AS c
        (payment_id, id, attempt_id, gateway, external_id, amount, currency, reason, status, evidence_due_at, loss, fee, fee_returned,
         fee_currency, closed_at)
    SELECT u.*, CASE WHEN u.status <> 'open' THEN now() END
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
                $10::timestamptz[], $11::bigint[], $12::bigint[], $13::bigint[], $14::text[])
        AS u (payment_id, id, attempt_id, gateway, external_id, amount, currency, reason, status, evidence_due_at, loss, fee,
              fee_returned, fee_currency)
    ORDER BY u.payment_id, u.id
    ON CONFLICT (payment_id, id) DO UPDATE SET
        reason = excluded.reason, status = excluded.status, evidence_due_at = excluded.evidence_due_at, loss = excluded.loss,
        fee = excluded.fee, fee_returned = excluded.fee_returned, fee_currency = excluded.fee_currency,
        closed_at = coalesce(c.closed_at, excluded.closed_at), updated_at = now()
    RETURNING {COLUMNS}
"""
ADD_SHARES = """
    INSERT INTO payments.chargeback_share AS s (payment_id, chargeback_id, seller_id, amount, debited)
    SELECT u.payment_id, u.chargeback_id, u.seller_id, sum(u.amount)::bigint, sum(u.debited)::bigint
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[]) AS u (payment_id, chargeback_id, seller_id, amount, debited)
    GROUP BY u.payment_id, u.chargeback_id, u.seller_id
    ORDER BY u.payment_id, u.chargeback_id, u.seller_id
    ON CONFLICT (payment_id, chargeback_id, seller_id) DO UPDATE SET
        amount = s.amount + excluded.amount, debited = s.debited + excluded.debited, updated_at = now()
"""


class NewChargeback(msgspec.Struct, frozen=True):
    """Money of an attempt that a bank has taken back."""

    payment_id: UUID
    id: UUID
    attempt_id: UUID
    gateway: str
    external_id: str
    amount: int
    currency: str
    reason: str
    status: ChargebackStatus
    evidence_due_at: datetime | None
    loss: int
    fee: int
    fee_returned: int
    fee_currency: str


class ChargebackRow(NewChargeback, frozen=True, kw_only=True):
    """A chargeback as its row says."""

    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewShare(msgspec.Struct, frozen=True):
    """What a chargeback takes from a seller."""

    payment_id: UUID
    chargeback_id: UUID
    seller_id: UUID
    amount: int
    debited: int


async def find_chargebacks(tx: Transaction, payment_ids: Iterable[UUID]) -> tuple[ChargebackRow, ...]:
    """The chargebacks of payments, which the caller has locked."""
    return await tx.all(ChargebackRow, FIND_CHARGEBACKS, list(payment_ids))


async def write_chargebacks(tx: Transaction, rows: Collection[NewChargeback], shares: Sequence[NewShare]) -> tuple[ChargebackRow, ...]:
    """Write chargebacks as they are now, and add what they have taken from sellers."""
    if shares:
        await tx.run(ADD_SHARES, *columns(shares, *NewShare.__struct_fields__))
    return await tx.all(ChargebackRow, WRITE_CHARGEBACKS, *columns(list(rows), *NewChargeback.__struct_fields__)) if rows else ()


def show_chargeback(row: ChargebackRow) -> Chargeback:
    """A chargeback as admins see it."""
    return Chargeback(
        id=row.id,
        payment_id=row.payment_id,
        order_id=row.payment_id,
        gateway=row.gateway,
        external_id=row.external_id,
        amount=Money(row.amount, row.currency),
        reason=row.reason,
        status=row.status,
        evidence_due_at=row.evidence_due_at,
        loss=Money(row.loss, row.currency),
        fee=Money(row.fee - row.fee_returned, row.fee_currency),
        closed_at=row.closed_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
