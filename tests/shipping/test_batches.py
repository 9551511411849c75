"""A pallet leaves and arrives as one, and each parcel of it is answered for."""

import asyncio

from tests.conftest import asked_by
from tests.shipping.parcels import as_seller, dispatch, pack

from souk import shipping
from souk.app import Shop
from souk.kit.ids import new_id
from souk.shipping import ShipmentAnswer, ShipmentIds
from souk.shipping.database import db

TOLD = "SELECT type, count(*) FROM shipping.outbox GROUP BY type"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def told() -> dict[str, int]:
    return {row[0].partition(".")[2]: row[1] for row in await db.pool.fetch(TOLD)}


async def test_a_pallet_leaves_and_arrives(shop: Shop) -> None:
    parcels = [await pack() for _ in range(20)]
    ids = tuple(one.id for one in parcels)
    with as_seller():
        assert {(one.status, one.refusal) for one in await shipping.dispatch_shipments(ShipmentIds(ids))} == {("dispatched", None)}
        assert await told() == {"ShipmentDispatched": 20}
        assert [one.id for one in await shipping.deliver_shipments(ShipmentIds(ids))] == list(ids)
        for again in (shipping.dispatch_shipments, shipping.deliver_shipments):
            assert {(one.status, one.refusal) for one in await again(ShipmentIds(ids))} == {("delivered", None)}
    assert await told() == {"ShipmentDispatched": 20, "ShipmentDelivered": 20}


async def test_each_is_answered_for_and_none_holds_the_others_back(shop: Shop) -> None:
    packed, canceled, sent, foreign = await pack(), await pack(), await pack(), await pack(seller_id=new_id())
    await dispatch(sent)
    unknown = new_id()
    with as_seller():
        await shipping.cancel_shipment(canceled.id)
        asked = ShipmentIds((foreign.id, packed.id, unknown, canceled.id, sent.id, packed.id))
        answers = await shipping.dispatch_shipments(asked)
    assert answers == (
        ShipmentAnswer(foreign.id, None, "not_found"),
        ShipmentAnswer(packed.id, "dispatched", None),
        ShipmentAnswer(unknown, None, "not_found"),
        ShipmentAnswer(canceled.id, "canceled", "shipping.wrong_status"),
        ShipmentAnswer(sent.id, "dispatched", None),
        ShipmentAnswer(packed.id, "dispatched", None),
    )
    assert (await told())["ShipmentDispatched"] == 2
    with as_seller(foreign.seller_id):
        assert (await shipping.deliver_shipments(ShipmentIds((foreign.id,)))) == (
            ShipmentAnswer(foreign.id, "packed", "shipping.wrong_status"),
        )
    with asked_by("buyer"):
        assert {one.refusal for one in await shipping.deliver_shipments(ShipmentIds((packed.id, sent.id)))} == {"not_found"}


async def test_pallets_that_overlap_move_each_parcel_once(shop: Shop) -> None:
    ids = [(await pack()).id for _ in range(30)]
    with as_seller():
        await asyncio.gather(*(shipping.dispatch_shipments(ShipmentIds(tuple(ids[number:] + ids[:number]))) for number in range(16)))
    assert await told() == {"ShipmentDispatched": 30}
    assert await db.value(DEADLOCKS) == 0
