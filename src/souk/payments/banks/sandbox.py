"""The sandbox's bank: the one of tests and demos, with all the bad habits of real ones."""

import logging
import time
from collections.abc import Mapping
from typing import Literal, TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from souk.kit.money import Money
from souk.payments.banks.bank import StatementRead, TransferAsked, TransferNews
from souk.payments.gateways import signatures
from souk.payments.gateways.gateway import Silent, read_id
from souk.payments.gateways.line import Answer, Line
from souk.payments.settings import Settings
from souk.payments.types import WebhookForged

log = logging.getLogger(__name__)

NAME = "sandbox_bank"
PAGE_SIZE = 500

S = TypeVar("S", bound=msgspec.Struct)
Status = Literal["accepted", "paid", "refused", "returned"]


class _Transfer(msgspec.Struct, frozen=True):
    id: str
    status: Status
    amount: int
    currency: str
    reference: str
    reason: str | None = None


class _Event(msgspec.Struct, frozen=True):
    id: str
    data: _Transfer


class _Line(msgspec.Struct, frozen=True):
    seq: int
    id: str
    kind: Literal["sent", "returned"]
    transfer_id: str
    reference: str
    amount: int
    currency: str


class _Statement(msgspec.Struct, frozen=True):
    items: tuple[_Line, ...]
    next: int | None


class _Detail(msgspec.Struct, frozen=True):
    code: str


class _Problem(msgspec.Struct, frozen=True):
    error: _Detail


class SandboxBank:
    """It shares the account and the webhook secrets of the sandbox's card processor, and keeps a statement of its own."""

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = Line(settings.sandbox_bank_url, settings)

    async def send(self, asked: TransferAsked) -> TransferNews:
        to = asked.destination
        body = {
            "amount": asked.amount.amount,
            "currency": asked.amount.currency,
            "reference": str(asked.payout_id),
            "holder": to.holder,
            "number": to.number,
            "bank_code": to.bank_code,
            "country": to.country,
        }
        answer = await self._line.ask("POST", "/v1/transfers", {**self._headers(), "Idempotency-Key": str(asked.payout_id)}, body)
        if answer.status == 201:
            return read_transfer(decode(answer, _Transfer))
        reason = read_code(answer)
        if answer.status != 422 or reason.startswith("idempotency"):
            # It is us whom the bank refuses, and not this transfer: an earlier call may have moved the money.
            log.error("bank_refuses_us", extra={"bank": self.name, "status": answer.status, "reason": reason})
            raise Silent(f"the bank answered {answer.status}: {reason}")
        return TransferNews(asked.payout_id, "refused", "", asked.amount, reason)

    async def find(self, payout_id: UUID, bank_id: str) -> TransferNews | None:
        answer = await self._line.ask("GET", f"/v1/transfers/{quote(bank_id, safe='')}", self._headers())
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise Silent(f"the bank answered {answer.status}")
        return read_transfer(decode(answer, _Transfer))

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> TransferNews:
        event_id = signatures.verify(headers, body, self._settings.sandbox_webhook_secrets)
        try:
            event = msgspec.json.decode(body, type=_Event)
        except msgspec.DecodeError as broken:
            raise WebhookForged from broken
        return msgspec.structs.replace(read_transfer(event.data), source="webhook", external_id=event_id)

    async def read_statement(self, after: str) -> StatementRead:
        now = time.time()
        answer = await self._line.ask("GET", f"/v1/statement?after={after or 0}&limit={PAGE_SIZE}", self._headers())
        if answer.status != 200:
            raise Silent(f"the statement answered {answer.status}")
        page = decode(answer, _Statement)
        position = str(page.items[-1].seq) if page.items else after
        return StatementRead(tuple(read_line(one) for one in page.items), position, more=page.next is not None, until=now)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._settings.sandbox_api_key}"}


def decode(answer: Answer, kind: type[S]) -> S:
    """What it answered; raises Silent where nobody can tell what that means."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.DecodeError as broken:
        raise Silent(f"an answer that is no {kind.__name__}") from broken


def read_code(answer: Answer) -> str:
    """Why it refused, in one word."""
    try:
        return msgspec.json.decode(answer.body, type=_Problem).error.code
    except msgspec.DecodeError:
        return "bank_error"


def read_transfer(transfer: _Transfer) -> TransferNews:
    """A transfer as news of our payout."""
    amount = Money(transfer.amount, transfer.currency)
    return TransferNews(read_id(transfer.reference), transfer.status, transfer.id, amount, transfer.reason)


def read_line(line: _Line) -> TransferNews:
    """A line of the statement as news of our payout."""
    status: Status = "paid" if line.kind == "sent" else "returned"
    amount = Money(line.amount, line.currency)
    return TransferNews(read_id(line.reference), status, line.transfer_id, amount, None, "book", line.id)
