"""What orders announces."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.events import Event
from souk.kit.money import Money
from souk.orders.types import LinePieces


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


class DigitalGoodsSold(Event, frozen=True):
    """An order is final of which some parts need no shipping."""

    order_id: UUID


class DeliveredLine(msgspec.Struct, frozen=True):
    """So many pieces of an order's line."""

    line_id: UUID
    product_id: UUID
    sku: str
    quantity: int


class DigitalGoodsDelivered(Event, frozen=True):
    """The part of a seller that needs no shipping is with its buyer. Shipping knows nothing of this parcel."""

    order_id: UUID
    parcel_id: UUID
    seller_id: UUID
    user_id: UUID | None
    lines: tuple[DeliveredLine, ...]
    delivered_at: datetime


class OrderCancelled(Event, frozen=True):
    """A placed order will not be shipped; its money goes back. The reason is whose wish that was: `buyer`, `seller` or `admin`.

    It was ordered of these sellers.
    """

    order_id: UUID
    user_id: UUID | None
    reason: str
    seller_ids: tuple[UUID, ...] = ()


class CanceledLine(msgspec.Struct, frozen=True):
    """So many pieces of a line that will not be shipped."""

    line_id: UUID
    seller_id: UUID
    sku: str
    quantity: int


class CanceledPart(msgspec.Struct, frozen=True):
    """What the cancelled pieces of a seller's part were worth: what the buyer paid with tax, and how that would have been divided."""

    seller_id: UUID
    amount: Money
    tax: Money
    commission: Money
    platform_discount: Money


class ItemsCancelled(Event, frozen=True):
    """Some pieces of a placed order will not be shipped; their money goes back. The reason is whose wish that was, as above."""

    order_id: UUID
    cancellation_id: UUID
    user_id: UUID | None
    reason: str
    lines: tuple[CanceledLine, ...]
    parts: tuple[CanceledPart, ...]


class ParcelPacked(Event, frozen=True):
    """A seller has packed these lines of an order."""

    order_id: UUID
    parcel_id: UUID
    seller_id: UUID
    lines: tuple[LinePieces, ...]


class SaleEarned(Event, frozen=True):
    """A seller has earned a part of an order: pieces have left, the first of them with what shipping cost, be it for nothing.

    `amount` is what the buyer paid for it with tax. The seller gets it without the tax and the commission, and what the platform took
    off its price.
    """

    order_id: UUID
    parcel_id: UUID
    seller_id: UUID
    amount: Money
    tax: Money
    commission: Money
    platform_discount: Money


class ReturnRequested(Event, frozen=True):
    """A buyer wants to send pieces back to a seller."""

    order_id: UUID
    return_id: UUID
    seller_id: UUID
    user_id: UUID | None
    lines: tuple[LinePieces, ...]


class ReturnApproved(Event, frozen=True):
    """A seller takes pieces back."""

    order_id: UUID
    return_id: UUID
    seller_id: UUID
    user_id: UUID | None


class ReturnClosed(Event, frozen=True):
    """A return will not happen: the seller refused it, or the buyer keeps the goods."""

    order_id: UUID
    return_id: UUID
    seller_id: UUID
    user_id: UUID | None
    refused: bool


class ReturnedPieces(msgspec.Struct, frozen=True):
    """Pieces that came back, how many of them can be sold again, and what goes back for them (with tax)."""

    line_id: UUID
    sku: str
    quantity: int
    resellable: int
    amount: Money
    tax: Money


class ReturnReceived(Event, frozen=True):
    """Pieces are back at their seller, and their money is to go back: `amount` with tax, some of it perhaps for shipping."""

    order_id: UUID
    return_id: UUID
    seller_id: UUID
    user_id: UUID | None
    lines: tuple[ReturnedPieces, ...]
    to_wallet: bool
    amount: Money
    tax: Money
    commission: Money
    platform_discount: Money


class OrderRejected(Event, frozen=True):
    """An order did not come about: no stock, or no payment in time."""

    order_id: UUID
    user_id: UUID | None
    reason: str
