"""The order will not happen: nothing is to be paid any more, and what was paid goes back."""

import asyncio
from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.payments.booking import CLOSED, promise_refund, withdraw_questions
from souk.payments.charging import may_see
from souk.payments.database import db
from souk.payments.news import follow_up
from souk.payments.records import FIND_PAYMENT, Case, Changes, PaymentRow, lock_cases, show_payment, write
from souk.payments.types import Payment, PaymentNotFound

# How long the caller waits for the gateway; what is not done by then goes on by itself.
PATIENCE_S = 2.0


@exposed(timeout=10.0)
async def close_payment(order_id: UUID, reason: str) -> Payment:
    """Take no more money for this order and give back what came, also what comes later.

    Closing again changes nothing and returns the payment as it stands. Raises PaymentNotFound.
    """
    changes = Changes()
    async with db.transaction() as tx:
        case = (await lock_cases(tx, (order_id,))).get(order_id)
        if case is None or not may_see(case.payment, caller()):
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
    captured = case.captured
    if captured is not None and (left := case.left_of(captured)):
        promise_refund(case, captured, left, CLOSED, changes)
    withdraw_questions(case, changes)
