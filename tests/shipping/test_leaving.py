"""When a buyer leaves, their address is forgotten: at once if the parcel is there, else when it has arrived or was cancelled."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.shipping.conftest import Depot
from tests.shipping.parcels import SELLER, SENDER, as_seller, as_system, dispatch, pack
from tests.shipping.test_buying import go_on

from souk import shipping
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.shipping.carriers.carrier import Scan
from souk.shipping.database import db
from souk.shipping.leaving import export_shipments, forget_users
from souk.shipping.tracking import write_scans

KEPT = """
    SELECT (SELECT count(*) FROM shipping.shipment WHERE address IS NOT NULL)
         + (SELECT count(*) FROM shipping.tracking_event WHERE place IS NOT NULL OR message IS NOT NULL)
         + (SELECT count(*) FROM shipping.label WHERE document IS NOT NULL)
"""


async def leave(*user_ids: UUID) -> None:
    async with db.transaction() as tx:
        await forget_users(tx, list(user_ids))


async def tell(parcel: shipping.Shipment, status: str, event_id: str) -> None:
    scan = Scan(event_id, status, datetime.now(UTC), "signed by A. NEIGHBOUR", "Berlin")  # type: ignore[arg-type]
    async with db.transaction() as tx:
        await write_scans(tx, "sandbox", {parcel.id: (scan,)})


async def kept() -> int:
    return int(await db.pool.fetchval(KEPT))


async def is_forgotten(parcel: shipping.Shipment) -> bool:
    with as_system():
        return (await shipping.get_shipment(parcel.id)).address is None


async def finish(parcel: shipping.Shipment, end: str) -> None:
    with as_seller():
        match end:
            case "delivered":
                await shipping.deliver_shipment(parcel.id)
            case "canceled":
                await shipping.cancel_shipment(parcel.id)
            case "recalled":
                await shipping.recall_shipments(parcel.order_id)
            case "arrived":
                await tell(parcel, "delivered", "evt_9")


@pytest.mark.parametrize("end", ["delivered", "canceled", "recalled", "arrived"])
@pytest.mark.parametrize("first", ["leaves", "ends"])
async def test_the_address_goes_whether_who_leaves_or_the_parcel_is_first(depot: Depot, end: str, first: str) -> None:
    buyer_id = new_id()
    with as_seller():
        await shipping.set_sender(SELLER, SENDER)
        parcel = await pack(user_id=buyer_id)
        await shipping.buy_label(parcel.id, shipping.BuyLabel(weight_g=750))
    if end in ("delivered", "arrived"):
        await dispatch(parcel)
    await tell(parcel, "in_transit", "evt_1")
    assert await kept() == 3
    if first == "leaves":
        await leave(buyer_id)
        assert await kept() == 3, "what is under way needs it"
        await finish(parcel, end)
    else:
        await finish(parcel, end)
        assert not await is_forgotten(parcel)
        await leave(buyer_id)
    assert await kept() == 0
    await tell(parcel, "unknown", "evt_late")
    assert await kept() == 0, "what comes late brings nothing back"


async def test_a_parcel_that_is_packed_after_its_buyer_has_left_forgets_them_too(shop: Shop) -> None:
    buyer_id, other_id = new_id(), new_id()
    await leave(buyer_id, buyer_id)
    await leave(buyer_id)
    parcel, other = await pack(user_id=buyer_id), await pack(user_id=other_id)
    for one in (parcel, other):
        assert not await is_forgotten(one)
        await finish(one, "canceled")
    assert await is_forgotten(parcel)
    assert not await is_forgotten(other)


async def test_who_leaves_while_their_parcels_arrive_is_forgotten(shop: Shop) -> None:
    buyer_ids = [new_id() for _ in range(16)]
    parcels = [await pack(user_id=buyer_id) for buyer_id in buyer_ids]
    for parcel in parcels:
        await dispatch(parcel)
    both = zip(parcels, buyer_ids, strict=True)
    await asyncio.gather(*(step for parcel, buyer_id in both for step in (finish(parcel, "delivered"), leave(buyer_id))))
    assert [await is_forgotten(parcel) for parcel in parcels] == [True] * 16


@pytest.mark.parametrize("habit", ["timeout_charged", "declined"])
async def test_a_label_that_is_asked_for_keeps_the_address_until_it_is_answered(depot: Depot, habit: str) -> None:
    buyer_id = new_id()
    with as_seller():
        await shipping.set_sender(SELLER, SENDER)
        parcel = await pack(user_id=buyer_id)
        await depot.control(down=True)
        await shipping.buy_label(parcel.id, shipping.BuyLabel(weight_g=750))
        await depot.control(down=False)
    await leave(buyer_id)
    await finish(parcel, "canceled")
    assert not await is_forgotten(parcel)
    await depot.control(next=habit, on="label")
    for _ in range(3):
        await go_on()
    assert await is_forgotten(parcel)
    assert await kept() == 0
    assert [one["status"] for one in await depot.labels_of(parcel.id)] == ([] if habit == "declined" else ["voided"])


async def test_the_address_of_a_sender_goes_with_who_has_set_it(depot: Depot) -> None:
    owner_id, parcel = new_id(), await pack()
    with asked_by("seller", user_id=owner_id, sells_for=(SELLER,)):
        await shipping.set_sender(SELLER, SENDER)
        given = await export_shipments(owner_id)
        await depot.control(next="timeout_charged", on="label")
        assert (await shipping.buy_label(parcel.id, shipping.BuyLabel(weight_g=750))).status == "asked"
    assert [one.address.line1 for one in given["senders"]] == [SENDER.line1]  # type: ignore[attr-defined]
    await leave(new_id())
    with as_seller():
        assert (await shipping.get_sender(SELLER)).address.line1 == SENDER.line1
    await leave(owner_id)
    with as_seller():
        with pytest.raises(NotFound):
            await shipping.get_sender(SELLER)
        await go_on()
        assert (await shipping.get_label(parcel.id)).status == "bought", "what is asked for still needs it"
    assert await db.pool.fetchval("SELECT count(*) FROM shipping.label WHERE sender IS NOT NULL") == 0


async def test_who_asks_gets_what_carriers_told_of_their_parcels(shop: Shop) -> None:
    buyer_id = new_id()
    parcel = await pack(user_id=buyer_id)
    await tell(parcel, "in_transit", "evt_1")
    with asked_by("buyer", user_id=buyer_id):
        given = await export_shipments(buyer_id)
    (event,) = given["tracking"]  # type: ignore[misc]
    assert (event["shipment_id"], event["place"], event["message"]) == (str(parcel.id), "Berlin", "signed by A. NEIGHBOUR")
    assert len(given["shipments"]) == 1  # type: ignore[arg-type]
