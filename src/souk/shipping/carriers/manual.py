"""No carrier: the shop prints its own label, and a parcel is where its seller says."""

from collections.abc import Mapping

from souk.shipping.carriers.carrier import LabelAsked, Refused, Sighting, Sold
from souk.shipping.numbers import number_of
from souk.shipping.types import LabelOffer, WebhookForged

MANUAL = "manual"


class Manual:
    """The seller brings the parcel to whom they like."""

    name = MANUAL

    async def quote(self, asked: LabelAsked) -> tuple[LabelOffer, ...]:
        return ()

    async def prepare(self, asked: LabelAsked) -> str | Refused:
        return str(asked.shipment_id)

    async def buy(self, asked: LabelAsked, reference: str) -> Sold | Refused:
        return Sold(number_of(asked.order_number, asked.shipment_id), asked.service)

    async def void(self, reference: str) -> Refused | None:
        return None

    async def track(self, tracking_number: str) -> Sighting | None:
        return None

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Sighting | None:
        raise WebhookForged
