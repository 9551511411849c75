"""Shipping knows zones and what it costs to send a seller's parcel to an address."""

from souk.shipping.rates import quote_rates
from souk.shipping.types import (
    Method,
    NewZone,
    NotServed,
    Parcel,
    Rate,
    RateRequest,
    SellerRates,
    Zone,
    ZoneChanges,
    ZoneRate,
)
from souk.shipping.zones import change_zone, create_zone, get_zone, list_zones, remove_zone

__all__ = [
    "Method",
    "NewZone",
    "NotServed",
    "Parcel",
    "Rate",
    "RateRequest",
    "SellerRates",
    "Zone",
    "ZoneChanges",
    "ZoneRate",
    "change_zone",
    "create_zone",
    "get_zone",
    "list_zones",
    "quote_rates",
    "remove_zone",
]
