"""What orders announces."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.events import Event
from souk.kit.money import Money
from souk.orders.types import PackedLine


class OrderedLine(msgspec.Struct, frozen=True):
    """So many pieces of a SKU, and what they cost in the end."""

    sku: str
    product_id: UUID
    seller_id: UUID
    quantity: int
    total: Money


class OrderPlaced(Event, frozen=True):
    """An order is final: stock and money are there."""

    order_id: UUID
    number: int
    user_id: UUID | None
    cart_id: UUID | None
    total: Money
    lines: tuple[OrderedLine, ...]
    placed_at: datetime


class OrderPaid(Event, frozen=True):
    """The whole amount of an order was captured."""

    order_id: UUID
    amount: Money


class OrderCancelled(Event, frozen=True):
    """A placed order will not be shipped; its money goes back."""

    order_id: UUID
    user_id: UUID | None
    reason: str


class ParcelPacked(Event, frozen=True):
    """A seller has packed these lines of an order."""

    order_id: UUID
    parcel_id: UUID
    seller_id: UUID
    lines: tuple[PackedLine, ...]


class OrderRejected(Event, frozen=True):
    """An order did not come about: no stock, or no payment in time."""

    order_id: UUID
    user_id: UUID | None
    reason: str
