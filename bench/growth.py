"""What a purchase costs in a shop of ten thousand orders and in one of a million, and what PostgreSQL reads there from end to end."""

import statistics
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from bench import bulk, plans, purchases
from bench.shop import served

SMALL = 10_000
RUNS = 3
ORDERS_PER_BUYER = 5

FIND_SIZES = """
    SELECT sum(pg_table_size(c.oid))::bigint AS tables, sum(pg_indexes_size(c.oid))::bigint AS indexes
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""


class Shop(msgspec.Struct, frozen=True):
    """Medians of some runs on a shop of one size: CPU in milliseconds per purchase, WAL and what lies on the disk in bytes."""

    products: int
    orders: int
    cpu_ms: dict[str, float]
    wal_bytes_per_purchase: float
    purchases_per_s: list[float]
    errors: int
    oversold: int
    table_bytes_per_order: int
    index_bytes_per_order: int


class Report(msgspec.Struct, frozen=True):
    """Both shops; how many times as much CPU a purchase takes in the large one; statements that read a large table from end to end."""

    small: Shop
    large: Shop
    cpu_ratio: float
    cpu_ratios: dict[str, float]
    wal_ratio: float
    sequential_scans: list[str]


class Size(msgspec.Struct, frozen=True):
    """How large the large shop is, and how a run is measured."""

    products: int
    orders: int
    clients: int
    workers: int
    seconds: float


def measure(home: Path, size: Size, port: int) -> Report:
    """Grow a small shop and a large one, buy from each some times in the same way, and compare the medians."""
    small, _ = measure_shop(home, msgspec.structs.replace(size, products=SMALL, orders=SMALL), port, explained=False)
    large, scans = measure_shop(home, size, port, explained=True)
    return Report(
        small=small,
        large=large,
        cpu_ratio=round(cost_of(large) / cost_of(small), 3),
        cpu_ratios={group: round(cpu / small.cpu_ms[group], 3) for group, cpu in large.cpu_ms.items() if small.cpu_ms[group] > 0},
        wal_ratio=round(large.wal_bytes_per_purchase / small.wal_bytes_per_purchase, 3),
        sequential_scans=scans,
    )


def cost_of(shop: Shop) -> float:
    """What a purchase costs the machine; who buys is not part of the shop."""
    return shop.cpu_ms["shop"] + shop.cpu_ms["postgres"]


def measure_shop(home: Path, size: Size, port: int, *, explained: bool) -> tuple[Shop, list[str]]:
    growth = bulk.Growth(size.products, size.orders, max(size.orders // ORDERS_PER_BUYER, 1))
    with bulk.grown(home, growth, port) as (dsn, goods):
        tables, indexes = uvloop.run(read_sizes(dsn))
        scans = uvloop.run(plans.find_scans(dsn)) if explained else []
        with served(dsn, port, size.workers) as pid:
            runs = [uvloop.run(purchases.buy(dsn, port, goods, pid, size.clients, size.seconds)) for _ in range(RUNS)]
    shop = Shop(
        products=size.products,
        orders=size.orders,
        cpu_ms={group: statistics.median(run.cpu_ms[group] for run in runs) for group in runs[0].cpu_ms},
        wal_bytes_per_purchase=statistics.median(run.wal_bytes_per_purchase for run in runs),
        purchases_per_s=[run.purchases_per_s for run in runs],
        errors=sum(run.errors for run in runs),
        oversold=max(run.oversold for run in runs),
        table_bytes_per_order=tables // size.orders,
        index_bytes_per_order=indexes // size.orders,
    )
    return shop, scans


async def read_sizes(dsn: str) -> tuple[int, int]:
    """Bytes of all tables and of all indexes."""
    connection = await asyncpg.connect(dsn)
    row = await connection.fetchrow(FIND_SIZES)
    await connection.close()
    return row["tables"], row["indexes"]
