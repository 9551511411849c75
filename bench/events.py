"""Events of many orders through a shop in parts and a broker: who hears them, how soon all are applied, and that each was applied once."""

import asyncio
import random
import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import asyncpg
import msgspec
import uvloop
from tests.engines.brokers import KINDS, Broker, lacking

from bench import load, machine
from bench.purchases import count_violations, shoppers
from bench.shop import Goods, Stock, filled, served
from souk import app
from souk.kit.brokers.relays import CONSUMER

POSITIONS = "SELECT consumer, source, xid FROM {context}.consumer_position"
NEWEST = "SELECT coalesce(max(xid), 0) FROM {context}.outbox"
PARKED = "SELECT count(*) FROM {context}.dead_letter"
PLACED = "SELECT event_id, aggregate_id AS order_id FROM orders.outbox WHERE type = 'orders.OrderPlaced'"
# What each of these consumers has written for the facts it was told of: as many rows as there are facts, each for another one.
EFFECTS = {
    "users.note_purchases": ("users", "SELECT order_id AS of FROM users.user_activity WHERE activity_type = 'purchase'"),
    "carts.close_ordered_carts": ("carts", "SELECT order_id AS of FROM carts.cart WHERE status = 'ordered'"),
    "notifications.write_notices": ("notifications", "SELECT fact_id AS of FROM notifications.notice WHERE kind = 'order_placed'"),
}
QUIET_WITHIN_S = 120.0
READ = re.compile(r'^souk_facts_read_total\{[^}]*way="(\w+)"\} ([\d.e+-]+)$', re.MULTILINE)
PORT = re.compile(r"--internal-port\0(\d+)\0")

Books = dict[str, asyncpg.Connection]


class Size(msgspec.Struct, frozen=True):
    """How many orders over how many connections, by which broker, and whether that loses all it has when half of them are begun."""

    orders: int
    clients: int
    broker: str
    wipe: bool


class Report(msgspec.Struct, frozen=True):
    """What was seen. Lags are from the last order until nobody was behind an outbox: consumers, and relays, who wait for the broker."""

    orders: int
    failed: int
    orders_per_s: float
    facts: int
    facts_read_by: dict[str, int]
    share_by_broker: float | None
    consumer_lag_s: float | None
    relay_lag_s: float | None
    consumers: int
    parked: int
    applied: dict[str, str]
    audit_violations: int


def measure(home: Path, size: Size, port: int) -> Report:
    """Place the orders in a shop of a process for each context; raises SystemExit where there is no such broker."""
    if lack := lacking(size.broker):
        raise SystemExit(lack)
    with filled(home, Stock(200), 500, split=True) as (dsn, goods):
        broker, token = KINDS[size.broker](home / size.broker), secrets.token_hex(32)
        broker.start()
        try:
            with served(dsn, port, 1, split=True, SOUK_BROKER_URL=broker.url, SOUK_METRICS_TOKEN=token) as pid:
                report = uvloop.run(_sell(dsn, size, port, goods, broker, lambda: read_ways(pid, token)))
        finally:
            broker.kill()
        return msgspec.structs.replace(report, audit_violations=count_violations(dsn))


async def _sell(dsn: str, size: Size, port: int, goods: Goods, broker: Broker, ways: Callable[[], Counter[str]]) -> Report:
    async with AsyncExitStack() as stack:
        books: Books = {}
        for context, place in app.read_shop(app.CONTEXTS, dsn).dsns.items():
            books[context] = await asyncpg.connect(place)
            stack.push_async_callback(books[context].close)
        await until_applied(books, time.perf_counter(), relays=True)
        before = ways()
        half = asyncio.Event()
        harm = asyncio.create_task(_wipe_at(half, broker)) if size.wipe else None
        began = time.perf_counter()
        tally = await load.run(port, size.clients, _so_many(size.orders, shoppers(goods, random.Random(7))(inf), half))
        ended = time.perf_counter()
        consumer_lag_s = await until_applied(books, ended, relays=False)
        relay_lag_s = await until_applied(books, ended, relays=True)
        if harm is not None:
            await harm
        read = ways() - before
        all_read = sum(read.values())
        for problem, count in tally.problems.most_common(5):
            print(count, problem, file=sys.stderr)
        return Report(
            orders=len(tally.visits_s),
            failed=tally.failed,
            orders_per_s=round(len(tally.visits_s) / (ended - began), 1),
            facts=sum([await book.fetchval(f"SELECT count(*) FROM {context}.outbox") for context, book in books.items()]),
            facts_read_by=dict(read),
            share_by_broker=round(read["broker"] / all_read, 3) if all_read else None,
            consumer_lag_s=consumer_lag_s,
            relay_lag_s=relay_lag_s,
            consumers=sum([len(await book.fetch(POSITIONS.format(context=context))) for context, book in books.items()]),
            parked=sum([await book.fetchval(PARKED.format(context=context)) for context, book in books.items()]),
            applied=await compare_effects(books),
            audit_violations=-1,
        )


def _so_many(orders: int, buyers: Callable[[], load.Visitor | None], half: asyncio.Event) -> Callable[[], load.Visitor | None]:
    left = orders

    def visit() -> load.Visitor | None:
        nonlocal left
        left -= 1
        if left == orders // 2:
            half.set()
        return buyers() if left >= 0 else None

    return visit


async def _wipe_at(half: asyncio.Event, broker: Broker) -> None:
    await half.wait()
    await asyncio.to_thread(broker.wipe)
    await asyncio.to_thread(broker.begin)
    while not await asyncio.to_thread(broker.answers):  # noqa: ASYNC110  nobody tells us
        await asyncio.sleep(0.2)


async def until_applied(books: Books, since: float, *, relays: bool) -> float | None:
    """Wait until no consumer, or no relay, is behind the newest fact of its source; how long that was after a time, None if too long."""
    while behind := await find_behind(books, relays=relays):
        if time.perf_counter() - since > QUIET_WITHIN_S:
            print("behind:", ", ".join(behind), file=sys.stderr)
            return None
        await asyncio.sleep(0.1)
    return round(time.perf_counter() - since, 1)


async def find_behind(books: Books, *, relays: bool) -> list[str]:
    """The consumers, or the relays, that have not passed the newest fact of a source."""
    newest = {context: await book.fetchval(NEWEST.format(context=context)) for context, book in books.items()}
    rows = [(context, row) for context, book in books.items() for row in await book.fetch(POSITIONS.format(context=context))]
    return [f"{context}: {row['consumer']} of {row['source']}" for context, row in rows if is_behind(row, newest, relays=relays)]


def is_behind(row: asyncpg.Record, newest: dict[str, int], *, relays: bool) -> bool:
    return bool((row["consumer"] == CONSUMER) is relays and row["xid"] < newest[row["source"]])


async def compare_effects(books: Books) -> dict[str, str]:
    """Of consumers whose effects can be counted: whether there is one for each placed order, and none twice."""
    placed = await books["orders"].fetch(PLACED)
    found: dict[str, str] = {}
    for consumer, (context, statement) in EFFECTS.items():
        told = Counter(row["of"] for row in await books[context].fetch(statement))
        wanted = {row["event_id" if context == "notifications" else "order_id"] for row in placed}
        twice = sum(count > 1 for count in told.values())
        missing, invented = len(wanted - told.keys()), len(told.keys() - wanted)
        right = not (twice or missing or invented)
        found[consumer] = f"{len(told)} once" if right else f"{missing} missing, {twice} twice, {invented} of nothing"
    return found


def read_ways(pid: int, token: str) -> Counter[str]:
    """How many facts all processes of the shop have read by now, by way; nothing of those that do not tell."""
    found: Counter[str] = Counter()
    known = machine.processes()
    for one in machine.tree(pid, known):
        try:
            command = Path(f"/proc/{one}/cmdline").read_text()
            if (at := PORT.search(command)) is None:
                continue
            request = Request(f"http://127.0.0.1:{at[1]}/metrics", headers={"Authorization": f"Bearer {token}"})
            with urlopen(request, timeout=10) as answer:
                for way, count in READ.findall(answer.read().decode()):
                    found[way] += int(float(count))
        except (URLError, OSError):
            continue
    return found
