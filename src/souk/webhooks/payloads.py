"""What of an event is told to whom: all of it to the shop's own webhooks, to a seller's only what is this seller's."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from souk.catalog import events as catalog
from souk.inventory import events as inventory
from souk.kit.events import Event
from souk.kit.money import add_up
from souk.orders import events as orders
from souk.payments import events as payments
from souk.reviews import events as reviews
from souk.shipping import events as shipping
from souk.users import events as users

Data = Mapping[str, object]

# Who bought, reviewed or applied is the shop's to know.
KEPT_FROM_SELLERS = frozenset(("user_id",))

# Whole, but for that, to the seller whom they name.
NAME_THEIR_SELLER: tuple[type[Event], ...] = (
    catalog.ListingsHidden,
    catalog.ListingsShown,
    catalog.ProductPublished,
    catalog.ProductRemoved,
    catalog.VariantAdded,
    inventory.StockArrived,
    inventory.StockChanged,
    inventory.StockLow,
    orders.DigitalGoodsDelivered,
    orders.ParcelPacked,
    orders.ReturnApproved,
    orders.ReturnClosed,
    orders.ReturnReceived,
    orders.ReturnRequested,
    orders.SaleEarned,
    payments.PayoutAccountChanged,
    payments.PayoutFailed,
    payments.PayoutSent,
    reviews.ReviewHidden,
    reviews.ReviewPosted,
    reviews.ReviewReplied,
    shipping.LabelBought,
    shipping.LabelVoided,
    shipping.ShipmentCancelled,
    shipping.ShipmentDelivered,
    shipping.ShipmentDispatched,
    shipping.TrackingChanged,
    users.SellerApplied,
    users.SellerApproved,
    users.SellerRejected,
    users.SellerSuspended,
)


def tell_shop(event: Event) -> Data:
    """All that an event carries: ids, amounts and SKUs."""
    return msgspec.structs.asdict(event)


def tell_sellers(event: Event) -> dict[UUID, Data]:
    """What each seller is told of an event, by the seller; nobody is told of an event for which there is no mapping."""
    tell = FOR_SELLERS.get(type(event))
    return {} if tell is None else tell(event)


def tell_whole(event: Event) -> dict[UUID, Data]:
    told = {name: value for name, value in msgspec.structs.asdict(event).items() if name not in KEPT_FROM_SELLERS}
    return {told["seller_id"]: told}


def tell_placed(event: orders.OrderPlaced) -> dict[UUID, Data]:
    """Each seller's lines, and what they cost together."""
    told: dict[UUID, Data] = {}
    for seller_id in sellers_in(event.lines):
        lines = [line for line in event.lines if line.seller_id == seller_id]
        told[seller_id] = {
            "order_id": event.order_id,
            "number": event.number,
            "seller_id": seller_id,
            "lines": lines,
            "total": add_up((line.total for line in lines), event.total.currency),
            "placed_at": event.placed_at,
        }
    return told


def tell_items_cancelled(event: orders.ItemsCancelled) -> dict[UUID, Data]:
    """Each seller's lines, and what of their part they were worth."""
    return {
        seller_id: {
            "order_id": event.order_id,
            "cancellation_id": event.cancellation_id,
            "seller_id": seller_id,
            "reason": event.reason,
            "lines": [line for line in event.lines if line.seller_id == seller_id],
            "parts": [part for part in event.parts if part.seller_id == seller_id],
        }
        for seller_id in sellers_in(event.lines)
    }


def tell_cancelled(event: orders.OrderCancelled) -> dict[UUID, Data]:
    return {one: {"order_id": event.order_id, "seller_id": one, "reason": event.reason} for one in event.seller_ids}


def sellers_in(lines: Iterable[orders.OrderedLine | orders.CanceledLine]) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys(line.seller_id for line in lines))


FOR_SELLERS: dict[type[Event], Callable[..., dict[UUID, Data]]] = {
    **dict.fromkeys(NAME_THEIR_SELLER, tell_whole),
    orders.OrderPlaced: tell_placed,
    orders.ItemsCancelled: tell_items_cancelled,
    orders.OrderCancelled: tell_cancelled,
}


def write_body(event_type: str, occurred_at: datetime, data: Data) -> str:
    """The body as Standard Webhooks wants it."""
    return msgspec.json.encode({"type": event_type, "timestamp": occurred_at, "data": data}).decode()
