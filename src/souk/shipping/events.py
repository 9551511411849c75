"""What shipping announces."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.events import Event


class ShippedLine(msgspec.Struct, frozen=True):
    """So many pieces of an order's line."""

    line_id: UUID
    sku: str
    quantity: int


class ShipmentDispatched(Event, frozen=True):
    """A parcel has left: its pieces are not in their store any more."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    lines: tuple[ShippedLine, ...]
    dispatched_at: datetime


class ShipmentDelivered(Event, frozen=True):
    """A parcel has arrived."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    lines: tuple[ShippedLine, ...]
    delivered_at: datetime


class ShipmentCancelled(Event, frozen=True):
    """A parcel was unpacked before it left: its pieces can go into another."""

    shipment_id: UUID
    order_id: UUID
    seller_id: UUID
    lines: tuple[ShippedLine, ...]
