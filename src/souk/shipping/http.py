"""Shipping rates, zones and parcels over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from souk import shipping
from souk.kit.errors import InvalidField
from souk.kit.http import GUEST_OR_USER, PUBLIC, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route
from souk.shipping.types import Consignment, NewZone, RateRequest, SellerRates, Shipment, Zone, ZoneChanges

OfOrder = Annotated[UUID | None, QueryParameter(description="The parcels of this order that you may see")]
OfSeller = Annotated[UUID | None, QueryParameter(description="The parcels of your seller account")]


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


@route("GET", "/shippings", GUEST_OR_USER)
async def list_shipments(order_id: OfOrder = None, seller_id: OfSeller = None, limit: Limit = 50, cursor: Cursor = None) -> Page[Shipment]:
    """The parcels of an order, or those of your seller account, the oldest first."""
    if order_id is not None:
        found = await shipping.get_shipments_of(order_id)
        return Page(tuple(one for one in found if seller_id in (None, one.seller_id)))
    if seller_id is None:
        raise InvalidField("order_id", "is missing: name an order or your seller account")
    key = read_cursor(cursor, tuple[UUID])
    return make_page(await shipping.list_shipments(seller_id, key[0] if key else None, limit + 1), limit, lambda one: (one.id,))


@route("GET", "/shippings/{shipment_id:uuid}", GUEST_OR_USER)
async def get_shipment(shipment_id: FromPath[UUID]) -> Shipment:
    """A parcel: its buyer's, its seller's."""
    return await shipping.get_shipment(shipment_id)


@route("PATCH", "/shippings/{shipment_id:uuid}", SIGNED_IN)
async def change_shipment(shipment_id: FromPath[UUID], data: JSONBody[Consignment]) -> Shipment:
    """Say who carries a parcel, under which number, and what it weighs."""
    return await shipping.change_shipment(shipment_id, data)


@route("DELETE", "/shippings/{shipment_id:uuid}", SIGNED_IN, status_code=200)
async def cancel_shipment(shipment_id: FromPath[UUID]) -> Shipment:
    """Unpack a parcel that has not left; its pieces can go into another."""
    return await shipping.cancel_shipment(shipment_id)


@route("POST", "/shippings/{shipment_id:uuid}/dispatch", SIGNED_IN, status_code=200)
async def dispatch_shipment(shipment_id: FromPath[UUID], data: JSONBody[Consignment | None] = None) -> Shipment:
    """A parcel leaves. A repeated request changes nothing."""
    return await shipping.dispatch_shipment(shipment_id, data or Consignment())


@route("POST", "/shippings/{shipment_id:uuid}/deliver", SIGNED_IN, status_code=200)
async def deliver_shipment(shipment_id: FromPath[UUID]) -> Shipment:
    """A parcel has arrived. A repeated request changes nothing."""
    return await shipping.deliver_shipment(shipment_id)


routes: tuple[BaseRouteHandler, ...] = (
    quote_rates,
    create_zone,
    list_zones,
    show_zone,
    change_zone,
    remove_zone,
    list_shipments,
    get_shipment,
    change_shipment,
    cancel_shipment,
    dispatch_shipment,
    deliver_shipment,
)
