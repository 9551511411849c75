"""The seam behind which every carrier stands: what it is asked, what it says, and how it fails."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, get_args
from uuid import UUID

import msgspec

from souk.kit.lines import Answer, Silent
from souk.kit.money import Money
from souk.shipping.types import Address, LabelOffer, TrackingStatus

STATUSES: frozenset[str] = frozenset(get_args(TrackingStatus))


class LabelAsked(msgspec.Struct, frozen=True):
    """A label for this parcel, and the how-manieth time that it is asked for after a refusal."""

    shipment_id: UUID
    attempt: int
    order_number: int
    weight_g: int
    currency: str
    sender: Address
    recipient: Address
    service: str | None = None


class Sold(msgspec.Struct, frozen=True):
    """A label that is ours; its document is a PDF, if the carrier made one."""

    tracking_number: str
    service: str | None = None
    price: Money | None = None
    document: bytes | None = None


class Refused(msgspec.Struct, frozen=True):
    """The carrier said no, and nothing was done; or, if it is not final, that it will say in some days."""

    code: str
    final: bool = True


class Scan(msgspec.Struct, frozen=True):
    """What a carrier says happened to a parcel; the id is the carrier's own."""

    event_id: str
    status: TrackingStatus
    occurred_at: datetime
    message: str | None = None
    place: str | None = None


class Sighting(msgspec.Struct, frozen=True):
    """What a carrier says happened to the parcel with this number."""

    tracking_number: str
    scans: tuple[Scan, ...]


class Carrier(Protocol):
    """Who carries parcels. Every method but read_webhook raises Silent or Unreachable."""

    name: str

    async def quote(self, asked: LabelAsked) -> tuple[LabelOffer, ...]:
        """What it would take for this parcel, service by service; none if it does not say. Changes nothing."""

    async def prepare(self, asked: LabelAsked) -> str | Refused:
        """Make the parcel known; the reference by which the carrier knows it from now on. It costs nothing, however often it is asked."""

    async def buy(self, asked: LabelAsked, reference: str) -> Sold | Refused:
        """Pay for the label of a parcel, once per reference however often it is asked."""

    async def void(self, reference: str) -> Refused | None:
        """Take back the label of a parcel that was not sent; again changes nothing. None when its price is given back, not before."""

    async def track(self, tracking_number: str) -> Sighting | None:
        """Where a parcel is and was; None if the carrier never heard of it."""

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Sighting | None:
        """What a webhook says of a parcel, if it is about one; header names in lower case. Raises WebhookForged."""


def expect(answer: Answer, *statuses: int) -> Answer:
    """The answer, if it is one of these; another says nothing about what was done, and raises Silent."""
    if answer.status not in statuses:
        raise Silent(f"it answered {answer.status}")
    return answer


def read_status(text: str) -> TrackingStatus:
    """The status that a carrier speaks of; one that we do not know is unknown."""
    return msgspec.convert(text if text in STATUSES else "unknown", TrackingStatus)  # type: ignore[no-any-return]
