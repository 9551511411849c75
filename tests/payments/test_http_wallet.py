"""Wallets over REST: holds, statements and transfers, who may, and what an answer looks like."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.orders.market import make_seller
from tests.payments import test_http
from tests.payments.money import fill_wallet
from tests.payments.test_http import Client

from souk.kit.http import write_cursor
from souk.kit.ids import new_id
from souk.payments.database import db

client = test_http.client

LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def euros(cents: int) -> dict[str, object]:
    return {"amount": cents, "currency": "EUR"}


async def test_money_is_held_and_posted(client: Client) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 1_000)
    await fill_wallet(ben, 1)
    hers, his, hold_id = client.as_user(anna), client.as_user(ben), str(new_id())
    body = {"id": hold_id, "amount": euros(600), "expires_at": LATER, "to_user_id": str(ben)}
    status, held = await hers.post("/wallet/holds", **body)
    assert (status, held["status"], held["id"], held["posted"]) == (201, "open", hold_id, euros(0))
    assert await hers.post("/wallet/holds", **body) == (201, held)
    (balance,) = (await hers.get("/wallet"))[1]["balances"]
    assert (balance["balance"], balance["held"], balance["available"]) == (euros(1_000), euros(600), euros(400))
    assert (await his.post(f"/wallet/holds/{hold_id}/post"))[0] == 403
    assert (await client.as_user(new_id()).post(f"/wallet/holds/{hold_id}/post"))[0] == 404
    status, problem = await hers.post(f"/wallet/holds/{hold_id}/post", amount=euros(601))
    assert (status, problem["code"], problem["held"]) == (409, "payments.post_too_large", euros(600))
    first = await hers.with_key("a").post(f"/wallet/holds/{hold_id}/post", amount=euros(250))
    assert (first[0], first[1]["status"], first[1]["posted"]) == (200, "posted", euros(250))
    assert await hers.with_key("a").post(f"/wallet/holds/{hold_id}/post", amount=euros(250)) == first
    assert (await hers.with_key("a").post(f"/wallet/holds/{hold_id}/post", amount=euros(251)))[0] == 422
    status, problem = await his.post(f"/wallet/holds/{hold_id}/void")
    assert (status, problem["code"], problem["outcome"], problem["posted"]) == (409, "payments.hold_resolved", "posted", euros(250))
    assert await his.get(f"/wallet/holds/{hold_id}") == (200, first[1])
    assert (await his.get("/wallet"))[1]["balances"][0]["available"] == euros(251)


async def test_holds_are_listed(client: Client) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 1_000)
    await fill_wallet(ben, 1)
    hers, his = client.as_user(anna), client.as_user(ben)
    made = [(await hers.post("/wallet/holds", amount=euros(100), expires_at=LATER, to_user_id=str(ben)))[1]["id"] for _ in range(3)]
    assert (await his.post(f"/wallet/holds/{made[1]}/void"))[1]["status"] == "voided"

    async def ids(who: Client, query: str) -> list[str]:
        return [one["id"] for one in (await who.get(f"/wallet/holds{query}"))[1]["items"]]

    assert await ids(hers, "") == await ids(his, "") == made[::-1]
    assert await ids(his, "?status=open") == [made[2], made[0]]
    page = (await hers.get("/wallet/holds?limit=2"))[1]
    assert await ids(hers, f"?limit=2&cursor={page['next']}") == [made[0]]
    assert await ids(client.as_user(new_id()), "") == []
    assert (await client.get("/wallet/holds"))[0] == 401
    assert (await hers.get("/wallet/holds?status=lost"))[0] == 422
    assert (await hers.get("/wallet/holds?for_shop=true"))[0] == 403
    assert await ids(client.as_user(new_id(), "admin"), "?for_shop=true") == []
    assert (await client.as_user(new_id(), "admin").get(f"/wallet/holds/{made[0]}"))[0] == 200
    status, given = await client.as_user(new_id(), "admin").post(f"/wallet/holds/{made[0]}/post")
    assert (status, given["status"]) == (200, "posted")


async def test_bad_holds_hold_nothing(client: Client) -> None:
    anna = new_id()
    await fill_wallet(anna, 1_000)
    good = {"amount": euros(100), "expires_at": LATER}
    bad: list[dict[str, Any]] = [
        {"amount": euros(0)},
        {"amount": {"amount": 1.5, "currency": "EUR"}},
        {"amount": None},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": LATER[:19]},
        {"expires_at": "tomorrow"},
        {"to_user_id": str(anna)},
        {"to_user_id": "ben"},
        {"id": "12345678-1234-4234-8234-123456789012"},
        {"status": "posted"},
        {"user_id": str(new_id())},
    ]
    for wrong in bad:
        assert (await client.as_user(anna).post("/wallet/holds", **good | wrong))[0] == 422, wrong
    assert (await client.post("/wallet/holds", **good))[0] == 401
    assert await db.value("SELECT count(*) FROM payments.hold") == 0
    held = (await client.as_user(anna).post("/wallet/holds", **good))[1]["id"]
    assert (await client.as_user(new_id(), "admin").post(f"/wallet/holds/{held}/post", to_seller_id=str(new_id())))[0] == 404
    for wrong in ({"amount": euros(-1)}, {"to": "me"}):
        assert (await client.as_user(new_id(), "admin").post(f"/wallet/holds/{held}/post", **wrong))[0] == 422
    assert await db.value("SELECT status FROM payments.hold") == "open"


async def test_a_statement_in_pages_and_as_a_file(client: Client) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 1_000)
    await fill_wallet(ben, 1)
    hers = client.as_user(anna)
    for cents in (100, 20, 3):
        assert (await hers.post("/wallet/transfers", to_user_id=str(ben), amount=euros(cents)))[0] == 201
    first = (await hers.get("/wallet/statement?currency=EUR&limit=3"))[1]
    assert (first["opening_balance"], first["closing_balance"]) == (euros(0), euros(877))
    assert [(line["amount"]["amount"], line["balance"]["amount"]) for line in first["items"]] == [(1_000, 1_000), (-100, 900), (-20, 880)]
    assert first["from"].endswith("-01T00:00:00Z")
    await hers.post("/wallet/transfers", to_user_id=str(ben), amount=euros(7))
    rest = (await hers.get(f"/wallet/statement?currency=EUR&limit=3&cursor={first['next']}"))[1]
    assert [(line["amount"]["amount"], line["balance"]["amount"]) for line in rest["items"]] == [(-3, 877)]
    assert (rest["next"], rest["closing_balance"], rest["until"]) == (None, euros(877), first["until"])
    async with client.session.get(f"{client.base}/wallet/statement?currency=EUR&format=csv", headers=hers.headers) as response:
        assert (response.status, response.headers["Content-Type"].partition(";")[0]) == (200, "text/csv")
        lines = (await response.text()).splitlines()
    assert lines[0] == "kind,booked_at,amount,balance,currency,cause_id,id"
    assert [line.split(",")[2:5] for line in lines[1:]] == [
        ["", "0.00", "EUR"], ["10.00", "10.00", "EUR"], ["-1.00", "9.00", "EUR"], ["-0.20", "8.80", "EUR"], ["-0.03", "8.77", "EUR"],
        ["-0.07", "8.70", "EUR"], ["", "8.70", "EUR"],
    ]  # fmt: skip
    past = (await hers.get("/wallet/statement?currency=EUR&from=2020-01-01T00:00:00Z&until=2020-02-01T00:00:00%2B02:00"))[1]
    assert (past["items"], past["opening_balance"], past["closing_balance"]) == ([], euros(0), euros(0))
    for query in (
        "&from=2020-01-01T00:00:00",
        "&from=2020-02-01T00:00:00Z&until=2020-01-01T00:00:00Z",
        "&from=x",
        "&cursor=x",
        "&format=pdf",
    ):
        assert (await hers.get(f"/wallet/statement?currency=EUR{query}"))[0] == 422, query
    for query in ("", "?currency=euro"):
        assert (await hers.get(f"/wallet/statement{query}"))[0] == 422, query
    forged = write_cursor((new_id(), "2026-01-01T00:00:00"))
    assert (await hers.get(f"/wallet/statement?currency=EUR&cursor={forged}"))[0] == 422
    assert (await client.get("/wallet/statement?currency=EUR"))[0] == 401


async def test_a_transfer_says_where_from_or_where_to(client: Client) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 1_000)
    await fill_wallet(ben, 1)
    seller = {"seller_id": str(await make_seller())}
    hers = client.as_user(anna)
    status, sent = await hers.post("/wallet/transfers", to_user_id=str(ben), amount=euros(100))
    assert (status, sent["to_user_id"], sent["from_seller_id"], sent["to_seller_id"]) == (201, str(ben), None, None)
    for way in ({"from": seller}, {"to": seller}):
        assert (await hers.post("/wallet/transfers", amount=euros(1), **way))[0] == 404, "not her seller"
    for wrong in ({}, {"from": seller, "to": seller}, {"to_user_id": str(ben), "to": seller}, {"from": seller, "to_user_id": str(ben)},
                  {"from": {}}, {"to": "wallet"}, {"from": {"user_id": str(ben)}}):  # fmt: skip
        assert (await hers.post("/wallet/transfers", amount=euros(1), **wrong))[0] == 422, wrong
    assert (await hers.get("/wallet"))[1]["balances"][0]["available"] == euros(900)


async def test_a_sellers_owner_moves_money_both_ways(client: Client) -> None:
    owner, seller = new_id(), new_id()
    await fill_wallet(owner, 1_000)
    theirs, named = client.as_user(owner, "seller", sellers=(seller,)), {"seller_id": str(seller)}
    status, there = await theirs.post("/wallet/transfers", amount=euros(300), to=named)
    assert (status, there["to_seller_id"], there["to_user_id"]) == (201, str(seller), None)
    status, back = await theirs.post("/wallet/transfers", amount=euros(100), **{"from": named})
    assert (status, back["from_seller_id"], back["to_user_id"]) == (201, str(seller), str(owner))
    status, problem = await theirs.post("/wallet/transfers", amount=euros(201), **{"from": named})
    assert (status, problem["code"], problem["balance"]) == (409, "payments.insufficient_funds", euros(200))
    assert (await theirs.get("/wallet"))[1]["balances"][0]["available"] == euros(800)
