"""The vocabulary of shipping: zones and rates, parcels on their way, and addresses that are not served."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict
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


class NotServed(Conflict, code="shipping.not_served"):
    """Nobody ships these parcels to this address in {country}."""

    country: str
    seller_ids: tuple[UUID, ...]


ShipmentStatus = Literal["packed", "dispatched", "delivered", "canceled"]
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


class ShipmentLine(msgspec.Struct, frozen=True):
    """So many pieces of an order's line."""

    line_id: UUID
    sku: str
    name: str
    quantity: int


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
    weight_g: int | None = None
    dispatched_at: datetime | None = None
    delivered_at: datetime | None = None
    canceled_at: datetime | None = None


class Consignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who carries a parcel, and under which number it can be followed."""

    carrier: ShortText | UnsetType | None = UNSET
    tracking_number: ShortText | UnsetType | None = UNSET
    weight_g: Annotated[int, Meta(ge=1, le=1_000_000_000, description="grams", examples=[750])] | UnsetType | None = UNSET


class WrongShipmentStatus(Conflict, code="shipping.wrong_status"):
    """This parcel is {shipment_status}: that cannot be done with it."""

    shipment_status: str
