"""What it costs to send parcels to an address: zones are read for a batch in one statement, then the rates are chosen."""

from collections.abc import Iterable
from uuid import UUID

from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.errors import DomainError, InvalidField
from souk.kit.money import Money
from souk.shipping.database import db
from souk.shipping.types import NO_SHIPPING, Method, NotServed, Parcel, Rate, RateRequest, SellerRates, Zone
from souk.shipping.zones import COLUMNS, normalise_postal_code

FIND_ZONES = f"""
    SELECT {COLUMNS} FROM shipping.zone AS z
    WHERE z.active AND (z.seller_id IS NULL OR z.seller_id = ANY($1)) AND (z.countries = '{{}}' OR z.countries && $2)
"""


@exposed.batched(timeout=3.0, lanes=2, turns=False)
async def quote_rates(asked: tuple[Asked[RateRequest], ...]) -> tuple[tuple[SellerRates, ...] | DomainError, ...]:
    """The ways to send each parcel to the address, the cheapest first. Changes nothing.

    A seller's own rates come before the platform's, which are for what the seller has no rate for. What needs no shipping has
    one rate, "none". Raises NotServed if there is no rate for one of the parcels, InvalidField for a worth in another currency.
    """
    requests = tuple(one.request for one in asked)
    sellers = {parcel.seller_id for request in requests for parcel in request.parcels if parcel.requires_shipping}
    countries = {request.country for request in requests}
    zones = await db.all(Zone, FIND_ZONES, sorted(sellers), sorted(countries))
    return tuple(answer(request, zones) for request in requests)


def answer(request: RateRequest, zones: tuple[Zone, ...]) -> tuple[SellerRates, ...] | DomainError:
    """The rates of every parcel, in the order of the parcels, or why there are none."""
    if any(parcel.value.currency != request.currency or parcel.value.amount < 0 for parcel in request.parcels):
        return InvalidField("value", "is to be an amount of zero or more in the currency of the request")
    found = tuple(SellerRates(parcel.seller_id, find_rates(parcel, request, zones)) for parcel in request.parcels)
    if not_served := tuple(dict.fromkeys(one.seller_id for one in found if not one.rates)):
        return NotServed(request.country, not_served)
    return found


def find_rates(parcel: Parcel, request: RateRequest, zones: Iterable[Zone]) -> tuple[Rate, ...]:
    """The ways to send a parcel, the cheapest first."""
    if not parcel.requires_shipping:
        return (Rate(NO_SHIPPING, "No shipping", Money(0, request.currency), 0, 0),)
    for owner in (parcel.seller_id, None):
        zone = serving_zone(zones, owner, request)
        rates = [rate for method in zone.methods if (rate := price_method(method, parcel, request.currency))] if zone else []
        if rates:
            return tuple(sorted(rates, key=lambda rate: (rate.price.amount, rate.days_max, rate.option)))
    return ()


def serving_zone(zones: Iterable[Zone], owner: UUID | None, request: RateRequest) -> Zone | None:
    """The one zone of this owner that serves the address: the closest, then by priority, then the older."""
    fitting = [
        (-closeness, zone.priority, zone.id, zone)
        for zone in zones
        if zone.seller_id == owner and (closeness := measure_closeness(zone, request)) is not None
    ]
    return min(fitting)[-1] if fitting else None


def measure_closeness(zone: Zone, request: RateRequest) -> int | None:
    """How closely a zone describes the address: 0 for everywhere, 1 for its country, more for each character of its postal code.

    None if the zone does not serve it.
    """
    if not zone.countries:
        return 0
    if request.country not in zone.countries:
        return None
    code = normalise_postal_code(request.postal_code or "")
    if any(code.startswith(prefix) for prefix in zone.postal_exclude):
        return None
    if not zone.postal_include:
        return 1
    matching = [len(prefix) for prefix in zone.postal_include if code.startswith(prefix)]
    return 1 + max(matching) if matching else None


def price_method(method: Method, parcel: Parcel, currency: str) -> Rate | None:
    """The cheapest rate of a method for a parcel; None if it takes no such parcel."""
    prices = [
        rate.price.amount
        for rate in method.rates
        if rate.price.currency == currency
        and within(parcel.weight_g, rate.weight_from_g, rate.weight_below_g)
        and within(parcel.value.amount, rate.total_from, rate.total_below)
    ]
    return Rate(method.option, method.name, Money(min(prices), currency), method.days_min, method.days_max) if prices else None


def within(value: int, at_least: int, below: int | None) -> bool:
    return at_least <= value and (below is None or value < below)
