"""Each of the twelve behaviours of a card processor, seen from the shop's side."""

import asyncio
import time

import pytest

from souk.sandbox.behaviours import NUMBERS, OF_BANKS, TOKENS, Behaviour, MoodRequest, Moods, Operated, read_token
from souk.sandbox.refusals import Refused

SALE = [("authorize", 12900), ("capture", 12900)]
TIMEOUT_S = 0.25


async def find_charge(merchant, reference):
    return (await merchant.get(f"/v1/charges?reference={reference}")).body["items"]


@pytest.mark.parametrize("token", ["tok_ok", "tok_visa"])
async def test_ok(merchant, receiver, token):
    told = await merchant.charge(token)
    assert (told.status, told.body["status"], told.body["amount_captured"]) == (201, "succeeded", 12900)
    [heard] = await receiver.wait_for(told.body["id"], 1)
    assert heard.is_genuine
    assert heard.headers["webhook-id"] == heard.event["id"]
    assert abs(int(heard.headers["webhook-timestamp"]) - time.time()) < 5
    assert heard.event.keys() == {"id", "type", "created_at", "data"}
    assert (heard.event["type"], heard.event["data"]) == ("charge.succeeded", told.body)
    assert await merchant.book_of(told.body["id"]) == SALE


async def test_declined(merchant, receiver):
    told = await merchant.charge("tok_declined")
    assert (told.status, told.body["status"], told.body["amount_captured"]) == (201, "declined", 0)
    assert told.body["decline_code"]
    [heard] = await receiver.wait_for(told.body["id"], 1)
    assert heard.event["type"] == "charge.declined"
    assert await merchant.book_of(told.body["id"]) == []


async def test_500_but_charged(merchant, receiver):
    told = await merchant.charge("tok_500_charged", "key-500", reference="order-500")
    assert (told.status, told.body["error"]["type"]) == (500, "api_error")
    [charge] = await find_charge(merchant, "order-500")
    assert await merchant.book_of(charge["id"]) == SALE
    [heard] = await receiver.wait_for(charge["id"], 1)
    assert heard.event["data"]["status"] == "succeeded"
    again = await merchant.charge("tok_500_charged", "key-500", reference="order-500")
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (201, charge, "true")
    assert await merchant.book_of(charge["id"]) == SALE


@pytest.mark.parametrize("token", ["tok_timeout_charged", "tok_timeout"])
async def test_timeout_but_charged(merchant, receiver, token):
    asking = asyncio.create_task(merchant.charge(token, f"key-{token}"))
    started = time.monotonic()
    await asyncio.sleep(TIMEOUT_S / 3)
    found = await find_charge(merchant, f"order-{token}")
    await receiver.wait_for(found[0]["id"], 1)
    assert not asking.done(), "the webhook is there, the answer is not"
    again = await merchant.charge(token, f"key-{token}")
    assert again.body == found[0]
    assert not asking.done(), "who asks again need not wait for the first answer"
    told = await asking
    assert time.monotonic() - started >= TIMEOUT_S * 0.9
    assert (told.status, told.body) == (201, found[0])
    assert await merchant.book_of(told.body["id"]) == SALE


async def test_timeout_not_charged(merchant):
    started = time.monotonic()
    told = await merchant.charge("tok_timeout_not_charged", "key-lost", reference="order-lost")
    assert (told.status, told.code) == (504, "timeout")
    assert time.monotonic() - started >= TIMEOUT_S
    assert await find_charge(merchant, "order-lost") == []
    again = await merchant.charge("tok_timeout_not_charged", "key-lost", reference="order-lost")
    assert (again.status, again.body["status"]) == (201, "succeeded")
    assert len(await find_charge(merchant, "order-lost")) == 1


async def test_timeout_not_charged_without_a_key_is_lost_every_time(merchant):
    for _ in range(2):
        assert (await merchant.charge("tok_timeout_not_charged", reference="order-lost-twice")).status == 504
    assert await find_charge(merchant, "order-lost-twice") == []


async def test_duplicate_webhook(merchant, receiver):
    told = await merchant.charge("tok_duplicate_webhook")
    first, second = await receiver.wait_for(told.body["id"], 2)
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.is_genuine
    assert second.is_genuine
    assert await merchant.book_of(told.body["id"]) == SALE


async def test_webhook_before_response(merchant, receiver):
    for _ in range(5):
        told = await merchant.charge("tok_webhook_before_response")
        [heard] = receiver.of(told.body["id"])
        assert heard.event["data"] == told.body


async def test_webhook_late(merchant, receiver):
    told = await merchant.charge("tok_webhook_late")
    answered = time.monotonic()
    [heard] = await receiver.wait_for(told.body["id"], 1)
    assert heard.at - answered > 0.3
    assert heard.is_genuine


@pytest.mark.parametrize("capture", [True, False])
async def test_out_of_order(merchant, receiver, capture):
    charge_id = (await merchant.charge("tok_out_of_order", capture=capture)).body["id"]
    if not capture:
        await merchant.post(f"/v1/charges/{charge_id}/capture")
    await asyncio.sleep(0.1)
    assert receiver.of(charge_id) == []
    receiver.refuse_next = 1
    await merchant.post(f"/v1/charges/{charge_id}/refunds", {"amount": 900})
    heard = await receiver.wait_for(charge_id, 3 if capture else 4)
    types = [one.event["type"] for one in heard]
    assert types[:2] == ["charge.refunded", "charge.refunded"], "the refund is refused once, and still comes first"
    assert set(types[2:]) == {"charge.succeeded"} | (set() if capture else {"charge.authorized"})
    told = {one.event["type"]: one.event["data"]["amount_refunded"] for one in heard}
    assert (told["charge.refunded"], told["charge.succeeded"]) == (900, 0)


async def test_wrong_amount(merchant, receiver):
    told = await merchant.charge("tok_wrong_amount")
    [heard] = await receiver.wait_for(told.body["id"], 1)
    assert heard.is_genuine
    assert (heard.event["data"]["amount"], heard.event["data"]["amount_captured"]) == (12899, 12899)
    assert (await merchant.get(f"/v1/charges/{told.body['id']}")).body["amount"] == 12900
    assert await merchant.book_of(told.body["id"]) == SALE


@pytest.mark.parametrize(("currency", "wrong"), [("USD", "EUR"), ("EUR", "USD")])
async def test_wrong_currency(merchant, receiver, currency, wrong):
    told = await merchant.charge("tok_wrong_currency", currency=currency)
    [heard] = await receiver.wait_for(told.body["id"], 1)
    assert heard.is_genuine
    assert (told.body["currency"], heard.event["data"]["currency"]) == (currency, wrong)


async def test_forged_signature(merchant, receiver):
    told = await merchant.charge("tok_forged_signature")
    await receiver.wait_for(told.body["id"], 2)
    await asyncio.sleep(0.15)
    heard = receiver.of(told.body["id"])
    assert len(heard) == 2, "a forger who is refused does not try again"
    genuine, forged = sorted(heard, key=lambda one: not one.is_genuine)
    assert (genuine.is_genuine, forged.is_genuine) == (True, False)
    assert (genuine.event["type"], forged.event["type"]) == ("charge.succeeded", "charge.refunded")
    assert forged.event["data"]["amount_refunded"] == 12900
    assert forged.headers["webhook-signature"].startswith("v1,")
    assert (await merchant.get(f"/v1/charges/{told.body['id']}")).body["amount_refunded"] == 0


async def test_requires_action_waits_for_the_buyer(merchant):
    told = await merchant.charge("tok_requires_action", return_url="http://shop.test/back")
    assert (told.status, told.body["status"]) == (201, "requires_action")
    assert told.body["redirect_url"] == f"{merchant.sandbox.url}/pay/{told.body['id']}"
    assert await merchant.book_of(told.body["id"]) == []


def test_every_behaviour_has_a_token_or_an_account_number():
    assert set(TOKENS.values()) == set(Behaviour) - set(OF_BANKS)
    assert set(OF_BANKS) <= set(NUMBERS.values())
    with pytest.raises(Refused):
        read_token("tok_unheard_of")


def test_a_mood_is_used_up_by_the_calls_it_is_meant_for():
    moods = Moods()
    moods.change(MoodRequest(next=Behaviour.DECLINED, on=Operated.REFUND))
    moods.change(MoodRequest(next=Behaviour.CHARGED_500, count=2))
    taken = [moods.take(Operated.CHARGE), moods.take(Operated.REFUND), moods.take(Operated.CAPTURE), moods.take(Operated.CHARGE)]
    assert taken == [Behaviour.CHARGED_500, Behaviour.DECLINED, Behaviour.CHARGED_500, None]
