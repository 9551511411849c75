"""A bank takes money back some day: opened, decided, told and booked, each once and never beyond what there is."""

import asyncio

import pytest

A_MONTH_S = 30 * 86_400


async def dispute(merchant, charge_id, **fields):
    told = await merchant.post(f"/control/charges/{charge_id}/disputes", fields)
    assert told.status == 201, told.text
    return told.body["id"]


async def paid(merchant, token="tok_visa", **fields):
    return (await merchant.charge(token, **fields)).body["id"]


async def shown(merchant, charge_id):
    return (await merchant.get(f"/v1/disputes?charge_id={charge_id}")).body["items"]


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_a_dispute_from_its_beginning_to_its_end(merchant, receiver, outcome):
    charge_id = await paid(merchant)
    dispute_id = await dispute(merchant, charge_id, reason="product_not_received")
    [opened] = await receiver.wait_for(dispute_id, 1)
    assert (opened.event["type"], opened.is_genuine) == ("dispute.opened", True)
    told = opened.event["data"]
    assert told == (await merchant.get(f"/v1/disputes/{dispute_id}")).body
    expected = {"charge_id": charge_id, "status": "open", "amount": 12900, "currency": "USD", "reason": "product_not_received", "fee": 1500}
    assert told.items() >= expected.items()
    assert told["evidence_due_at"] > told["created_at"]
    closed = await merchant.post(f"/control/disputes/{dispute_id}/close", {"won": outcome == "won"})
    assert (closed.status, closed.body["status"]) == (200, outcome)
    assert (await receiver.wait_for(dispute_id, 2))[1].event["data"] == closed.body
    again = await merchant.post(f"/control/disputes/{dispute_id}/close", {"won": True})
    assert (again.status, again.code) == (409, "wrong_status")
    booked = [("dispute", 12900), ("dispute_fee", 1500), (f"dispute_{outcome}", 12900)]
    assert (await merchant.book_of(charge_id))[2:] == booked


async def test_a_month_later(merchant, receiver):
    charge_id = await paid(merchant)
    dispute_id = await dispute(merchant, charge_id, opens_in_s=A_MONTH_S, outcome="lost", closes_in_s=A_MONTH_S)
    assert (await shown(merchant, charge_id), len(await merchant.book_of(charge_id))) == ([], 2)
    await merchant.post("/control/time", {"pass_s": A_MONTH_S})
    await receiver.wait_for(dispute_id, 1)
    assert [one["status"] for one in await shown(merchant, charge_id)] == ["open"]
    await merchant.post("/control/time", {"pass_s": A_MONTH_S})
    await receiver.wait_for(dispute_id, 2)
    assert [one["status"] for one in await shown(merchant, charge_id)] == ["lost"]


@pytest.mark.parametrize(("token", "ends"), [("tok_disputed", []), ("tok_disputed_won", ["won"]), ("tok_disputed_lost", ["lost"])])
async def test_a_token_asks_for_it(merchant, receiver, token, ends):
    charge_id = await paid(merchant, token)
    [heard] = await receiver.wait_for(charge_id, 1)
    assert heard.event["type"] == "charge.succeeded"
    assert await shown(merchant, charge_id) == []
    await merchant.post("/control/time", {"pass_s": 60})
    while not (found := await shown(merchant, charge_id)):  # noqa: ASYNC110  it happens in another process
        await asyncio.sleep(0.01)
    heard = await receiver.wait_for(found[0]["id"], 1 + len(ends))
    # Both were due at once, so that either may arrive first.
    assert {one.event["data"]["status"] for one in heard} == {"open", *ends}


async def test_webhooks_of_disputes_have_bad_habits(merchant, receiver):
    twice = await dispute(merchant, await paid(merchant), behaviour="duplicate_webhook")
    first, second = await receiver.wait_for(twice, 2)
    assert first.body == second.body
    turned = await dispute(merchant, await paid(merchant), behaviour="out_of_order")
    await merchant.post(f"/control/disputes/{turned}/close", {"won": True})
    assert [one.event["type"] for one in await receiver.wait_for(turned, 2)] == ["dispute.closed", "dispute.opened"]
    wrong = await dispute(merchant, await paid(merchant), behaviour="wrong_amount")
    assert (await receiver.wait_for(wrong, 1))[0].event["data"]["amount"] == 12899
    forged = await dispute(merchant, await paid(merchant), behaviour="forged_signature")
    genuine = {one.event["data"]["status"]: one.is_genuine for one in await receiver.wait_for(forged, 2)}
    assert genuine == {"open": True, "won": False}


async def test_never_more_is_disputed_than_was_captured(merchant):
    charge_id = await paid(merchant)
    path = f"/control/charges/{charge_id}/disputes"
    told = await asyncio.gather(*(merchant.post(path, {"amount": 8000}) for _ in range(8)))
    assert sorted(one.status for one in told) == [201] + [422] * 7
    assert {one.code for one in told if one.status == 422} == {"dispute_above_captured"}
    declined = (await merchant.charge("tok_declined")).body["id"]
    assert (await merchant.post(f"/control/charges/{declined}/disputes", {})).code == "wrong_status"


async def test_what_is_to_be_disputed_later_is_not_disputed_once_more(merchant):
    charge_id = await paid(merchant)
    await dispute(merchant, charge_id, amount=8000, opens_in_s=3600)
    refused = await merchant.post(f"/control/charges/{charge_id}/disputes", {"amount": 8000, "opens_in_s": 3600})
    assert (refused.status, refused.code) == (422, "dispute_above_captured")
    await dispute(merchant, charge_id)
    assert [one["amount"] for one in await shown(merchant, charge_id)] == [4900]


async def test_what_a_bank_has_taken_is_not_refunded_and_what_was_refunded_may_be_taken(merchant):
    charge_id = await paid(merchant)
    dispute_id = await dispute(merchant, charge_id, amount=12000)
    refused = await merchant.post(f"/v1/charges/{charge_id}/refunds", {"amount": 901})
    assert (refused.status, refused.code) == (422, "charge_disputed")
    assert (await merchant.post(f"/v1/charges/{charge_id}/refunds", {"amount": 900})).status == 201
    await merchant.post(f"/control/disputes/{dispute_id}/close", {"won": True})
    assert (await merchant.post(f"/v1/charges/{charge_id}/refunds")).body["amount"] == 12000
    await dispute(merchant, charge_id)
    assert (await merchant.book_of(charge_id))[-2:] == [("dispute", 12900), ("dispute_fee", 1500)]


async def test_an_unknown_dispute_is_not_found(merchant):
    for told in (await merchant.get("/v1/disputes/dp_no"), await merchant.post("/control/disputes/dp_no/close", {"won": True})):
        assert (told.status, told.code) == (404, "not_found")


async def test_disputes_outlive_a_kill(start_sandbox, visit, receiver):
    sandbox = start_sandbox()
    merchant = visit(sandbox)
    charge_id = await paid(merchant)
    dispute_id = await dispute(merchant, charge_id, opens_in_s=1.0)
    sandbox.end()
    merchant = visit(start_sandbox())
    [heard] = await receiver.wait_for(dispute_id, 1)
    assert heard.event["type"] == "dispute.opened"
    assert [one["id"] for one in await shown(merchant, charge_id)] == [dispute_id]
