"""The vocabulary of chargebacks: money that a buyer's bank took back, whom it costs what, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.errors import Conflict, NotFound
from souk.kit.money import Money

ChargebackStatus = Literal["open", "won", "lost"]
ReasonCode = Annotated[
    str,
    Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9_]+(?!\n)$", description="The bank's reason in one word", examples=["fraudulent"]),
]
ExternalId = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+(?!\n)$", description="What the gateway or the bank calls it")
]


class RecordChargeback(msgspec.Struct, frozen=True):
    """Write down what a gateway did not tell us: a buyer's bank took this much of a payment back."""

    payment_id: UUID
    amount: Money
    reason: str
    external_id: str | None = None
    evidence_due_at: datetime | None = None
    fee: Money | None = None


class Chargeback(msgspec.Struct, frozen=True):
    """Money of a payment that the buyer's bank took back; it is with the shop again if the chargeback is won.

    `loss` is what of it had gone back to the buyer before: no seller gives it twice, the shop bears it. `fee` is what the gateway took
    for the trouble and kept.
    """

    id: UUID
    payment_id: UUID
    order_id: UUID
    gateway: str
    external_id: str
    amount: Money
    reason: str
    status: ChargebackStatus
    evidence_due_at: datetime | None
    loss: Money
    fee: Money
    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class SellerChargeback(msgspec.Struct, frozen=True):
    """A seller's share of a chargeback: so much of what the buyer had paid them, for which `debited` left their balance.

    Commission and tax that they had paid for it are given back to them, so that it is less. If it is won they have it all again.
    """

    id: UUID
    order_id: UUID
    seller_id: UUID
    amount: Money
    debited: Money
    reason: str
    status: ChargebackStatus
    evidence_due_at: datetime | None
    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ChargebackNotFound(NotFound, code="payments.chargeback_not_found"):
    """There is no such chargeback."""


class ChargebackTooLarge(Conflict, code="payments.chargeback_too_large"):
    """No bank can take back more than was paid and not taken back before."""

    left: Money


class ChargebackDecided(Conflict, code="payments.chargeback_decided"):
    """This chargeback has been {outcome} already."""

    outcome: str


class NotChargeable(Conflict, code="payments.not_chargeable"):
    """No bank can take back what was not paid, or not through a bank."""
