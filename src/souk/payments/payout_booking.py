"""What a bank's news mean for a payout and for our ledger: decisions only, nothing here reads or writes."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.banks.bank import Destination, TransferNews
from souk.payments.events import PayoutFailed, PayoutSent
from souk.payments.ledger import Account, Transfer
from souk.payments.payout_types import PayoutStatus
from souk.payments.records import BookEntry, Changes, Contradiction

Step = Literal["reserve", "paid", "release", "return"]

# What a step is called in the ledger; its reference names payout and step, so that each is booked once.
KINDS: dict[Step, str] = {"reserve": "payout_reserved", "paid": "paid_out", "release": "payout_failed", "return": "payout_returned"}
# Of the bank's statement: which step of ours a line shows.
LINES: dict[str, Step] = {"paid": "paid", "returned": "return"}


class PayoutRow(msgspec.Struct, frozen=True):
    """A payout as its row says."""

    id: UUID
    seller_id: UUID
    currency: str
    amount: int
    bank: str
    status: PayoutStatus
    destination: Destination | None
    number_end: str
    bank_id: str | None
    reason: str | None
    paid_at: datetime | None
    created_at: datetime
    updated_at: datetime
    settle_reason: str | None = None

    @property
    def is_under_way(self) -> bool:
        return self.status in ("sending", "accepted")

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)


def make_transfer(payout: PayoutRow, step: Step) -> Transfer:
    """The movement of money that a step of a payout is."""
    seller, due = ledger.seller_balance(payout.seller_id, payout.currency), ledger.payouts_due(payout.currency)
    bank = ledger.bank(payout.bank, payout.currency)
    ways: dict[Step, tuple[Account, Account]] = {
        "reserve": (seller, due), "paid": (due, bank), "release": (due, seller), "return": (bank, seller)
    }  # fmt: skip
    return Transfer(payout.id, reference_of(payout, step), KINDS[step], *ways[step], payout.amount)


def reference_of(payout: PayoutRow, step: Step) -> str:
    return f"payout:{payout.id}:{step}"


def book_news(payout: PayoutRow | None, news: TransferNews, bank: str, now: datetime, changes: Changes) -> PayoutRow | None:
    """The payout as it is after these news. News told again change nothing, nor do old ones; what contradicts us is kept for a person."""
    if payout is not None and news.source == "book":
        changes.entries.append(BookEntry(payout.id, reference_of(payout, LINES[news.status]), bank, news.external_id))
    if reason := find_contradiction(payout, news, bank):
        told = {"status": news.status, "amount": news.amount, "bank_id": news.bank_id, "reason": news.reason}
        external_id = news.external_id or str(news.payout_id)
        changes.contradictions.append(Contradiction(bank, news.source, external_id, reason, told, news.payout_id))
        return None
    if payout is None:
        return None
    named = msgspec.structs.replace(payout, bank_id=news.bank_id or payout.bank_id)
    for step in find_steps(payout, news):
        named = take_step(named, step, news, now, changes)
    if payout.status == "sending" and news.status == "accepted":
        named = msgspec.structs.replace(named, status="accepted")
    return named


def find_contradiction(payout: PayoutRow | None, news: TransferNews, bank: str) -> str | None:
    """Why these news cannot be true, if what we have written is."""
    if payout is None or payout.bank != bank:
        return "no payout of ours"
    if news.status == "unknown":
        return "the bank does not know of a transfer that it had accepted"
    if news.amount != payout.money:
        return f"{payout.amount} {payout.currency} were to be sent, {news.amount.amount} {news.amount.currency} told of"
    if payout.bank_id and news.bank_id and news.bank_id != payout.bank_id:
        return "sent twice at the bank"
    was_refused = payout.status == "failed" and payout.paid_at is None
    if (was_refused and news.status in ("paid", "returned")) or (payout.paid_at is not None and news.status == "refused"):
        return f"{news.status} at the bank, and {'refused' if was_refused else 'paid'} as far as we know"
    return None


def find_steps(payout: PayoutRow, news: TransferNews) -> tuple[Step, ...]:
    """The steps from where the payout is to where the bank says that it is; none for old news."""
    if news.status == "paid" and payout.is_under_way:
        return ("paid",)
    if news.status == "refused" and payout.is_under_way:
        return ("release",)
    if news.status == "returned" and payout.is_under_way:
        return ("paid", "return")
    if news.status == "returned" and payout.status == "paid":
        return ("return",)
    return ()


def take_step(payout: PayoutRow, step: Step, news: TransferNews, now: datetime, changes: Changes) -> PayoutRow:
    """Move the money of a step and tell of it."""
    changes.transfers.append(make_transfer(payout, step))
    if step == "paid":
        changes.events.append(PayoutSent(payout.id, payout.seller_id, payout.money))
        return msgspec.structs.replace(payout, status="paid", paid_at=now)
    reason = news.reason or news.status
    changes.events.append(PayoutFailed(payout.id, payout.seller_id, payout.money, reason))
    return msgspec.structs.replace(payout, status="failed", reason=reason)
