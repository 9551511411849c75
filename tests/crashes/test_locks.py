"""Carts of many lines, in every order, ordered and canceled by many at once: nobody waits long for a lock, and none for each other."""

import asyncio
import random
import time

import aiohttp
import asyncpg
import pytest
from tests.crashes.conftest import Victim
from tests.journeys.client import Client
from tests.journeys.market import open_market, order
from tests.torture import TORTURE, report, rounds

IN_FLIGHT = 64
SKUS = 12
LONGEST_WAIT_S = 1.0

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
WAITING = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - l.waitstart)), 0)::float8 FROM pg_locks AS l
    JOIN pg_database AS d ON d.oid = l.database WHERE NOT l.granted AND d.datname = current_database()
"""


async def watch(connection: asyncpg.Connection, waits: list[float]) -> None:
    """Look who waits, fifty times a second."""
    while True:
        waits.append(await connection.fetchval(WAITING))
        await asyncio.sleep(0.02)


async def shop_around(client: Client, skus: list[str], dice: random.Random, end: float) -> int:
    """Order whatever lines come to mind, use the coupon or not, and change one's mind now and then; how many orders."""
    orders = 0
    while time.monotonic() < end:
        lines = [{"sku": sku, "quantity": dice.randint(1, 3)} for sku in dice.sample(skus, dice.randint(1, 6))]
        cart = (await client.post("/carts", {"items": lines})).ok
        placed = (await order(client, cart["id"], **({"coupon": "MANY"} if dice.random() < 0.5 else {}))).ok
        orders += 1
        if dice.random() < 0.2:
            (await client.post(f"/orders/{placed['id']}/cancel", {"reason": "no"})).ok  # noqa: B018
    return orders


@pytest.mark.timeout(3600 if TORTURE else 120)
async def test_lines_in_any_order_never_wait_for_each_other(victim: Victim) -> None:
    market = await open_market(victim)
    skus = [(await market.put_on_sale(1_000_000))["sku"] for _ in range(SKUS)]
    await (await victim.admin()).post("/coupons", {"name": "Many", "kind": "percentage", "rate_ppm": 50_000, "code": "MANY"})
    dice = random.Random(22)
    waits: list[float] = []
    async with victim.database() as connection, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [await Client(session, victim.url).register() for _ in range(IN_FLIGHT)]
        watching = asyncio.create_task(watch(connection, waits))
        end = time.monotonic() + rounds(6, 60)
        counts = await asyncio.gather(*(shop_around(client, skus, random.Random(dice.random()), end) for client in clients))
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await victim.rest()
    async with victim.database() as connection:
        deadlocks = await connection.fetchval(DEADLOCKS)
    report("locks.md", f"{sum(counts)} orders, {IN_FLIGHT} in flight: {deadlocks} deadlocks, longest lock wait seen {max(waits):.3f} s")
    assert (deadlocks, sum(counts) > IN_FLIGHT) == (0, True)
    assert max(waits) < LONGEST_WAIT_S
    told = victim.server.log.read_text()
    assert "CallInTransaction" not in told, "a neighbour or a gateway was called while a transaction was open"
    assert "40P01" not in told
    assert await victim.find_faults() == []
