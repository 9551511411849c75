"""EasyPost, who sells the labels of a hundred carriers, by its REST API. A shipment over there is prepared once and paid for once."""

import hashlib
import hmac
import logging
import unicodedata
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_UP, Decimal, InvalidOperation
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec

from souk.kit.lines import Answer, Line, Silent
from souk.kit.money import Money, exponent
from souk.shipping.carriers.carrier import LabelAsked, Refused, Scan, Sighting, Sold, expect, read_status
from souk.shipping.settings import Settings
from souk.shipping.types import Address, LabelOffer, WebhookForged

log = logging.getLogger(__name__)

GRAMS_PER_OUNCE = Decimal("28.349523125")
SIGNATURE = "hmac-sha256-hex="
# Of these an unused label is paid back, or was never to be paid for. Before, it is `submitted`, for up to thirty days.
GIVEN_BACK = ("refunded", "not_applicable")
SUBMITTED = "submitted"


class _Rate(msgspec.Struct, frozen=True):
    id: str
    service: str
    rate: Decimal
    currency: str
    delivery_days: int | None = None


class _Paper(msgspec.Struct, frozen=True):
    label_url: str | None = None
    label_pdf_url: str | None = None


class _Shipment(msgspec.Struct, frozen=True):
    id: str
    rates: tuple[_Rate, ...] = ()
    selected_rate: _Rate | None = None
    postage_label: _Paper | None = None
    tracking_code: str | None = None
    refund_status: str | None = None


class _Place(msgspec.Struct, frozen=True):
    city: str | None = None


class _Detail(msgspec.Struct, frozen=True):
    status: str
    datetime: datetime
    message: str | None = None
    tracking_location: _Place | None = None


class _Tracker(msgspec.Struct, frozen=True):
    tracking_code: str
    tracking_details: tuple[_Detail, ...] = ()


class _Trackers(msgspec.Struct, frozen=True):
    trackers: tuple[_Tracker, ...]


class _Event(msgspec.Struct, frozen=True):
    description: str
    result: msgspec.Raw


class _Fault(msgspec.Struct, frozen=True):
    code: str


class _Problem(msgspec.Struct, frozen=True):
    error: _Fault


class EasyPost:
    """The reference is the id of a shipment over there, which is bought at most once."""

    name = "easypost"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = Line(settings.easypost_url, settings.patience)

    async def quote(self, asked: LabelAsked) -> tuple[LabelOffer, ...]:
        """It rates shipments only, so one is made that nobody pays for."""
        made = await self._prepare(asked)
        rates = () if isinstance(made, Refused) else made.rates
        return tuple(LabelOffer(self.name, one.service, price, one.delivery_days) for one in rates if (price := read_price(one)))

    async def prepare(self, asked: LabelAsked) -> str | Refused:
        made = await self._prepare(asked)
        return made if isinstance(made, Refused) else made.id

    async def _prepare(self, asked: LabelAsked) -> _Shipment | Refused:
        shipment = {
            "reference": str(asked.shipment_id),
            "from_address": address_of(asked.sender),
            "to_address": address_of(asked.recipient),
            "parcel": {"weight": ounces_of(asked.weight_g)},
            "options": {"label_format": "PDF", "currency": asked.currency},
        }
        answer = await self._ask("POST", "/v2/shipments", {"shipment": shipment})
        if answer.status not in (200, 201):
            return refusal_in(answer)
        return msgspec.json.decode(answer.body, type=_Shipment)

    async def buy(self, asked: LabelAsked, reference: str) -> Sold | Refused:
        shipment = await self._find(reference)
        if shipment.postage_label is None:
            rate = choose_rate(shipment.rates, asked.service)
            if rate is None:
                return Refused("no_such_service" if shipment.rates else "no_rates")
            answer = await self._ask("POST", f"/v2/shipments/{quote(reference, safe='')}/buy", {"rate": {"id": rate.id}})
            # Somebody else of us may have been quicker: whether it is bought is what it says itself.
            shipment = await self._find(reference)
            if shipment.postage_label is None:
                return refusal_in(answer)
        return await self._read_sold(shipment)

    async def void(self, reference: str) -> Refused | None:
        status = (await self._find(reference)).refund_status
        if status not in (*GIVEN_BACK, SUBMITTED):
            answer = await self._ask("POST", f"/v2/shipments/{quote(reference, safe='')}/refund", {})
            # Whether it is given back is what it says itself, as with a purchase.
            status = (await self._find(reference)).refund_status
            if status is None:
                return refusal_in(answer)
        return None if status in GIVEN_BACK else Refused(f"refund_{status}", final=status != SUBMITTED)

    async def track(self, tracking_number: str) -> Sighting | None:
        answer = expect(await self._ask("GET", f"/v2/trackers?tracking_code={quote(tracking_number, safe='')}"), 200)
        found = msgspec.json.decode(answer.body, type=_Trackers).trackers
        return sighting_of(found[0]) if found else None

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Sighting | None:
        """It signs no time: an old message that is played again tells only what is known."""
        if not is_signed(headers.get("x-hmac-signature", ""), body, self._settings.easypost_webhook_secrets):
            raise WebhookForged
        try:
            event = msgspec.json.decode(body, type=_Event)
            if not event.description.startswith("tracker."):
                return None
            return sighting_of(msgspec.json.decode(event.result, type=_Tracker))
        except msgspec.DecodeError as broken:
            raise WebhookForged from broken

    async def _find(self, reference: str) -> _Shipment:
        answer = expect(await self._ask("GET", f"/v2/shipments/{quote(reference, safe='')}"), 200)
        return msgspec.json.decode(answer.body, type=_Shipment)

    async def _read_sold(self, shipment: _Shipment) -> Sold:
        if shipment.tracking_code is None:
            raise Silent("the label has no tracking code yet")
        rate = shipment.selected_rate
        price = read_price(rate) if rate else None
        return Sold(shipment.tracking_code, rate.service if rate else None, price, await self._fetch(shipment.postage_label))

    async def _fetch(self, paper: _Paper | None) -> bytes | None:
        """The carrier's paper, which lies elsewhere; our key is nobody's business there."""
        url = urlsplit((paper.label_pdf_url or paper.label_url or "") if paper else "")
        ours = urlsplit(self._settings.easypost_url)
        if not url.hostname or (url.scheme != "https" and url.netloc != ours.netloc):
            return None
        path = url._replace(scheme="", netloc="").geturl()
        answer = await Line(f"{url.scheme}://{url.netloc}", self._settings.patience).ask("GET", path, {})
        return expect(answer, 200).body

    async def _ask(self, method: Literal["GET", "POST"], path: str, body: object = None) -> Answer:
        key = b64encode(f"{self._settings.easypost_api_key}:".encode()).decode()
        answer = await self._line.ask(method, path, {"Authorization": f"Basic {key}"}, body)
        if answer.status in (401, 403):
            log.error("carrier_refuses_us", extra={"carrier": self.name, "status": answer.status})
            raise Silent(f"{path}: it does not know us")
        return answer


def address_of(address: Address) -> dict[str, str | None]:
    return {
        "name": address.name,
        "street1": address.line1,
        "street2": address.line2,
        "city": address.city,
        "state": address.region,
        "zip": address.postal_code,
        "country": address.country,
        "phone": address.phone_number,
    }


def ounces_of(weight_g: int) -> float:
    """The weight in ounces, rounded up to a tenth: who says too little pays more later."""
    return float((weight_g / GRAMS_PER_OUNCE).quantize(Decimal("0.1"), ROUND_UP))


def choose_rate(rates: tuple[_Rate, ...], service: str | None) -> _Rate | None:
    """The cheapest rate, of this service if one is named."""
    wanted = [rate for rate in rates if service is None or rate.service.lower() == service.lower()]
    return min(wanted, key=lambda rate: (rate.rate, rate.id), default=None)


def read_price(rate: _Rate) -> Money | None:
    try:
        return Money(int(rate.rate.scaleb(exponent(rate.currency)).to_integral_value()), rate.currency)
    except InvalidOperation:
        return None


def refusal_in(answer: Answer) -> Refused:
    """Why it refused, in one word of ours: SHIPMENT.POSTAGE.FAILURE is shipment_postage_failure."""
    try:
        return Refused(msgspec.json.decode(answer.body, type=_Problem).error.code.lower().replace(".", "_")[:100])
    except msgspec.DecodeError:
        return Refused("carrier_error")


def sighting_of(tracker: _Tracker) -> Sighting:
    return Sighting(tracker.tracking_code, tuple(scan_of(one) for one in tracker.tracking_details))


def scan_of(detail: _Detail) -> Scan:
    """A detail has no id of its own: what it says is its id."""
    place = detail.tracking_location.city if detail.tracking_location else None
    told = "|".join((detail.datetime.isoformat(), detail.status, detail.message or "", place or ""))
    event_id = hashlib.sha256(told.encode()).hexdigest()[:32]
    return Scan(event_id, read_status(detail.status), detail.datetime, detail.message, place)


def is_signed(signature: str, body: bytes, secrets: tuple[str, ...]) -> bool:
    """Whether one of these secrets signed the body."""
    for secret in secrets:
        key = unicodedata.normalize("NFKD", secret).encode()
        expected = SIGNATURE + hmac.new(key, body, hashlib.sha256).hexdigest()
        if hmac.compare_digest(expected.encode(), signature.lower().encode()):
            return True
    return False
