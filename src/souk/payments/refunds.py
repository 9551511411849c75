"""Give captured money back: reserved first, so that never more goes back than came, then done by the gateway."""

from typing import cast
from uuid import UUID

from souk.kit.batching import Asked, Batcher
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import DomainError, InvalidField
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.money import Money
from souk.payments import calling
from souk.payments.booking import book_refund, divide
from souk.payments.charging import may_see
from souk.payments.database import db
from souk.payments.news import follow_up
from souk.payments.records import (
    FIND_PAYMENT,
    FIND_REFUNDS,
    Case,
    Changes,
    NewRefund,
    PaymentRow,
    RefundRow,
    lock_cases,
    sale_of,
    write,
)
from souk.payments.shares import RefundShare, let_go, take_back
from souk.payments.types import CurrencyMismatch, NoWallet, PaymentNotFound, Refund, RefundPayment, RefundTooLarge

FIND_REFUND = """
    SELECT payment_id, id, attempt_id, amount, currency, destination, surplus, reason, status, gateway_id, failure_code,
           cause, funds, shares, created_at, updated_at
    FROM payments.refund WHERE payment_id = $1 AND id = $2
"""


@exposed(timeout=30.0)
async def refund(request: RefundPayment) -> Refund:
    """Give a part of what was captured back, or all that is left; for admins and the shop itself.

    Asking again with the same refund_id returns that refund. While the gateway keeps silent it is pending and settles by itself;
    if the gateway refuses it has failed and the money can be refunded otherwise. For pieces that cost more than is left, only that goes
    back; an amount that is more than is left is refused. Raises PaymentNotFound, RefundTooLarge, CurrencyMismatch, NoWallet, and
    IdempotencyKeyReused for the same refund_id with another request.
    """
    caller().principal.require_admin()
    row = await _promising.ask(request, caller())
    if row.status == "pending" and (task := calling.find(("refund", row.payment_id, row.id))):
        await calling.wait(task, caller().seconds_left() - calling.RESERVE_S)
        row = await db.maybe(RefundRow, FIND_REFUND, row.payment_id, row.id) or row
    return show_refund(row)


async def promise_refunds(asked: tuple[Asked[RefundPayment], ...]) -> tuple[RefundRow | DomainError, ...]:
    """Reserve what is to go back, in one transaction; what needs no gateway is settled in it."""
    changes = Changes()
    async with db.transaction() as tx:
        cases = await lock_cases(tx, {one.request.order_id for one in asked})
        decisions = [promise(one.request, cases.get(one.request.order_id), changes) for one in asked]
        written = await write(tx, changes)
    follow_up(changes)
    return tuple(
        decided if isinstance(decided, DomainError) else written.refunds.get((decided.payment_id, decided.id)) or cast(RefundRow, decided)
        for decided in decisions
    )


_promising: Batcher[RefundPayment, RefundRow] = Batcher(promise_refunds, lanes=1)


def promise(request: RefundPayment, case: Case | None, changes: Changes) -> NewRefund | DomainError:
    """Decide about one refund: it is known already, it is reserved, or there is a reason against it."""
    if case is None or case.payment.kind != "order":
        return PaymentNotFound()
    known = case.refunds.get(request.refund_id)
    if known is not None:
        return go_on(known, request, case, changes)
    try:
        new = make_refund(request, case)
    except DomainError as refusal:
        return refusal
    book_refund(case, new, changes)
    return new


def make_refund(request: RefundPayment, case: Case) -> NewRefund:
    """What is to go back; raises why it may not."""
    payment, attempt = case.payment, case.captured
    amounts = [part.amount for part in request.parts] + ([request.amount] if request.amount else [])
    if any(amount.currency != payment.currency for amount in amounts):
        raise CurrencyMismatch(payment.currency)
    if request.to == "wallet" and payment.user_id is None:
        raise NoWallet
    shares = find_givers(request, case)
    if attempt is None:
        raise RefundTooLarge(payment.money(0))
    return NewRefund(
        payment_id=payment.id,
        id=request.refund_id,
        attempt_id=attempt.id,
        amount=sum(share.amount for share in shares),
        currency=payment.currency,
        destination=request.to,
        surplus=False,
        reason=request.reason,
        cause=request.cause,
        funds=sum(share.funds for share in shares),
        shares=shares,
    )


def find_givers(request: RefundPayment, case: Case) -> tuple[RefundShare, ...]:
    """How much goes back and who gives it: for pieces what they cost, as far as it has not gone back already; else what is asked for."""
    left = case.left
    if request.cause == "canceled":
        return let_go(tuple(map(sale_of, request.parts)), case.funds, left, case.given)
    if request.cause == "returned":
        return take_back(tuple(map(sale_of, request.parts)), left, case.sales, case.given)
    amount = left if request.amount is None else request.amount.amount
    if request.amount is not None and amount <= 0:
        raise InvalidField("amount", "is to be above zero")
    if amount > left or left == 0:
        raise RefundTooLarge(case.payment.money(left))
    return divide(case, amount, case.idle)


def go_on(known: NewRefund, request: RefundPayment, case: Case, changes: Changes) -> NewRefund | DomainError:
    """The same refund again; if it hangs its gateway is asked once more."""
    asked = (known.amount if request.amount is None else request.amount.amount, request.to, request.reason, request.cause)
    if asked != (known.amount, known.destination, known.reason, known.cause):
        return IdempotencyKeyReused()
    if known.status == "pending":
        changes.to_refund.append((known, case.attempts[known.attempt_id]))
    return known


@exposed()
async def list_refunds(order_id: UUID) -> tuple[Refund, ...]:
    """The refunds of an order's payment, oldest first, for whoever may see the payment; raises PaymentNotFound."""
    row = await db.maybe(PaymentRow, FIND_PAYMENT, order_id)
    if row is None or not may_see(row, caller()):
        raise PaymentNotFound
    return tuple(show_refund(one) for one in await db.all(RefundRow, FIND_REFUNDS, [order_id]))


def show_refund(row: RefundRow) -> Refund:
    """A refund as others see it."""
    return Refund(
        id=row.id,
        payment_id=row.payment_id,
        order_id=row.payment_id,
        amount=Money(row.amount, row.currency),
        status=row.status,
        to=row.destination,
        reason=row.reason,
        failure_code=row.failure_code,
        created_at=row.created_at,
        updated_at=row.updated_at,
        cause=row.cause,
    )
