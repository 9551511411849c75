"""EasyPost sells a label once for each shipment over there, whatever gets lost on the way, and tells where parcels are."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.ports import find_free_port
from tests.shipping.easypost_server import API_KEY, PAPER, SECRET, FakeEasyPost
from tests.shipping.parcels import SELLER, SENDER, as_seller, as_system, dispatch, pack
from tests.shipping.test_buying import go_on, look

from souk import shipping
from souk.app import Shop
from souk.shipping import BuyLabel, CarrierWebhook, Label, Shipment
from souk.shipping.buying import ask_label, settle
from souk.shipping.carriers.easypost import ounces_of
from souk.shipping.database import db
from souk.shipping.following import follow_parcels
from souk.shipping.settings import settings
from souk.shipping.types import Address, WebhookForged

WANTED = BuyLabel(weight_g=750)
DAYS_LEFT = "SELECT extract(epoch FROM check_at - now()) / 86400 FROM shipping.label WHERE shipment_id = $1"


@pytest.fixture
async def easypost(shop: Shop) -> AsyncIterator[FakeEasyPost]:
    fake, port = FakeEasyPost(), find_free_port()
    fake.url = f"http://127.0.0.1:{port}"
    runner = web.AppRunner(fake.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    settings.replace(easypost_url=fake.url, easypost_api_key=API_KEY, easypost_webhook_secrets=("an older one", SECRET))
    with as_seller():
        await shipping.set_sender(SELLER, SENDER)
    yield fake
    await runner.cleanup()


async def buy(parcel: Shipment, wanted: BuyLabel = WANTED) -> Label:
    with as_seller():
        return await shipping.buy_label(parcel.id, wanted)


async def test_the_cheapest_rate_is_bought_unless_a_service_is_named(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    label = await buy(parcel)
    assert (label.carrier, label.status, label.service) == ("easypost", "bought", "GroundAdvantage")
    assert label.price is not None
    assert (label.price.amount, label.price.currency) == (758, "USD")
    (made,) = easypost.shipments.values()
    assert made["reference"] == str(parcel.id)
    assert made["parcel"]["weight"] == 26.5
    with as_seller():
        assert await shipping.print_label(parcel.id) == PAPER
    assert (await buy(await pack(), BuyLabel(weight_g=750, service="priority"))).service == "Priority"
    assert (await buy(await pack(), BuyLabel(weight_g=750, service="drone"))).failure_code == "no_such_service"


async def test_rates_are_asked_for_without_buying(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    with as_seller():
        offers = await shipping.quote_labels(parcel.id, WANTED)
    assert [(one.service, one.price.amount) for one in offers] == [("GroundAdvantage", 758), ("Priority", 902), ("Express", 3310)]
    assert easypost.purchases == []


async def test_an_answer_that_cannot_be_read_is_none(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    easypost.garble_next = True
    assert (await buy(parcel)).status == "asked"
    await go_on()
    assert (await look(parcel))[0].status == "bought"
    assert len(easypost.purchases) == 1


@pytest.mark.parametrize("lost", ["shipments", "show", "buy"])
async def test_whatever_answer_is_lost_one_label_is_paid_for(easypost: FakeEasyPost, lost: str) -> None:
    parcel = await pack()
    easypost.lose_next = lost
    assert (await buy(parcel)).status == "asked"
    await go_on()
    label, shown = await look(parcel)
    assert (label.status, shown.tracking_number) == ("bought", label.tracking_number)
    assert len(easypost.purchases) == 1


async def test_32_at_once_pay_for_one_label(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    easypost.pause_s = 0.2
    labels = await asyncio.gather(*(buy(parcel) for _ in range(32)))
    assert {label.status for label in labels} == {"asked", "bought"}, "one of them buys, the others only look"
    assert (await look(parcel))[0].status == "bought"
    assert len(easypost.shipments) == len(easypost.purchases) == 1


async def test_whoever_goes_on_when_a_lease_is_over_pays_for_the_same_label(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    with as_seller():
        async with db.transaction() as tx:
            assert await ask_label(tx, WANTED, "easypost", Address("Mugs", "1 Quay", "Leipzig", "04109", "DE"), parcel.id)
    await asyncio.gather(*(settle(parcel.id) for _ in range(8)))
    assert (await look(parcel))[0].status == "bought"
    assert len(easypost.purchases) == 1


async def test_a_label_that_is_paid_beats_a_refusal(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    easypost.pause_s = 0.3
    slow = asyncio.create_task(buy(parcel))
    await asyncio.sleep(0.15)
    assert (await settle(parcel.id)).failure_code == "shipment_postage_exists", "somebody whose lease is over comes in between"
    assert ((await slow).status, (await look(parcel))[0].failure_code) == ("bought", None)
    assert len(easypost.purchases) == 1


async def test_what_is_bought_for_an_attempt_that_is_over_goes_back(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    easypost.pause_s = 0.3
    slow = asyncio.create_task(buy(parcel))
    await asyncio.sleep(0.15)
    assert (await settle(parcel.id)).status == "failed"
    label = await buy(parcel)
    assert await slow == label
    first, second = easypost.shipments
    assert easypost.purchases == [first, second]
    assert easypost.refunds == [first]
    assert (await look(parcel))[0] == label


async def test_two_that_give_a_label_back_at_once(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    await buy(parcel)
    easypost.pause_s, easypost.refund_status = 0.2, "refunded"
    with as_seller():
        both = await asyncio.gather(shipping.void_label(parcel.id), shipping.void_label(parcel.id), settle_later(parcel))
    assert sorted(label.status for label in both) == ["bought", "voided", "voiding"]
    assert (await look(parcel))[0].status == "voided"
    assert easypost.refunds == list(easypost.shipments)


async def settle_later(parcel: Shipment) -> Label:
    """Somebody whose lease is over asks while another is asking."""
    await asyncio.sleep(0.1)
    return await settle(parcel.id)


async def test_what_it_refuses_is_refused(easypost: FakeEasyPost) -> None:
    nowhere = await pack(address=Address("Ada", "1 Main St", "Nowhere", "00000", "US"))
    assert (await buy(nowhere)).failure_code == "address_verify_failure"
    parcel = await pack()
    easypost.refuse_next = (402, "PAYMENT_REQUIRED")
    assert (await buy(parcel)).failure_code == "payment_required"
    assert (await buy(parcel)).status == "bought"
    assert len(easypost.purchases) == 1


async def test_a_wrong_key_is_no_refusal_of_the_parcel(easypost: FakeEasyPost) -> None:
    settings.replace(easypost_api_key="wrong")
    assert (await buy(await pack())).status == "asked"


@pytest.mark.parametrize(("status", "left"), [("refunded", "voided"), ("not_applicable", "voided"), ("rejected", "bought")])
async def test_a_label_is_given_back(easypost: FakeEasyPost, status: str, left: str) -> None:
    parcel = await pack()
    await buy(parcel)
    easypost.refund_status = status
    with as_seller():
        assert (await shipping.void_label(parcel.id)).status == left


async def void(parcel: Shipment) -> Label:
    with as_seller():
        return await shipping.void_label(parcel.id)


async def next_look(parcel: Shipment) -> float:
    """In how many days the carrier is asked again."""
    return float(await db.pool.fetchval(DAYS_LEFT, parcel.id))


async def test_a_refund_is_asked_for_once_and_looked_at_every_day(easypost: FakeEasyPost) -> None:
    parcel, late = await pack(), await pack()
    for one in (parcel, late):
        await buy(one)
        label = await void(one)
        assert (label.status, label.failure_code) == ("voiding", "refund_submitted")
        assert await next_look(one) == pytest.approx(1, abs=0.01)
    first, second = easypost.shipments.values()
    assert await go_on() == 2
    assert await next_look(parcel) == pytest.approx(1, abs=0.01)
    first["refund_status"] = "refunded"
    await go_on()
    label, shown = await look(parcel)
    assert (label.status, label.failure_code, shown.tracking_number) == ("voided", None, None)
    await db.pool.execute("UPDATE shipping.label SET voiding_since = now() - interval '31 days'")
    await go_on()
    label, _ = await look(late)
    assert (label.status, label.failure_code) == ("bought", "refund_submitted")
    assert easypost.refunds == [first["id"], second["id"]]


async def test_a_refund_of_what_is_not_sent_is_asked_for_again_when_it_was_rejected_too_early(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    await buy(parcel)
    easypost.refund_status = "rejected"
    with as_seller():
        await shipping.cancel_shipment(parcel.id)
    await go_on()
    assert (await look(parcel))[0].status == "voiding"
    assert await next_look(parcel) == pytest.approx(1, abs=0.01)
    easypost.refund_status = "refunded"
    await go_on()
    assert (await look(parcel))[0].status == "voided"
    assert len(easypost.refunds) == 2


async def test_a_refund_whose_answer_is_lost_is_asked_for_once(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    await buy(parcel)
    easypost.refund_status = "refunded"
    easypost.lose_next = "refund"
    with as_seller():
        assert (await shipping.void_label(parcel.id)).status == "voiding"
    await go_on()
    assert (await look(parcel))[0].status == "voided"
    assert len(easypost.refunds) == 1


async def test_it_is_asked_where_a_parcel_is(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    code = (await buy(parcel)).tracking_number or ""
    await dispatch(parcel)
    easypost.happen(code, "in_transit", "2026-03-01T10:00:00Z")
    easypost.happen(code, "a status of tomorrow", "2026-03-01T11:00:00Z", None)
    for _ in range(2):
        await db.pool.execute("UPDATE shipping.shipment SET track_at = now()")
        await follow_parcels()
    with as_system():
        tracking = await shipping.get_tracking(parcel.id)
    assert tracking.tracking_status == "in_transit"
    assert [(one.status, one.place) for one in tracking.events] == [("unknown", None), ("in_transit", "SAN FRANCISCO")]


async def test_half_of_the_lines_are_left_to_who_buys_labels(easypost: FakeEasyPost) -> None:
    settings.replace(carrier_in_flight=4)
    for _ in range(5):
        parcel = await pack()
        await buy(parcel)
        await dispatch(parcel)
    await db.pool.execute("UPDATE shipping.shipment SET track_at = now()")
    easypost.pause_s, easypost.most_busy = 0.1, 0
    assert [await follow_parcels() for _ in range(4)] == [2, 2, 1, 0]
    assert easypost.most_busy == 2


async def test_it_tells_where_a_parcel_is_and_nobody_else_does(easypost: FakeEasyPost) -> None:
    parcel = await pack()
    code = (await buy(parcel)).tracking_number or ""
    await dispatch(parcel)
    easypost.happen(code, "delivered", "2026-03-02T10:00:00Z")
    body, headers = easypost.webhook(code)
    for forged in ({}, {"x-hmac-signature": ""}, {"x-hmac-signature": headers["x-hmac-signature"][:-1] + "x"}, {"x-hmac-signature": "ü"}):
        with pytest.raises(WebhookForged):
            await shipping.receive_tracking(CarrierWebhook("easypost", forged, body))
    with pytest.raises(WebhookForged):
        await shipping.receive_tracking(CarrierWebhook("easypost", headers, body.replace(b"delivered", b"cancelled")))
    assert (await shipping.receive_tracking(CarrierWebhook("easypost", headers, body))).status == "applied"
    assert (await shipping.receive_tracking(CarrierWebhook("easypost", headers, body))).status == "repeated"
    other = easypost.webhook(code, "batch.updated")
    assert (await shipping.receive_tracking(CarrierWebhook("easypost", other[1], other[0]))).status == "ignored"
    with as_system():
        assert (await shipping.get_shipment(parcel.id)).status == "delivered"


def test_a_parcel_is_never_said_to_be_lighter_than_it_is() -> None:
    assert [ounces_of(weight_g) for weight_g in (1, 28, 29, 454, 1000)] == [0.1, 1.0, 1.1, 16.1, 35.3]
