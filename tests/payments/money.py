"""Orders to be paid, the ways to pay them, and the rules that the books of payments keep at any moment."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from souk import payments
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.ledger import Account
from souk.payments.types import ChargeRequest, OpenPayment, Payment, PaymentPart, Refund, RefundPayment

BACK = "http://shop.test/back"

BROKEN_RULES = {
    "all balances of a currency sum to zero": "SELECT currency FROM payments.account GROUP BY currency HAVING sum(balance) <> 0",
    "a balance is the sum of its transfers": """
        SELECT a.id FROM payments.account AS a
        WHERE a.balance <> (SELECT coalesce(sum(CASE WHEN t.credit_id = a.id THEN t.amount ELSE -t.amount END), 0)
                            FROM payments.transfer AS t WHERE a.id IN (t.debit_id, t.credit_id))
    """,
    "a transfer stays within a currency": """
        SELECT t.reference FROM payments.transfer AS t JOIN payments.account AS a ON a.id IN (t.debit_id, t.credit_id)
        WHERE a.currency <> t.currency
    """,
    "what came and went follows from attempts and refunds": """
        SELECT p.id FROM payments.payment AS p
        WHERE p.captured <> (SELECT coalesce(sum(amount), 0) FROM payments.attempt WHERE payment_id = p.id AND status = 'captured')
           OR p.refunded <> (SELECT coalesce(sum(amount), 0) FROM payments.refund
                             WHERE payment_id = p.id AND status = 'succeeded' AND NOT surplus)
           OR p.refunding < p.refunded OR p.refunding > p.captured OR p.captured > p.amount
    """,
    "money is captured once per attempt, and only by an attempt that has it": """
        SELECT a.id FROM payments.attempt AS a
        WHERE (a.status IN ('captured', 'surplus')) <> EXISTS (
            SELECT FROM payments.transfer AS t
            WHERE t.cause_id = a.payment_id AND t.reference = 'capture:' || a.id AND t.amount = a.amount)
    """,
    "money went back once per refund that succeeded": """
        SELECT r.id FROM payments.refund AS r
        WHERE (r.status = 'succeeded' AND r.amount > 0) <> EXISTS (
            SELECT FROM payments.transfer AS t
            WHERE t.cause_id = r.payment_id AND t.reference = 'refund:' || r.id AND t.amount = r.amount
              AND NOT EXISTS (SELECT FROM payments.transfer AS u WHERE u.cause_id = t.cause_id AND u.reference = t.reference || ':undone'))
    """,
    "what chargebacks cost the shop is their losses and fees": """
        SELECT c.currency FROM (
            SELECT currency, loss AS amount FROM payments.chargeback
            UNION ALL SELECT fee_currency, fee - fee_returned FROM payments.chargeback
            UNION ALL SELECT currency, balance FROM payments.account WHERE kind = 'chargeback_expense') AS c
        GROUP BY c.currency HAVING sum(c.amount) <> 0
    """,
    "what a bank took that no refund stands for is a loss": """
        SELECT c.id FROM payments.chargeback AS c
        WHERE c.status <> 'won' AND c.amount - c.loss <> (
            SELECT coalesce(sum(r.amount), 0) FROM payments.refund AS r
            WHERE r.payment_id = c.payment_id AND r.cause = 'chargeback' AND r.status = 'succeeded' AND r.gateway_id = c.external_id)
    """,
    "refunds due are the refunds that are not done": """
        SELECT a.currency FROM payments.account AS a
        WHERE a.kind = 'refunds_due' AND a.balance <> (
            SELECT coalesce(sum(r.amount), 0) FROM (
                SELECT currency, amount FROM payments.refund WHERE status = 'pending' AND NOT surplus
                UNION ALL SELECT currency, amount FROM payments.attempt WHERE status = 'surplus'
                UNION ALL SELECT currency, -amount FROM payments.refund WHERE status = 'succeeded' AND surplus) AS r
            WHERE r.currency = a.currency)
    """,
    "what is held of a wallet is what its open holds are of": """
        SELECT a.owner FROM payments.account AS a
        WHERE a.kind = 'wallet_held' AND a.balance <> (SELECT coalesce(sum(h.amount), 0) FROM payments.hold AS h
            WHERE h.user_id::text = a.owner AND h.currency = a.currency AND h.status = 'open')
    """,
}


async def check_books() -> None:
    """Every rule holds at this moment."""
    for rule, rows_that_break_it in BROKEN_RULES.items():
        broken = await db.pool.fetch(rows_that_break_it)
        assert not broken, f"{rule}: {broken}"


async def open_order(
    amount: int = 10_000, user_id: UUID | None = None, currency: str = "EUR", minutes: float = 15, guest_token: str | None = None
) -> Payment:
    """An order of this user or guest that is to be paid."""
    money = Money(amount, currency)
    part = PaymentPart(new_id(), money, Money(0, currency), Money(amount // 10, currency), Money(0, currency))
    guest = hashlib.sha256(guest_token.encode()).hexdigest() if guest_token else None
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    return await payments.open_payment(OpenPayment(new_id(), user_id, guest, money, (part,), until))


async def pay(order: Payment, token: str | None = "tok_visa", method: str = "card", attempt_id: UUID | None = None) -> Payment:
    """The shop tries to get the money of an order."""
    with asking(Caller(SYSTEM)):
        return await payments.charge(ChargeRequest(order.id, method, token, BACK, attempt_id or new_id()))


async def give_back(order: Payment, amount: int | None = None, refund_id: UUID | None = None, **how: Any) -> Refund:
    """The shop gives money of an order back."""
    money = None if amount is None else Money(amount, order.amount.currency)
    with asking(Caller(SYSTEM)):
        return await payments.refund(RefundPayment(refund_id or new_id(), order.id, money, "a reason", **how))


async def close(order: Payment) -> Payment:
    with asking(Caller(SYSTEM)):
        closed = await payments.close_payment(order.id, "cancelled")
    assert closed is not None
    return closed


async def look_up(order: Payment) -> Payment:
    """The payment as it stands."""
    with asking(Caller(SYSTEM)):
        return await payments.get_payment(order.id)


async def balance(account: Account) -> int:
    return int(await db.value("SELECT balance FROM payments.account WHERE id = $1", account.id) or 0)


async def fill_wallet(user_id: UUID, amount: int, currency: str = "EUR") -> None:
    """Money of this user, which came from nowhere that matters."""
    async with db.transaction() as tx:
        way = (ledger.clearing("test", currency), ledger.wallet(user_id, currency))
        await ledger.post(tx, (ledger.Transfer(new_id(), "filled", "filled", *way, amount),))


async def announced(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """The events of this kind, in the order in which they were announced."""
    rows = await db.pool.fetch("SELECT payload FROM payments.outbox WHERE type = $1 ORDER BY xid, id", f"payments.{kind.__name__}")
    return [row["payload"] for row in rows]
