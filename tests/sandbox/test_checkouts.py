"""A payment in a third party's app: approved, refused, forgotten, taken back, refunded."""

import asyncio

import pytest

BACK = "http://shop.test/back?a=1&b=2"


async def test_approve(merchant, receiver):
    told = await merchant.checkout()
    assert (told.status, told.body["status"], told.body["amount_captured"]) == (201, "created", 0)
    assert told.body["redirect_url"] == f"{merchant.sandbox.url}/pay/{told.body['id']}"
    assert await merchant.book_of(told.body["id"]) == []
    clicked = await merchant.post(f"/pay/{told.body['id']}/approve")
    assert (clicked.status, clicked.headers["location"]) == (303, BACK)
    shown = (await merchant.get(f"/v1/checkouts/{told.body['id']}")).body
    assert (shown["status"], shown["amount_captured"]) == ("succeeded", 4500)
    [heard] = await receiver.wait_for(told.body["id"], 1)
    assert heard.is_genuine
    assert (heard.event["type"], heard.event["data"]) == ("checkout.approved", shown)
    assert await merchant.book_of(told.body["id"]) == [("authorize", 4500), ("capture", 4500)]


async def test_refuse(merchant, receiver):
    checkout_id = (await merchant.checkout()).body["id"]
    assert (await merchant.post(f"/pay/{checkout_id}/refuse")).headers["location"] == BACK
    [heard] = await receiver.wait_for(checkout_id, 1)
    assert (heard.event["type"], heard.event["data"]["status"]) == ("checkout.refused", "refused")
    late = await merchant.post(f"/pay/{checkout_id}/approve")
    assert late.status == 409
    assert "refused" in late.text
    assert await merchant.book_of(checkout_id) == []


async def test_a_buyer_who_clicks_twice_pays_once(merchant, receiver):
    checkout_id = (await merchant.checkout()).body["id"]
    clicked = await asyncio.gather(*(merchant.post(f"/pay/{checkout_id}/approve") for _ in range(8)))
    assert {one.headers["location"] for one in clicked} == {BACK}
    assert await merchant.book_of(checkout_id) == [("authorize", 4500), ("capture", 4500)]
    await asyncio.sleep(0.1)
    assert len(receiver.of(checkout_id)) == 1


async def test_nobody_comes_back(merchant, receiver):
    checkout = (await merchant.checkout(expires_in_s=0.2)).body
    [heard] = await receiver.wait_for(checkout["id"], 1)
    assert (heard.event["type"], heard.event["data"]["status"]) == ("checkout.expired", "expired")
    assert heard.event["created_at"] >= checkout["expires_at"]
    assert (await merchant.post(f"/pay/{checkout['id']}/approve")).status == 409
    assert await merchant.book_of(checkout["id"]) == []


async def test_cancel(merchant, receiver):
    checkout_id = (await merchant.checkout()).body["id"]
    told = await merchant.post(f"/v1/checkouts/{checkout_id}/cancel")
    assert (told.status, told.body["status"]) == (200, "canceled")
    assert (await merchant.post(f"/v1/checkouts/{checkout_id}/cancel")).code == "wrong_status"
    assert (await merchant.post(f"/pay/{checkout_id}/approve")).status == 409
    assert receiver.of(checkout_id) == []


async def test_cancel_races_the_buyer(merchant):
    for _ in range(5):
        checkout_id = (await merchant.checkout()).body["id"]
        clicks = (merchant.post(f"/pay/{checkout_id}/approve"), merchant.post(f"/v1/checkouts/{checkout_id}/cancel"))
        approved, canceled = await asyncio.gather(*clicks)
        assert (approved.status, canceled.status) in [(303, 409), (409, 200)]
        assert len(await merchant.book_of(checkout_id)) == (2 if approved.status == 303 else 0)


async def test_refunds(merchant, receiver):
    checkout_id = (await merchant.checkout()).body["id"]
    path = f"/v1/checkouts/{checkout_id}/refunds"
    assert (await merchant.post(path, {"amount": 1})).code == "wrong_status"
    await merchant.post(f"/pay/{checkout_id}/approve")
    told = await asyncio.gather(*(merchant.post(path, {"amount": 2700}) for _ in range(8)))
    assert sorted(one.status for one in told) == [201] + [422] * 7
    heard = await receiver.wait_for(checkout_id, 2)
    assert {one.event["type"]: one.event["data"]["amount_refunded"] for one in heard}["checkout.refunded"] == 2700


async def test_found_by_reference(merchant):
    checkout = (await merchant.checkout(reference="order-found")).body
    assert (await merchant.get("/v1/checkouts?reference=order-found")).body["items"] == [checkout]


@pytest.mark.parametrize(("behaviour", "status"), [("500_charged", 500), ("timeout_not_charged", 504), ("timeout_charged", 201)])
async def test_moods_are_for_checkouts_too(merchant, behaviour, status):
    await merchant.post("/control", {"next": behaviour, "on": "checkout"})
    assert (await merchant.checkout(reference=f"order-{behaviour}")).status == status
    found = (await merchant.get(f"/v1/checkouts?reference=order-{behaviour}")).body["items"]
    assert len(found) == (0 if behaviour == "timeout_not_charged" else 1)


@pytest.mark.parametrize(
    ("behaviour", "webhooks"), [("duplicate_webhook", 2), ("wrong_amount", 1), ("forged_signature", 2), ("webhook_before_response", 1)]
)
async def test_the_mood_of_its_creation_bends_the_webhook_of_the_approval(merchant, receiver, behaviour, webhooks):
    await merchant.post("/control", {"next": behaviour})
    checkout_id = (await merchant.checkout()).body["id"]
    await merchant.post(f"/pay/{checkout_id}/approve")
    if behaviour == "webhook_before_response":
        assert len(receiver.of(checkout_id)) == 1
    heard = await receiver.wait_for(checkout_id, webhooks)
    assert sum(one.is_genuine for one in heard) == (1 if behaviour == "forged_signature" else webhooks)
    assert heard[0].event["data"]["amount"] == (4499 if behaviour == "wrong_amount" else 4500)


async def test_a_buyer_without_money_is_refused_though_willing(merchant, receiver):
    await merchant.post("/control", {"next": "declined"})
    checkout_id = (await merchant.checkout()).body["id"]
    assert (await merchant.post(f"/pay/{checkout_id}/approve")).status == 409
    [heard] = await receiver.wait_for(checkout_id, 1)
    assert heard.event["type"] == "checkout.refused"


async def test_a_checkout_needs_a_way_back(merchant):
    for wrong in ({"return_url": "ftp://x"}, {"expires_in_s": 0}, {"amount": 0}, {"more": 1}):
        assert (await merchant.checkout(**wrong)).status == 422
