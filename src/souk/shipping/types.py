"""The vocabulary of shipping: zones and rates, parcels on their way, and addresses that are not served."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict, NotFound, Unauthenticated
from souk.kit.money import LARGEST_AMOUNT, Currency, Money

Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$", description="ISO 3166-1 alpha-2 code", examples=["DE"])]
Weight = Annotated[int, Meta(ge=0, le=1_000_000_000, description="grams", examples=[750])]
Total = Annotated[int, Meta(ge=0, le=LARGEST_AMOUNT, description="minor units of the price's currency", examples=[5000])]
PostalCode = Annotated[str, Meta(max_length=20, examples=["10115"])]
Prefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 -]{0,19}(?!\n)$", description="how postal codes begin", examples=["27498"])]
Prefixes = Annotated[tuple[Prefix, ...], Meta(max_length=1000)]
Option = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}(?!\n)$", description="by which buyers choose it", examples=["standard"])]
Name = Annotated[str, Meta(min_length=1, max_length=200, examples=["Standard"])]
Days = Annotated[int, Meta(ge=0, le=365)]
Priority = Annotated[int, Meta(ge=0, le=10_000, description="of two zones that fit equally well the lower number serves")]


class Parcel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one seller sends: its weight and what it is worth."""

    seller_id: UUID
    weight_g: Weight
    value: Money
    requires_shipping: bool = True


class RateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parcels for an address, priced in a currency."""

    currency: Currency
    country: Country
    parcels: Annotated[tuple[Parcel, ...], Meta(min_length=1, max_length=200)]
    postal_code: PostalCode | None = None


class Rate(msgspec.Struct, frozen=True):
    """One way to send a parcel; `option` is the stable code by which it is chosen."""

    option: str
    name: str
    price: Money
    days_min: int
    days_max: int


class SellerRates(msgspec.Struct, frozen=True):
    """The ways to send one seller's parcel, the cheapest first."""

    seller_id: UUID
    rates: tuple[Rate, ...]


class ZoneRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price for parcels of at least this weight and worth, and below those bounds; the cheapest rate that fits is taken.

    Without bounds it is a flat rate; one of zero from a worth on is free shipping above it.
    """

    price: Money
    weight_from_g: Weight = 0
    weight_below_g: Weight | None = None
    total_from: Total = 0
    total_below: Total | None = None


class Method(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way to ship into a zone."""

    option: Option
    name: Name
    days_min: Days
    days_max: Days
    rates: Annotated[tuple[ZoneRate, ...], Meta(min_length=1, max_length=200)]


Countries = Annotated[tuple[Country, ...], Meta(max_length=300, description="none: everywhere")]
Methods = Annotated[tuple[Method, ...], Meta(max_length=20)]


class ZoneTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody ships to, and for how much.

    An address is served by one zone: by the one with the longest beginning of its postal code, then by one that names its
    country, then by one for everywhere. A seller's own zones come before the platform's.
    """

    name: Name
    seller_id: UUID | None = None
    countries: Countries = ()
    postal_include: Prefixes = ()
    postal_exclude: Prefixes = ()
    priority: Priority = 100
    active: bool = True
    methods: Methods = ()


class NewZone(ZoneTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A zone and its methods."""


class Zone(ZoneTerms, frozen=True, kw_only=True):
    """A zone and its methods."""

    id: UUID
    created_at: datetime
    updated_at: datetime


class ZoneChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; a field that is absent stays as it is, methods are replaced as a whole."""

    name: Name | UnsetType = UNSET
    countries: Countries | UnsetType = UNSET
    postal_include: Prefixes | UnsetType = UNSET
    postal_exclude: Prefixes | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    methods: Methods | UnsetType = UNSET


# The code of the only way to send what needs no shipping.
NO_SHIPPING = "none"


class NotServed(Conflict, code="shipping.not_served"):
    """Nobody ships these parcels to this address in {country}."""

    country: str
    seller_ids: tuple[UUID, ...]


ShipmentStatus = Literal["packed", "dispatched", "delivered", "canceled"]
# Where the carrier says that a parcel is; its status is what the shop did with it.
TrackingStatus = Literal[
    "unknown",
    "pre_transit",
    "in_transit",
    "out_for_delivery",
    "available_for_pickup",
    "failure",
    "delivered",
    "return_to_sender",
    "cancelled",
]
ShortText = Annotated[str, Meta(min_length=1, max_length=100)]


class Address(msgspec.Struct, frozen=True):
    """Where a parcel goes, as its order says."""

    name: str
    line1: str
    city: str
    postal_code: str
    country: str
    line2: str | None = None
    region: str | None = None
    phone_number: str | None = None


AddressText = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class NewSender(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a seller's parcels come from."""

    name: AddressText
    line1: AddressText
    city: AddressText
    postal_code: PostalCode
    country: Country
    line2: AddressText | None = None
    region: AddressText | None = None
    phone_number: Annotated[str, Meta(max_length=40, pattern=r"^[^\x00]*$")] | None = None


class Sender(msgspec.Struct, frozen=True):
    """Where a seller's parcels come from."""

    seller_id: UUID
    address: Address
    created_at: datetime
    updated_at: datetime


class ShipmentLine(msgspec.Struct, frozen=True):
    """So many pieces of an order's line."""

    line_id: UUID
    sku: str
    name: str
    quantity: int
    product_id: UUID | None = None


class OpenShipment(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that a seller has packed, and what has to be known of its order."""

    id: UUID
    order_id: UUID
    order_number: int
    seller_id: UUID
    lines: Annotated[tuple[ShipmentLine, ...], Meta(min_length=1)]
    created_at: datetime
    user_id: UUID | None = None
    guest_token_hash: bytes | None = None
    shipping_option: str | None = None
    address: Address | None = None


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel of an order: what is in it, where it goes, and how far it has come."""

    id: UUID
    order_id: UUID
    order_number: int
    seller_id: UUID
    status: ShipmentStatus
    lines: tuple[ShipmentLine, ...]
    shipping_option: str | None
    address: Address | None
    version: int
    created_at: datetime
    updated_at: datetime
    carrier: str | None = None
    tracking_number: str | None = None
    tracking_status: TrackingStatus | None = None
    weight_g: int | None = None
    dispatched_at: datetime | None = None
    delivered_at: datetime | None = None
    canceled_at: datetime | None = None


class Consignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who carries a parcel, and under which number it can be followed."""

    carrier: ShortText | UnsetType | None = UNSET
    tracking_number: ShortText | UnsetType | None = UNSET
    weight_g: Annotated[int, Meta(ge=1, le=1_000_000_000, description="grams", examples=[750])] | UnsetType | None = UNSET


class NewTracking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a seller says that a parcel is; the id makes it safe to say it again."""

    status: TrackingStatus
    occurred_at: Annotated[datetime, Meta(tz=True)]
    id: UUID | None = None
    message: AddressText | None = None
    place: Annotated[AddressText, Meta(description="a town", examples=["Leipzig"])] | None = None


class TrackingEvent(msgspec.Struct, frozen=True):
    """What a carrier told of a parcel: what happened to it, in which town, when."""

    status: TrackingStatus
    message: str | None
    place: str | None
    occurred_at: datetime
    carrier: str
    created_at: datetime


class Tracking(msgspec.Struct, frozen=True):
    """Where a parcel is and was, the newest first."""

    shipment_id: UUID
    carrier: str | None
    tracking_number: str | None
    tracking_status: TrackingStatus | None
    events: tuple[TrackingEvent, ...]
    created_at: datetime
    updated_at: datetime


class LabelOffer(msgspec.Struct, frozen=True):
    """What a carrier would take for a label of a service, and in how many days it would deliver, if it says so."""

    carrier: str
    service: str
    price: Money
    days: int | None


LabelStatus = Literal["asked", "bought", "failed", "voiding", "voided"]
CarrierName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}(?!\n)$", examples=["easypost"])]


class BuyLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What label is wanted: the carrier's usual service, unless one is named."""

    carrier: CarrierName | None = None
    service: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00]+$", examples=["express"])] | None = None
    weight_g: Annotated[int, Meta(ge=1, le=1_000_000_000, description="grams, if the parcel has no weight yet", examples=[750])] | None = (
        None
    )
    currency: Currency | None = None


class Label(msgspec.Struct, frozen=True):
    """A label of a parcel: asked for until its carrier has said what it did."""

    shipment_id: UUID
    carrier: str
    service: str | None
    status: LabelStatus
    tracking_number: str | None
    price: Money | None
    failure_code: str | None
    created_at: datetime
    updated_at: datetime


class CarrierWebhook(msgspec.Struct, frozen=True):
    """A request that came to a carrier's address, as it came; header names in lower case."""

    carrier: str
    headers: dict[str, str]
    body: bytes


class CarrierReceipt(msgspec.Struct, frozen=True):
    """What became of a carrier's webhook: it had an effect, came before, or is about no parcel of ours."""

    status: Literal["applied", "repeated", "ignored"]


class WrongLabelStatus(Conflict, code="shipping.wrong_label_status"):
    """This label is {label_status}: that cannot be done with it."""

    label_status: str


class SenderUnknown(Conflict, code="shipping.sender_unknown"):
    """Say first where your parcels come from: PUT /shipping-senders."""


class CarrierUnknown(NotFound, code="shipping.carrier_unknown"):
    """No such carrier is set up here."""


class WebhookForged(Unauthenticated, code="shipping.webhook_forged"):
    """The signature is not that of the carrier."""


class ShipmentIds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parcels that are handed over together."""

    ids: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=500)]


class ShipmentAnswer(msgspec.Struct, frozen=True):
    """How one of them stands now; with the code of the refusal if it was not moved on."""

    id: UUID
    status: ShipmentStatus | None
    refusal: str | None


class WrongShipmentStatus(Conflict, code="shipping.wrong_status"):
    """This parcel is {shipment_status}: that cannot be done with it."""

    shipment_status: str
