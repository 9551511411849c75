"""Statements of sellers: opening balance, movements and closing balance add up, whoever posts what at the same moment; and over REST."""

import asyncio
import csv
import io
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import jwt
import pytest
from tests.conftest import asked_by
from tests.payments.bank import IBAN, RETURNED, balance_of, earn, euros, make_seller, payouts_of, run_jobs, set_account
from tests.payments.conftest import listening
from tests.payments.outside import Outside, until
from tests.payments.test_http import KEY, Client
from tests.ports import find_free_port

from souk import payments
from souk.app import Shop
from souk.kit.auth import AUDIENCE, ISSUER, TOKEN_TYPE, PublicKey, TokenPolicy, Verifier
from souk.kit.errors import InvalidField, NotFound
from souk.kit.ids import derive_id, new_id
from souk.payments.database import db
from souk.payments.payout_types import StatementPage, StatementWanted
from souk.payments.statements import cause_of

TODAY = datetime.now(UTC).date()
TOMORROW = TODAY + timedelta(days=1)


async def statement(seller_id: UUID, since: date = TODAY, until: date = TOMORROW, limit: int = 100, currency: str = "EUR") -> StatementPage:
    with asked_by("seller", sells_for=(seller_id,)):
        return await payments.read_statement(StatementWanted(seller_id, currency, since, until), limit)


def adds_up(page: StatementPage) -> bool:
    return page.opening.amount + sum(entry.amount.amount for entry in page.items) == page.closing.amount


async def backdate(days: int) -> None:
    """What was booked so far was booked so many days earlier."""
    moment = datetime.now(UTC) - timedelta(days=days)
    await db.pool.execute("ALTER TABLE payments.transfer DISABLE TRIGGER append_only")
    for number, row in enumerate(await db.pool.fetch("SELECT cause_id, reference FROM payments.transfer ORDER BY id")):
        made = derive_id(moment + timedelta(milliseconds=number), f"{row['cause_id']}{row['reference']}")
        await db.pool.execute("UPDATE payments.transfer SET id = $3 WHERE cause_id = $1 AND reference = $2", *row.values(), made)
    await db.pool.execute("ALTER TABLE payments.transfer ENABLE TRIGGER append_only")


async def test_a_statement_since_ever(shop: Shop) -> None:
    seller = new_id()
    await earn(seller, 5_000)
    page = await statement(seller, date(1, 1, 1), date(1969, 12, 31))
    assert (page.opening, page.closing, page.items) == (euros(0), euros(0), ())
    page = await statement(seller, date(1969, 12, 31), date(9999, 12, 31))
    assert (page.opening, page.closing, len(page.items)) == (euros(0), euros(5_000), 1)


async def test_every_movement_with_its_cause(bank: Outside) -> None:
    seller = await make_seller(5_000, RETURNED)
    await run_jobs()

    async def is_back() -> bool:
        return await balance_of(seller) == 5_000

    await until(is_back)
    await earn(seller, -700)
    [payout] = await payouts_of(seller)
    page = await statement(seller)
    assert (page.opening, page.closing) == (euros(0), euros(4_300))
    assert [(one.kind, one.amount.amount, one.cause) for one in page.items] == [
        ("earned", 5_000, "order"),
        ("payout_reserved", -5_000, "payout"),
        ("payout_returned", 5_000, "payout"),
        ("clawed_back", -700, "order"),
    ]
    assert {one.cause_id for one in page.items if one.cause == "payout"} == {payout.id}
    assert adds_up(page)


async def test_a_period_begins_where_the_one_before_ended(shop: Shop) -> None:
    seller = new_id()
    await earn(seller, 1_000)
    await backdate(days=40)
    await earn(seller, 200)
    await earn(seller, -30)
    for days in (40, 39, 10, 0):
        middle = TODAY - timedelta(days=days) + timedelta(days=1)
        before, after = await statement(seller, date(2020, 1, 1), middle), await statement(seller, middle, TOMORROW)
        assert before.closing == after.opening
        assert (before.opening, after.closing) == (euros(0), euros(1_170))
        assert adds_up(before) and adds_up(after)
        assert len(before.items) + len(after.items) == 3
    quiet = await statement(seller, TODAY - timedelta(days=20), TODAY - timedelta(days=10))
    assert (quiet.opening, quiet.closing, quiet.items) == (euros(1_000), euros(1_000), ())


async def test_who_has_nothing_has_a_statement_too(shop: Shop) -> None:
    seller = new_id()
    await earn(seller, 500)
    assert (await statement(seller, currency="USD")).closing.amount == 0
    with pytest.raises(InvalidField):
        await statement(seller, TOMORROW, TODAY)
    with asked_by("seller", sells_for=(new_id(),)), pytest.raises(NotFound):
        await payments.read_statement(StatementWanted(seller, "EUR", TODAY, TOMORROW), 10)


async def test_it_adds_up_while_money_moves(shop: Shop) -> None:
    seller, dice = new_id(), random.Random(5)
    await earn(seller, 1)

    async def move() -> None:
        for _ in range(10):
            await earn(seller, dice.choice((-1, 1)) * dice.randint(1, 900))

    moving = [asyncio.create_task(move()) for _ in range(8)]
    while not all(task.done() for task in moving):
        assert adds_up(await statement(seller))
    page = await statement(seller)
    assert (adds_up(page), len(page.items), page.closing.amount) == (True, 81, await balance_of(seller))


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("earned", "order"), ("clawed_back", "order"), ("paid_out", "payout"), ("moved", "transfer"), ("hold_posted", "hold")],
)
def test_what_a_movement_is_about(kind: str, cause: str) -> None:
    assert cause_of(kind) == cause


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Client]:
    verifier = Verifier()
    verifier.learn(TokenPolicy((PublicKey("k", KEY.public_key().public_bytes_raw()),)))
    async with listening(find_free_port(), verifier) as base, aiohttp.ClientSession() as session:
        yield Client(base, session)


def as_seller(client: Client, seller_id: UUID, owner: bool = True) -> Client:
    """Somebody of this seller's team."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(new_id()), "sid": str(new_id()), "iat": time.time(), "exp": time.time() + 60}
    claims |= {"roles": ["buyer", "seller"], "sellers": [str(new_id()), str(seller_id)], "owned": [1] if owner else [0]}
    token = jwt.encode(claims, KEY, "EdDSA", {"kid": "k", "typ": TOKEN_TYPE})
    return Client(client.base, client.session, Authorization=f"Bearer {token}")


async def read_text(client: Client, path: str, **headers: str) -> tuple[str, str]:
    async with client.session.get(client.base + path, headers=client.headers | headers) as response:
        assert response.status == 200, await response.text()
        return response.content_type, await response.text()


async def test_a_statement_over_rest_page_by_page(client: Client) -> None:
    seller = new_id()
    for amount in (1_290, -40, 800, 75, 5):
        await earn(seller, amount)
    hers, path = as_seller(client, seller), f"/sellers/{seller}/statements?currency=EUR&limit=2"
    entries: list[Any] = []
    cursor = ""
    while cursor is not None:
        status, page = await hers.get(path + (f"&cursor={cursor}" if cursor else ""))
        assert (status, page["opening"]["amount"], page["closing"]["amount"]) == (200, 0, 2_130)
        assert (page["from"], page["until"]) == (str(TODAY.replace(day=1)), str(TOMORROW))
        entries += page["items"]
        cursor = page["next"]
    assert [entry["amount"]["amount"] for entry in entries] == [1_290, -40, 800, 75, 5]
    assert entries[0].keys() == {"id", "booked_at", "kind", "amount", "cause", "cause_id"}
    yesterday = TODAY - timedelta(days=1)
    status, past = await hers.get(f"/sellers/{seller}/statements?currency=EUR&from={yesterday}&until={TODAY}")
    assert (status, past["closing"]["amount"], past["items"]) == (200, 0, [])
    for wrong in ("currency=eur", "currency=EUR&from=yesterday", "currency=EUR&format=pdf", f"currency=EUR&from={TOMORROW}&until={TODAY}"):
        assert (await hers.get(f"/sellers/{seller}/statements?{wrong}"))[0] in (400, 422)


async def test_a_statement_as_csv(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.payments.statements.ROWS_AT_ONCE", 2)
    seller = new_id()
    for amount in (1_290, -40, 800, 75, 5):
        await earn(seller, amount)
    hers, path = as_seller(client, seller), f"/sellers/{seller}/statements?currency=EUR"
    asked, accepted = await read_text(hers, f"{path}&format=csv"), await read_text(hers, path, Accept="text/csv")
    assert asked == accepted
    kind, text = asked
    rows = list(csv.DictReader(io.StringIO(text)))
    assert kind == "text/csv"
    assert [row["amount"] for row in rows] == ["0.00", "12.90", "-0.40", "8.00", "0.75", "0.05", "21.30"]
    assert [row["kind"] for row in rows] == ["opening_balance", "earned", "clawed_back", "earned", "earned", "earned", "closing_balance"]
    assert {row["currency"] for row in rows} == {"EUR"}


async def test_balance_account_and_payouts_over_rest(client: Client, bank: Outside) -> None:
    seller = new_id()
    hers, member, stranger = as_seller(client, seller), as_seller(client, seller, owner=False), as_seller(client, new_id())
    admin = client.as_user(new_id(), "admin")
    account = {"holder": "Lighthouse", "number": IBAN, "country": "DE", "currency": "EUR"}
    status, made = await hers.ask("PUT", f"/sellers/{seller}/payout-account", account)
    assert (status, made["number"]) == (200, "****3000")
    assert (await member.ask("PUT", f"/sellers/{seller}/payout-account", account))[0] == 403
    assert (await member.get(f"/sellers/{seller}/payout-account")) == (200, {"items": [made], "next": None})
    await earn(seller, 5_000)
    status, balance = await member.get(f"/sellers/{seller}/balance")
    assert (status, balance["payouts"], balance["items"][0]["balance"]["amount"]) == (200, True, 5_000)
    assert (await hers.post(f"/sellers/{seller}/payouts", currency="EUR"))[0] == 403
    status, payout = await admin.with_key("now").post(f"/sellers/{seller}/payouts", currency="EUR")
    assert (status, payout["status"]) == (201, "sending")
    assert await admin.with_key("now").post(f"/sellers/{seller}/payouts", currency="EUR") == (201, payout)
    assert (await admin.post(f"/sellers/{seller}/payouts", currency="EUR"))[1]["code"] == "payments.nothing_to_pay_out"
    await run_jobs()
    status, shown = await member.get(f"/sellers/{seller}/payouts/{payout['id']}")
    assert (status, shown["status"]) == (200, "paid")
    assert (await hers.get(f"/sellers/{seller}/payouts")) == (200, {"items": [shown], "next": None})
    for path in ("balance", "payout-account", "payouts", f"payouts/{payout['id']}", "statements?currency=EUR"):
        assert (await stranger.get(f"/sellers/{seller}/{path}"))[0] == 404
        assert (await client.get(f"/sellers/{seller}/{path}"))[0] == 401
    assert (await stranger.ask("PUT", f"/sellers/{seller}/payout-account", account))[0] == 404


async def test_payouts_over_rest_page_by_page(client: Client, bank: Outside) -> None:
    seller = new_id()
    await set_account(seller)
    admin, made = client.as_user(new_id(), "admin"), []
    for amount in (5, 6, 7):
        await earn(seller, amount)
        made.append((await admin.post(f"/sellers/{seller}/payouts", currency="EUR"))[1]["id"])
    hers, seen = as_seller(client, seller), []
    cursor = ""
    while cursor is not None:
        _, page = await hers.get(f"/sellers/{seller}/payouts?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert seen == made[::-1]


async def test_forged_and_true_webhooks_of_the_bank(client: Client, bank: Outside) -> None:
    seller = await make_seller(5_000)
    await bank.control(next="forged_signature", on="transfer")
    await run_jobs()
    [payout] = await payouts_of(seller)
    await asyncio.sleep(0.3)
    assert (payout.status, (await payouts_of(seller))[0].status, await balance_of(seller)) == ("paid", "paid", 0)
    status, refused = await client.post("/payments/webhooks/sandbox_bank", id="evt", data={})
    assert (status, refused["code"]) == (401, "payments.webhook_forged")
