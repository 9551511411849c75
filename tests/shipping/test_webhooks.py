"""What a carrier tells the shop has its effect once, if it was the carrier who told it."""

import json
import time

import aiohttp
import msgspec
import pytest
from tests.sandbox.conftest import SECRET
from tests.shipping.conftest import Depot
from tests.shipping.parcels import SELLER, SENDER, as_seller, as_system, dispatch, pack
from tests.waiting import until

from souk import shipping
from souk.app import Shop
from souk.sandbox.webhooks import FORGERS_KEY, read_secret, sign
from souk.shipping.database import db

COUNT = "SELECT count(*) FROM shipping.tracking_event"


async def send() -> shipping.Shipment:
    """A parcel with a label, on its way."""
    with as_seller():
        await shipping.set_sender(SELLER, SENDER)
        parcel = await pack()
        await shipping.buy_label(parcel.id, shipping.BuyLabel(weight_g=750))
    return await dispatch(parcel)


async def is_at(parcel: shipping.Shipment, status: str) -> bool:
    with as_system():
        return (await shipping.get_shipment(parcel.id)).tracking_status == status


async def test_the_carrier_tells_how_a_parcel_goes_until_it_is_delivered(door: str, depot: Depot) -> None:
    parcel = await send()
    await until(lambda: is_at(parcel, "pre_transit"))
    await depot.control("clock", advance_s=3 * 3600)
    await until(lambda: is_at(parcel, "in_transit"))
    await depot.control("clock", advance_s=3 * 86_400)
    await until(lambda: is_at(parcel, "delivered"))
    with as_system():
        assert (await shipping.get_shipment(parcel.id)).status == "delivered"
        events = (await shipping.get_tracking(parcel.id)).events
    assert [one.place for one in events][-1] == "Leipzig"
    assert len(events) == 5


async def test_twice_late_and_out_of_order_is_once(door: str, depot: Depot) -> None:
    parcel = await send()
    number = parcel.tracking_number or ""
    await until(lambda: is_at(parcel, "pre_transit"))
    await depot.scan(number, "in_transit", "duplicate_webhook", occurred_at="2027-03-01T08:00:00Z")
    await depot.scan(number, "failure", "out_of_order", occurred_at="2027-03-01T09:00:00Z")
    await depot.scan(number, "out_for_delivery", occurred_at="2027-03-01T10:00:00Z")
    await until(lambda: is_at(parcel, "out_for_delivery"))

    async def all_told() -> bool:
        return bool(await db.pool.fetchval(COUNT) == 4)

    await until(all_told)
    assert await is_at(parcel, "out_for_delivery")


def make_request(parcel: shipping.Shipment, key: bytes, sent_at: float | None = None) -> tuple[bytes, dict[str, str]]:
    scan = {"id": "sc_1", "status": "delivered", "message": "", "city": None, "occurred_at": "2027-03-01T08:00:00Z"}
    body = json.dumps({"type": "tracker.updated", "data": {"tracking_number": parcel.tracking_number, "scans": [scan]}}).encode()
    moment = int(sent_at or time.time())
    return body, {"webhook-id": "evt_1", "webhook-timestamp": str(moment), "webhook-signature": sign(key, "evt_1", moment, body)}


async def post(door: str, body: bytes, headers: dict[str, str], carrier: str = "sandbox") -> tuple[int, str]:
    sent = {"content-type": "application/json", **headers}
    async with aiohttp.ClientSession() as session, session.post(f"{door}/shippings/webhooks/{carrier}", data=body, headers=sent) as answer:
        told = await answer.json()
        return answer.status, told.get("status") if answer.status < 300 else told["code"]


async def test_who_did_not_sign_or_signed_long_ago_is_not_believed(door: str, depot: Depot) -> None:
    parcel = await send()
    genuine = read_secret(SECRET)
    for key, sent_at in ((FORGERS_KEY, None), (genuine, time.time() - 310), (genuine, time.time() + 400)):
        assert await post(door, *make_request(parcel, key, sent_at)) == (401, "shipping.webhook_forged")
    body, headers = make_request(parcel, genuine)
    assert (await post(door, body.replace(b"delivered", b"cancelled"), headers))[0] == 401
    assert (await post(door, body, {}))[0] == 401
    assert not await is_at(parcel, "delivered")
    assert await post(door, body, headers) == (200, "applied")
    assert await is_at(parcel, "delivered")
    assert await post(door, body, headers) == (200, "repeated")


async def test_a_forger_at_the_carriers_is_refused(door: str, depot: Depot) -> None:
    parcel = await send()
    await depot.scan(parcel.tracking_number or "", "in_transit", "forged_signature")
    await until(lambda: is_at(parcel, "in_transit"))

    async def forger_was_there() -> bool:
        page = await depot.ask("GET", "/v1/deliveries?limit=1000")
        return any(one["status"] == "given_up" and one["last_answer"] == "401" for one in page["items"])

    await until(forger_was_there)
    assert not await is_at(parcel, "delivered")


async def test_a_parcel_of_others_and_a_carrier_that_we_do_not_have(door: str, depot: Depot) -> None:
    parcel = await send()
    body, headers = make_request(parcel, read_secret(SECRET))
    assert await post(door, body, headers, "pigeon") == (404, "shipping.carrier_unknown")
    assert await post(door, body, headers, "manual") == (401, "shipping.webhook_forged")
    other = body.replace((parcel.tracking_number or "").encode(), b"SX1")
    signed = {**headers, "webhook-signature": sign(read_secret(SECRET), "evt_1", int(headers["webhook-timestamp"]), other)}
    assert await post(door, other, signed) == (200, "ignored")


async def test_a_label_that_was_given_back_tells_nothing_of_its_parcel(door: str, depot: Depot) -> None:
    with as_seller():
        await shipping.set_sender(SELLER, SENDER)
        parcel = await pack()
        label = await shipping.buy_label(parcel.id, shipping.BuyLabel(weight_g=750))
        assert (await shipping.void_label(parcel.id)).status == "voided"
        sold = await shipping.get_shipment(parcel.id)
    told = msgspec.structs.replace(sold, tracking_number=label.tracking_number)
    assert await post(door, *make_request(told, read_secret(SECRET))) == (200, "ignored")
    assert (await dispatch(parcel, shipping.Consignment("DHL", "00340434"))).tracking_status is None


@pytest.mark.parametrize("body", [b"", b"{}", b"[1", b'{"type": "tracker.updated", "data": {}}'])
async def test_a_signed_message_that_cannot_be_read_is_refused(door: str, shop: Shop, body: bytes) -> None:
    moment = int(time.time())
    headers = {"webhook-id": "e", "webhook-timestamp": str(moment), "webhook-signature": sign(read_secret(SECRET), "e", moment, body)}
    assert (await post(door, body, headers))[0] in (400, 401)
