"""The order will not happen: nothing is to be paid any more, and what was paid goes back."""

import asyncio
from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.payments.booking import return_all, withdraw_questions
from souk.payments.charging import may_see
from souk.payments.database import db
from souk.payments.news import follow_up
from souk.payments.records import FIND_PAYMENT, NEVER_OPENED, Case, Changes, PaymentRow, lock_cases, show_payment, write
from souk.payments.types import Payment, PaymentNotFound

# An order may be given up before its payment is opened, by another process even: a closed row keeps a late opening out.
KEEP_CLOSED = """
    INSERT INTO payments.payment (id, kind, currency, amount, parts, expires_at, closed_at, close_reason, status)
    VALUES ($1, 'order', $2, 0, '[]', now(), now(), $3, 'voided')
    ON CONFLICT (id) DO NOTHING
"""

# How long the caller waits for the gateway; what is not done by then goes on by itself.
PATIENCE_S = 2.0


@exposed(timeout=10.0)
async def close_payment(order_id: UUID, reason: str) -> Payment | None:
    """Take no more money for this order and give back what came, also what comes later.

    Closing again changes nothing and returns the payment as it stands. Where no payment was opened there is None, and there will be
    none: open_payment raises PaymentClosed from then on. Raises PaymentNotFound for another's payment.
    """
    changes = Changes()
    async with db.transaction() as tx:
        await tx.run(KEEP_CLOSED, order_id, NEVER_OPENED, reason)
        case = (await lock_cases(tx, (order_id,)))[order_id]
        if case.payment.currency == NEVER_OPENED:
            return None
        if not may_see(case.payment, caller()):
            raise PaymentNotFound
        close(case, reason, changes)
        await write(tx, changes)
    if tasks := follow_up(changes):
        await asyncio.wait(tasks, timeout=PATIENCE_S)
    return show_payment(await db.maybe(PaymentRow, FIND_PAYMENT, order_id) or case.payment)


def close(case: Case, reason: str, changes: Changes) -> None:
    """Decide what closing a payment means now."""
    if case.payment.closed_at is None:
        changes.touched[case.payment.id] = reason
    return_all(case, changes)
    withdraw_questions(case, changes)
