"""The vocabulary of wallets: balances, movements and statements, transfers, holds, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.errors import Conflict, NotFound
from souk.kit.money import Money

HoldStatus = Literal["open", "posted", "voided", "expired"]

Moment = Annotated[datetime, Meta(tz=True)]


class WalletBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What a user has in one currency: `balance` is all of it, `held` what of it is set aside, `available` what can be spent."""

    balance: Money
    held: Money
    available: Money
    created_at: datetime
    updated_at: datetime


class Wallet(msgspec.Struct, frozen=True):
    """A user's money with the shop, one balance per currency that they ever had."""

    user_id: UUID
    balances: tuple[WalletBalance, ...]


class WalletEntry(msgspec.Struct, frozen=True):
    """A movement of a wallet: above zero what came in, below zero what went out."""

    id: UUID
    kind: str
    amount: Money
    cause_id: UUID
    created_at: datetime
    updated_at: datetime


class StatementRequest(msgspec.Struct, frozen=True):
    """Which movements of the caller's wallet: from `begins_at` on, before `ends_at`, and of these the ones after that id."""

    currency: str
    begins_at: Moment
    ends_at: Moment
    after: UUID | None = None


class StatementLine(msgspec.Struct, frozen=True):
    """A movement as a statement shows it; `balance` is what there was after it."""

    id: UUID
    kind: str
    amount: Money
    balance: Money
    cause_id: UUID
    booked_at: datetime


class WalletStatement(msgspec.Struct, frozen=True):
    """What happened in a wallet: the opening balance and the amounts of all its lines make the closing balance."""

    currency: str
    begins_at: datetime = msgspec.field(name="from")
    ends_at: datetime = msgspec.field(name="until")
    opening_balance: Money
    closing_balance: Money
    items: tuple[StatementLine, ...]
    next: str | None = None


class SendMoney(msgspec.Struct, frozen=True):
    """Move this much from one's wallet to another user's."""

    to_user_id: UUID
    amount: Money


class MoveMoney(msgspec.Struct, frozen=True):
    """Move this much between one's wallet and the balance of a seller whom one owns: `to_seller` says that way round."""

    seller_id: UUID
    amount: Money
    to_seller: bool = False


class WalletTransfer(msgspec.Struct, frozen=True):
    """Money that went from one wallet to another, or between a wallet and a seller's balance."""

    id: UUID
    to_user_id: UUID | None
    amount: Money
    created_at: datetime
    updated_at: datetime
    from_seller_id: UUID | None = None
    to_seller_id: UUID | None = None


class HoldMoney(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Set an amount of one's wallet aside for another user, or for the shop if none is named."""

    amount: Money
    expires_at: Moment
    to_user_id: UUID | None = None
    id: Annotated[UUID | None, Meta(description="A UUIDv7 of yours: the same again is the same hold")] = None


class PostHold(msgspec.Struct, frozen=True):
    """Let held money go, all of it if no amount is said. What was held for the shop may go to a seller."""

    hold_id: UUID
    resolution_id: UUID
    amount: Money | None = None
    to_seller_id: UUID | None = None


class VoidHold(msgspec.Struct, frozen=True):
    """Give held money back."""

    hold_id: UUID
    resolution_id: UUID


class Hold(msgspec.Struct, frozen=True):
    """Money of a user's wallet that is set aside until a time, or what became of it: `posted` went on, the rest is back."""

    id: UUID
    user_id: UUID
    to_user_id: UUID | None
    to_seller_id: UUID | None
    amount: Money
    posted: Money
    status: HoldStatus
    expires_at: datetime
    resolved_at: datetime | None
    created_at: datetime
    updated_at: datetime


class WalletNotFound(NotFound, code="payments.wallet_not_found"):
    """The other user has no wallet in this currency."""


class HoldNotFound(NotFound, code="payments.hold_not_found"):
    """There is no such hold, or it is none of your business."""


class InsufficientFunds(Conflict, code="payments.insufficient_funds"):
    """There is not so much that can be spent."""

    balance: Money


class HoldResolved(Conflict, code="payments.hold_resolved"):
    """This hold is {outcome} already."""

    outcome: HoldStatus
    posted: Money


class PostTooLarge(Conflict, code="payments.post_too_large"):
    """Not so much is held."""

    held: Money
