"""The seam behind which every bank stands: what it is asked, what it says, and how it fails."""

from collections.abc import Mapping
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from souk.kit.money import Money


class Destination(msgspec.Struct, frozen=True):
    """Whose account money goes to."""

    holder: str
    number: str
    bank_code: str | None
    country: str


class TransferAsked(msgspec.Struct, frozen=True):
    """Send this money; the payout's id is the key under which it is done once."""

    payout_id: UUID
    amount: Money
    destination: Destination


class TransferNews(msgspec.Struct, frozen=True):
    """What a bank says of a transfer: an answer, a webhook, or a line of its statement. Without an id of ours it is none of ours."""

    payout_id: UUID | None
    status: Literal["accepted", "paid", "refused", "returned", "unknown"]
    bank_id: str
    amount: Money
    reason: str | None = None
    source: Literal["answer", "webhook", "book"] = "answer"
    external_id: str = ""


class StatementRead(msgspec.Struct, frozen=True):
    """Lines of a bank's statement, oldest first, and the position after them; after the last page it is known until a moment."""

    lines: tuple[TransferNews, ...]
    position: str
    more: bool
    until: float  # in Unix seconds


class Bank(Protocol):
    """A bank. Every method but read_webhook raises Silent, or Unreachable, which says that this very call moved no money."""

    name: str

    async def send(self, asked: TransferAsked) -> TransferNews:
        """Send the money, once per payout however often it is asked; the answer may be an old one."""

    async def find(self, payout_id: UUID, bank_id: str) -> TransferNews | None:
        """How a transfer stands now; None if the bank never heard of it."""

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> TransferNews:
        """What a webhook says, with header names in lower case; raises WebhookForged if the bank did not send it."""

    async def read_statement(self, after: str) -> StatementRead:
        """The next lines of the statement after a position; the first one is the empty text."""
