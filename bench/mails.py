"""From an order's commit to its mail at the post: orders come at a fixed rate, whether the shop keeps up or not (open loop).

The mail that counts is the buyer's `order_placed`. Its time begins with the transaction that says that the order is placed (OrderPlaced
in the outbox of orders), a little before that commits, and ends when the post has it in its book, by the clock of the same machine.
"""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import uvloop

from bench import load, machine
from bench.campaign import Post, post_office
from bench.events import Books, until_applied
from bench.overload import Buyers, Crowd, Window, fill_carts
from bench.shop import Stock, filled, served
from souk import app

PLACED = "SELECT aggregate_id AS order_id, created_at FROM orders.outbox WHERE type = 'orders.OrderPlaced' AND id > $1"
LAST = "SELECT coalesce(max(id), 0) FROM orders.outbox"
# `decided_at` is when the process that had claimed a message looked whether it is still wanted: the first thing that it does.
MESSAGES = """
    SELECT m.order_id, m.letter_id, n.created_at AS noticed_at, m.created_at AS planned_at, m.decided_at AS claimed_at
    FROM notifications.message AS m JOIN notifications.notice AS n ON n.id = m.notice_id
    WHERE m.kind = 'order_placed' AND m.channel = 'email' AND m.order_id = ANY($1) AND m.status = 'sent'
"""
# In one statement: a notice becomes its messages in one transaction, so that between the two there is nothing that neither shows.
OPEN = """
    SELECT (SELECT count(*) FROM notifications.notice WHERE status = 'new')
         + (SELECT count(*) FROM notifications.message WHERE channel = 'email' AND status IN ('waiting', 'sending') AND due_at <= now())
"""
WARM_S = 5.0
WITHIN_S = 60.0
CONNECTIONS = 400
STAGES = ("committed to noticed", "noticed to planned", "planned to claimed", "claimed to the post")


class Size(msgspec.Struct, frozen=True):
    """So many orders a second, for so long, and in which form of the shop beside the one process."""

    rate: float
    seconds: float
    products: int
    split: bool = False


class Stage(msgspec.Struct, frozen=True):
    p50_ms: float
    p99_ms: float


class Report(msgspec.Struct, frozen=True):
    """What was seen: orders asked for and placed a second, mails, and what an order itself waits for its answer. CPU per order."""

    asked_per_s: float
    held_per_s: float
    orders: int
    missing: int
    twice: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    stages: dict[str, Stage]
    order_p50_ms: float
    order_p99_ms: float
    errors: int
    cpu_ms: dict[str, float]


class Comparison(msgspec.Struct, frozen=True):
    """A shop in one process, and one in parts, one after the other."""

    one: Report
    split: Report


class Way(msgspec.Struct, frozen=True):
    """What became of one order: when it was where."""

    placed_at: datetime
    noticed_at: datetime
    planned_at: datetime
    claimed_at: datetime
    taken_at: datetime

    def steps_s(self) -> list[float]:
        return [(later - earlier).total_seconds() for earlier, later in pairwise(msgspec.structs.astuple(self))]


def compare(home: Path, size: Size, port: int) -> Comparison:
    """Measure the shop in one process and in parts."""
    return Comparison(measure(home, msgspec.structs.replace(size, split=False), port), measure(home, size, port))


def measure(home: Path, size: Size, port: int) -> Report:
    """Fill a shop and carts, place the orders, and look into the book of the post."""
    home = home.resolve()
    orders = int((size.seconds + WARM_S) * size.rate * 1.1)
    with filled(home, Stock(size.products), orders, split=size.split) as (dsn, goods), post_office(home, port + 1, port + 2) as post:
        carts = uvloop.run(fill_carts(dsn, goods, orders))
        environment = {
            "SOUK_NOTIFICATIONS_SANDBOX_URL": f"http://127.0.0.1:{port + 1}", "SOUK_NOTIFICATIONS_SMTP_HOST": "127.0.0.1",
            "SOUK_NOTIFICATIONS_SMTP_PORT": str(port + 2), "SOUK_NOTIFICATIONS_SMTP_IS_SANDBOX": "true",
        }  # fmt: skip
        with served(dsn, port, 1, split=size.split, **environment) as pid:
            return uvloop.run(_press(dsn, port, size, carts, post, pid))


async def _press(dsn: str, port: int, size: Size, carts: list[bytes], post: Post, pid: int) -> Report:
    async with AsyncExitStack() as stack:
        books: Books = {}
        for context, place in app.read_shop(app.CONTEXTS, dsn).dsns.items():
            books[context] = await asyncpg.connect(place)
            stack.push_async_callback(books[context].close)
        postgres_pid = await find_postgres(dsn)
        await until_applied(books, time.perf_counter(), relays=False)
        crowd = Crowd(port, Buyers(carts), b"", CONNECTIONS, browsing_per_s=0.0)
        await crowd.connect_all()
        await crowd.come(size.rate, WARM_S)
        await until_sent(books)
        last, before = await books["orders"].fetchval(LAST), machine.measure(pid, postgres_pid)
        window = await crowd.come(size.rate, size.seconds)
        crowd.close()
        await until_sent(books)
        used = machine.measure(pid, postgres_pid).since(before)
        placed = {row["order_id"]: row["created_at"] for row in await books["orders"].fetch(PLACED, last)}
        messages = await books["notifications"].fetch(MESSAGES, list(placed))
        return make_report(window, placed, messages, read_book(post), used)


async def find_postgres(dsn: str) -> int:
    """The first process of the server."""
    connection = await asyncpg.connect(dsn)
    pid = int(await connection.fetchval("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"))
    await connection.close()
    return machine.processes()[pid][1]


async def until_sent(books: Books) -> None:
    """Return when everything that was placed has been told, or nothing more is to be hoped for."""
    await until_applied(books, time.perf_counter(), relays=False)
    end = time.perf_counter() + WITHIN_S
    while await books["notifications"].fetchval(OPEN):
        if time.perf_counter() > end:
            print("mails do not leave", file=sys.stderr)
            return
        await asyncio.sleep(0.2)


def read_book(post: Post) -> dict[str, list[datetime]]:
    """When the post took each letter, as often as it did."""
    found: defaultdict[str, list[datetime]] = defaultdict(list)
    for letter in post.letters():
        found[str(letter["letter_id"])].append(datetime.fromisoformat(str(letter["created_at"])))
    return found


def make_report(
    window: Window,
    placed: Mapping[UUID, datetime],
    messages: Iterable[asyncpg.Record],
    book: Mapping[str, Sequence[datetime]],
    used: machine.Usage,
) -> Report:
    """The ways of all mails that have come, and how many have not, or more than once."""
    taken: defaultdict[UUID, list[datetime]] = defaultdict(list)
    ways: list[Way] = []
    for row in messages:
        times = book.get(str(row["letter_id"]), ())
        taken[row["order_id"]] += times
        if times:
            order_at = placed[row["order_id"]]
            ways.append(Way(order_at, row["noticed_at"], row["planned_at"], row["claimed_at"], times[0]))
    lasted = [(way.taken_at - way.placed_at).total_seconds() for way in ways]
    steps = list(zip(*(way.steps_s() for way in ways), strict=True)) or [()] * len(STAGES)
    groups = {"shop": used.shop, "postgres": used.postgres, "generator": used.generator}
    return Report(
        asked_per_s=window.asked_per_s, held_per_s=window.placed_per_s, orders=len(placed),
        missing=sum(order_id not in taken or not taken[order_id] for order_id in placed),
        twice=sum(len(times) > 1 for times in taken.values()),
        **{f"{name}_ms": in_ms(lasted, share) for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}.items()},
        stages={name: Stage(in_ms(step, 0.5), in_ms(step, 0.99)) for name, step in zip(STAGES, steps, strict=True)},
        order_p50_ms=window.p50_ms, order_p99_ms=window.p99_ms, errors=window.errors,
        cpu_ms={name: round(value * 1000 / max(len(placed), 1), 3) for name, value in groups.items()},
    )  # fmt: skip


def in_ms(lasted_s: Iterable[float], share: float) -> float:
    return round(load.percentile(list(lasted_s), share) * 1000, 1)
