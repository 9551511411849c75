"""The events that webhooks can be told of, under the names by which they are subscribed to."""

import inspect
import re

from souk.catalog import events as catalog
from souk.inventory import events as inventory
from souk.kit.errors import InvalidField
from souk.kit.events import Event, source_of
from souk.orders import events as orders
from souk.payments import events as payments
from souk.pricing import events as pricing
from souk.reviews import events as reviews
from souk.shipping import events as shipping
from souk.users import events as users
from souk.webhooks.payloads import FOR_SELLERS
from souk.webhooks.types import EventType

# What is not listed is told to nobody: what people look at, who waits for stock, wallets and holds, tokens that a mailer is to send.
KINDS: tuple[type[Event], ...] = (
    catalog.CategoryChanged,
    catalog.ListingsHidden,
    catalog.ListingsShown,
    catalog.PriceChanged,
    catalog.ProductChanged,
    catalog.ProductPublished,
    catalog.ProductRemoved,
    catalog.VariantAdded,
    catalog.VariantRemoved,
    inventory.StockArrived,
    inventory.StockChanged,
    inventory.StockLow,
    inventory.StockRecovered,
    orders.DigitalGoodsDelivered,
    orders.ItemsCancelled,
    orders.OrderCancelled,
    orders.OrderPaid,
    orders.OrderPlaced,
    orders.OrderRejected,
    orders.ParcelPacked,
    orders.ReturnApproved,
    orders.ReturnClosed,
    orders.ReturnReceived,
    orders.ReturnRequested,
    orders.SaleEarned,
    payments.ChargebackClosed,
    payments.ChargebackOpened,
    payments.PaymentCaptured,
    payments.PaymentFailed,
    payments.PaymentRefunded,
    payments.PayoutAccountChanged,
    payments.PayoutFailed,
    payments.PayoutSent,
    pricing.CouponRedeemed,
    pricing.CouponRestored,
    reviews.RatingChanged,
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
    users.UserErased,
    users.UserRegistered,
)

NAMES = {kind: f"{source_of(kind)}.{re.sub(r'(?<!^)(?=[A-Z])', '_', kind.__name__).lower()}" for kind in KINDS}
# What a webhook may have subscribed to in order to be told of an event.
PATTERNS = {kind: frozenset((name, f"{source_of(kind)}.*", "*")) for kind, name in NAMES.items()}


def check_patterns(patterns: tuple[str, ...], *, is_sellers: bool) -> None:
    """Raises InvalidField for what a seller's webhook, or the shop's own, can never be told of."""
    known = frozenset().union(*(PATTERNS[kind] for kind in KINDS if kind in FOR_SELLERS or not is_sellers))
    if unknown := sorted(set(patterns) - known):
        raise InvalidField("events", f"has nothing for you under {', '.join(unknown)}: see /webhooks/event-types")


def list_types() -> tuple[EventType, ...]:
    """Every event, by its name."""
    types = [EventType(name, inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0], kind in FOR_SELLERS) for kind, name in NAMES.items()]
    return tuple(sorted(types, key=lambda one: one.name))
