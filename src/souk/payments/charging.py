"""Get the money of an order: the attempt is written first, the gateway is asked in no transaction, what it answers is booked."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Protocol
from uuid import UUID

import msgspec

from souk.kit.batching import Asked, Batcher
from souk.kit.callers import Caller, caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import DomainError, InvalidField
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.money import Money
from souk.payments import calling, ledger
from souk.payments.booking import book_capture, book_decline
from souk.payments.database import db
from souk.payments.gateways.gateway import ChargeAsked, Reference
from souk.payments.ledger import Account
from souk.payments.methods import INSTANT, TEST, WALLET, find_method, is_demo
from souk.payments.new_payments import new_case, open_payments, write_new
from souk.payments.news import follow_up, tell
from souk.payments.records import (
    FIND_PAYMENT,
    NEVER_OPENED,
    Attempt,
    Case,
    Changes,
    PaymentRow,
    lock_cases,
    show_payment,
    write,
)
from souk.payments.types import (
    AlreadyPaid,
    AttemptPending,
    ChargeRequest,
    MethodNotOffered,
    OpenPayment,
    Payment,
    PaymentClosed,
    PaymentExpired,
    PaymentMethod,
    PaymentNotFound,
    PayOrder,
    TooManyAttempts,
)

# More tries than an honest buyer needs; whoever tests stolen cards needs many.
MOST_ATTEMPTS = 20
TEST_TOKENS = ("tok_visa", "tok_ok")


class FindMethod(Protocol):
    """Finds the method of an attempt, as find_method does."""

    def __call__(self, name: str, *, trusted: bool) -> PaymentMethod: ...


class Begin(msgspec.Struct, frozen=True):
    """An attempt that is to be made, and the payment that is to be written down first if it is not there."""

    charge: ChargeRequest
    opening: OpenPayment | None = None


class Begun(msgspec.Struct, frozen=True):
    """An attempt as it was recorded; `asked` is what its gateway is to be asked now, if anything."""

    payment: PaymentRow
    attempt: Attempt | None = None
    asked: ChargeAsked | None = None
    again: bool = False


@exposed(timeout=30.0)
async def charge(request: ChargeRequest) -> Payment:
    """Try to get the money of an order; a decline is a Payment with that status, and another attempt may follow.

    Asking again with the same attempt_id continues the same attempt: the money is taken once. While the gateway keeps silent
    the payment is pending and settles by itself. Raises PaymentNotFound, PaymentClosed, PaymentExpired, AlreadyPaid,
    AttemptPending, MethodNotOffered, TooManyAttempts, and IdempotencyKeyReused for the same attempt_id with another request.
    """
    return show_payment(await pay(request))


@exposed(timeout=30.0)
async def pay_order(request: PayOrder) -> Payment:
    """Write down what is to be paid for an order, if that was not done yet, and try to get it; one attempt per order, its first.

    Asking again goes on with that attempt: the money is taken once. A payment that is captured otherwise is answered as it
    stands. Raises what charge raises, PaymentNotFound among them, but not AlreadyPaid.
    """
    opening = request.opening
    asked = ChargeRequest(opening.order_id, request.method, request.token, request.return_url, attempt_id=opening.order_id)
    try:
        return show_payment(await pay(asked, opening))
    except AlreadyPaid:
        paid = await db.maybe(PaymentRow, FIND_PAYMENT, opening.order_id)
        if paid is None:
            raise PaymentNotFound from None
        return show_payment(paid)


async def pay(request: ChargeRequest, opening: OpenPayment | None = None) -> PaymentRow:
    """Make an attempt to pay an order or a deposit; how the payment stands when the gateway or the caller's patience is through."""
    begun = await _beginning.ask(Begin(request, opening), caller())
    attempt, asked = begun.attempt, begun.asked
    if attempt is None or asked is None:
        return begun.payment

    async def take() -> None:
        if answer := await calling.ask_charge(attempt, asked, begun.again):
            await tell(calling.answer_of(attempt, answer))

    await calling.wait(calling.start(("charge", attempt.payment_id, attempt.id), take), caller().seconds_left() - calling.RESERVE_S)
    return await db.maybe(PaymentRow, FIND_PAYMENT, attempt.payment_id) or begun.payment


async def begin_attempts(asked: tuple[Asked[Begin], ...]) -> tuple[Begun | DomainError, ...]:
    """Record attempts; those that need no gateway are settled with it. First those of new payments, then in a transaction the others."""
    find = cache(partial(find_method, demo=await is_demo()))
    rows, decisions = await begin_new(asked, find)
    if late := [one for one in asked if one not in decisions]:
        changes = Changes()
        openings = {one.request.opening.order_id: one.request.opening for one in late if one.request.opening}
        async with db.transaction() as tx:
            opened = await open_payments(tx, list(openings.values()))
            cases = {row.id: Case(row, is_new=True) for row in opened.values()}
            if others := {one.request.charge.order_id for one in late} - cases.keys():
                cases |= await lock_cases(tx, others)
            wallets = await lock_wallets(tx, late, cases)
            decisions |= {one: begin(one, cases, find, wallets, changes) for one in late}
            written = await write(tx, changes)
        follow_up(changes)
        rows |= written.payments
    return tuple(show_begun(decisions[one], rows) for one in asked)


async def begin_new(
    asked: tuple[Asked[Begin], ...], find: FindMethod
) -> tuple[dict[UUID, PaymentRow], dict[Asked[Begin], Begun | DomainError]]:
    """Decide on payments that are not there yet, and write each of them once, as it comes out; their rows, and what was decided.

    Those that are there nevertheless are left out. So are those that a wallet is to pay: it is locked and looked into first.
    """
    by_wallet = {one.request.charge.order_id for one in asked if one.request.charge.method == WALLET}
    openings = {one.order_id: one for begun in asked if (one := begun.request.opening) and one.order_id not in by_wallet}
    if not openings:
        return {}, {}
    cases, changes = {order_id: new_case(opening) for order_id, opening in openings.items()}, Changes()
    new = [one for one in asked if one.request.charge.order_id in cases]
    decisions = {one: begin(one, cases, find, {}, changes) for one in new}
    rows = await write_new(cases, list(openings.values()), changes)
    return rows, {one: decision for one, decision in decisions.items() if one.request.charge.order_id in rows}


def show_begun(decided: Begun | DomainError, rows: dict[UUID, PaymentRow]) -> Begun | DomainError:
    """What was decided, with the payment as it is written."""
    if isinstance(decided, DomainError) or decided.payment.id not in rows:
        return decided
    return Begun(rows[decided.payment.id], decided.attempt, decided.asked, decided.again)


_beginning: Batcher[Begin, Begun] = Batcher(begin_attempts, lanes=1)


async def lock_wallets(tx: Transaction, asked: Sequence[Asked[Begin]], cases: dict[UUID, Case]) -> dict[Account, int]:
    """The balances of the wallets that are to pay, locked."""
    charges = [one.request.charge for one in asked]
    paying = [cases[charge.order_id].payment for charge in charges if charge.method == WALLET and charge.order_id in cases]
    accounts = {ledger.wallet(payment.user_id, payment.currency) for payment in paying if payment.user_id is not None}
    return await ledger.lock_balances(tx, list(accounts))


def begin(
    one: Asked[Begin], cases: dict[UUID, Case], find: FindMethod, wallets: dict[Account, int], changes: Changes
) -> Begun | DomainError:
    """Decide about one attempt: refuse it, go on with it, or write a new one."""
    request = one.request.charge
    case = cases.get(request.order_id)
    if case is not None and case.payment.currency == NEVER_OPENED:
        return PaymentClosed()
    if case is None or not may_see(case.payment, one.caller):
        return PaymentNotFound()
    known = case.attempts.get(request.attempt_id)
    if known is not None:
        return go_on(case, known, request, changes)
    try:
        refuse(case)
        method = find(request.method, trusted=one.caller.principal.is_admin)
        check_method(method, request, case.payment)
    except DomainError as refusal:
        return refusal
    attempt = make_attempt(case.payment, method, request)
    if method.gateway in INSTANT:
        settle_instantly(case, attempt, request, wallets, changes)
        return Begun(case.payment)
    changes.put_attempt(case, attempt)
    return Begun(case.payment, attempt, asked_of(case.payment, attempt, request))


def go_on(case: Case, known: Attempt, request: ChargeRequest, changes: Changes) -> Begun | DomainError:
    """The same attempt again: its gateway is asked once more if it kept silent, or had never heard of it when it was looked up."""
    if known.fingerprint != fingerprint_of(request):
        return IdempotencyKeyReused()
    if known.decline_code == calling.UNHEARD:
        try:
            refuse(case)
        except DomainError:
            return Begun(case.payment)
        known = msgspec.structs.replace(known, status="pending", decline_code=None)
        changes.put_attempt(case, known)
    if known.status != "pending":
        return Begun(case.payment)
    return Begun(case.payment, known, asked_of(case.payment, known, request), again=True)


def may_see(payment: PaymentRow, who: Caller) -> bool:
    """Its owner, the guest with its token, an admin, the shop itself."""
    if who.principal.is_admin or who.principal.owns(payment.user_id):
        return True
    if who.guest_token is None or payment.guest_token_hash is None:
        return False
    return hmac.compare_digest(hashlib.sha256(who.guest_token.encode()).hexdigest(), payment.guest_token_hash)


def refuse(case: Case) -> None:
    """Raise why no new attempt may begin."""
    refuse_settled(case)
    if any(attempt.status == "pending" for attempt in case.attempts.values()):
        raise AttemptPending
    if len(case.attempts) >= MOST_ATTEMPTS:
        raise TooManyAttempts


def refuse_change(case: Case) -> None:
    """Raise why the amount may not change: a buyer who is asked by an app may say yes to the old one at any moment."""
    refuse_settled(case)
    if any(attempt.is_open for attempt in case.attempts.values()):
        raise AttemptPending


def refuse_settled(case: Case) -> None:
    """Raise why nothing more can be paid."""
    payment = case.payment
    if payment.closed_at is not None:
        raise PaymentClosed
    if case.captured or payment.amount == 0:
        raise AlreadyPaid
    if payment.expires_at <= datetime.now(UTC):
        raise PaymentExpired


def check_method(method: PaymentMethod, request: ChargeRequest, payment: PaymentRow) -> None:
    """Raise what is missing for this method."""
    if method.gateway == WALLET and (payment.user_id is None or payment.kind == "deposit"):
        raise MethodNotOffered(request.method)
    if method.needs_token and request.token is None:
        raise InvalidField("token", f"is needed to pay by {method.method}")
    if method.needs_return_url and request.return_url is None:
        raise InvalidField("return_url", f"is needed to pay by {method.method}")


def make_attempt(payment: PaymentRow, method: PaymentMethod, request: ChargeRequest) -> Attempt:
    return Attempt(
        payment_id=payment.id,
        id=request.attempt_id,
        gateway=method.gateway,
        method=method.method,
        amount=payment.amount,
        currency=payment.currency,
        status="pending",
        gateway_id=None,
        decline_code=None,
        redirect_url=None,
        fingerprint=fingerprint_of(request),
    )


def asked_of(payment: PaymentRow, attempt: Attempt, request: ChargeRequest) -> ChargeAsked:
    """What the gateway is asked. The token goes to it and is kept nowhere."""
    return ChargeAsked(
        reference=Reference(payment.id, attempt.id),
        amount=Money(attempt.amount, attempt.currency),
        token=request.token,
        return_url=request.return_url,
        expires_in_s=(payment.expires_at - datetime.now(UTC)).total_seconds(),
    )


def settle_instantly(case: Case, attempt: Attempt, request: ChargeRequest, wallets: dict[Account, int], changes: Changes) -> None:
    """Settle an attempt whose gateway is in this process."""
    code = None
    if attempt.gateway == TEST and request.token not in TEST_TOKENS:
        code = "card_declined" if request.token == "tok_declined" else "token_unknown"  # noqa: S105  a test card
    if attempt.gateway == WALLET:
        account = case.source_of(attempt)
        if wallets[account] < attempt.amount:
            code = "insufficient_funds"
        else:
            wallets[account] -= attempt.amount
    if code is None:
        book_capture(case, attempt, changes)
    else:
        book_decline(case, attempt, code, changes)


def fingerprint_of(request: ChargeRequest) -> bytes:
    """One number per request: a token is not kept, but another one under the same attempt_id is noticed."""
    return hashlib.sha256(msgspec.msgpack.encode((request.method, request.token, request.return_url))).digest()
