"""What carriers tell of a parcel says where it is, however late, often or disorderly they tell it."""

import asyncio
import itertools
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from tests.conftest import asked_by
from tests.shipping.parcels import as_seller, as_system, dispatch, pack

from souk import shipping
from souk.app import Shop
from souk.kit.callers import Caller, asking
from souk.kit.errors import InvalidField, NotFound
from souk.kit.ids import new_id
from souk.shipping import NewTracking
from souk.shipping.carriers.carrier import Scan
from souk.shipping.database import db
from souk.shipping.settings import settings
from souk.shipping.tracking import write_scans

BEGAN = datetime(2026, 3, 1, 8, tzinfo=UTC)
TOLD = "SELECT payload->>'tracking_status' FROM shipping.outbox WHERE type = 'shipping.TrackingChanged' ORDER BY xid, id"
DELIVERED = "SELECT count(*) FROM shipping.outbox WHERE type = 'shipping.ShipmentDelivered'"


def scan(status: str, hour: int, event_id: str | None = None) -> Scan:
    at = BEGAN + timedelta(hours=hour)
    return Scan(event_id or f"evt_{hour}_{status}", status, at, f"It is {status}", "Leipzig")  # type: ignore[arg-type]


async def tell(parcel: shipping.Shipment, *scans: Scan) -> int:
    async with db.transaction() as tx:
        return await write_scans(tx, "sandbox", {parcel.id: scans})


async def look(parcel: shipping.Shipment) -> shipping.Tracking:
    with as_system():
        return await shipping.get_tracking(parcel.id)


async def told() -> list[str]:
    return [row[0] for row in await db.pool.fetch(TOLD)]


async def test_a_parcel_is_where_its_newest_event_says(shop: Shop) -> None:
    parcel = await pack()
    assert (await look(parcel)).tracking_status is None
    await tell(parcel, scan("pre_transit", 0))
    await tell(parcel, scan("in_transit", 5), scan("out_for_delivery", 9))
    tracking = await look(parcel)
    assert tracking.tracking_status == "out_for_delivery"
    assert [one.status for one in tracking.events] == ["out_for_delivery", "in_transit", "pre_transit"]
    assert (tracking.events[0].place, tracking.events[0].message) == ("Leipzig", "It is out_for_delivery")
    assert await told() == ["pre_transit", "out_for_delivery"]
    with as_system():
        assert (await shipping.get_shipment(parcel.id)).status == "packed", "what a carrier says dispatches nothing"


async def test_in_whatever_order_events_come_the_end_is_the_same(shop: Shop) -> None:
    steps = (("pre_transit", 0), ("in_transit", 5), ("failure", 7), ("unknown", 30))
    for order in itertools.permutations(steps):
        parcel = await pack()
        for status, hour in order:
            await tell(parcel, scan(status, hour))
        assert (await look(parcel)).tracking_status == "failure", order


@pytest.mark.parametrize("final", ["delivered", "return_to_sender", "cancelled"])
async def test_after_the_last_event_nothing_more_is_to_come(shop: Shop, final: str) -> None:
    parcel = await pack()
    await tell(parcel, scan(final, 10))
    await tell(parcel, scan("in_transit", 12), scan("out_for_delivery", 5))
    assert (await look(parcel)).tracking_status == final
    assert await told() == [final]


async def test_what_is_told_again_has_no_effect(shop: Shop) -> None:
    parcel = await pack()
    once = scan("in_transit", 1, "evt_1")
    assert await tell(parcel, once) == 1
    before = await look(parcel)
    assert await tell(parcel, once, once) == 0
    assert await tell(parcel, scan("delivered", 2, "evt_1")) == 0, "an event's id is told once, whatever it says the second time"
    assert await look(parcel) == before
    assert await told() == ["in_transit"]


async def test_32_at_once_tell_the_same_thing_once(shop: Shop) -> None:
    parcel = await pack()
    await dispatch(parcel)
    news = [scan(status, hour) for status, hour in (("in_transit", 1), ("out_for_delivery", 2), ("delivered", 3))]
    added = await asyncio.gather(*(tell(parcel, news[number % 3]) for number in range(32)))
    assert sum(added) == 3
    assert (await look(parcel)).tracking_status == "delivered"
    assert await db.pool.fetchval(DELIVERED) == 1


async def test_a_parcel_of_nobody_is_none(shop: Shop) -> None:
    async with db.transaction() as tx:
        assert await write_scans(tx, "sandbox", {new_id(): (scan("delivered", 1),)}) == 0


async def test_what_the_carrier_has_delivered_is_delivered(shop: Shop) -> None:
    parcel = await pack()
    await dispatch(parcel)
    await tell(parcel, scan("in_transit", 1))
    await tell(parcel, scan("delivered", 2))
    await tell(parcel, scan("delivered", 3))
    with as_system():
        shown = await shipping.get_shipment(parcel.id)
    assert (shown.status, shown.tracking_status) == ("delivered", "delivered")
    assert await db.pool.fetchval(DELIVERED) == 1


async def test_what_arrived_before_its_seller_said_that_it_left_is_delivered_then(shop: Shop) -> None:
    parcel = await pack()
    await tell(parcel, scan("delivered", 2))
    with as_system():
        assert (await shipping.get_shipment(parcel.id)).status == "packed"
    shown = await dispatch(parcel)
    assert shown.status == "delivered"
    assert shown.dispatched_at is not None


async def test_a_shop_may_leave_delivering_to_its_sellers(shop: Shop) -> None:
    settings.replace(deliver_by_tracking=False)
    parcel = await pack()
    await dispatch(parcel)
    await tell(parcel, scan("delivered", 2))
    with as_system():
        shown = await shipping.get_shipment(parcel.id)
    assert (shown.status, shown.tracking_status) == ("dispatched", "delivered")


async def test_a_parcel_that_was_cancelled_stays_so(shop: Shop) -> None:
    parcel = await pack()
    with as_seller():
        await shipping.cancel_shipment(parcel.id)
    await tell(parcel, scan("delivered", 2))
    with as_system():
        assert (await shipping.get_shipment(parcel.id)).status == "canceled"


async def test_sellers_say_where_parcels_are_that_no_carrier_follows(shop: Shop) -> None:
    parcel = await pack()
    said = NewTracking("in_transit", BEGAN, new_id(), "handed to a neighbour who drives there", "Leipzig")
    with as_seller():
        await shipping.report_tracking(parcel.id, said)
        await shipping.report_tracking(parcel.id, said)
    assert [(one.status, one.carrier) for one in (await look(parcel)).events] == [("in_transit", "manual")]
    with as_seller(new_id()), pytest.raises(NotFound):
        await shipping.report_tracking(parcel.id, said)


@pytest.mark.parametrize(("carriers", "sellers"), [("return_to_sender", "delivered"), ("in_transit", "available_for_pickup")])
async def test_what_a_carrier_says_goes_before_what_a_seller_says(shop: Shop, carriers: str, sellers: str) -> None:
    for first in (True, False):
        parcel = await pack()
        steps = [tell(parcel, scan(carriers, 2)), say(parcel, sellers, datetime.now(UTC))]
        for step in steps if first else reversed(steps):
            await step
        assert (await look(parcel)).tracking_status == carriers
    silent = await pack()
    await tell(silent, scan("unknown", 2))
    await say(silent, sellers, BEGAN)
    assert (await look(silent)).tracking_status == sellers


async def test_nobody_says_what_is_to_happen_next_week(shop: Shop) -> None:
    parcel = await pack()
    with pytest.raises(InvalidField):
        await say(parcel, "in_transit", datetime.now(UTC) + timedelta(days=7))
    await say(parcel, "in_transit", datetime.now(UTC) + timedelta(hours=12))
    assert (await look(parcel)).tracking_status == "in_transit"


async def say(parcel: shipping.Shipment, status: str, occurred_at: datetime) -> None:
    """What its seller says of a parcel."""
    with as_seller():
        await shipping.report_tracking(parcel.id, NewTracking(status, occurred_at))  # type: ignore[arg-type]


async def test_the_buyer_the_guest_the_seller_and_nobody_else_may_look(shop: Shop) -> None:
    buyer_id, token = new_id(), "the-token-of-a-guest"
    bought = await pack(user_id=buyer_id)
    by_guest = await pack(user_id=None, guest_token_hash=sha256(token.encode()).digest())
    guest, other_guest = asking(Caller(guest_token=token)), asking(Caller(guest_token="another"))
    may: list[tuple[shipping.Shipment, AbstractContextManager[None], bool]] = [
        (bought, asked_by("buyer", user_id=buyer_id), True), (bought, as_seller(), True), (bought, asked_by("admin"), True),
        (bought, asked_by("buyer"), False), (bought, as_seller(new_id()), False), (bought, asking(Caller(guest_token=token)), False),
        (by_guest, guest, True), (by_guest, other_guest, False), (by_guest, asked_by("buyer"), False),
    ]  # fmt: skip
    for parcel, who, allowed in may:
        with who:
            if allowed:
                assert (await shipping.get_tracking(parcel.id)).shipment_id == parcel.id
            else:
                with pytest.raises(NotFound):
                    await shipping.get_tracking(parcel.id)
