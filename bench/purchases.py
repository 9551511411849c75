"""Purchases: read two product pages, create a cart with two lines, place the order with a card."""

import asyncio
import bisect
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from bench import floors, load, machine
from bench.shop import COUPON, Goods, Stock, filled, sandbox, served
from souk import app

ADDRESS = {"name": "Ada", "line1": "1 Main St", "city": "Berlin", "postal_code": "10115", "country": "DE"}
SIZE = "SELECT sum(pg_database_size(datname))::bigint FROM pg_database"
GET = b"GET /products/%s HTTP/1.1\r\nHost: shop\r\n\r\n"
POST = b"POST %s HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
ORDER = msgspec.json.encode({"cart_id": "%s", "shipping_address": ADDRESS, "payment": {"method": "card", "token": "tok_visa"}})
WITH_COUPON = ORDER[:-1] + b',"coupon":"' + COUPON.encode() + b'"}'


class PerMillion(msgspec.Struct, frozen=True):
    """What a million purchases cost: CPU of the shop and PostgreSQL together, log written, and how much the database grows."""

    cpu_s: float
    wal_gb: float
    disk_gb: float


class Report(msgspec.Struct, frozen=True):
    """What a run showed. p50 and p99 are those of a purchase, four requests one after the other. CPU per purchase, memory in PSS."""

    purchases: int
    purchases_per_s: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    request_p99_ms: float
    event_lag_s: float
    errors: int
    oversold: int
    cpu_ms: dict[str, float]
    memory_mb: float
    wal_bytes_per_purchase: float
    per_million: PerMillion
    audit_violations: int = -1
    bare_requests_per_s: float = 0.0
    tpcb_per_s: float | None = None
    share_of_tpcb: float | None = None


def shoppers(goods: Goods, chance: random.Random) -> Callable[[float], Callable[[], load.Visitor | None]]:
    """Buyers who come one after the other until a time; what they buy follows Zipf's law."""
    count = len(goods.skus)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))
    pages = [GET % product_id.encode() for product_id in goods.product_ids]
    skus = [sku.encode() for sku in goods.skus]
    tokens = [token.encode() for token in goods.tokens]
    places = list(range(count))
    chance.shuffle(places)

    def pick() -> int:
        return places[bisect.bisect_left(weights, chance.random() * weights[-1])]

    def shop() -> load.Visitor:
        first, second = pick(), pick()
        while second == first:
            second = pick()
        token = tokens[chance.randrange(len(tokens))]
        status, _ = yield pages[first]
        if status != 200:
            return False
        status, _ = yield pages[second]
        if status != 200:
            return False
        body = b'{"items":[{"sku":"%s","quantity":1},{"sku":"%s","quantity":2}]}' % (skus[first], skus[second])
        status, answer = yield POST % (b"/carts", token, len(body), body)
        if status != 201:
            return False
        at = answer.index(b'"id":"') + 6
        body = (WITH_COUPON if chance.random() < 0.1 else ORDER) % answer[at : at + 36]
        status, answer = yield POST % (b"/orders", token, len(body), body)
        return status == 201 and b'"status":"placed"' in answer

    return lambda until: lambda: shop() if time.perf_counter() < until else None


async def buy(dsn: str, port: int, goods: Goods, shop_pid: int, clients: int, seconds: float) -> Report:
    """Buy for so long, after a warm-up of half as long, so that the memories are as full as in a shop that has been open for a while."""
    buyers_until = shoppers(goods, random.Random(7))
    await load.run(port, clients, buyers_until(time.perf_counter() + seconds / 2))
    places = app.read_shop(app.CONTEXTS, dsn).dsns
    books = {place: await asyncpg.connect(place) for place in dict.fromkeys(places.values())}
    # Who looks at the whole server: the role of a context may not.
    connection = await asyncpg.connect(dsn)
    postgres_pid = int(await connection.fetchval("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"))
    postgres_pid = machine.processes()[postgres_pid][1]
    await until_quiet(*books.values())
    wal = await connection.fetchval("SELECT pg_current_wal_lsn()")
    disk = await connection.fetchval(SIZE)
    before = machine.measure(shop_pid, postgres_pid)
    tally = await load.run(port, clients, buyers_until(time.perf_counter() + seconds))
    ended = time.perf_counter()
    bought_s = ended - before.at
    memory = machine.memory_mb(shop_pid, postgres_pid)
    await until_quiet(*books.values())
    used = machine.measure(shop_pid, postgres_pid).since(before)
    purchases = len(tally.visits_s)
    oversold = await books[places["inventory"]].fetchval("SELECT count(*) FROM inventory.stock WHERE on_hand - reserved < 0")
    written = await connection.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", wal)
    grown = await connection.fetchval(SIZE) - disk
    for one in (connection, *books.values()):
        await one.close()
    for problem, count in tally.problems.most_common(5):
        print(count, problem, file=sys.stderr)
    per = 1000 / max(purchases, 1)
    groups = {"shop": used.shop, "postgres": used.postgres, "generator": used.generator}
    cpu = {name: round(value * per, 3) for name, value in groups.items()}
    cpu["others"] = round((used.machine - sum(groups.values())) * per, 3)
    return Report(
        purchases=purchases,
        purchases_per_s=round(purchases / bought_s, 1),
        requests_per_s=round(tally.requests / bought_s, 1),
        p50_ms=round(load.percentile(tally.visits_s, 0.5) * 1000, 1),
        p99_ms=round(load.percentile(tally.visits_s, 0.99) * 1000, 1),
        request_p99_ms=round(load.percentile(tally.requests_s, 0.99) * 1000, 1),
        event_lag_s=round(time.perf_counter() - ended, 2),
        errors=tally.failed,
        oversold=int(oversold),
        cpu_ms=cpu,
        memory_mb=round(memory, 1),
        wal_bytes_per_purchase=round(float(written) / max(purchases, 1)),
        per_million=PerMillion(
            cpu_s=round((used.shop + used.postgres) * per * 1000, 0),
            wal_gb=round(float(written) / max(purchases, 1) / 1000, 2),
            disk_gb=round(float(grown) / max(purchases, 1) / 1000, 2),
        ),
    )


async def until_quiet(*connections: asyncpg.Connection, within_s: float = 60.0) -> None:
    """Wait until the positions of all consumers in these databases have passed what was published in them up to now."""
    end = time.perf_counter() + within_s
    home: dict[str, asyncpg.Connection] = {}
    for connection in connections:
        rows = await connection.fetch("SELECT schemaname FROM pg_tables WHERE tablename = 'consumer_position' ORDER BY 1")
        home |= {row["schemaname"]: connection for row in rows}
    last = {context: await connection.fetchval(f"SELECT max(xid) FROM {context}.outbox") for context, connection in home.items()}
    while True:
        behind = 0
        for context, connection in home.items():
            for row in await connection.fetch(f"SELECT source, xid FROM {context}.consumer_position"):
                behind += (last[row["source"]] or 0) > row["xid"]
        if not behind:
            return
        if time.perf_counter() > end:
            print(f"{behind} consumers are behind", file=sys.stderr)
            return
        await asyncio.sleep(0.05)


class Size(msgspec.Struct, frozen=True):
    """How large a run is, and whether the card goes to the fake processor, a process of its own."""

    products: int
    buyers: int
    clients: int
    workers: int
    seconds: float
    runs: int = 1
    sandbox: bool = False
    split: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """A shop in one piece and the same in parts, measured one after the other, and how many purchases the parts make for one."""

    one: Report
    split: Report
    share: float


def compare(home: Path, size: Size, port: int) -> list[Comparison]:
    """Measure the shop in one piece and in parts, run by run."""
    whole = measure(home, msgspec.structs.replace(size, split=False), port)
    parts = measure(home, size, port)
    return [Comparison(one, split, round(split.purchases_per_s / one.purchases_per_s, 3)) for one, split in zip(whole, parts, strict=True)]


def measure(home: Path, size: Size, port: int) -> list[Report]:
    """Fill a shop; then, run by run, serve it, buy from it, look at its books, and at what the machine can do without it."""
    with filled(home, Stock(size.products), size.buyers, split=size.split) as (dsn, goods):
        return [measure_once(home, size, port, dsn, goods) for _ in range(size.runs)]


def measure_once(home: Path, size: Size, port: int, dsn: str, goods: Goods) -> Report:
    with (
        sandbox(home, port + 1, port) if size.sandbox else nullcontext({}) as environment,
        served(dsn, port, size.workers, split=size.split, **environment) as pid,
    ):
        report = uvloop.run(buy(dsn, port, goods, pid, size.clients, size.seconds))
    per_s = floors.tpcb(dsn, 5.0)
    return msgspec.structs.replace(
        report,
        audit_violations=count_violations(dsn),
        bare_requests_per_s=round(floors.bare_server(port + 2, 64, 3.0), 1),
        tpcb_per_s=per_s and round(per_s, 1),
        share_of_tpcb=per_s and round(report.purchases_per_s / per_s, 3),
    )


def count_violations(dsn: str) -> int:
    """How many rules of the books are broken, as `souk audit` says."""
    command = [sys.executable, "-m", "souk", "audit", "--json", "--settled"]
    done = subprocess.run(command, env={**os.environ, "DATABASE_URL": dsn}, capture_output=True, check=False)
    report = msgspec.json.decode(done.stdout)
    for rule in report["rules"]:
        if not rule["holds"]:
            print(rule["id"], rule["statement"], rule["findings"][:3], file=sys.stderr)
    return int(report["broken"])
