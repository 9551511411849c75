"""Orders knows what was bought: orders with one part per seller, frozen when they were placed, and the saga that completes them."""

from souk.orders.books import OrderBook, read_order_books
from souk.orders.cancelling import cancel_order
from souk.orders.changing import change_order
from souk.orders.parcels import pack_parcel
from souk.orders.placing import place_order, resume_order
from souk.orders.quoting import quote_cart
from souk.orders.reading import get_order, get_orders, get_timeline, list_orders
from souk.orders.recording import RecordedLine, RecordOrder, Revenue, find_fulfilled, record_order, sum_revenue
from souk.orders.types import (
    Address,
    CancelOrder,
    CartQuote,
    ChangeOrder,
    NewParcel,
    NextAction,
    NotPackable,
    Order,
    OrderItem,
    OrderPart,
    PackedLine,
    PaymentChoice,
    PlaceOrder,
    QuoteCart,
    TimelineEntry,
    TooMuchPacked,
)

__all__ = [
    "Address",
    "CancelOrder",
    "CartQuote",
    "ChangeOrder",
    "NewParcel",
    "NextAction",
    "NotPackable",
    "Order",
    "OrderBook",
    "OrderItem",
    "OrderPart",
    "PackedLine",
    "PaymentChoice",
    "PlaceOrder",
    "QuoteCart",
    "RecordOrder",
    "RecordedLine",
    "Revenue",
    "TimelineEntry",
    "TooMuchPacked",
    "cancel_order",
    "change_order",
    "find_fulfilled",
    "get_order",
    "get_orders",
    "get_timeline",
    "list_orders",
    "pack_parcel",
    "place_order",
    "quote_cart",
    "read_order_books",
    "record_order",
    "resume_order",
    "sum_revenue",
]
