"""PayPal by its REST API: an order over there that the buyer approves in their app, and that we capture then."""

import logging
import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import Raw

from souk.kit.money import Money, exponent
from souk.payments.gateways.gateway import (
    AttemptNews,
    AttemptSought,
    BookPage,
    ChargeAsked,
    News,
    Reference,
    RefundAsked,
    RefundNews,
    Silent,
    Unreachable,
    go_back,
    next_stretch,
    read_reference,
)
from souk.payments.gateways.line import Answer, Line, if_they_know_us
from souk.payments.settings import Settings
from souk.payments.types import WebhookForged

log = logging.getLogger(__name__)

# Currencies that have decimals and that PayPal takes only without.
WHOLE = frozenset({"HUF", "TWD"})
CAPTURE_STATUSES: dict[str, Literal["pending", "captured", "declined"]] = {
    "COMPLETED": "captured",
    "PARTIALLY_REFUNDED": "captured",
    "REFUNDED": "captured",
    "DECLINED": "declined",
    "FAILED": "declined",
}
REFUND_STATUSES: dict[str, Literal["pending", "succeeded", "failed"]] = {
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "failed",
}
# Money that goes back: a refund of ours, and what PayPal or a bank takes back, which is not final while it can be disputed.
MONEY_BACK: dict[str, Literal["pending", "succeeded"]] = {"T1107": "succeeded", "T1106": "pending", "T1201": "pending"}
# A payment is in the report after three hours at the latest. It is asked for by days at the most, and not for less than a quarter of an
# hour, because calls are rationed.
REPORTED_AFTER_S, STRETCH_S, LEAST_S, PAGE_SIZE = 10_800, 86_400, 900, 500
SIGNATURE = ("auth_algo", "cert_url", "transmission_id", "transmission_sig", "transmission_time")


class _Amount(msgspec.Struct, frozen=True):
    currency_code: str
    value: str


class _Link(msgspec.Struct, frozen=True):
    href: str
    rel: str


class _Capture(msgspec.Struct, frozen=True):
    id: str
    status: str
    amount: _Amount
    custom_id: str = ""


class _Payments(msgspec.Struct, frozen=True):
    captures: tuple[_Capture, ...] = ()


class _Unit(msgspec.Struct, frozen=True):
    custom_id: str = ""
    payments: _Payments = _Payments()


class _Order(msgspec.Struct, frozen=True):
    id: str
    status: str
    purchase_units: tuple[_Unit, ...] = ()
    links: tuple[_Link, ...] = ()


class _Refund(msgspec.Struct, frozen=True):
    id: str
    status: str
    amount: _Amount | None = None
    custom_id: str = ""


class _Info(msgspec.Struct, frozen=True):
    transaction_id: str
    transaction_event_code: str
    transaction_status: str
    transaction_amount: _Amount | None = None
    paypal_reference_id: str = ""
    custom_field: str = ""

    @property
    def brings_money(self) -> bool:
        """A payment to us that succeeded or may do so yet, whether or not it was given back later."""
        settled = self.transaction_status in ("S", "V") or self.is_pending
        return self.transaction_event_code.startswith("T00") and settled and self.gross.amount > 0

    @property
    def takes_money(self) -> bool:
        return self.transaction_event_code in MONEY_BACK and (self.transaction_status == "S" or self.is_pending) and self.gross.amount < 0

    @property
    def is_pending(self) -> bool:
        """Money of ours that may come or go yet; others' is no news before it does."""
        return self.transaction_status == "P" and read_reference(self.custom_field) is not None

    @property
    def gross(self) -> Money:
        return from_paypal(self.transaction_amount) if self.transaction_amount else Money(0, "XXX")


class _Transaction(msgspec.Struct, frozen=True):
    transaction_info: _Info


class _Report(msgspec.Struct, frozen=True):
    last_refreshed_datetime: str
    transaction_details: tuple[_Transaction, ...] = ()
    total_pages: int = 0


class _Event(msgspec.Struct, frozen=True):
    id: str
    event_type: str
    resource: Raw


class _Access(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


class _Verified(msgspec.Struct, frozen=True):
    verification_status: str


class _Detail(msgspec.Struct, frozen=True):
    issue: str


class _Problem(msgspec.Struct, frozen=True):
    name: str = "gateway_error"
    details: tuple[_Detail, ...] = ()


class PayPal:
    """The buyer approves over there; the money moves when we capture, which we do as soon as we hear of the approval."""

    name = "paypal"
    in_book: tuple[str, ...] = ("paypal",)
    chargebacks_in_book = False
    rewind = staticmethod(go_back)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = Line(settings.paypal_url, settings)
        self._token = ""
        self._token_until = 0.0

    async def charge(self, asked: ChargeAsked) -> AttemptNews:
        context = {
            "return_url": asked.return_url,
            "cancel_url": asked.return_url,
            "user_action": "PAY_NOW",
            "shipping_preference": "NO_SHIPPING",
        }
        unit = {"custom_id": str(asked.reference), "amount": to_paypal(asked.amount)}
        body = {"intent": "CAPTURE", "purchase_units": [unit], "payment_source": {"paypal": {"experience_context": context}}}
        answer = await self._post("/v2/checkout/orders", body, str(asked.reference))
        if answer.status not in (200, 201):
            return AttemptNews(asked.reference, "declined", code=read_issue(answer))
        return read_order(msgspec.json.decode(answer.body, type=_Order), asked.reference)

    async def find(self, sought: AttemptSought) -> AttemptNews | None:
        order = await self._read_order(sought.gateway_id)
        if order is None:
            # Nobody can approve an order whose link we never got.
            return None
        if order.status == "APPROVED":
            return await self._capture(order.id, sought.reference)
        return read_order(order, sought.reference)

    async def void(self, sought: AttemptSought) -> AttemptNews:
        """PayPal cannot withdraw an order: it is not captured, and expires by itself."""
        order = await self._read_order(sought.gateway_id)
        news = read_order(order, sought.reference) if order else None
        return news if news and news.status == "captured" else AttemptNews(sought.reference, "declined", code="canceled")

    async def refund(self, asked: RefundAsked) -> RefundNews:
        order = await self._read_order(asked.gateway_id)
        capture = capture_of(order) if order else None
        if capture is None:
            return RefundNews(asked.payment_id, asked.refund_id, "failed", code="nothing_captured")
        body = {"amount": to_paypal(asked.amount), "custom_id": f"{asked.payment_id}.{asked.refund_id}"}
        answer = if_they_know_us(await self._post(f"/v2/payments/captures/{capture.id}/refund", body, str(asked.refund_id)))
        if answer.status not in (200, 201):
            return RefundNews(asked.payment_id, asked.refund_id, "failed", code=read_issue(answer))
        made = msgspec.json.decode(answer.body, type=_Refund)
        return read_refund(made, Reference(asked.payment_id, asked.refund_id))

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> News:
        await self._verify(headers, body)
        try:
            event = msgspec.json.decode(body, type=_Event)
        except msgspec.DecodeError as broken:
            raise WebhookForged from broken
        if event.event_type == "CHECKOUT.ORDER.APPROVED":
            order = msgspec.json.decode(event.resource, type=_Order)
            reference = read_reference(order.purchase_units[0].custom_id) if order.purchase_units else None
            attempts = (await self._capture(order.id, reference),) if reference else ()
            return News("webhook", self.name, event.id, event.event_type, attempts=attempts)
        if event.event_type.startswith("PAYMENT.CAPTURE.") and event.event_type.rpartition(".")[2] in ("COMPLETED", "DENIED", "PENDING"):
            capture = msgspec.json.decode(event.resource, type=_Capture)
            reference = read_reference(capture.custom_id)
            attempts = (read_capture(capture, reference),) if reference else ()
            return News("webhook", self.name, event.id, event.event_type, attempts=attempts)
        if event.event_type == "PAYMENT.CAPTURE.REFUNDED":
            refund = msgspec.json.decode(event.resource, type=_Refund)
            reference = read_reference(refund.custom_id)
            refunds = (read_refund(refund, reference),) if reference else ()
            return News("webhook", self.name, event.id, event.event_type, refunds=refunds)
        return News("webhook", self.name, event.id, event.event_type)

    async def read_book(self, after: str) -> BookPage:
        """The next day of PayPal's report. What comes of a payment that is still pending is told by webhooks and look-ups."""
        end = int(time.time()) - REPORTED_AFTER_S
        since, until = next_stretch(after, end, STRETCH_S)
        if until - since < LEAST_S:
            return BookPage((), after, more=False, until=since)
        found, until = await self._read_report(since, until)
        came = [self._read_entry(info, read_reference(info.custom_field)) for info in found if info.brings_money]
        went = [self._read_entry(info, await self._find_reference(info)) for info in found if info.takes_money]
        return BookPage((*came, *went), str(until), more=since < until < end, until=until)

    async def _read_report(self, since: int, until: int) -> tuple[list[_Info], int]:
        """What happened, and up to when the report tells of it."""
        span = f"start_date={to_date(since)}&end_date={to_date(until)}&fields=transaction_info&page_size={PAGE_SIZE}"
        found: list[_Info] = []
        page, pages, known = 0, 1, until
        while page < pages:
            page += 1
            answer = await self._line.ask("GET", f"/v1/reporting/transactions?{span}&page={page}", await self._headers())
            if answer.status == 400 and read_issue(answer) == "resultset_too_large" and until - since > 1:
                return await self._read_report(since, (since + until) // 2)
            if answer.status != 200:
                raise Silent(f"paypal answered {answer.status} to the report: {read_issue(answer)}")
            report = msgspec.json.decode(answer.body, type=_Report)
            found += [one.transaction_info for one in report.transaction_details]
            pages, known = report.total_pages, min(known, from_date(report.last_refreshed_datetime))
        return found, max(since, known)

    async def _find_reference(self, info: _Info) -> Reference | None:
        """Which attempt or refund of ours it was; a refund that somebody made over there leads to it by its capture."""
        if reference := read_reference(info.custom_field):
            return reference
        path = f"/v2/payments/captures/{quote(info.paypal_reference_id, safe='')}"
        answer = await self._line.ask("GET", path, await self._headers()) if info.paypal_reference_id else None
        if answer is None or answer.status == 404:
            return None
        if answer.status != 200:
            raise Silent(f"paypal answered {answer.status}")
        return read_reference(msgspec.json.decode(answer.body, type=_Capture).custom_id)

    def _read_entry(self, info: _Info, reference: Reference | None) -> News:
        """An entry of the report; of a refund nobody knows yet whether its reference names a refund of ours or the attempt."""
        external_id, code = info.transaction_id, info.transaction_event_code
        if reference is None:
            return News("book", self.name, external_id, code, foreign=True)
        if info.brings_money:
            came = AttemptNews(reference, "pending" if info.is_pending else "captured", None, info.gross)
            return News("book", self.name, external_id, code, attempts=(came,))
        amount = Money(-info.gross.amount, info.gross.currency)
        ids = reference.payment_id, reference.attempt_id
        told = RefundNews(*ids, "pending" if info.is_pending else MONEY_BACK[code], external_id, amount, attempt_id=reference.attempt_id)
        return News("book", self.name, external_id, code, refunds=(told,))

    async def _capture(self, order_id: str, reference: Reference) -> AttemptNews:
        answer = await self._post(f"/v2/checkout/orders/{quote(order_id, safe='')}/capture", {}, f"{reference}.capture")
        if answer.status in (200, 201):
            return read_order(msgspec.json.decode(answer.body, type=_Order), reference)
        issue = read_issue(answer)
        if issue == "order_already_captured" and (order := await self._read_order(order_id)):
            return read_order(order, reference)
        return AttemptNews(reference, "declined", order_id, code=issue)

    async def _read_order(self, order_id: str | None) -> _Order | None:
        if order_id is None:
            return None
        answer = await self._line.ask("GET", f"/v2/checkout/orders/{quote(order_id, safe='')}", await self._headers())
        if answer.status == 200:
            return msgspec.json.decode(answer.body, type=_Order)
        if answer.status == 404:
            return None
        raise Silent(f"paypal answered {answer.status}")

    async def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        given = {name: headers.get(f"paypal-{name.replace('_', '-')}", "") for name in SIGNATURE}
        if not all(given.values()):
            raise WebhookForged
        try:
            asked = {**given, "webhook_id": self._settings.paypal_webhook_id, "webhook_event": msgspec.json.decode(body, type=Raw)}
        except msgspec.DecodeError as broken:
            raise WebhookForged from broken
        answer = await self._post("/v1/notifications/verify-webhook-signature", asked, "")
        if answer.status != 200 or msgspec.json.decode(answer.body, type=_Verified).verification_status != "SUCCESS":
            raise WebhookForged

    async def _post(self, path: str, body: object, key: str) -> Answer:
        headers = await self._headers()
        answer = await self._line.ask("POST", path, {**headers, "PayPal-Request-Id": key} if key else headers, body)
        if answer.status in (401, 403):
            log.error("gateway_refuses_us", extra={"gateway": self.name, "status": answer.status})
        return answer

    async def _headers(self) -> dict[str, str]:
        if time.monotonic() > self._token_until:
            basic = b64encode(f"{self._settings.paypal_client_id}:{self._settings.paypal_secret}".encode()).decode()
            headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
            answer = await self._line.ask("POST", "/v1/oauth2/token", headers, b"grant_type=client_credentials")
            if answer.status != 200:
                log.error("gateway_refuses_us", extra={"gateway": self.name, "status": answer.status})
                raise Unreachable("paypal does not know us")
            access = msgspec.json.decode(answer.body, type=_Access)
            self._token, self._token_until = access.access_token, time.monotonic() + access.expires_in / 2
        return {"Authorization": f"Bearer {self._token}", "Prefer": "return=representation"}


def capture_of(order: _Order) -> _Capture | None:
    return next((capture for unit in order.purchase_units for capture in unit.payments.captures), None)


def read_order(order: _Order, reference: Reference) -> AttemptNews:
    """An order over there as news of our attempt."""
    if capture := capture_of(order):
        return msgspec.structs.replace(read_capture(capture, reference), gateway_id=order.id)
    if order.status == "VOIDED":
        return AttemptNews(reference, "declined", order.id, code="expired")
    page = next((link.href for link in order.links if link.rel in ("payer-action", "approve")), None)
    return AttemptNews(reference, "requires_action", order.id, redirect_url=page)


def read_capture(capture: _Capture, reference: Reference) -> AttemptNews:
    """A capture as news of our attempt; the attempt goes by the id of its order."""
    status = CAPTURE_STATUSES.get(capture.status, "pending")
    return AttemptNews(reference, status, None, from_paypal(capture.amount), "declined" if status == "declined" else None)


def read_refund(refund: _Refund, reference: Reference) -> RefundNews:
    """A refund as news of ours."""
    status = REFUND_STATUSES.get(refund.status, "pending")
    amount = from_paypal(refund.amount) if refund.amount else None
    return RefundNews(reference.payment_id, reference.attempt_id, status, refund.id, amount)


def read_issue(answer: Answer) -> str:
    """Why it refused, in one word."""
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
    except msgspec.DecodeError:
        return "gateway_error"
    return (problem.details[0].issue if problem.details else problem.name).lower()


def to_paypal(money: Money) -> dict[str, str]:
    """An amount as PayPal writes it."""
    digits = exponent(money.currency)
    whole, part = divmod(money.amount, 10**digits)
    bare = not digits or (not part and money.currency in WHOLE)
    return {"currency_code": money.currency, "value": str(whole) if bare else f"{whole}.{part:0{digits}}"}


def from_paypal(amount: _Amount) -> Money:
    """An amount as we count it."""
    digits = exponent(amount.currency_code)
    whole, _, part = amount.value.partition(".")
    return Money(int(whole + part.ljust(digits, "0")[:digits]), amount.currency_code)


def to_date(second: int) -> str:
    """A moment as PayPal reads it."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"


def from_date(date: str) -> int:
    """A moment as we count it."""
    return int(datetime.fromisoformat(date).timestamp())
