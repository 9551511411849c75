"""Shipping rates and zones over HTTP."""

from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from souk import shipping
from souk.kit.http import PUBLIC, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route
from souk.shipping.types import NewZone, RateRequest, SellerRates, Zone, ZoneChanges


@route("POST", "/shippings/rates", PUBLIC, status_code=200)
async def quote_rates(data: JSONBody[RateRequest]) -> Page[SellerRates]:
    """What it costs to send parcels to an address: one item per parcel, its rates the cheapest first."""
    return Page(await shipping.quote_rates(data))


@route("POST", "/shipping-zones", SIGNED_IN)
async def create_zone(data: JSONBody[NewZone]) -> Zone:
    """Make a zone with its methods (an admin, or a seller for their own parcels)."""
    return await shipping.create_zone(data)


@route("GET", "/shipping-zones", SIGNED_IN)
async def list_zones(limit: Limit = 50, cursor: Cursor = None) -> Page[Zone]:
    """Zones, the oldest first: all for an admin, a seller's own else."""
    key = read_cursor(cursor, tuple[UUID])
    return make_page(await shipping.list_zones(key[0] if key else None, limit + 1), limit, lambda zone: (zone.id,))


@route("GET", "/shipping-zones/{zone_id:uuid}", SIGNED_IN)
async def show_zone(zone_id: FromPath[UUID]) -> Zone:
    """A zone with its methods."""
    return await shipping.get_zone(zone_id)


@route("PATCH", "/shipping-zones/{zone_id:uuid}", SIGNED_IN)
async def change_zone(zone_id: FromPath[UUID], data: JSONBody[ZoneChanges]) -> Zone:
    """Change what is given of a zone; methods are replaced as a whole."""
    return await shipping.change_zone(zone_id, data)


@route("DELETE", "/shipping-zones/{zone_id:uuid}", SIGNED_IN)
async def remove_zone(zone_id: FromPath[UUID]) -> None:
    """Remove a zone; orders keep what they paid."""
    await shipping.remove_zone(zone_id)


routes: tuple[BaseRouteHandler, ...] = (quote_rates, create_zone, list_zones, show_zone, change_zone, remove_zone)
