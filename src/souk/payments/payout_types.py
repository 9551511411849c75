"""The vocabulary of what sellers have with the shop: balances, statements, payout accounts and payouts, and why not."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.errors import Conflict, NotFound
from souk.kit.money import Currency, Money

PayoutStatus = Literal["sending", "accepted", "paid", "failed"]
PayoutOutcome = Literal["paid", "failed", "returned"]


BankCode = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z0-9-]{1,20}(?!\n)$",
        description="Routing number, sort code or BIC, where the number is no IBAN",
        examples=["110000000"],
    ),
]


class SetPayoutAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a seller wants their money of one currency: an IBAN, or the number of an account with the code of its bank."""

    holder: Annotated[str, Meta(min_length=1, max_length=140, pattern=r"^[^\x00-\x1f]*(?!\n)$", examples=["Lighthouse Goods GmbH"])]
    number: Annotated[str, Meta(min_length=4, max_length=42, pattern=r"^[A-Za-z0-9 ]*(?!\n)$", examples=["DE89370400440532013000"])]
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$", description="ISO 3166 code of the bank's country", examples=["DE"])]
    currency: Currency
    bank_code: BankCode | None = None


class PayoutAccount(msgspec.Struct, frozen=True):
    """Where a seller's money of one currency goes: the number is told by its last characters only."""

    seller_id: UUID
    currency: str
    holder: str
    number: str
    country: str
    payable_from: datetime
    created_at: datetime
    updated_at: datetime


class Payout(msgspec.Struct, frozen=True):
    """Money of a seller on its way to their bank, there, or back with the shop (failed)."""

    id: UUID
    seller_id: UUID
    amount: Money
    status: PayoutStatus
    number: str
    reason: str | None
    paid_at: datetime | None
    created_at: datetime
    updated_at: datetime
    settle_reason: str | None = None  # why the shop, and not the bank, says so


class SettlePayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What has become of a payout: it was paid, it failed and is the seller's again, or it was paid and came back."""

    outcome: PayoutOutcome
    reason: Annotated[str, Meta(min_length=1, max_length=500, examples=["the bank took a cent as its fee"])]


class PayOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pay out now what of a seller's balance of one currency is not too young."""

    currency: Currency


class SellerBalance(msgspec.Struct, frozen=True):
    """What a seller has with the shop in one currency, below zero what they owe it; `under_way` is not in the balance any more.

    `next_payout_at` is missing where no payout account is set, or the shop pays nobody out.
    """

    balance: Money
    under_way: Money
    next_payout_at: datetime | None


class SellerBalances(msgspec.Struct, frozen=True):
    """A seller's money with the shop by currency, whether the shop pays sellers out at all, and from which balance on."""

    seller_id: UUID
    payouts: bool
    minimum: int
    items: tuple[SellerBalance, ...]


class StatementWanted(msgspec.Struct, frozen=True):
    """The movements of a seller's balance in one currency, from the beginning of one day (UTC) to that of another."""

    seller_id: UUID
    currency: str
    since: date
    until: date


Cause = Literal["order", "payout", "transfer", "hold"]


class StatementEntry(msgspec.Struct, frozen=True):
    """A movement of a seller's balance: above zero what they earned or got back, below zero what was paid out or clawed back."""

    id: UUID
    booked_at: datetime
    kind: str
    amount: Money
    cause: Cause
    cause_id: UUID


class StatementPage(msgspec.Struct, frozen=True):
    """A part of a statement: opening balance, all movements of the period and closing balance add up."""

    seller_id: UUID
    opening: Money
    closing: Money
    items: tuple[StatementEntry, ...]


class Statement(msgspec.Struct, frozen=True):
    """A seller's statement from the beginning of one day to that of another (UTC), or a part of its movements and where the next begins."""

    seller_id: UUID
    since: date = msgspec.field(name="from")
    until: date
    opening: Money
    closing: Money
    items: tuple[StatementEntry, ...]
    next: str | None


class PayoutNotFound(NotFound, code="payments.payout_not_found"):
    """There is no such payout, or it is not your seller's."""


class PayoutEnded(Conflict, code="payments.payout_ended"):
    """This payout is {outcome} already."""

    outcome: PayoutStatus


class NoPayoutAccount(Conflict, code="payments.no_payout_account"):
    """This seller has not said where to send money in {currency}."""

    currency: str


class PayoutHeldBack(Conflict, code="payments.payout_held_back"):
    """The payout account was changed a short time ago; nothing is paid before {payable_from}."""

    payable_from: datetime


class NothingToPayOut(Conflict, code="payments.nothing_to_pay_out"):
    """There is nothing to pay out in this currency."""

    balance: Money


class NoBank(Conflict, code="payments.no_bank"):
    """This shop has no bank set up that could pay sellers out."""
