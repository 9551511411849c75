"""The sandbox's card processor and its payment app: the gateways of tests and demos, with all the bad habits of real ones."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from urllib.parse import quote
from uuid import UUID

import msgspec
from msgspec import Raw

from souk.kit.money import Money
from souk.payments.gateways import signatures
from souk.payments.gateways.gateway import (
    AttemptNews,
    AttemptSought,
    BookPage,
    ChargeAsked,
    ChargebackNews,
    News,
    Reference,
    RefundAsked,
    RefundNews,
    Silent,
    read_id,
    read_reference,
)
from souk.payments.gateways.line import Answer, Line, if_they_know_us
from souk.payments.settings import Settings
from souk.payments.types import WebhookForged

log = logging.getLogger(__name__)

CARD, APP = "sandbox", "redirect"
STATUSES: dict[str, Literal["pending", "requires_action", "captured", "declined"]] = {
    "requires_action": "requires_action",
    "created": "requires_action",
    "authorized": "pending",
    "succeeded": "captured",
    "declined": "declined",
    "voided": "declined",
    "refused": "declined",
    "expired": "declined",
    "canceled": "declined",
}
# The entries of the book that tell how a dispute stood then.
DISPUTES: dict[str, Literal["open", "won", "lost"]] = {"dispute": "open", "dispute_won": "won", "dispute_lost": "lost"}
PAGE_SIZE = 500


class _Refund(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    reference: str


class _Sale(msgspec.Struct, frozen=True):
    """A charge or a checkout."""

    id: str
    status: str
    amount: int
    currency: str
    reference: str
    amount_captured: int
    decline_code: str | None = None
    redirect_url: str | None = None
    refunds: tuple[_Refund, ...] = ()


class _Sales(msgspec.Struct, frozen=True):
    items: tuple[_Sale, ...]


class _Dispute(msgspec.Struct, frozen=True):
    id: str
    charge_id: str
    reference: str
    status: Literal["open", "won", "lost"]
    amount: int
    currency: str
    reason: str
    fee: int
    evidence_due_at: datetime


class _Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    data: Raw


class _Operation(msgspec.Struct, frozen=True):
    seq: int
    id: str
    kind: str
    payment_id: str
    payment_reference: str
    reference: str
    amount: int
    currency: str


class _Operations(msgspec.Struct, frozen=True):
    items: tuple[_Operation, ...]
    next: int | None


class _Detail(msgspec.Struct, frozen=True):
    code: str


class _Problem(msgspec.Struct, frozen=True):
    error: _Detail


class Sandbox:
    """Either of the two; they share an account, a book and the secrets of their webhooks."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.in_book: tuple[str, ...] = (CARD, APP) if name == CARD else ()
        self.chargebacks_in_book = name == CARD
        self._folder = "/v1/charges" if name == CARD else "/v1/checkouts"
        self._settings = settings
        self._line = Line(settings.sandbox_url, settings)

    async def charge(self, asked: ChargeAsked) -> AttemptNews:
        body: dict[str, object] = {
            "amount": asked.amount.amount,
            "currency": asked.amount.currency,
            "reference": str(asked.reference),
            "return_url": asked.return_url,
        }
        body |= {"token": asked.token} if self.name == CARD else {"expires_in_s": min(max(asked.expires_in_s, 1.0), 86_400.0)}
        answer = await self._post(self._folder, str(asked.reference), body)
        if answer.status == 201:
            return read_sale(msgspec.json.decode(answer.body, type=_Sale), asked.reference)
        return AttemptNews(asked.reference, "declined", code=self._refusal(answer))

    async def find(self, sought: AttemptSought) -> AttemptNews | None:
        if sought.gateway_id:
            answer = await self._get(f"{self._folder}/{quote(sought.gateway_id, safe='')}")
            found: tuple[_Sale, ...] = (msgspec.json.decode(answer.body, type=_Sale),) if answer.status == 200 else ()
        else:
            answer = await self._get(f"{self._folder}?reference={sought.reference}")
            found = msgspec.json.decode(answer.body, type=_Sales).items if answer.status == 200 else ()
        if answer.status not in (200, 404):
            raise Silent(f"{self.name} answered {answer.status}")
        best = sorted(found, key=lambda sale: sale.status != "succeeded")
        return read_sale(best[0], sought.reference) if best else None

    async def void(self, sought: AttemptSought) -> AttemptNews:
        found = await self.find(sought)
        if found is None:
            return AttemptNews(sought.reference, "declined", code="canceled")
        if found.status in ("captured", "declined"):
            return found
        verb = "void" if self.name == CARD else "cancel"
        answer = await self._post(f"{self._folder}/{found.gateway_id}/{verb}", f"{sought.reference}.{verb}", {})
        if answer.status == 200:
            return read_sale(msgspec.json.decode(answer.body, type=_Sale), sought.reference)
        # The buyer was quicker than we: what they did counts.
        return await self.find(sought) or found

    async def refund(self, asked: RefundAsked) -> RefundNews:
        body = {"amount": asked.amount.amount, "reference": str(asked.refund_id)}
        answer = if_they_know_us(await self._post(f"{self._folder}/{asked.gateway_id}/refunds", str(asked.refund_id), body))
        if answer.status == 201:
            refund = msgspec.json.decode(answer.body, type=_Refund)
            return RefundNews(asked.payment_id, asked.refund_id, "succeeded", refund.id, Money(refund.amount, refund.currency))
        return RefundNews(asked.payment_id, asked.refund_id, "failed", code=self._refusal(answer))

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> News:
        event_id = signatures.verify(headers, body, self._settings.sandbox_webhook_secrets)
        try:
            event = msgspec.json.decode(body, type=_Event)
            if event.type.startswith("dispute."):
                dispute = msgspec.json.decode(event.data, type=_Dispute)
                return news_of_dispute("webhook", event_id, event.type, dispute, dispute.status)
            sale = msgspec.json.decode(event.data, type=_Sale)
        except msgspec.DecodeError as broken:
            raise WebhookForged from broken
        reference = read_reference(sale.reference)
        gateway = gateway_of(sale.id)
        if reference is None:
            return News("webhook", gateway, event_id, event.type, foreign=True)
        refunds = tuple(told for one in sale.refunds if (told := read_refund(one, reference.payment_id)))
        return News("webhook", gateway, event_id, event.type, attempts=(read_sale(sale, reference),), refunds=refunds)

    async def read_book(self, after: str) -> BookPage:
        now = time.time()
        if not self.in_book:
            return BookPage((), after, more=False, until=now)
        answer = await self._get(f"/v1/book?after={after or 0}&limit={PAGE_SIZE}")
        if answer.status != 200:
            raise Silent(f"the book answered {answer.status}")
        page = msgspec.json.decode(answer.body, type=_Operations)
        position = str(page.items[-1].seq) if page.items else after
        moves = [read_operation(one) for one in page.items if one.kind in ("capture", "refund")]
        moves += [await self._read_dispute(one) for one in page.items if one.kind in DISPUTES]
        return BookPage(tuple(moves), position, more=page.next is not None, until=now)

    async def _read_dispute(self, entry: _Operation) -> News:
        """An entry of the book about a dispute: it says that there is one, all else is asked for."""
        answer = await self._get(f"/v1/disputes/{quote(entry.reference, safe='')}")
        if answer.status != 200:
            raise Silent(f"a dispute of the book answered {answer.status}")
        dispute = msgspec.json.decode(answer.body, type=_Dispute)
        return news_of_dispute("book", entry.id, entry.kind, dispute, DISPUTES[entry.kind])

    def rewind(self, position: str, second: int) -> str:
        """Its entries are numbered without gaps: none comes late."""
        return position

    async def _post(self, path: str, key: str, body: Mapping[str, object]) -> Answer:
        answer = await self._line.ask("POST", path, {**self._headers(), "Idempotency-Key": key}, body)
        if answer.status in (401, 403):
            log.error("gateway_refuses_us", extra={"gateway": self.name, "status": answer.status})
        if answer.status >= 400 and read_code(answer).startswith("idempotency"):
            raise Silent(f"{path}: the key is in use")
        return answer

    async def _get(self, path: str) -> Answer:
        return await self._line.ask("GET", path, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._settings.sandbox_api_key}"}

    def _refusal(self, answer: Answer) -> str:
        return "gateway_error" if answer.status in (401, 403) else read_code(answer)


def gateway_of(sale_id: str) -> str:
    """Which of the two an id belongs to."""
    return APP if sale_id.startswith("co_") else CARD


def read_code(answer: Answer) -> str:
    """Why it refused, in one word."""
    try:
        return msgspec.json.decode(answer.body, type=_Problem).error.code
    except msgspec.DecodeError:
        return "gateway_error"


def read_sale(sale: _Sale, reference: Reference) -> AttemptNews:
    """A charge or checkout as news of our attempt."""
    status = STATUSES.get(sale.status, "pending")
    amount = sale.amount_captured if status == "captured" else sale.amount
    code = (sale.decline_code or sale.status) if status == "declined" else None
    return AttemptNews(reference, status, sale.id, Money(amount, sale.currency), code, sale.redirect_url)


def read_refund(refund: _Refund, payment_id: UUID) -> RefundNews | None:
    """A refund as news of ours; None if we did not make it (the book tells of those)."""
    refund_id = read_id(refund.reference)
    if refund_id is None:
        return None
    return RefundNews(payment_id, refund_id, "succeeded", refund.id, Money(refund.amount, refund.currency))


def news_of_dispute(
    source: Literal["webhook", "book"], external_id: str, kind: str, dispute: _Dispute, status: Literal["open", "won", "lost"]
) -> News:
    """A dispute as news of a chargeback of ours."""
    reference = read_reference(dispute.reference)
    gateway = gateway_of(dispute.charge_id)
    if reference is None:
        return News(source, gateway, external_id, kind, foreign=True)
    told = ChargebackNews(
        reference.payment_id, reference.attempt_id, dispute.id, status, Money(dispute.amount, dispute.currency), dispute.reason,
        dispute.evidence_due_at, Money(dispute.fee, dispute.currency),
    )  # fmt: skip
    return News(source, gateway, external_id, kind, chargebacks=(told,))


def read_operation(entry: _Operation) -> News:
    """An entry of the book. One that belongs to no payment of ours tells of no attempt and no refund."""
    reference = read_reference(entry.payment_reference)
    amount = Money(entry.amount, entry.currency)
    gateway = gateway_of(entry.payment_id)
    if reference is None:
        return News("book", gateway, entry.id, entry.kind, foreign=True)
    if entry.kind == "capture":
        captured = AttemptNews(reference, "captured", entry.payment_id, amount)
        return News("book", gateway, entry.id, entry.kind, attempts=(captured,))
    told = RefundNews(reference.payment_id, read_id(entry.reference), "succeeded", entry.id, amount, attempt_id=reference.attempt_id)
    return News("book", gateway, entry.id, entry.kind, refunds=(told,))
