"""A label is bought at most once for a parcel, whatever is repeated, silent or dead, and what is not sent is given back."""

import asyncio
import io

import pypdf
import pytest
from tests.conftest import asked_by
from tests.shipping.conftest import Depot
from tests.shipping.parcels import SELLER, SENDER, as_seller, as_system, dispatch, pack

from souk import shipping
from souk.app import Shop
from souk.kit.db import CallInTransaction
from souk.kit.errors import InvalidField, NotFound, Unavailable
from souk.kit.ids import new_id
from souk.shipping import BuyLabel, Label, Shipment
from souk.shipping.buying import ask_label, settle, settle_labels
from souk.shipping.database import db
from souk.shipping.following import ask_where
from souk.shipping.types import Address, CarrierUnknown, SenderUnknown, WrongLabelStatus, WrongShipmentStatus

WANTED = BuyLabel(weight_g=750, currency="EUR")
MAKE_DUE = "UPDATE shipping.label SET check_at = now() WHERE check_at IS NOT NULL"


@pytest.fixture(autouse=True)
async def sender(shop: Shop) -> None:
    with as_seller():
        await shipping.set_sender(SELLER, SENDER)


async def buy(parcel: Shipment, wanted: BuyLabel = WANTED) -> Label:
    with as_seller():
        return await shipping.buy_label(parcel.id, wanted)


async def look(parcel: Shipment) -> tuple[Label, Shipment]:
    with as_seller():
        return await shipping.get_label(parcel.id), await shipping.get_shipment(parcel.id)


async def go_on() -> int:
    """The job comes by later."""
    await db.pool.execute(MAKE_DUE)
    return await settle_labels()


async def test_a_label_is_bought_and_its_number_is_on_the_parcel(depot: Depot) -> None:
    parcel = await pack()
    label = await buy(parcel, BuyLabel(weight_g=750, service="express", currency="EUR"))
    (sold,) = await depot.labels_of(parcel.id)
    assert (label.status, label.carrier, label.service) == ("bought", "sandbox", "express")
    assert label.price is not None
    assert (label.tracking_number, label.price.amount) == (sold["tracking_number"], sold["amount"])
    _, shown = await look(parcel)
    assert (shown.carrier, shown.tracking_number) == ("sandbox", sold["tracking_number"])
    with as_seller():
        paper = await shipping.print_label(parcel.id)
    assert "SANDBOX CARRIER" in pypdf.PdfReader(io.BytesIO(paper)).pages[0].extract_text()


async def test_32_buyers_at_once_buy_one_label(depot: Depot) -> None:
    parcel = await pack()
    labels = await asyncio.gather(*(buy(parcel) for _ in range(32)))
    assert {label.status for label in labels} <= {"asked", "bought"}
    await go_on()
    label, _ = await look(parcel)
    assert label.status == "bought"
    assert await buy(parcel, BuyLabel(service="express", weight_g=1)) == label
    assert len(await depot.labels_of(parcel.id)) == 1


@pytest.mark.parametrize("habit", ["500_charged", "timeout_charged", "timeout_not_charged"])
async def test_a_carrier_that_keeps_silent_is_asked_again_and_sells_once(depot: Depot, habit: str) -> None:
    parcel = await pack()
    await depot.control(next=habit, on="label")
    assert (await buy(parcel)).status == "asked"
    assert (await look(parcel))[1].tracking_number is None
    assert await go_on() == 1
    label, shown = await look(parcel)
    (sold,) = await depot.labels_of(parcel.id)
    assert (label.status, shown.tracking_number) == ("bought", sold["tracking_number"])
    assert await go_on() == 0


async def test_what_was_asked_by_a_process_that_died_is_asked_on(depot: Depot) -> None:
    parcel = await pack()
    with as_seller():
        async with db.transaction() as tx:
            await ask_label(tx, WANTED, "sandbox", Address("Mugs", "1 Quay", "Leipzig", "04109", "DE"), parcel.id)
    assert await settle_labels() == 0, "its own call may still be under way"
    assert await asyncio.gather(go_on(), settle_labels()) in ([1, 0], [0, 1])
    assert (await look(parcel))[0].status == "bought"
    assert len(await depot.labels_of(parcel.id)) == 1


async def test_while_the_carrier_is_away_the_label_waits(depot: Depot) -> None:
    parcel = await pack()
    await depot.control(down=True)
    assert (await buy(parcel)).status == "asked"
    await go_on()
    assert (await look(parcel))[0].status == "asked"
    await depot.control(down=False)
    await go_on()
    assert (await look(parcel))[0].status == "bought"


async def test_after_a_refusal_the_carrier_may_be_asked_again(depot: Depot) -> None:
    parcel = await pack()
    await depot.control(next="declined", on="label")
    refused = await buy(parcel)
    assert (refused.status, refused.failure_code) == ("failed", "address_undeliverable")
    assert await go_on() == 0
    label = await buy(parcel, BuyLabel(weight_g=900))
    assert (label.status, label.failure_code) == ("bought", None)
    nowhere = await pack(address=Address("Ada", "1 Main St", "Nowhere", "00000", "DE"))
    assert (await buy(nowhere)).failure_code == "address_undeliverable"
    assert (await buy(nowhere)).status == "failed"


async def test_the_label_of_a_parcel_that_is_cancelled_goes_back(depot: Depot) -> None:
    parcel = await pack()
    await buy(parcel)
    with as_seller():
        await shipping.cancel_shipment(parcel.id)
    assert await go_on() == 1
    label, shown = await look(parcel)
    assert (label.status, shown.tracking_number) == ("voided", None)
    assert [one["status"] for one in await depot.labels_of(parcel.id)] == ["voided"]


async def test_a_label_that_comes_after_its_parcel_was_cancelled_goes_back(depot: Depot) -> None:
    parcel = await pack()
    await depot.control(next="timeout_charged", on="label")
    assert (await buy(parcel)).status == "asked"
    with as_seller():
        await shipping.cancel_shipment(parcel.id)
    await go_on()
    assert (await look(parcel))[0].status == "voiding"
    await go_on()
    label, shown = await look(parcel)
    assert (label.status, shown.tracking_number) == ("voided", None)
    assert [one["status"] for one in await depot.labels_of(parcel.id)] == ["voided"]


async def test_a_label_that_comes_after_its_parcel_has_left_goes_back(depot: Depot) -> None:
    parcel = await pack()
    await depot.control(next="timeout_charged", on="label")
    assert (await buy(parcel)).status == "asked"
    await dispatch(parcel, shipping.Consignment("DHL", "00340434"))
    await go_on()
    await go_on()
    label, shown = await look(parcel)
    assert (label.status, shown.carrier, shown.tracking_number) == ("voided", "DHL", "00340434")
    assert [one["status"] for one in await depot.labels_of(parcel.id)] == ["voided"]


@pytest.mark.parametrize("habit", [None, "500_charged", "timeout_charged"])
async def test_a_label_is_given_back_once_and_there_is_no_second(depot: Depot, habit: str | None) -> None:
    parcel = await pack()
    await buy(parcel)
    if habit:
        await depot.control(next=habit, on="void_label")
    with as_seller():
        assert (await shipping.void_label(parcel.id)).status == ("voiding" if habit else "voided")
        await go_on()
        assert (await shipping.void_label(parcel.id)).status == "voided"
        assert (await shipping.buy_label(parcel.id, WANTED)).status == "voided"
    assert len(await depot.labels_of(parcel.id)) == 1


async def test_a_label_that_was_used_stays_bought(depot: Depot) -> None:
    parcel = await pack()
    label = await buy(parcel)
    await depot.scan(label.tracking_number or "", "in_transit")
    with as_seller():
        kept = await shipping.void_label(parcel.id)
    assert (kept.status, kept.failure_code) == ("bought", "label_used")
    await dispatch(parcel)
    with as_seller(), pytest.raises(WrongShipmentStatus):
        await shipping.void_label(parcel.id)


async def test_who_may_buy_and_what_is_needed(depot: Depot) -> None:
    parcel = await pack()
    for stranger in (asked_by("buyer"), asked_by("buyer", user_id=new_id()), as_seller(new_id())):
        with stranger:
            for attempt in (shipping.buy_label(parcel.id, WANTED), shipping.void_label(parcel.id), shipping.get_label(parcel.id)):
                with pytest.raises(NotFound):
                    await attempt
    with as_seller():
        with pytest.raises(NotFound):
            await shipping.get_label(parcel.id)
        with pytest.raises(InvalidField):
            await shipping.buy_label(parcel.id, BuyLabel())
        with pytest.raises(CarrierUnknown):
            await shipping.buy_label(parcel.id, BuyLabel(carrier="pigeon", weight_g=1))
    other = new_id()
    unsent = await pack(seller_id=other)
    with as_seller(other), pytest.raises(SenderUnknown):
        await shipping.buy_label(unsent.id, WANTED)
    await dispatch(parcel)
    with as_seller(), pytest.raises(WrongShipmentStatus):
        await shipping.buy_label(parcel.id, WANTED)
    await depot.control(next="timeout_charged", on="label")
    waiting = await pack()
    await buy(waiting)
    with as_seller(), pytest.raises(WrongLabelStatus):
        await shipping.void_label(waiting.id)


async def test_without_a_carrier_the_shop_prints_its_own(shop: Shop) -> None:
    parcel = await pack()
    label = await buy(parcel)
    assert (label.status, label.carrier, label.price) == ("bought", "manual", None)
    assert label.tracking_number == f"1000123-{parcel.id.hex[-8:].upper()}"
    with as_seller():
        text = pypdf.PdfReader(io.BytesIO(await shipping.print_label(parcel.id))).pages[0].extract_text()
    assert label.tracking_number in text
    assert "10115 Berlin" in text
    assert (await dispatch(parcel)).status == "dispatched"
    assert await db.pool.fetchval("SELECT count(*) FROM shipping.shipment WHERE track_at IS NOT NULL") == 0


async def test_our_own_label_keeps_what_its_seller_has_said(shop: Shop) -> None:
    parcel = await pack()
    with as_seller():
        await shipping.change_shipment(parcel.id, shipping.Consignment("DHL", "00340434"))
    assert (await buy(parcel)).status == "bought"
    _, shown = await look(parcel)
    assert (shown.carrier, shown.tracking_number) == ("DHL", "00340434")


async def test_no_carrier_is_called_while_a_transaction_is_open(depot: Depot) -> None:
    parcel = await pack()
    async with db.transaction():
        with pytest.raises(CallInTransaction):
            await settle(parcel.id)
        with pytest.raises(CallInTransaction):
            await ask_where(None)  # type: ignore[arg-type]


async def test_what_a_label_would_cost_is_what_it_costs(depot: Depot) -> None:
    parcel = await pack()
    with as_seller():
        offers = await shipping.quote_labels(parcel.id, WANTED)
        assert [(one.carrier, one.service, one.days) for one in offers] == [("sandbox", "standard", 3), ("sandbox", "express", 1)]
        assert await shipping.quote_labels(parcel.id, BuyLabel(carrier="manual", weight_g=1)) == ()
        assert (await shipping.buy_label(parcel.id, WANTED)).price == offers[0].price
        await depot.control(down=True)
        with pytest.raises(Unavailable):
            await shipping.quote_labels(parcel.id, WANTED)
    with as_seller(new_id()), pytest.raises(NotFound):
        await shipping.quote_labels(parcel.id, WANTED)


async def test_an_admin_buys_for_a_seller(depot: Depot) -> None:
    parcel = await pack()
    with as_system():
        assert (await shipping.buy_label(parcel.id, WANTED)).status == "bought"
