"""Parcels for tests: packed for a seller, as orders tells shipping of them."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from uuid import UUID

from tests.conftest import asked_by

from souk import shipping
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id

SELLER = new_id()
ADDRESS = shipping.Address(name="Ada", line1="1 Main St", city="Berlin", postal_code="10115", country="DE")
SENDER = shipping.NewSender(name="Lighthouse Mugs", line1="Hafenstr. 7", city="Leipzig", postal_code="04109", country="DE")


def as_seller(*seller_ids: UUID) -> AbstractContextManager[None]:
    return asked_by("buyer", sells_for=seller_ids or (SELLER,))


def as_system() -> AbstractContextManager[None]:
    return asking(Caller(SYSTEM))


def describe_parcel(**fields: object) -> shipping.OpenShipment:
    """What orders says of a parcel with two mugs."""
    known: dict[str, object] = {
        "id": new_id(),
        "order_id": new_id(),
        "order_number": 1_000_123,
        "seller_id": SELLER,
        "lines": (shipping.ShipmentLine(new_id(), "MUG", "Mug", 2),),
        "created_at": datetime.now(UTC),
        "user_id": new_id(),
        "shipping_option": "standard",
        "address": ADDRESS,
    }
    return shipping.OpenShipment(**(known | fields))  # type: ignore[arg-type]


async def pack(**fields: object) -> shipping.Shipment:
    """A parcel that was packed a moment ago."""
    with as_system():
        return await shipping.open_shipment(describe_parcel(**fields))


async def dispatch(parcel: shipping.Shipment, consignment: shipping.Consignment | None = None) -> shipping.Shipment:
    with as_seller(parcel.seller_id):
        return await shipping.dispatch_shipment(parcel.id, consignment or shipping.Consignment())
