"""A payout that its bank contradicts is ended by an admin, who says what has become of the money."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.idempotency import once
from souk.payments.banks.bank import TransferNews
from souk.payments.database import db
from souk.payments.paying_out import LOCK_PAYOUTS, WRITE_PAYOUTS
from souk.payments.payout_booking import PayoutRow, find_steps, take_step
from souk.payments.payout_types import Payout, PayoutEnded, PayoutNotFound, PayoutOutcome, SettlePayout
from souk.payments.payouts import COLUMNS, show_payout
from souk.payments.records import Changes, write

SIGN = f"UPDATE payments.payout SET settled_by = $2, settle_reason = $3 WHERE id = $1 RETURNING {COLUMNS}"

# What the bank would have said.
SAID: dict[PayoutOutcome, Literal["paid", "refused", "returned"]] = {"paid": "paid", "failed": "refused", "returned": "returned"}


@exposed()
async def settle_payout(seller_id: UUID, payout_id: UUID, settled: SettlePayout) -> Payout:
    """Say what has become of a payout, whatever its bank says; for admins. The same Idempotency-Key settles once.

    The bank is asked no more. Raises PayoutNotFound, and PayoutEnded for one of which this cannot be said any more.
    """
    caller().principal.require_admin()

    async def settle(tx: Transaction) -> Payout:
        payout = await tx.maybe(PayoutRow, LOCK_PAYOUTS, [payout_id])
        if payout is None or payout.seller_id != seller_id:
            raise PayoutNotFound
        return show_payout(await end(tx, payout, settled))

    return await once(db, (seller_id, payout_id, settled), settle)


async def end(tx: Transaction, payout: PayoutRow, settled: SettlePayout) -> PayoutRow:
    """Take a payout that is locked to where it is said to be."""
    news = TransferNews(payout.id, SAID[settled.outcome], payout.bank_id or "", payout.money, settled.reason)
    steps = find_steps(payout, news)
    if not steps:
        raise PayoutEnded(payout.status)
    changes, now, after = Changes(), datetime.now(UTC), payout
    for step in steps:
        after = take_step(after, step, news, now, changes)
    await tx.run(WRITE_PAYOUTS, *columns([after], "id", "status", "bank_id", "reason", "paid_at"))
    signed = await tx.one(PayoutRow, SIGN, payout.id, caller().principal.user_id, settled.reason)
    await write(tx, changes)
    return signed
