"""The vocabulary of orders: what a buyer asks for, what an order looks like, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.errors import Conflict, Invalid
from souk.kit.money import Money

OrderStatus = Literal["draft", "placed", "canceled", "rejected"]
PaymentStatus = Literal["none", "authorized", "partially_paid", "paid", "partially_refunded", "refunded", "voided"]
FulfillmentStatus = Literal["unfulfilled", "partial", "fulfilled", "delivered", "canceled", "returned"]

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+(?!\n)$", examples=["guest@example.com"])]
Option = Annotated[str, Meta(min_length=1, max_length=64, examples=["standard"])]
Code = Annotated[str, Meta(min_length=1, max_length=64, examples=["WELCOME10"])]
Note = Annotated[str, Meta(max_length=1000)]


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an order goes."""

    name: Name
    line1: Name
    city: Name
    postal_code: Annotated[str, Meta(min_length=1, max_length=20)]
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$", description="ISO 3166-1 alpha-2", examples=["DE"])]
    line2: Annotated[str, Meta(max_length=200)] | None = None
    region: Annotated[str, Meta(max_length=100)] | None = None
    phone_number: Annotated[str, Meta(max_length=32)] | None = None


class PaymentChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the buyer wants to pay now; the token is the payment provider's, never a card number."""

    method: Annotated[str, Meta(min_length=1, max_length=32, examples=["card"])]
    token: Annotated[str, Meta(min_length=1, max_length=255, examples=["tok_visa"])] | None = None
    return_url: Annotated[str, Meta(max_length=2000, pattern="^https?://")] | None = None


class QuoteCart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a cart costs at an address."""

    cart_id: UUID
    shipping_address: Address | None = None
    shipping_option: Option | None = None
    shipping_options: Annotated[dict[UUID, Option], Meta(max_length=100)] | None = None
    coupon: Code | None = None


class PlaceOrder(QuoteCart, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Turn a cart into an order, and pay it if a payment is given."""

    shipping_address: Address
    id: UUID | None = None
    email: Email | None = None
    note: Note | None = None
    expected_total: Money | None = None
    payment: PaymentChoice | None = None


class ChangeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a buyer may still change before anything is shipped; what is left out stays as it is.

    The shipping option, and an address in another country, only as long as the order is not paid: they change its total.
    """

    shipping_address: Address | msgspec.UnsetType = msgspec.UNSET
    note: Note | msgspec.UnsetType | None = msgspec.UNSET
    shipping_option: Option | msgspec.UnsetType = msgspec.UNSET
    shipping_options: Annotated[dict[UUID, Option], Meta(max_length=100)] | msgspec.UnsetType = msgspec.UNSET


class LinePieces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces of a line of an order."""

    line_id: Annotated[UUID, Meta(description="the id of an item of the order")]
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)]


class NewParcel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a seller packs of an order: these lines, or all that is left of their part."""

    order_id: UUID
    seller_id: UUID | None = None
    items: Annotated[tuple[LinePieces, ...], Meta(min_length=1, max_length=500)] | None = None


class CancelOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of an order is cancelled and why: these pieces, what one seller has not sent yet, or the whole order."""

    reason: Annotated[str, Meta(max_length=200)] = "canceled by the buyer"
    items: Annotated[tuple[LinePieces, ...], Meta(min_length=1, max_length=500)] | None = None
    seller_id: UUID | None = None


class CartQuote(msgspec.Struct, frozen=True):
    """The final total of a cart at an address, and the shipping options that there are."""

    items: "tuple[OrderItem, ...]"
    parts: "tuple[QuotedPart, ...]"
    subtotal: Money
    discount: Money
    shipping: Money | None
    tax: Money | None
    total: Money
    tax_included: bool
    coupon: str | None = None


class ShippingChoice(msgspec.Struct, frozen=True):
    """A way to ship one seller's part of the order."""

    option: str
    name: str
    price: Money
    days_min: int
    days_max: int


class QuotedPart(msgspec.Struct, frozen=True):
    """One seller's part of a quote."""

    seller_id: UUID
    options: tuple[ShippingChoice, ...]
    shipping_option: str | None
    shipping: Money | None
    total: Money


class OrderItem(msgspec.Struct, frozen=True):
    """A line of an order, frozen when it was placed."""

    id: UUID
    product_id: UUID
    variant_id: UUID
    seller_id: UUID
    sku: str
    name: str
    quantity: int
    unit_price: Money
    discount: Money
    tax: Money
    total: Money
    tax_rate_ppm: int = 0
    image_url: str | None = None
    shipped: int = 0
    delivered: int = 0
    canceled: int = 0
    returned: int = 0


class OrderPart(msgspec.Struct, frozen=True):
    """What one seller ships."""

    seller_id: UUID
    items: tuple[OrderItem, ...]
    status: FulfillmentStatus
    shipping: Money
    tax: Money
    total: Money
    shipping_option: str | None = None


class OrderPayment(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the payment of an order stands."""

    status: str
    method: str | None = None
    decline_code: str | None = None


class NextAction(msgspec.Struct, frozen=True):
    """What the buyer has to do before the payment can go on."""

    redirect_url: str


class Order(msgspec.Struct, frozen=True):
    """What a buyer placed and pays once."""

    id: UUID
    number: int
    status: OrderStatus
    payment_status: PaymentStatus
    fulfillment_status: FulfillmentStatus
    currency: str
    items: tuple[OrderItem, ...]
    parts: tuple[OrderPart, ...]
    subtotal: Money
    discount: Money
    shipping: Money
    tax: Money
    total: Money
    tax_included: bool
    version: int
    created_at: datetime
    updated_at: datetime
    user_id: UUID | None = None
    cart_id: UUID | None = None
    email: str | None = None
    coupon: str | None = None
    shipping_address: Address | None = None
    note: str | None = None
    expires_at: datetime | None = None
    placed_at: datetime | None = None
    payment: OrderPayment | None = None
    next_action: NextAction | None = None


class TimelineEntry(msgspec.Struct, frozen=True):
    """Something that happened to an order."""

    id: UUID
    type: str
    data: dict[str, object]
    created_at: datetime
    actor_id: UUID | None = None


class ItemsUnavailable(Conflict, code="orders.items_unavailable"):
    """Some items of the cart cannot be bought any more, or not in the cart's currency."""

    skus: tuple[str, ...]


class CartEmpty(Conflict, code="orders.cart_empty"):
    """There is nothing in this cart."""


class CartClosed(Conflict, code="orders.cart_closed"):
    """This cart is {cart_status}: fill a new one."""

    cart_status: str


class OrderIdTaken(Conflict, code="orders.id_taken"):
    """There is an order with this id already; make a new id for a new order."""


class EmailMissing(Invalid, code="orders.email_missing"):
    """A guest's order needs an e-mail address."""


class UnknownShippingOption(Invalid, code="orders.unknown_shipping_option"):
    """The shipping option {option} is not offered for this seller's part."""

    option: str
    seller_id: UUID


class TotalChanged(Conflict, code="orders.total_changed"):
    """The total is not what you expected; look at it again before you buy."""

    expected: Money
    total: Money


class PaymentExpired(Conflict, code="orders.payment_expired"):
    """The order was not paid in time; what was set aside for it is free again."""


class NotCancellable(Conflict, code="orders.not_cancellable"):
    """This order cannot be cancelled any more: it is {order_status} and {fulfillment_status}."""

    order_status: str
    fulfillment_status: str


class TooMuchCanceled(Conflict, code="orders.too_much_canceled"):
    """{asked} pieces of line {line_id} are more than the {left} that have not left yet."""

    line_id: UUID
    asked: int
    left: int


class NotPackable(Conflict, code="orders.not_packable"):
    """Nothing is left to pack: the order is {order_status} and {fulfillment_status}."""

    order_status: str
    fulfillment_status: str


class TooMuchPacked(Conflict, code="orders.too_much_packed"):
    """{asked} pieces of line {line_id} are more than the {left} that are left to pack."""

    line_id: UUID
    asked: int
    left: int


class NotChangeable(Conflict, code="orders.not_changeable"):
    """This cannot be changed on an order that is {order_status}."""

    order_status: str


class PaymentUnderWay(Conflict, code="orders.payment_under_way"):
    """A payment of this order has begun: it cannot become another until that one is refused."""


class AddressCountryFixed(Conflict, code="orders.address_country_fixed"):
    """Shipping and tax were paid for {country}: cancel the order and place it anew to ship it to another country."""

    country: str
