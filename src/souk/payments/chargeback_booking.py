"""What chargebacks mean for our rows and our ledger: decisions only, nothing here reads or writes.

The gateway's money is gone from the moment when it tells, and stands as an expense of the shop. A refund that was not asked for (or
several) takes it from the sellers as far as the money has not gone back to the buyer before; the rest stays an expense.
"""

from uuid import UUID, uuid5

import msgspec

from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.booking import divide, due_of, reserving, return_all
from souk.payments.chargeback_rows import ChargebackRow, NewChargeback, NewShare
from souk.payments.events import ChargebackClosed, ChargebackCovered, ChargebackOpened, PaymentRefunded
from souk.payments.gateways.gateway import ChargebackNews
from souk.payments.ledger import Transfer
from souk.payments.methods import WALLET
from souk.payments.records import Attempt, Case, Changes, Contradiction, NewRefund, RefundRow
from souk.payments.shares import SaleShare, undo

TAKEN, WON = "taken back by the buyer's bank", "chargeback_won"


def book_chargeback(case: Case, gateway: str, news: ChargebackNews, changes: Changes) -> str | None:
    """Take what a gateway says of a chargeback; why not, if it contradicts us. Old news, and news told again, change nothing.

    News of the end may come first: then the beginning is booked with it.
    """
    row = find_told(case, gateway, news.gateway_id)
    if row is None:
        if reason := find_contradiction(case, gateway, news):
            return reason
        row = open_chargeback(case, gateway, news, changes)
    if (news.amount.amount, news.amount.currency) != (row.amount, row.currency):
        return f"{row.amount} {row.currency} were taken back, {news.amount.amount} {news.amount.currency} told of"
    if "open" not in (news.status, row.status) and news.status != row.status:
        return f"a chargeback that we believe is {row.status}"
    if {one.currency for one in (news.fee, news.fee_returned) if one} - {row.fee_currency} and row.fee:
        return f"a chargeback whose fee was in {row.fee_currency}"
    row = book_fees(row, news, changes)
    if row.status == "open":
        due = news.evidence_due_at or row.evidence_due_at
        row = msgspec.structs.replace(row, reason=news.reason or row.reason, evidence_due_at=due)
        if news.status != "open":
            row = decide(case, row, news.status == "won", changes)
    changes.put_chargeback(case, row)
    return None


def find_told(case: Case, gateway: str, external_id: str) -> NewChargeback | None:
    """The chargeback that a gateway speaks of, if we know of it."""
    return next((row for row in case.chargebacks.values() if (row.gateway, row.external_id) == (gateway, external_id)), None)


def find_contradiction(case: Case, gateway: str, news: ChargebackNews) -> str | None:
    """Why a chargeback that we hear of first cannot be true."""
    attempt = case.attempts.get(news.attempt_id)
    if attempt is None or attempt.gateway != gateway or not attempt.has_money:
        return "a chargeback of what was never paid"
    if news.amount.currency != attempt.currency or not 0 < news.amount.amount <= left_to_take(case, attempt):
        return "more was taken back than was paid"
    return None


def left_to_take(case: Case, attempt: Attempt) -> int:
    """What an attempt brought and no bank has taken; whether it went back to the buyer otherwise, banks do not ask."""
    taken = sum(row.amount for row in case.chargebacks.values() if row.attempt_id == attempt.id and row.status != "won")
    return attempt.amount - taken if attempt.has_money and attempt.gateway != WALLET else 0


def open_chargeback(case: Case, gateway: str, news: ChargebackNews, changes: Changes) -> NewChargeback:
    """The money is gone: first at the shop's cost, then at that of the sellers."""
    payment, amount = case.payment, news.amount.amount
    row = NewChargeback(
        payment.id, new_id(), news.attempt_id, gateway, news.gateway_id, amount, news.amount.currency, news.reason, "open",
        news.evidence_due_at, loss=amount, fee=0, fee_returned=0, fee_currency=news.amount.currency,
    )  # fmt: skip
    changes.transfers.append(taking(row))
    row = cover(case, row, changes)
    if payment.kind == "order":
        changes.events.append(ChargebackOpened(payment.id, payment.id, row.id, payment.money(amount), counted(case, row)))
    return row


def counted(case: Case, row: NewChargeback) -> Money:
    """What of it counts as given back for the order; a surplus was none of the order's money."""
    surplus = case.attempts[row.attempt_id].status == "surplus"
    return case.payment.money(0 if surplus else row.amount - row.loss)


def taking(row: NewChargeback) -> Transfer:
    """The movement by which a bank takes money back."""
    way = ledger.chargeback_expense(row.currency), ledger.clearing(row.gateway, row.currency)
    return Transfer(row.payment_id, f"chargeback:{row.id}", "charged_back", *way, row.amount)


def cover(case: Case, row: NewChargeback, changes: Changes, refused: NewRefund | None = None) -> NewChargeback:
    """Have the sellers give what they have not given yet, as far as the money has not gone back to the buyer otherwise.

    A surplus that could not go back is there for it as it is.
    """
    attempt = case.attempts[row.attempt_id]
    amount, surplus = min(row.loss, case.left_of(attempt)), attempt.status == "surplus"
    if case.payment.kind != "order" or not amount:
        return row
    same = refused is not None and (refused.attempt_id, refused.amount) == (attempt.id, amount) and refused.funds <= case.idle
    shares = () if surplus else refused.shares if refused and same else divide(case, amount, case.idle)
    refund = NewRefund(
        row.payment_id, uuid5(row.id, str(row.loss)), attempt.id, amount, row.currency, "origin", surplus, TAKEN, "succeeded",
        row.external_id, cause="chargeback", funds=sum(share.funds for share in shares), shares=shares,
    )  # fmt: skip
    changes.transfers += covering(refund)
    changes.put_refund(case, refund)
    changes.chargeback_shares += [take_from(row, share.charged) for share in shares if share.seller_id and share.charged]
    return msgspec.structs.replace(row, loss=row.loss - amount)


def covering(refund: NewRefund) -> list[Transfer]:
    """The movements by which sellers give what a bank took."""
    way = due_of(refund), ledger.chargeback_expense(refund.currency)
    return [*reserving(refund), Transfer(refund.payment_id, f"refund:{refund.id}", "refunded", *way, refund.amount)]


def take_from(row: NewChargeback, share: SaleShare) -> NewShare:
    debited = share.amount - share.tax - share.commission + share.platform_discount
    return NewShare(row.payment_id, row.id, share.seller_id or UUID(int=0), share.amount, debited)


def cover_losses(case: Case, refused: NewRefund | None, changes: Changes) -> None:
    """A refund that was under way when a bank took the money was refused: who was to give it gives what the shop bore for it.

    What the bank has left of an order that is given up goes back once more.
    """
    left = case.left
    for row in [row for row in case.chargebacks.values() if row.loss]:
        covered = cover(case, row, changes, refused)
        if covered.loss < row.loss:
            changes.put_chargeback(case, covered)
            more = counted(case, covered) - counted(case, row)
            changes.events.append(ChargebackCovered(row.payment_id, row.payment_id, row.id, more))
    if case.left == left:
        return
    if refused and refused.cause == "returned":
        # What was to go back for it went to the bank: the return is at its end.
        changes.events.append(PaymentRefunded(refused.payment_id, refused.payment_id, refused.id, case.payment.money(0)))
    if case.payment.closed_at is not None:
        return_all(case, changes)


def book_fees(row: NewChargeback, news: ChargebackNews, changes: Changes) -> NewChargeback:
    """What the gateway took for its trouble so far, and what it gave back of that; neither ever falls."""
    fee = max(row.fee, news.fee.amount if news.fee else 0)
    returned = min(max(row.fee_returned, news.fee_returned.amount if news.fee_returned else 0), fee)
    currency = news.fee.currency if news.fee and not row.fee else row.fee_currency
    expense, clearing = ledger.chargeback_expense(currency), ledger.clearing(row.gateway, currency)
    if fee > row.fee:
        reference = f"chargeback:{row.id}:fee:{fee}"
        changes.move(row.payment_id, reference, "chargeback_fee", (expense, clearing), fee - row.fee)
    if returned > row.fee_returned:
        reference = f"chargeback:{row.id}:fee_returned:{returned}"
        changes.move(row.payment_id, reference, "chargeback_fee_returned", (clearing, expense), returned - row.fee_returned)
    return msgspec.structs.replace(row, fee=fee, fee_returned=returned, fee_currency=currency)


def decide(case: Case, row: NewChargeback, won: bool, changes: Changes) -> NewChargeback:
    """The bank has decided. What is lost stays as it is; what is won is undone, and covers what another bank has taken.

    What is there of an order that is given up goes back.
    """
    known = counted(case, row)
    if won:
        for refund in covers_of(case, row):
            changes.put_refund(case, msgspec.structs.replace(refund, status="failed", failure_code=WON))
            changes.transfers += undo(covering(refund))
        changes.transfers += undo([taking(row)])
    row = msgspec.structs.replace(row, status="won" if won else "lost", loss=0 if won else row.loss)
    changes.put_chargeback(case, row)
    payment = case.payment
    if payment.kind == "order":
        changes.events.append(ChargebackClosed(payment.id, payment.id, row.id, payment.money(row.amount), known, won))
    if won:
        cover_losses(case, None, changes)
    if payment.closed_at is not None:
        return_all(case, changes)
    elif won and case.left and went_back_since(case, row):
        reason = f"won after goods were cancelled or came back: of {row.amount} {row.currency} the buyer may be owed what they were worth"
        changes.contradictions.append(Contradiction(row.gateway, "ledger", f"chargeback:{row.id}:won", reason, {}, payment.id))
    return row


def went_back_since(case: Case, row: NewChargeback) -> bool:
    """Whether goods were to be paid back while a bank had the money."""
    since = row.created_at if isinstance(row, ChargebackRow) else None
    refunds = [one for one in case.refunds.values() if one.cause in ("canceled", "returned") and one.status != "failed"]
    return any(since and isinstance(one, RefundRow) and one.created_at > since for one in refunds)


def covers_of(case: Case, row: NewChargeback) -> list[NewRefund]:
    """The refunds by which sellers have given a chargeback."""
    key = ("chargeback", row.attempt_id, row.external_id)
    return [one for one in case.refunds.values() if (one.cause, one.attempt_id, one.gateway_id) == key and one.status != "failed"]


def entry_of(row: NewChargeback, news: ChargebackNews) -> str:
    """What the ledger calls the movement that an entry of a gateway's book tells of; nothing is moved when a chargeback is lost."""
    return {"open": f"chargeback:{row.id}", "won": f"chargeback:{row.id}:undone", "lost": ""}[news.status]
