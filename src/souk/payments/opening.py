"""What an order costs is written down before anybody pays, and may change until then; how it stands can be read at any time."""

from uuid import UUID

from souk.kit.batching import Asked
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import DomainError
from souk.payments.charging import may_see, refuse_change
from souk.payments.database import db
from souk.payments.events import PaymentCaptured
from souk.payments.new_payments import open_payments
from souk.payments.records import (
    COLUMNS,
    FIND_PAYMENT,
    NEVER_OPENED,
    Changes,
    PaymentRow,
    lock_cases,
    show_payment,
    write,
)
from souk.payments.types import ChangePayment, CurrencyMismatch, OpenPayment, Payment, PaymentClosed, PaymentNotFound

FIND_PAYMENTS = f"SELECT {COLUMNS} FROM payments.payment AS p WHERE p.id = ANY($1)"
IS_AS_ASKED = "SELECT currency = $2 AND amount = $3 AND parts = $4 FROM payments.payment WHERE id = $1"
CHANGE_AMOUNT = "UPDATE payments.payment SET amount = $2, parts = $3 WHERE id = $1"


@exposed.batched(timeout=5.0)
async def open_payment(asked: tuple[Asked[OpenPayment], ...]) -> tuple[Payment | DomainError, ...]:
    """Write down what is to be paid for an order. Asking again for the same order returns its payment as it stands.

    Where nothing is to be paid the payment is captured at once. Raises PaymentClosed for an order that was given up before this.
    """
    wanted = {one.request.order_id: one.request for one in asked}
    async with db.transaction() as tx:
        found = await open_payments(tx, list(wanted.values()))
        if missing := [order_id for order_id in wanted if order_id not in found]:
            found |= {row.id: row for row in await tx.all(PaymentRow, FIND_PAYMENTS, missing)}
    rows = [found[one.request.order_id] for one in asked]
    return tuple(PaymentClosed() if row.currency == NEVER_OPENED else show_payment(row) for row in rows)


@exposed()
async def change_payment(request: ChangePayment) -> Payment:
    """Ask another amount for an order that nobody has begun to pay. Asking again for the same changes nothing.

    Raises PaymentNotFound, CurrencyMismatch, and where it is too late: PaymentClosed, PaymentExpired, AlreadyPaid, AttemptPending.
    """
    amount = request.amount
    changes = Changes()
    async with db.transaction() as tx:
        case = (await lock_cases(tx, (request.order_id,))).get(request.order_id)
        if case is None or not may_see(case.payment, caller()):
            raise PaymentNotFound
        if case.payment.currency not in (amount.currency, NEVER_OPENED):
            raise CurrencyMismatch(case.payment.currency)
        if await tx.value(IS_AS_ASKED, request.order_id, amount.currency, amount.amount, request.parts):
            return show_payment(case.payment)
        refuse_change(case)
        await tx.run(CHANGE_AMOUNT, request.order_id, amount.amount, request.parts)
        changes.touched[request.order_id] = None
        if amount.amount == 0:
            changes.events.append(PaymentCaptured(request.order_id, request.order_id, amount))
        written = await write(tx, changes)
    return show_payment(written.payments[request.order_id])


@exposed()
async def get_payment(order_id: UUID) -> Payment:
    """How the payment of an order stands, for its owner, the guest with its token, and admins; raises PaymentNotFound."""
    row = await db.maybe(PaymentRow, FIND_PAYMENT, order_id)
    if row is None or not may_see(row, caller()):
        raise PaymentNotFound
    return show_payment(row)
