"""The carrier sells a label once per reference, moves parcels by a clock that can be put forward, and tells of it badly when asked to."""

import asyncio
import base64
import io
import secrets

import pypdf
import pytest
from tests.sandbox.conftest import Merchant, Receiver

DAY_S = 86_400


def reference() -> str:
    return f"parcel-{secrets.token_hex(6)}"


async def test_a_label_is_sold_once_per_reference(merchant: Merchant) -> None:
    one = reference()
    answers = await asyncio.gather(*(merchant.buy_label(one, f"{one}-{number}") for number in range(16)))
    assert sorted(answer.status for answer in answers) == [200] * 15 + [201]
    assert len({answer.body["tracking_number"] for answer in answers}) == 1
    assert len((await merchant.get(f"/v1/labels?reference={one}")).body["items"]) == 1
    paper = base64.b64decode(answers[0].body["document"])
    assert answers[0].body["tracking_number"] in pypdf.PdfReader(io.BytesIO(paper)).pages[0].extract_text()


@pytest.mark.parametrize("habit", ["500_charged", "timeout_charged"])
async def test_a_label_may_be_sold_though_nobody_says_so(merchant: Merchant, habit: str) -> None:
    one = reference()
    await merchant.post("/control/", {"next": habit, "on": "label"})
    first = await asyncio.wait_for(merchant.buy_label(one, one), 3)
    assert first.status == (500 if habit == "500_charged" else 201)
    again = await merchant.buy_label(one, one)
    assert again.status == 201
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_label_that_was_lost_on_the_way_was_not_sold(merchant: Merchant) -> None:
    one = reference()
    await merchant.post("/control/", {"next": "timeout_not_charged", "on": "label"})
    assert (await merchant.buy_label(one, one)).status == 504
    assert (await merchant.get(f"/v1/labels?reference={one}")).body["items"] == []
    assert (await merchant.buy_label(one, one)).status == 201


async def test_nobody_lives_there(merchant: Merchant) -> None:
    nowhere = {"city": "Nowhere", "postal_code": "00000", "country": "DE"}
    assert (await merchant.buy_label(reference(), recipient=nowhere)).code == "address_undeliverable"
    assert (await merchant.buy_label(reference(), service="drone")).code == "service_unknown"


async def test_a_parcel_moves_by_the_carriers_clock_and_the_shop_is_told(merchant: Merchant, receiver: Receiver) -> None:
    label = (await merchant.buy_label(reference())).body
    await receiver.wait_for(label["id"], 1)
    await merchant.post("/control/clock", {"advance_s": DAY_S})
    await receiver.wait_for(label["id"], 3)
    await merchant.post("/control/clock", {"advance_s": DAY_S})
    heard = await receiver.wait_for(label["id"], 5)
    statuses = ["pre_transit", "in_transit", "in_transit", "out_for_delivery", "delivered"]
    assert sorted(one.event["data"]["status"] for one in heard) == sorted(statuses)
    assert all(one.is_genuine for one in heard)
    tracker = (await merchant.get(f"/v1/trackers/{label['tracking_number']}")).body
    assert [scan["status"] for scan in tracker["scans"]] == statuses
    assert tracker["scans"][0]["city"] == "Leipzig"
    assert tracker["scans"][-1]["city"] == "Berlin"


async def test_a_label_is_taken_back_until_its_parcel_moves(merchant: Merchant) -> None:
    unused, used = (await merchant.buy_label(reference())).body, (await merchant.buy_label(reference())).body
    assert (await merchant.post(f"/v1/labels/{unused['id']}/void")).body["status"] == "voided"
    assert (await merchant.post(f"/v1/labels/{unused['id']}/void")).body["status"] == "voided"
    await merchant.post("/control/scans", {"tracking_number": used["tracking_number"], "status": "in_transit"})
    assert (await merchant.post(f"/v1/labels/{used['id']}/void")).code == "label_used"
    before = (await merchant.get(f"/v1/trackers/{unused['tracking_number']}")).body["scans"]
    await merchant.post("/control/clock", {"advance_s": 2 * DAY_S})
    assert (await merchant.get(f"/v1/trackers/{unused['tracking_number']}")).body["scans"] == before


async def scan(merchant: Merchant, label: dict, status: str, habit: str | None = None) -> None:
    if habit:
        await merchant.post("/control/", {"next": habit, "on": "scan"})
    await merchant.post("/control/scans", {"tracking_number": label["tracking_number"], "status": status})


async def test_an_event_comes_twice_out_of_order_and_from_a_forger(merchant: Merchant, receiver: Receiver) -> None:
    label = (await merchant.buy_label(reference())).body
    await receiver.wait_for(label["id"], 1)
    await scan(merchant, label, "in_transit", "duplicate_webhook")
    first, second = (await receiver.wait_for(label["id"], 3))[1:]
    assert first.event["id"] == second.event["id"]
    await scan(merchant, label, "out_for_delivery", "out_of_order")
    await scan(merchant, label, "failure")
    heard = [one.event["data"]["status"] for one in await receiver.wait_for(label["id"], 5)]
    assert heard[3:] == ["failure", "out_for_delivery"]
    await scan(merchant, label, "in_transit", "forged_signature")
    forged = [one for one in (await receiver.wait_for(label["id"], 7))[5:] if not one.is_genuine]
    assert [one.event["data"]["status"] for one in forged] == ["delivered"]
