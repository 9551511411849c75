"""Sellers earn when parcels leave: money of the order becomes theirs, the tax authorities' and the platform's."""

from collections.abc import Sequence

from souk.kit.db import Transaction, columns
from souk.orders.events import ReturnReceived, SaleEarned
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.ledger import Transfer
from souk.payments.shares import SaleShare, pay_share, take_share

LOCK_PAYMENTS = "SELECT FROM payments.payment WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"
ADD_EARNINGS = """
    INSERT INTO payments.earning (payment_id, cause_id, seller_id, currency, amount, tax, commission, platform_discount)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
"""
# The CHECK funds_go_once refuses more than came.
RAISE_EARNED = """
    UPDATE payments.payment AS p SET earned = p.earned + u.amount, updated_at = now()
    FROM (SELECT id, sum(amount)::bigint AS amount FROM unnest($1::uuid[], $2::bigint[]) AS e (id, amount) GROUP BY id) AS u
    WHERE p.id = u.id
"""


async def book_earnings(tx: Transaction, earned: Sequence[SaleEarned]) -> None:
    """Write what sellers have earned of payments, each parcel once: the second time is a violation of a key."""
    payment_ids, amounts = [one.order_id for one in earned], [one.amount.amount for one in earned]
    await tx.run(LOCK_PAYMENTS, payment_ids)
    money = [[getattr(one, name).amount for one in earned] for name in ("tax", "commission", "platform_discount")]
    currencies = [one.amount.currency for one in earned]
    await tx.run(ADD_EARNINGS, *columns(earned, "order_id", "parcel_id", "seller_id"), currencies, amounts, *money)
    await tx.run(RAISE_EARNED, payment_ids, amounts)
    await ledger.post(tx, [transfer for one in earned for transfer in transfers_of(one)])


def transfers_of(one: SaleEarned) -> list[Transfer]:
    return pay_share(one.order_id, f"earned:{one.parcel_id}", share_of(one), ledger.order_funds(one.amount.currency), "earned")


async def take_back_free(returned: Sequence[ReturnReceived]) -> None:
    """Have sellers give back what the platform paid for goods that cost their buyers nothing. No refund is of these; each return once."""
    if transfers := [transfer for one in returned if not one.amount.amount for transfer in transfers_back(one)]:
        async with db.transaction() as tx:
            await ledger.post(tx, transfers)


def transfers_back(one: ReturnReceived) -> list[Transfer]:
    return take_share(one.order_id, f"returned:{one.return_id}", share_of(one), ledger.refunds_due(one.amount.currency), "clawed_back")


def share_of(one: SaleEarned | ReturnReceived) -> SaleShare:
    return SaleShare(one.seller_id, one.amount.amount, one.tax.amount, one.commission.amount, one.platform_discount.amount)
