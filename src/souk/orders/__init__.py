"""Orders knows what was bought: orders with one part per seller, frozen when they were placed, and the saga that completes them."""

from souk.orders.books import OrderBook, ParcelBook, read_order_books, read_parcel_books
from souk.orders.cancelling import cancel_order
from souk.orders.changing import change_order
from souk.orders.invoicing import InvoiceFacts, SoldLine, SoldShipping, read_invoice_facts
from souk.orders.parcels import pack_parcel
from souk.orders.placing import place_order, resume_order
from souk.orders.quoting import quote_cart
from souk.orders.reading import get_order, get_orders, get_timeline, list_orders
from souk.orders.receiving import change_return, record_return
from souk.orders.recording import RecordedLine, RecordOrder, Revenue, find_fulfilled, record_order, sum_revenue
from souk.orders.return_policies import list_return_policies, remove_return_policy, set_return_policy
from souk.orders.return_types import (
    ChangeReturn,
    NewReturn,
    PolicyTerms,
    ReceivedLine,
    RecordedPieces,
    RecordReturn,
    Return,
    ReturnedLine,
    ReturnItem,
    ReturnPolicy,
)
from souk.orders.returns import get_return, get_returns_of, list_returns, request_return
from souk.orders.types import (
    Address,
    CancelOrder,
    CartQuote,
    ChangeOrder,
    LinePieces,
    NewParcel,
    NextAction,
    NotPackable,
    Order,
    OrderItem,
    OrderPart,
    PaymentChoice,
    PlaceOrder,
    QuoteCart,
    TimelineEntry,
    TooMuchCanceled,
    TooMuchPacked,
)

__all__ = [
    "Address",
    "CancelOrder",
    "CartQuote",
    "ChangeOrder",
    "ChangeReturn",
    "InvoiceFacts",
    "LinePieces",
    "NewParcel",
    "NewReturn",
    "NextAction",
    "NotPackable",
    "Order",
    "OrderBook",
    "OrderItem",
    "OrderPart",
    "ParcelBook",
    "PaymentChoice",
    "PlaceOrder",
    "PolicyTerms",
    "QuoteCart",
    "ReceivedLine",
    "RecordOrder",
    "RecordReturn",
    "RecordedLine",
    "RecordedPieces",
    "Return",
    "ReturnItem",
    "ReturnPolicy",
    "ReturnedLine",
    "Revenue",
    "SoldLine",
    "SoldShipping",
    "TimelineEntry",
    "TooMuchCanceled",
    "TooMuchPacked",
    "cancel_order",
    "change_order",
    "change_return",
    "find_fulfilled",
    "get_order",
    "get_orders",
    "get_return",
    "get_returns_of",
    "get_timeline",
    "list_orders",
    "list_return_policies",
    "list_returns",
    "pack_parcel",
    "place_order",
    "quote_cart",
    "read_invoice_facts",
    "read_order_books",
    "read_parcel_books",
    "record_order",
    "record_return",
    "remove_return_policy",
    "request_return",
    "resume_order",
    "set_return_policy",
    "sum_revenue",
]
