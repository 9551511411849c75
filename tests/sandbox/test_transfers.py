"""The bank: what it is asked to send it sends once, whatever it says to that, and its statement tells what happened."""

import asyncio
import sqlite3
import time

import pytest

from souk.sandbox.behaviours import NUMBERS
from souk.sandbox.serve import SCHEMA
from souk.sandbox.writer import connect

HONEST = "DE89370400440532013000"
CLOSED, RETURNED, ACCEPTED = "000111111113", "000111111116", "000222222227"
QUICKLY = {"bank_settle_s": 0.3, "bank_return_s": 0.3}


async def send(merchant, reference, number=HONEST, key=None, **fields):
    asked = {"amount": 5000, "currency": "EUR", "reference": reference, "holder": "Ada", "number": number, "country": "DE", **fields}
    return await merchant.post("/v1/transfers", asked, key)


async def lines_of(merchant, reference):
    lines, after = [], 0
    while after is not None:
        page = (await merchant.get(f"/v1/statement?after={after}&limit=2")).body
        lines += [(line["kind"], line["amount"]) for line in page["items"] if line["reference"] == reference]
        after = page["next"]
    return lines


async def stands(merchant, reference):
    return [one["status"] for one in (await merchant.get(f"/v1/transfers?reference={reference}")).body["items"]]


async def until_it_stands(merchant, reference, wanted):
    end = time.monotonic() + 5
    while await stands(merchant, reference) != [wanted]:
        assert time.monotonic() < end, await stands(merchant, reference)
        await asyncio.sleep(0.02)


async def test_a_transfer_is_done_at_once_and_told_of(merchant, receiver):
    told = await send(merchant, "at once", key="at once")
    assert (told.status, told.body["status"], told.body["amount"]) == (201, "paid", 5000)
    assert "number" not in told.text and "holder" not in told.text
    assert await lines_of(merchant, "at once") == [("sent", 5000)]
    [heard] = await receiver.wait_for(told.body["id"], 1)
    assert heard.is_genuine and (heard.event["type"], heard.event["data"]["status"]) == ("transfer.paid", "paid")
    assert (await merchant.get(f"/v1/transfers/{told.body['id']}")).body == told.body
    assert (await merchant.get("/v1/transfers/tr_nobodys")).code == "not_found"


async def test_the_same_key_sends_once(merchant):
    answers = await asyncio.gather(*(send(merchant, "twice", key="twice") for _ in range(8)))
    assert len({told.body["id"] for told in answers}) == 1
    assert await lines_of(merchant, "twice") == [("sent", 5000)]
    assert (await send(merchant, "twice", key="twice", amount=5001)).code == "idempotency_key_reused"


@pytest.mark.parametrize("wrong", [{"amount": 0}, {"number": "de89"}, {"country": "Germany"}, {"bank_code": ""}, {"holder": ""}])
async def test_what_is_no_transfer_is_refused(merchant, wrong):
    assert (await send(merchant, "wrong", **wrong)).code == "invalid"
    assert await stands(merchant, "wrong") == []


async def test_a_closed_account(merchant, receiver):
    told = (await send(merchant, "closed", CLOSED)).body
    assert (told["status"], told["reason"]) == ("refused", "account_closed")
    assert await lines_of(merchant, "closed") == []
    [heard] = await receiver.wait_for(told["id"], 1)
    assert heard.event["type"] == "transfer.refused"


async def test_one_that_takes_its_time(start_sandbox, visit, receiver):
    merchant = visit(start_sandbox(**QUICKLY))
    told = (await send(merchant, "later", ACCEPTED)).body
    assert (told["status"], await lines_of(merchant, "later")) == ("accepted", [])
    await until_it_stands(merchant, "later", "paid")
    assert await lines_of(merchant, "later") == [("sent", 5000)]
    [heard] = await receiver.wait_for(told["id"], 1)
    assert heard.event["type"] == "transfer.paid"


async def test_one_that_comes_back(start_sandbox, visit, receiver):
    merchant = visit(start_sandbox(**QUICKLY))
    told = (await send(merchant, "back", RETURNED)).body
    assert told["status"] == "paid"
    await until_it_stands(merchant, "back", "returned")
    assert await lines_of(merchant, "back") == [("sent", 5000), ("returned", 5000)]
    heard = await receiver.wait_for(told["id"], 2)
    assert [one.event["type"] for one in heard] == ["transfer.paid", "transfer.returned"]
    assert heard[1].event["data"]["reason"] == "account_not_found"


async def test_news_of_its_return_overtake_those_of_its_payment(start_sandbox, visit, receiver):
    merchant = visit(start_sandbox(**QUICKLY))
    await merchant.post("/control", {"next": "out_of_order", "on": "transfer"})
    told = (await send(merchant, "overtaken")).body
    assert told["status"] == "paid"
    heard = await receiver.wait_for(told["id"], 2)
    assert [one.event["type"] for one in heard] == ["transfer.returned", "transfer.paid"]
    assert await lines_of(merchant, "overtaken") == [("sent", 5000), ("returned", 5000)]


async def test_a_webhook_of_another_currency(merchant, receiver):
    await merchant.post("/control", {"next": "wrong_currency", "on": "transfer"})
    told = (await send(merchant, "currency")).body
    [heard] = await receiver.wait_for(told["id"], 1)
    assert (told["currency"], heard.event["data"]["currency"]) == ("EUR", "USD")


async def test_what_is_on_its_way_outlives_the_process(start_sandbox, visit):
    sandbox = start_sandbox(**QUICKLY)
    merchant = visit(sandbox)
    await send(merchant, "restart", ACCEPTED)
    assert await asyncio.to_thread(sandbox.end) == 0
    sandbox.start()
    await until_it_stands(merchant, "restart", "paid")


@pytest.mark.parametrize(
    ("habit", "answered", "sent"),
    [("timeout_charged", 201, True), ("timeout_not_charged", 504, False), ("500_charged", 500, True)],
)
async def test_silence_and_what_was_done(merchant, habit, answered, sent):
    number = next(number for number, behaviour in NUMBERS.items() if behaviour == habit)
    started = time.monotonic()
    assert (await send(merchant, habit, number, key=habit)).status == answered
    assert habit == "500_charged" or time.monotonic() - started >= 0.25
    assert await lines_of(merchant, habit) == [("sent", 5000)] * sent
    again = await send(merchant, habit, number, key=habit)
    assert (again.status, again.body["status"], await lines_of(merchant, habit)) == (201, "paid", [("sent", 5000)])


async def test_a_bank_on_the_way_keeps_a_part(merchant):
    told = (await send(merchant, "short", "000444444440")).body
    assert (told["amount"], await lines_of(merchant, "short")) == (4999, [("sent", 4999)])


async def test_a_stranger_says_that_money_came_back(merchant, receiver):
    await merchant.post("/control", {"next": "forged_signature", "on": "transfer"})
    told = (await send(merchant, "forged")).body
    forged, true = sorted(await receiver.wait_for(told["id"], 2), key=lambda heard: heard.is_genuine)
    assert (true.is_genuine, true.event["type"]) == (True, "transfer.paid")
    assert (forged.is_genuine, forged.event["data"]["status"]) == (False, "returned")


async def test_the_bank_may_be_told_to_knock_at_another_door(start_sandbox, visit, receiver):
    merchant = visit(start_sandbox(webhook_url="http://127.0.0.1:1/", bank_webhook_url=receiver.url))
    told = (await send(merchant, "door")).body
    assert len(await receiver.wait_for(told["id"], 1)) == 1


@pytest.mark.parametrize("change", ["UPDATE statement_lines SET amount = 1", "DELETE FROM statement_lines"])
def test_a_statement_is_append_only(tmp_path, change):
    db = connect(tmp_path / "book.db", SCHEMA)
    db.execute("INSERT INTO statement_lines VALUES (1, 'line', 'sent', 'tr', 'ref', 5, 'EUR', 'now')")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(change)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        db.execute("INSERT INTO statement_lines VALUES (2, 'another', 'sent', 'tr', 'ref', 5, 'EUR', 'now')")
