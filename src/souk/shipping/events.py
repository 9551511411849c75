"""What shipping announces."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.events import Event
from souk.kit.money import Money
from souk.shipping.types import TrackingStatus


class ShippedLine(msgspec.Struct, frozen=True):
    """So many pieces of an order's line."""

    line_id: UUID
    sku: str
    quantity: int
    product_id: UUID | None = None


class ShipmentDispatched(Event, frozen=True):
    """A parcel has left: its pieces are not in their store any more."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    lines: tuple[ShippedLine, ...]
    dispatched_at: datetime
    user_id: UUID | None = None


class ShipmentDelivered(Event, frozen=True):
    """A parcel has arrived."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    lines: tuple[ShippedLine, ...]
    delivered_at: datetime
    user_id: UUID | None = None


class ShipmentCancelled(Event, frozen=True):
    """A parcel was unpacked before it left: its pieces can go into another."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    lines: tuple[ShippedLine, ...]


class LabelBought(Event, frozen=True):
    """A carrier has sold a label for a parcel, at this price. There is one at the most for each parcel."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    price: Money


class LabelVoided(Event, frozen=True):
    """The carrier has taken a label back, and does not want its price any more."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    price: Money


class TrackingChanged(Event, frozen=True):
    """The carrier says that a parcel is elsewhere than it said before."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    tracking_status: TrackingStatus
    occurred_at: datetime
