"""Charges through their life: set aside, captured, let go, refunded, and never beyond what there is."""

import asyncio

import pytest


async def test_authorize_capture_refund(merchant, receiver):
    charge = (await merchant.charge("tok_visa", capture=False, reference="order-two-steps")).body
    assert (charge["status"], charge["amount_captured"]) == ("authorized", 0)
    path = f"/v1/charges/{charge['id']}"
    captured = await merchant.post(f"{path}/capture", {"amount": 10000, "reference": "dispatch-1"})
    assert (captured.status, captured.body["status"], captured.body["amount_captured"]) == (200, "succeeded", 10000)
    refund = await merchant.post(f"{path}/refunds", {"amount": 2500, "reference": "return-1"})
    assert refund.status == 201
    assert refund.body.items() >= {"payment_id": charge["id"], "amount": 2500, "reference": "return-1", "status": "succeeded"}.items()
    rest = await merchant.post(f"{path}/refunds")
    assert rest.body["amount"] == 7500
    shown = (await merchant.get(path)).body
    assert (shown["amount_refunded"], shown["refunds"]) == (10000, [refund.body, rest.body])
    assert await merchant.book_of(charge["id"]) == [("authorize", 12900), ("capture", 10000), ("refund", 2500), ("refund", 7500)]
    types = {heard.event["type"] for heard in await receiver.wait_for(charge["id"], 4)}
    assert types == {"charge.authorized", "charge.succeeded", "charge.refunded"}


async def test_capture_is_once_and_within_what_was_set_aside(merchant):
    path = f"/v1/charges/{(await merchant.charge('tok_visa', capture=False)).body['id']}"
    assert (await merchant.post(f"{path}/capture", {"amount": 12901})).code == "capture_above_authorized"
    assert (await merchant.post(f"{path}/capture")).status == 200
    assert (await merchant.post(f"{path}/capture")).code == "wrong_status"
    assert (await merchant.post(f"{path}/void")).code == "wrong_status"


@pytest.mark.parametrize("token", ["tok_visa", "tok_requires_action"])
async def test_void(merchant, receiver, token):
    charge_id = (await merchant.charge(token, capture=False)).body["id"]
    path = f"/v1/charges/{charge_id}"
    assert (await merchant.post(f"{path}/void", {"amount": 1})).code == "void_in_part"
    assert (await merchant.post(f"{path}/void", {"amount": 12900})).body["status"] == "voided"
    assert (await merchant.post(f"{path}/capture")).code == "wrong_status"
    await receiver.wait_for(charge_id, 2 if token == "tok_visa" else 1)
    assert "charge.voided" in {heard.event["type"] for heard in receiver.of(charge_id)}
    assert await merchant.book_of(charge_id) == ([("authorize", 12900), ("void", 12900)] if token == "tok_visa" else [])


async def test_32_refunds_at_once_never_exceed_the_capture(merchant):
    charge_id = (await merchant.charge("tok_visa", amount=1000)).body["id"]
    asked = (merchant.post(f"/v1/charges/{charge_id}/refunds", {"amount": 600}, f"{charge_id}-{n}") for n in range(32))
    told = await asyncio.gather(*asked)
    assert sorted(one.status for one in told) == [201] + [422] * 31
    assert {one.code for one in told if one.status == 422} == {"refund_above_captured"}
    assert (await merchant.get(f"/v1/charges/{charge_id}")).body["amount_refunded"] == 600


async def test_refunds_race_a_capture(merchant):
    charge_id = (await merchant.charge("tok_visa", amount=1000, capture=False)).body["id"]
    path = f"/v1/charges/{charge_id}"
    told = await asyncio.gather(*(merchant.post(f"{path}/{what}") for what in ["refunds", "capture", "refunds", "void", "refunds"]))
    assert all(one.status < 500 for one in told)
    shown = (await merchant.get(path)).body
    assert shown["amount_refunded"] <= shown["amount_captured"]


async def test_nothing_is_refunded_of_a_declined_charge(merchant):
    charge_id = (await merchant.charge("tok_declined")).body["id"]
    assert (await merchant.post(f"/v1/charges/{charge_id}/refunds", {"amount": 1})).code == "wrong_status"


@pytest.mark.parametrize(("what", "code"), [("capture", "capture_declined"), ("void", "void_declined"), ("refund", "refund_declined")])
async def test_the_bank_may_refuse_every_step(merchant, what, code):
    charge_id = (await merchant.charge("tok_visa", capture=what == "refund")).body["id"]
    before = await merchant.book_of(charge_id)
    await merchant.post("/control", {"next": "declined", "on": what})
    told = await merchant.post(f"/v1/charges/{charge_id}/{'refunds' if what == 'refund' else what}")
    assert (told.status, told.code, told.body["error"]["type"]) == (402, code, "card_error")
    assert await merchant.book_of(charge_id) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": 1.5},
        {"amount": "100"},
        {"amount": True},
        {"amount": 2**63},
        {"currency": "usd"},
        {"currency": "USD\n"},
        {"reference": ""},
        {"reference": "a\x00b"},
        {"token": "tok_unheard_of"},
        {"return_url": "javascript:alert(1)"},
        {"return_url": "http://shop.test/\r\nset-cookie: a=b"},
        {"card_number": "4242"},
    ],
)
async def test_a_wrong_charge_is_refused(merchant, wrong):
    told = await merchant.post("/v1/charges", {"amount": 1, "currency": "USD", "token": "tok_visa", "reference": "order", **wrong})
    assert (told.status, told.body["error"]["type"]) == (422, "invalid_request_error")


async def test_a_body_that_is_no_json_is_malformed(merchant):
    for body in (b"{", b"\xff", b'{"amount": 1e}'):
        assert (await merchant.post("/v1/charges", body)).code == "malformed"


async def test_a_stranger_gets_nothing(merchant):
    for path in ("/v1/charges?reference=a", "/v1/book", "/control"):
        told = await merchant.get(path, authorization="Bearer wrong")
        assert (told.status, told.body["error"]["type"]) == (401, "authentication_error")


async def test_an_unknown_charge_is_not_found(merchant):
    for told in (await merchant.get("/v1/charges/ch_no"), await merchant.post("/v1/charges/ch_no/void"), await merchant.get("/v1/nothing")):
        assert (told.status, told.code) == (404, "not_found")
