"""Shipping rates, zones and parcels over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar import Request, Response
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from souk import shipping
from souk.kit.errors import InvalidField
from souk.kit.http import GUEST_OR_USER, PUBLIC, SIGNED_IN, SIGNED_WEBHOOK, Cursor, Limit, Page, make_page, read_cursor, route
from souk.shipping.types import (
    BuyLabel,
    CarrierReceipt,
    CarrierWebhook,
    Consignment,
    Label,
    LabelOffer,
    NewSender,
    NewTracking,
    NewZone,
    RateRequest,
    SellerRates,
    Sender,
    Shipment,
    ShipmentAnswer,
    ShipmentIds,
    Tracking,
    Zone,
    ZoneChanges,
)

PDF = "application/pdf"

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


@route(
    "GET",
    "/shippings/{shipment_id:uuid}/label",
    SIGNED_IN,
    media_type=PDF,
    responses={200: ResponseSpec(data_container=bytes, description="The label", media_type=PDF, generate_examples=False)},
)
async def print_label(shipment_id: FromPath[UUID]) -> Response[bytes]:
    """The label of a parcel of your seller account as PDF, 4 by 6 inches: the carrier's if it gave one, else the shop's own."""
    headers = {"Content-Disposition": f'inline; filename="label-{shipment_id}.pdf"'}
    return Response(await shipping.print_label(shipment_id), media_type=PDF, headers=headers)


@route("POST", "/shippings/{shipment_id:uuid}/label", SIGNED_IN, status_code=200)
async def buy_label(shipment_id: FromPath[UUID], data: JSONBody[BuyLabel | None] = None) -> Label:
    """Buy a label for a parcel of your seller account, once however often it is asked. `asked` while the carrier has not answered."""
    return await shipping.buy_label(shipment_id, data or BuyLabel())


@route("POST", "/shippings/{shipment_id:uuid}/label/quotes", SIGNED_IN, status_code=200)
async def quote_labels(shipment_id: FromPath[UUID], data: JSONBody[BuyLabel | None] = None) -> Page[LabelOffer]:
    """What a carrier would take for a label of this parcel, the cheapest first."""
    return Page(await shipping.quote_labels(shipment_id, data or BuyLabel()))


@route("GET", "/shippings/{shipment_id:uuid}/label/purchase", SIGNED_IN)
async def get_label(shipment_id: FromPath[UUID]) -> Label:
    """How it stands with the label that was asked for."""
    return await shipping.get_label(shipment_id)


@route("DELETE", "/shippings/{shipment_id:uuid}/label", SIGNED_IN, status_code=200)
async def void_label(shipment_id: FromPath[UUID]) -> Label:
    """Give the label of a parcel that has not left back to its carrier."""
    return await shipping.void_label(shipment_id)


@route("POST", "/shippings/webhooks/{carrier:str}", SIGNED_WEBHOOK, status_code=200)
async def receive_tracking(request: Request[object, object, State], carrier: FromPath[str]) -> CarrierReceipt:
    """Where a carrier tells us of parcels, signed by it."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return await shipping.receive_tracking(CarrierWebhook(carrier, headers, await request.body()))


@route("GET", "/shippings/{shipment_id:uuid}/tracking", GUEST_OR_USER)
async def get_tracking(shipment_id: FromPath[UUID]) -> Tracking:
    """Where a parcel is and was, as its carrier says: for its buyer and its seller."""
    return await shipping.get_tracking(shipment_id)


@route("POST", "/shippings/{shipment_id:uuid}/tracking", SIGNED_IN, status_code=200)
async def report_tracking(shipment_id: FromPath[UUID], data: JSONBody[NewTracking]) -> Tracking:
    """Say where a parcel of your seller account is, if no carrier does. The same id again changes nothing."""
    await shipping.report_tracking(shipment_id, data)
    return await shipping.get_tracking(shipment_id)


@route("PUT", "/shipping-senders/{seller_id:uuid}", SIGNED_IN)
async def set_sender(seller_id: FromPath[UUID], data: JSONBody[NewSender]) -> Sender:
    """Say where the parcels of your seller account come from."""
    return await shipping.set_sender(seller_id, data)


@route("GET", "/shipping-senders/{seller_id:uuid}", SIGNED_IN)
async def get_sender(seller_id: FromPath[UUID]) -> Sender:
    """Where the parcels of your seller account come from."""
    return await shipping.get_sender(seller_id)


@route("POST", "/shippings/{shipment_id:uuid}/dispatch", SIGNED_IN, status_code=200)
async def dispatch_shipment(shipment_id: FromPath[UUID], data: JSONBody[Consignment | None] = None) -> Shipment:
    """A parcel leaves. A repeated request changes nothing."""
    return await shipping.dispatch_shipment(shipment_id, data or Consignment())


@route("POST", "/shippings/{shipment_id:uuid}/deliver", SIGNED_IN, status_code=200)
async def deliver_shipment(shipment_id: FromPath[UUID]) -> Shipment:
    """A parcel has arrived. A repeated request changes nothing."""
    return await shipping.deliver_shipment(shipment_id)


@route("POST", "/shippings/dispatch", SIGNED_IN, status_code=200)
async def dispatch_shipments(data: JSONBody[ShipmentIds]) -> Page[ShipmentAnswer]:
    """Up to 500 parcels of your seller account leave; one answer each. A repeated request changes nothing."""
    return Page(await shipping.dispatch_shipments(data))


@route("POST", "/shippings/deliver", SIGNED_IN, status_code=200)
async def deliver_shipments(data: JSONBody[ShipmentIds]) -> Page[ShipmentAnswer]:
    """Up to 500 parcels of your seller account have arrived; one answer each. A repeated request changes nothing."""
    return Page(await shipping.deliver_shipments(data))


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
    dispatch_shipments,
    deliver_shipments,
    print_label,
    quote_labels,
    buy_label,
    get_label,
    void_label,
    receive_tracking,
    get_tracking,
    report_tracking,
    set_sender,
    get_sender,
)
