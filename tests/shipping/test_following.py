"""Carriers that do not tell are asked, in pauses that grow, and by one process at a time."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.shipping.conftest import Depot
from tests.shipping.parcels import as_seller, as_system, dispatch, pack
from tests.shipping.test_webhooks import is_at, send

from souk import shipping
from souk.app import Shop
from souk.shipping.carriers.carrier import Scan, Sighting
from souk.shipping.database import db
from souk.shipping.following import Followed, follow_parcels, write_answers
from souk.shipping.settings import settings

MAKE_DUE = "UPDATE shipping.shipment SET track_at = now() WHERE track_at IS NOT NULL"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
PAUSE = "SELECT extract(epoch FROM track_at - now())::float8 FROM shipping.shipment WHERE id = $1"


async def go_on() -> int:
    await db.pool.execute(MAKE_DUE)
    return await follow_parcels()


async def test_where_a_parcel_is_is_asked_until_it_has_arrived(depot: Depot) -> None:
    parcel = await send()
    assert await follow_parcels() == 0, "it has only just left"
    await depot.control("clock", advance_s=3 * 3600)
    assert await go_on() == 1
    assert await is_at(parcel, "in_transit")
    await depot.control("clock", advance_s=3 * 86_400)
    assert await go_on() == 1
    with as_system():
        assert (await shipping.get_shipment(parcel.id)).status == "delivered"
    assert await go_on() == 0


async def test_the_pauses_grow_and_begin_anew_when_it_has_moved(depot: Depot) -> None:
    settings.replace(track_every_s=100.0)
    parcel = await send()
    pauses = [await db.pool.fetchval(PAUSE, parcel.id)]
    for _ in range(4):
        await go_on()
        pauses.append(await db.pool.fetchval(PAUSE, parcel.id))
    assert pauses == [pytest.approx(seconds, abs=5) for seconds in (100, 100, 100, 150, 225)], "the first answer was news"
    await depot.scan(parcel.tracking_number or "", "in_transit")
    await go_on()
    await go_on()
    assert await db.pool.fetchval(PAUSE, parcel.id) == pytest.approx(100, abs=5)
    await db.pool.execute("UPDATE shipping.shipment SET track_asks = 1000")
    await go_on()
    assert await db.pool.fetchval(PAUSE, parcel.id) == pytest.approx(43_200, abs=5)
    await db.pool.execute("UPDATE shipping.shipment SET dispatched_at = now() - interval '61 days'")
    await go_on()
    assert await db.pool.fetchval(PAUSE, parcel.id) is None


async def test_two_that_look_at_once_ask_once(depot: Depot) -> None:
    for _ in range(5):
        await send()
    await db.pool.execute(MAKE_DUE)
    assert sum(await asyncio.gather(*(follow_parcels(limit=2) for _ in range(6)))) == 5


async def test_parcels_of_many_carriers_are_locked_in_the_order_of_their_ids(shop: Shop) -> None:
    parcels = [await pack() for _ in range(24)]
    for parcel in parcels:
        await dispatch(parcel)
    followed = [Followed(parcel.id, ("b", "a")[number % 2], "SX1") for number, parcel in enumerate(parcels)]
    told = [Sighting("SX1", (Scan("evt_1", "in_transit", datetime.now(UTC)),)) for _ in parcels]

    async def write() -> None:
        async with db.transaction() as tx:
            await write_answers(tx, followed, told)

    async def deliver() -> None:
        with as_seller():
            await shipping.deliver_shipments(shipping.ShipmentIds(tuple(parcel.id for parcel in parcels)))

    before = await db.pool.fetchval(DEADLOCKS)
    for _ in range(10):
        await asyncio.gather(write(), deliver(), write(), deliver())
        await db.pool.execute("DELETE FROM shipping.tracking_event")
        await db.pool.execute("UPDATE shipping.shipment SET status = 'dispatched', delivered_at = NULL, tracking_status = NULL")
    assert await db.pool.fetchval(DEADLOCKS) == before


async def test_a_carrier_that_is_silent_is_asked_again_later(depot: Depot) -> None:
    parcel = await send()
    await depot.scan(parcel.tracking_number or "", "in_transit")
    await depot.control(down=True)
    assert await go_on() == 1
    assert not await is_at(parcel, "in_transit")
    await depot.control(down=False)
    await go_on()
    assert await is_at(parcel, "in_transit")


async def test_told_and_asked_at_once_is_known_once(door: str, depot: Depot) -> None:
    parcel = await send()
    await depot.control("clock", advance_s=30 * 3600)
    await asyncio.gather(*(go_on() for _ in range(4)))
    await depot.control("clock", advance_s=30 * 3600)
    await go_on()
    with as_system():
        tracking = await shipping.get_tracking(parcel.id)
    assert tracking.tracking_status == "delivered"
    assert len(tracking.events) == 5
