"""From facts to mailboxes: each told up to ten times, the shop killed again and again, and everybody has each letter once (N-01, N-14)."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from tests.journeys.client import Client
from tests.journeys.conftest import Shop, run_shop
from tests.journeys.market import CARD, Market, fill_cart, open_market, order
from tests.journeys.processes import Processes
from tests.ports import find_free_port
from tests.sandbox.conftest import Sandbox
from tests.torture import TORTURE, report, rounds
from tests.waiting import until

from souk.kit.postgres import EmbeddedPostgres

KILLS = rounds(3, 5)
# A seller is told of sixty orders an hour one by one.
BUYERS = rounds(2, 10)
# Each time that somebody tells notifications of a fact, whether it is known or not.
WATCH = """
    CREATE TABLE notifications.heard (id uuid NOT NULL);
    CREATE FUNCTION notifications.note_hearing() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO notifications.heard VALUES (NEW.id); RETURN NEW; END $$;
    CREATE TRIGGER note_hearing BEFORE INSERT ON notifications.notice FOR EACH ROW EXECUTE FUNCTION notifications.note_hearing();
"""
FORGET_PLACE = "UPDATE notifications.consumer_position SET xid = 0, id = 0 WHERE consumer = 'notifications.write_notices'"
COUNT_OPEN = """
    SELECT (SELECT count(*) FROM notifications.notice WHERE status = 'new')
         + (SELECT count(*) FROM notifications.message WHERE status IN ('waiting', 'sending'))
"""
READ = "SELECT letter_id, user_id, kind, status FROM notifications.message WHERE channel = 'email'"
TIMES = "SELECT count(*) AS times FROM notifications.heard GROUP BY id ORDER BY 1"


@pytest.fixture(params=["direct", "wire"] if TORTURE else ["direct"])
def writing(request: pytest.FixtureRequest, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[tuple[Processes, Sandbox]]:
    """A shop that sends letters to a post which keeps a book."""
    with run_shop(f"letters_{request.param}", postgres, tmp_path, wire=request.param == "wire", mail_port=find_free_port()) as running:
        yield running
        # Whatever was killed last: it is to end well.
        running[0].start()


@pytest.fixture
async def shop(writing: tuple[Processes, Sandbox]) -> AsyncIterator[Shop]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Shop(*writing, session)


async def run(shop: Shop, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(shop.processes.dsns["notifications"])
    try:
        if statement.strip().startswith("SELECT"):
            return list(await connection.fetch(statement))
        await connection.execute(statement)
        return []
    finally:
        await connection.close()


async def read_book(shop: Shop) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {shop.sandbox.settings['api_key']}"}
    async with shop.session.get(f"{shop.sandbox.url}/v1/letters?after=0&limit=10000", headers=headers) as answer:
        return list((await answer.json())["items"])


async def count_letters(shop: Shop) -> defaultdict[str, Counter[str]]:
    """What lies in each mailbox, by kind: as often as the post has brought it, whatever the shop says."""
    kinds = {str(row["letter_id"]): row["kind"] for row in await run(shop, READ)}
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in await read_book(shop):
        found[one["recipient"]][kinds[one["letter_id"]]] += 1
    return found


async def live(shop: Shop, market: Market, sku: str) -> tuple[Client, Counter[str]]:
    """Somebody registers, orders, is refused by their bank, and gets something back; the letters that come of it."""
    buyer = await shop.buyer()
    declined = (await order(buyer, await fill_cart(buyer, sku), {**CARD, "token": "tok_declined"})).ok
    assert declined["status"] == "draft"
    placed = (await order(buyer, await fill_cart(buyer, sku))).ok
    assert placed["status"] == "placed"
    admin = await shop.admin()
    (await admin.post(f"/payments/{placed['id']}/refunds", {"amount": {"amount": 100, "currency": "USD"}, "reason": "a scratch"})).ok  # noqa: B018
    # Of the other order they hear when the time to pay it is over.
    kinds = ("welcome", "verify_email", "order_placed", "order_rejected", "order_refunded")
    return buyer, Counter(kinds)


async def test_each_fact_is_in_each_mailbox_once(shop: Shop) -> None:
    chance = random.Random(1)
    market = await open_market(shop)
    goods = await market.put_on_sale(1_000)
    await run(shop, WATCH)
    lives: list[tuple[Client, Counter[str]]] = []
    for _ in range(KILLS):
        lives += [await live(shop, market, goods["sku"]) for _ in range(BUYERS)]
        # All that there ever was is told once more, while it works and after it was killed at whatever it was about.
        await run(shop, FORGET_PLACE)
        await asyncio.sleep(chance.random())
        shop.kill("notifications")
        await run(shop, FORGET_PLACE)
        await asyncio.to_thread(shop.restart, "notifications")
    admin = await shop.admin()

    async def all_has_ended() -> bool:
        got = await count_letters(shop)
        some = all(letters <= got[buyer.user["email"]] for buyer, letters in lives)
        return some and (await run(shop, COUNT_OPEN))[0][0] == 0

    async def all_is_well() -> bool:
        return bool((await admin.get("/audit?settled=true")).ok["broken"] == 0)

    await until(all_has_ended, within_s=60)
    await until(all_is_well, within_s=60)
    book = await read_book(shop)
    assert max(Counter(one["letter_id"] for one in book).values()) == 1
    got = await count_letters(shop)
    for buyer, letters in lives:
        # Nothing confirms the order that was not paid, and the refund confirms nothing again.
        assert got[buyer.user["email"]] == letters
    assert got[market.seller.user["email"]]["seller_order_placed"] == len(lives)
    times = [row["times"] for row in await run(shop, TIMES)]
    assert max(times) > KILLS, "some were told again and again"
    assert len(book) == sum(row["status"] == "sent" for row in await run(shop, READ))
    report(
        f"N-01-{'wire' if shop.wire else 'direct'}.txt",
        f"N-01: {len(times)} notices told {min(times)} to {max(times)} times, {KILLS} kills, {len(book)} letters, lost 0, twice 0",
    )
