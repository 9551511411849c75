"""A key is honoured: one effect, one answer, and the truth after a 5xx."""

import asyncio

import pytest


async def test_the_same_key_gives_the_same_answer(merchant):
    first = await merchant.charge("tok_ok", "key-same", reference="order-same")
    again = await merchant.charge("tok_ok", "key-same", reference="order-same")
    assert (first.status, first.text) == (again.status, again.text)
    assert "idempotent-replayed" not in first.headers
    assert len((await merchant.get("/v1/charges?reference=order-same")).body["items"]) == 1


async def test_another_body_or_route_under_the_key_is_refused(merchant):
    charge_id = (await merchant.charge("tok_ok", "key-other")).body["id"]
    other_body = await merchant.charge("tok_ok", "key-other", amount=1)
    other_route = await merchant.post(f"/v1/charges/{charge_id}/refunds", {"amount": 1}, "key-other")
    for told in (other_body, other_route):
        assert (told.status, told.code, told.body["error"]["type"]) == (422, "idempotency_key_reused", "idempotency_error")


async def test_a_body_written_otherwise_is_the_same_body(merchant):
    first = await merchant.post("/v1/charges", b'{"amount":5,"currency":"USD","token":"tok_ok","reference":"r"}', "key-spaces")
    again = await merchant.post("/v1/charges", b'{ "reference": "r", "token": "tok_ok", "currency": "USD", "amount": 5 }', "key-spaces")
    assert first.text == again.text


async def test_32_at_once_with_one_key_charge_once(merchant):
    told = await asyncio.gather(*(merchant.charge("tok_ok", "key-32", reference="order-32") for _ in range(32)))
    assert {(one.status, one.text) for one in told} == {(201, told[0].text)}
    assert len((await merchant.get("/v1/charges?reference=order-32")).body["items"]) == 1


async def test_a_refusal_is_an_answer_like_any_other(merchant):
    charge_id = (await merchant.charge("tok_ok", capture=False)).body["id"]
    path = f"/v1/charges/{charge_id}/refunds"
    first = await merchant.post(path, {"amount": 1}, "key-refused")
    await merchant.post(f"/v1/charges/{charge_id}/capture")
    again = await merchant.post(path, {"amount": 1}, "key-refused")
    assert (first.status, first.code) == (409, "wrong_status")
    assert (again.status, again.text) == (first.status, first.text)
    assert (await merchant.post(path, {"amount": 1}, "key-fresh")).status == 201


async def test_a_call_while_down_did_nothing_and_may_be_repeated(merchant):
    await merchant.post("/control", {"down": True})
    told = await merchant.charge("tok_ok", "key-down", reference="order-down")
    assert (told.status, told.body["error"]["type"]) == (503, "api_error")
    assert (await merchant.get("/v1/book")).status == 503
    await merchant.post("/control", {"down": False})
    assert (await merchant.get("/v1/charges?reference=order-down")).body["items"] == []
    assert (await merchant.charge("tok_ok", "key-down", reference="order-down")).status == 201


@pytest.mark.parametrize("behaviour", ["500_charged", "timeout_charged", "timeout_not_charged"])
async def test_a_refund_that_was_answered_badly_happens_once(merchant, behaviour):
    charge_id = (await merchant.charge("tok_ok")).body["id"]
    path = f"/v1/charges/{charge_id}/refunds"
    await merchant.post("/control", {"next": behaviour, "on": "refund"})
    first = await merchant.post(path, {"amount": 100}, f"refund-{charge_id}")
    assert first.status == {"500_charged": 500, "timeout_charged": 201, "timeout_not_charged": 504}[behaviour]
    again = await merchant.post(path, {"amount": 100}, f"refund-{charge_id}")
    assert (again.status, again.body["amount"]) == (201, 100)
    assert [entry for entry in await merchant.book_of(charge_id) if entry[0] == "refund"] == [("refund", 100)]


async def test_a_replay_uses_up_no_mood(merchant):
    await merchant.charge("tok_ok", "key-mood")
    await merchant.post("/control", {"next": "declined"})
    assert (await merchant.charge("tok_ok", "key-mood")).body["status"] == "succeeded"
    assert (await merchant.charge("tok_ok")).body["status"] == "declined"


async def test_a_key_too_long_is_refused(merchant):
    assert (await merchant.charge("tok_ok", "k" * 256)).code == "idempotency_key_invalid"
