"""What captures, declines and refunds mean for our rows and our ledger: decisions only, nothing here reads or writes."""

from uuid import UUID, uuid5

import msgspec

from souk.kit.ids import new_id
from souk.payments import ledger
from souk.payments.events import PaymentCaptured, PaymentFailed, PaymentRefunded, WalletCredited
from souk.payments.gateways.gateway import AttemptNews, RefundNews
from souk.payments.ledger import Account, Transfer
from souk.payments.methods import INSTANT
from souk.payments.records import Attempt, Case, Changes, NewRefund
from souk.payments.shares import RefundShare, SaleShare, let_go, set_aside, share_out, undo

CLOSED, SURPLUS, ELSEWHERE = "the order was closed", "the order was paid already", "refunded at the gateway"


def book_attempt(case: Case, news: AttemptNews, changes: Changes) -> str | None:
    """Take what a gateway says of an attempt; why not, if it contradicts us. Old news, and news told again, change nothing."""
    attempt = case.attempts.get(news.reference.attempt_id)
    if attempt is None:
        return "no attempt of ours"
    if news.amount is not None and (news.amount.amount, news.amount.currency) != (attempt.amount, attempt.currency):
        return f"{attempt.amount} {attempt.currency} were asked for, {news.amount.amount} {news.amount.currency} told of"
    if attempt.has_money:
        again = news.status == "captured" and None not in (news.gateway_id, attempt.gateway_id) and news.gateway_id != attempt.gateway_id
        return "captured twice at the gateway" if again else None
    named = msgspec.structs.replace(attempt, gateway_id=news.gateway_id or attempt.gateway_id)
    if news.status == "captured":
        book_capture(case, named, changes)
    elif attempt.is_open and news.status == "declined":
        book_decline(case, named, news.code or "declined", changes)
    elif attempt.is_open:
        # A question to the buyer is not withdrawn by an answer that is older than it.
        waits = "requires_action" in (news.status, attempt.status)
        status, url = ("requires_action" if waits else "pending"), news.redirect_url or attempt.redirect_url
        changes.put_attempt(case, msgspec.structs.replace(named, status=status, redirect_url=url))
    return None


def book_capture(case: Case, attempt: Attempt, changes: Changes) -> None:
    """The money is there. It pays the order unless that is paid already or closed: then it goes back by itself."""
    payment, currency = case.payment, attempt.currency
    surplus = case.captured is not None
    taken = msgspec.structs.replace(attempt, status="surplus" if surplus else "captured", decline_code=None, redirect_url=None)
    changes.put_attempt(case, taken)
    if surplus:
        to, kind = ledger.refunds_due(currency), "surplus_captured"
    elif payment.kind == "deposit" and payment.user_id is not None:
        to, kind = ledger.wallet(payment.user_id, currency), "deposit"
        changes.events.append(WalletCredited(payment.user_id, payment.money(attempt.amount)))
    else:
        to, kind = ledger.order_funds(currency), "captured"
    changes.move(payment.id, f"capture:{attempt.id}", kind, (case.source_of(attempt), to), attempt.amount)
    withdraw_questions(case, changes)
    if surplus:
        promise_refund(case, taken, attempt.amount, SURPLUS, changes)
    elif payment.kind == "order" and payment.closed_at is not None:
        promise_refund(case, taken, attempt.amount, CLOSED, changes)
    elif payment.kind == "order":
        changes.events.append(PaymentCaptured(payment.id, payment.id, payment.money(attempt.amount), at_once=case.is_new))


def withdraw_questions(case: Case, changes: Changes) -> None:
    """No buyer is to approve any more what is paid or given up; who does it all the same gets the money back."""
    changes.to_void += [attempt for attempt in case.attempts.values() if attempt.status == "requires_action"]


def book_decline(case: Case, attempt: Attempt, code: str, changes: Changes) -> None:
    """No money will come of this attempt."""
    payment = case.payment
    changes.put_attempt(case, msgspec.structs.replace(attempt, status="declined", decline_code=code, redirect_url=None))
    if payment.kind == "order" and payment.closed_at is None:
        changes.events.append(PaymentFailed(payment.id, payment.id, attempt.id, code))


def promise_refund(case: Case, attempt: Attempt, amount: int, reason: str, changes: Changes) -> None:
    """Give money back that we may not keep: what is a surplus, or all that is set aside for an order that will not happen."""
    surplus = attempt.status == "surplus"
    shares = () if surplus else divide(case, amount, case.funds)
    refund = NewRefund(case.payment.id, new_id(), attempt.id, amount, attempt.currency, "origin", surplus, reason, cause="canceled")
    book_refund(case, msgspec.structs.replace(refund, shares=shares, funds=sum(share.funds for share in shares)), changes)


def return_all(case: Case, changes: Changes) -> None:
    """An order that is given up keeps no money; what its buyer has already goes to those who gave it."""
    if case.captured is not None and (case.left or case.funds):
        promise_refund(case, case.captured, case.left, CLOSED, changes)


def divide(case: Case, amount: int, idle: int) -> tuple[RefundShare, ...]:
    """Who gives back what is for nothing in particular: first what nobody will earn (`idle`), then sellers.

    More than is left of the payment is not kept idle: those get it who gave what the buyer has.
    """
    out = min(idle, amount)
    shares = let_go((SaleShare(None, out + max(idle - case.left, 0)),), idle, amount, case.given)
    return (*shares, *share_out(amount - out, case.sales, (*case.given, *shares))) if amount > out else shares


def book_refund(case: Case, refund: NewRefund, changes: Changes) -> None:
    """Set the money aside; it goes back at once if no gateway has to be asked. There must be so much left of the attempt."""
    changes.transfers += reserving(refund)
    changes.put_refund(case, refund)
    attempt = case.attempts[refund.attempt_id]
    if refund.amount == 0 or refund.destination == "wallet" or attempt.gateway in INSTANT:
        settle_refund(case, refund, changes)
    else:
        changes.to_refund.append((refund, attempt))


def reserving(refund: NewRefund) -> list[Transfer]:
    """How the money of a refund becomes due; that of a surplus has been due since it came."""
    return [] if refund.surplus else set_aside(refund.payment_id, f"refund:{refund.id}:reserve", refund.shares, due_of(refund))


def due_of(refund: NewRefund) -> Account:
    return ledger.refunds_due(refund.currency)


def settle_refund(case: Case, refund: NewRefund, changes: Changes) -> None:
    """The money is back with the buyer."""
    payment, to_wallet = case.payment, refund.destination == "wallet"
    to = case.source_of(case.attempts[refund.attempt_id])
    if to_wallet and payment.user_id is not None:
        to = ledger.wallet(payment.user_id, refund.currency)
    changes.put_refund(case, msgspec.structs.replace(refund, status="succeeded", failure_code=None))
    amount = payment.money(refund.amount)
    if refund.amount:
        changes.move(payment.id, f"refund:{refund.id}", "refunded", (ledger.refunds_due(refund.currency), to), refund.amount)
        if payment.user_id is not None and to.kind == "buyer_wallet":
            changes.events.append(WalletCredited(payment.user_id, amount))
    # A return is at its end with its refund, also where its buyer had all of the money before.
    if payment.kind == "order" and not refund.surplus and (refund.amount or refund.cause == "returned"):
        changes.events.append(PaymentRefunded(payment.id, payment.id, refund.id, amount))


def fail_refund(case: Case, refund: NewRefund, code: str, changes: Changes) -> None:
    """The gateway refuses. What was set aside can be refunded otherwise; money that was never ours to keep stays due."""
    changes.put_refund(case, msgspec.structs.replace(refund, status="failed", failure_code=code))
    changes.transfers += undo(reserving(refund))


def book_refund_news(case: Case, news: RefundNews, entry: str, changes: Changes) -> str | None:
    """Take what a gateway says of a refund; why not, if it contradicts us. News told again change nothing."""
    refund = case.refunds.get(news.refund_id) if news.refund_id else None
    if refund is None:
        return book_foreign_refund(case, news, entry, changes)
    if news.amount is not None and (news.amount.amount, news.amount.currency) != (refund.amount, refund.currency):
        return f"{refund.amount} {refund.currency} were to go back, {news.amount.amount} {news.amount.currency} told of"
    if refund.status != "pending":
        return find_turn(refund, news)
    named = msgspec.structs.replace(refund, gateway_id=news.gateway_id or refund.gateway_id)
    if news.status == "succeeded":
        settle_refund(case, named, changes)
    elif news.status == "failed":
        fail_refund(case, named, news.code or "failed", changes)
        return f"the gateway refuses to give {refund.amount} {refund.currency} back: {news.code}"
    else:
        changes.put_refund(case, named)
    return None


def find_turn(refund: NewRefund, news: RefundNews) -> str | None:
    """Why what is told of a refund that is done is not what we know: that has to be looked at."""
    match refund.status, news.status:
        case "failed", "succeeded":
            return "a refund that we believe has failed"
        case "succeeded", "failed":
            gone = f"{refund.amount} {refund.currency} that had gone back did not arrive ({news.code or 'failed'})"
            return f"{gone} and are at the gateway again: give them to the buyer over there or otherwise"
    return None


def find_refund_id(case: Case, news: RefundNews, entry: str) -> UUID:
    """The id by which we go: ours, or one that follows from the gateway's entry if somebody made the refund over there."""
    return news.refund_id if news.refund_id in case.refunds else uuid5(case.payment.id, entry)


def book_foreign_refund(case: Case, news: RefundNews, entry: str, changes: Changes) -> str | None:
    """A refund that somebody made at the gateway without us: it is a fact there, so it becomes one here, if it can be true."""
    refund_id = find_refund_id(case, news, entry)
    attempt = case.attempts.get(news.attempt_id) if news.attempt_id else None
    if news.status != "succeeded" or news.amount is None or attempt is None:
        return "no refund of ours"
    if refund_id in case.refunds:
        return None
    if news.amount.currency != attempt.currency or news.amount.amount > case.left_of(attempt) or case.payment.kind == "deposit":
        return "more was refunded at the gateway than we have"
    surplus, amount = attempt.status == "surplus", news.amount.amount
    shares = () if surplus else divide(case, amount, case.idle)
    refund = NewRefund(
        case.payment.id, refund_id, attempt.id, amount, attempt.currency, "origin", surplus, ELSEWHERE, gateway_id=news.gateway_id,
        cause="elsewhere", funds=sum(share.funds for share in shares), shares=shares,
    )  # fmt: skip
    changes.transfers += reserving(refund)
    settle_refund(case, refund, changes)
    return None
