"""Product pages, read by strangers; what is looked at follows Zipf's law."""

import bisect
import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from bench import load
from bench.purchases import GET
from bench.shop import Goods, Stock, filled, served


class Report(msgspec.Struct, frozen=True):
    """What a run showed."""

    pages_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


def readers(goods: Goods, until: float) -> Callable[[], load.Visitor | None]:
    """Strangers who look at one page each until the time is over."""
    chance = random.Random(7)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(goods.skus) + 1)))
    pages = [GET % product_id.encode() for product_id in goods.product_ids]
    chance.shuffle(pages)

    def look() -> load.Visitor:
        status, _ = yield pages[bisect.bisect_left(weights, chance.random() * weights[-1])]
        return status == 200

    return lambda: look() if time.perf_counter() < until else None


async def read(port: int, goods: Goods, clients: int, seconds: float) -> Report:
    """Read for so long, after a warm-up."""
    await load.run(port, clients, readers(goods, time.perf_counter() + min(5.0, seconds / 3)))
    tally = await load.run(port, clients, readers(goods, time.perf_counter() + seconds))
    return Report(
        pages_per_s=round(len(tally.visits_s) / seconds, 1),
        p50_ms=round(load.percentile(tally.visits_s, 0.5) * 1000, 1),
        p99_ms=round(load.percentile(tally.visits_s, 0.99) * 1000, 1),
        errors=tally.failed,
    )


class Size(msgspec.Struct, frozen=True):
    """How large a run is."""

    products: int
    clients: int
    workers: int
    seconds: float
    runs: int = 1


def measure(home: Path, size: Size, port: int) -> list[Report]:
    """Fill a shop, serve it, read its pages."""
    with filled(home, Stock(size.products), 1) as (dsn, goods), served(dsn, port, size.workers):
        return [uvloop.run(read(port, goods, size.clients, size.seconds)) for _ in range(size.runs)]
