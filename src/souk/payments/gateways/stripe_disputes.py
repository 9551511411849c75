"""Disputes of Stripe: what its webhooks tell of money that a bank has taken back."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from souk.payments.gateways.gateway import ChargebackNews, Reference
from souk.payments.gateways.stripe_amounts import from_stripe

STATUSES: dict[str, Literal["open", "won", "lost"]] = {"won": "won", "lost": "lost"}


class _Balance(msgspec.Struct, frozen=True):
    """Money of a dispute that has moved: below zero what was taken from us, above zero what came back; and the fee likewise."""

    amount: int
    fee: int
    currency: str


class _Evidence(msgspec.Struct, frozen=True):
    due_by: int | None = None


class Dispute(msgspec.Struct, frozen=True):
    """A dispute as Stripe tells of it: one that is not decided is open."""

    id: str
    status: str
    amount: int
    currency: str
    reason: str
    payment_intent: str | None = None
    balance_transactions: tuple[_Balance, ...] = ()
    evidence_details: _Evidence = _Evidence()

    @property
    def has_taken(self) -> bool:
        """A bank that only asks, or that is too late, takes nothing."""
        return any(one.amount < 0 for one in self.balance_transactions)


def read_dispute(dispute: Dispute, reference: Reference) -> ChargebackNews:
    """A dispute that has taken money as news of ours. Its fees are in the currency of the account."""
    due = dispute.evidence_details.due_by
    moves = dispute.balance_transactions
    fee, returned = sum(max(one.fee, 0) for one in moves), sum(max(-one.fee, 0) for one in moves)
    return ChargebackNews(
        reference.payment_id, reference.attempt_id, dispute.id, STATUSES.get(dispute.status, "open"),
        from_stripe(dispute.amount, dispute.currency), dispute.reason[:64], datetime.fromtimestamp(due, UTC) if due else None,
        from_stripe(fee, moves[0].currency), from_stripe(returned, moves[0].currency),
    )  # fmt: skip
