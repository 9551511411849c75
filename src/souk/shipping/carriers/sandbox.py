"""The sandbox's carrier: the one of tests and demos, with all the bad habits of real ones."""

import base64
import binascii
import logging
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

import msgspec

from souk.kit.lines import Answer, Line, Silent
from souk.kit.money import Money
from souk.kit.signatures import find_signed_id
from souk.shipping.carriers.carrier import LabelAsked, Refused, Scan, Sighting, Sold, expect, read_status
from souk.shipping.settings import Settings
from souk.shipping.types import Address, LabelOffer, WebhookForged

log = logging.getLogger(__name__)


class _Label(msgspec.Struct, frozen=True):
    id: str
    status: str
    tracking_number: str
    service: str
    amount: int
    currency: str
    document: str


class _Labels(msgspec.Struct, frozen=True):
    items: tuple[_Label, ...]


class _Offer(msgspec.Struct, frozen=True):
    service: str
    amount: int
    currency: str
    days: int


class _Offers(msgspec.Struct, frozen=True):
    items: tuple[_Offer, ...]


class _Scan(msgspec.Struct, frozen=True):
    id: str
    status: str
    message: str
    city: str | None
    occurred_at: datetime


class _Tracker(msgspec.Struct, frozen=True):
    tracking_number: str
    scans: tuple[_Scan, ...]


class _Event(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw


class _Detail(msgspec.Struct, frozen=True):
    code: str


class _Problem(msgspec.Struct, frozen=True):
    error: _Detail


class Sandbox:
    """It knows parcels by our own ids, and sells one label for each."""

    name = "sandbox"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = Line(settings.sandbox_url, settings.patience)

    async def quote(self, asked: LabelAsked) -> tuple[LabelOffer, ...]:
        body = {"weight_g": asked.weight_g, "currency": asked.currency}
        answer = expect(await self._line.ask("POST", "/v1/offers", self._headers(), body), 200, 201)
        found = msgspec.json.decode(answer.body, type=_Offers).items
        return tuple(LabelOffer(self.name, one.service, Money(one.amount, one.currency), one.days) for one in found)

    async def prepare(self, asked: LabelAsked) -> str | Refused:
        return str(asked.shipment_id)

    async def buy(self, asked: LabelAsked, reference: str) -> Sold | Refused:
        body = {
            "reference": reference,
            "sender": place_of(asked.sender),
            "recipient": place_of(asked.recipient),
            "weight_g": asked.weight_g,
            "currency": asked.currency,
            **({"service": asked.service} if asked.service else {}),
        }
        answer = await self._post("/v1/labels", f"{reference}.{asked.attempt}", body)
        if answer.status not in (200, 201):
            return refusal_in(answer)
        label = msgspec.json.decode(answer.body, type=_Label)
        if label.status != "bought":
            return Refused(f"label_{label.status}")
        return Sold(label.tracking_number, label.service, Money(label.amount, label.currency), read_document(label.document))

    async def void(self, reference: str) -> Refused | None:
        answer = expect(await self._get(f"/v1/labels?reference={quote(reference, safe='')}"), 200)
        for label in msgspec.json.decode(answer.body, type=_Labels).items:
            answer = await self._post(f"/v1/labels/{label.id}/void", f"{reference}.void", {})
            if answer.status != 200:
                return refusal_in(answer)
        return None

    async def track(self, tracking_number: str) -> Sighting | None:
        answer = expect(await self._get(f"/v1/trackers/{quote(tracking_number, safe='')}"), 200, 404)
        return None if answer.status == 404 else sighting_of(msgspec.json.decode(answer.body, type=_Tracker))

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Sighting | None:
        if find_signed_id(headers, body, self._settings.sandbox_webhook_secrets) is None:
            raise WebhookForged
        try:
            event = msgspec.json.decode(body, type=_Event)
            return sighting_of(msgspec.json.decode(event.data, type=_Tracker)) if event.type == "tracker.updated" else None
        except msgspec.DecodeError as broken:
            raise WebhookForged from broken

    async def _post(self, path: str, key: str, body: Mapping[str, object]) -> Answer:
        answer = await self._line.ask("POST", path, {**self._headers(), "Idempotency-Key": key}, body)
        if answer.status in (401, 403):
            log.error("carrier_refuses_us", extra={"carrier": self.name, "status": answer.status})
            raise Silent(f"{path}: it does not know us")
        return answer

    async def _get(self, path: str) -> Answer:
        return await self._line.ask("GET", path, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._settings.sandbox_api_key}"}


def place_of(address: Address) -> dict[str, str]:
    return {"city": address.city, "postal_code": address.postal_code, "country": address.country}


def refusal_in(answer: Answer) -> Refused:
    """Why it refused, in one word."""
    try:
        return Refused(msgspec.json.decode(answer.body, type=_Problem).error.code)
    except msgspec.DecodeError:
        return Refused("carrier_error")


def read_document(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def sighting_of(tracker: _Tracker) -> Sighting:
    return Sighting(
        tracker.tracking_number,
        tuple(Scan(one.id, read_status(one.status), one.occurred_at, one.message, one.city) for one in tracker.scans),
    )
