"""The seam behind which every payment provider stands: what it is asked, what it says, and how it fails."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from souk.kit import lines
from souk.kit.money import Money

# How far back a book begins that was never read before and is asked for by time.
BEGINNING_S = 86_400


# How a call fails: nobody knows whether the gateway did what it was asked; or no money has moved.
Silent = lines.Silent
Unreachable = lines.Unreachable


class Reference(msgspec.Struct, frozen=True):
    """What we call an attempt to gateways, and the key under which they do it once."""

    payment_id: UUID
    attempt_id: UUID

    def __str__(self) -> str:
        return f"{self.payment_id}.{self.attempt_id}"


def read_reference(text: str) -> Reference | None:
    """The attempt that a gateway speaks of, if the reference is one of ours."""
    payment_id, _, attempt_id = text.partition(".")
    try:
        return Reference(UUID(payment_id), UUID(attempt_id))
    except ValueError:
        return None


def read_id(text: str) -> UUID | None:
    """The refund that a gateway speaks of, if the reference is one of ours."""
    try:
        return UUID(text)
    except ValueError:
        return None


class ChargeAsked(msgspec.Struct, frozen=True):
    """Take this money."""

    reference: Reference
    amount: Money
    token: str | None
    return_url: str | None
    expires_in_s: float


class AttemptSought(msgspec.Struct, frozen=True):
    """An attempt as we know it; the gateway's id is missing if its answer never came."""

    reference: Reference
    gateway_id: str | None


class RefundAsked(msgspec.Struct, frozen=True):
    """Give this money back; the refund's id is the key under which it is done once."""

    payment_id: UUID
    refund_id: UUID
    gateway_id: str
    amount: Money


class AttemptNews(msgspec.Struct, frozen=True):
    """What a gateway says of an attempt."""

    reference: Reference
    status: Literal["pending", "requires_action", "captured", "declined"]
    gateway_id: str | None = None
    amount: Money | None = None
    code: str | None = None
    redirect_url: str | None = None


class RefundNews(msgspec.Struct, frozen=True):
    """What a gateway says of a refund. Without an id of ours it was made over there, not by us."""

    payment_id: UUID
    refund_id: UUID | None
    status: Literal["pending", "succeeded", "failed"]
    gateway_id: str | None = None
    amount: Money | None = None
    code: str | None = None
    attempt_id: UUID | None = None


class ChargebackNews(msgspec.Struct, frozen=True):
    """What a gateway says of money that a buyer's bank has taken back, and of all its fees for that so far.

    Of a mere question of the bank, for which no money has moved, there is no news.
    """

    payment_id: UUID
    attempt_id: UUID
    gateway_id: str
    status: Literal["open", "won", "lost"]
    amount: Money
    reason: str = ""
    evidence_due_at: datetime | None = None
    fee: Money | None = None
    fee_returned: Money | None = None


class News(msgspec.Struct, frozen=True):
    """One message of a gateway: its answer to a call, a webhook, or an entry of its book."""

    source: Literal["answer", "webhook", "book"]
    gateway: str
    external_id: str
    type: str = ""
    foreign: bool = False  # it tells of money, and not of ours
    attempts: tuple[AttemptNews, ...] = ()
    refunds: tuple[RefundNews, ...] = ()
    chargebacks: tuple[ChargebackNews, ...] = ()


class BookPage(msgspec.Struct, frozen=True):
    """Entries of a gateway's book, oldest first, and the position after them; after the last page the book is known until a moment."""

    entries: tuple[News, ...]
    position: str
    more: bool
    until: float  # in Unix seconds


def next_stretch(after: str, end: int, longest_s: int) -> tuple[int, int]:
    """From when to when a book is read next that is asked for by time: positions are seconds."""
    since = int(after) if after else end - BEGINNING_S
    return since, min(since + longest_s, end)


def go_back(position: str, second: int) -> str:
    """The position of a book that is asked for by time, at an earlier moment."""
    return str(min(int(position or second), second))


class Gateway(Protocol):
    """A payment provider. Every method but read_webhook raises Silent or Unreachable."""

    name: str
    # The gateways whose attempts and refunds stand in this one's book; none if it has no book of its own.
    in_book: tuple[str, ...]
    # Whether its book has chargebacks, too; if not, webhooks alone tell of them.
    chargebacks_in_book: bool

    async def charge(self, asked: ChargeAsked) -> AttemptNews:
        """Take the money, once per reference however often it is asked."""

    async def find(self, sought: AttemptSought) -> AttemptNews | None:
        """How an attempt stands; None if the gateway never heard of it."""

    async def void(self, sought: AttemptSought) -> AttemptNews:
        """Take back a question that the buyer has not answered; if it has been answered, that answer."""

    async def refund(self, asked: RefundAsked) -> RefundNews:
        """Give money back, once per refund however often it is asked."""

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> News:
        """What a webhook says, with header names in lower case; raises WebhookForged if the gateway did not send it."""

    async def read_book(self, after: str) -> BookPage:
        """The next entries of the gateway's book after a position; the first one is the empty text."""

    def rewind(self, position: str, second: int) -> str:
        """The position to read from once more, for entries that came late into the book since a moment; `position` if none can."""
