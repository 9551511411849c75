"""A flash sale: thousands of buyers after the few pieces of one SKU, again and again, beside ordinary orders on the same footing."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from bench import load
from bench.purchases import ORDER, POST
from bench.shop import Goods, Stock, filled, served

COUNT_SOLD = """
    SELECT count(*), coalesce(sum(l.quantity), 0) FROM orders.orders AS o JOIN orders.order_line AS l ON l.order_id = o.id
    WHERE l.sku = $1 AND o.status = 'placed'
"""
COUNT_LEFT = "SELECT on_hand - reserved FROM inventory.stock WHERE sku = $1"


class Sale(msgspec.Struct, frozen=True):
    """What one sale showed: attempts that were answered, a cart and an order each."""

    attempts_per_s: float
    p99_ms: float
    sold: int
    left: int
    errors: int


class Report(msgspec.Struct, frozen=True):
    """All sales: medians and the worst; `ordinary_per_s` is the same work after a SKU of which there is plenty."""

    sales: int
    attempts_per_s: float
    ordinary_per_s: float
    share_of_ordinary: float
    p99_ms: float
    oversold: int
    undersold: int
    errors: int


def attempts(goods: Goods, skus: Callable[[], bytes], buyers: Iterator[int]) -> Callable[[], load.Visitor | None]:
    """Each buyer puts one piece into a cart and orders it; sold out is an answer, too."""
    tokens = [token.encode() for token in goods.tokens]

    def attempt(buyer: int) -> load.Visitor:
        token, sku = tokens[buyer % len(tokens)], skus()
        body = b'{"items":[{"sku":"%s","quantity":1}]}' % sku
        status, answer = yield POST % (b"/carts", token, len(body), body)
        if status != 201:
            return False
        at = answer.index(b'"id":"') + 6
        body = ORDER % answer[at : at + 36]
        status, answer = yield POST % (b"/orders", token, len(body), body)
        return (status == 201 and b'"status":"placed"' in answer) or (status == 409 and b"inventory.out_of_stock" in answer)

    def following() -> load.Visitor | None:
        buyer = next(buyers, None)
        return None if buyer is None else attempt(buyer)

    return following


async def sell(dsn: str, port: int, goods: Goods, clients: int, buyers: int) -> Report:
    """One sale after the other, then ordinary orders."""
    plenty = itertools.cycle([sku.encode() for sku in goods.skus[goods.rare :]])
    await load.run(port, clients, attempts(goods, lambda: next(plenty), iter(range(2000))))
    connection = await asyncpg.connect(dsn)
    pieces = await connection.fetchval(COUNT_LEFT, goods.skus[0])
    sales = [await sell_one(connection, port, goods, (goods.skus[number], clients, buyers)) for number in range(goods.rare)]
    await connection.close()
    began = time.perf_counter()
    ordinary = await load.run(port, clients, attempts(goods, lambda: next(plenty), iter(range(buyers))))
    ordinary_per_s = len(ordinary.visits_s) / (time.perf_counter() - began)
    rate = statistics.median(sale.attempts_per_s for sale in sales)
    return Report(
        sales=len(sales),
        attempts_per_s=round(rate, 1),
        ordinary_per_s=round(ordinary_per_s, 1),
        share_of_ordinary=round(rate / ordinary_per_s, 2),
        p99_ms=max(sale.p99_ms for sale in sales),
        oversold=sum(max(sale.sold - pieces, 0) for sale in sales),
        undersold=sum(sale.left for sale in sales),
        errors=sum(sale.errors for sale in sales) + ordinary.failed,
    )


async def sell_one(connection: asyncpg.Connection, port: int, goods: Goods, sale: tuple[str, int, int]) -> Sale:
    """All buyers after one SKU."""
    sku, clients, buyers = sale
    began = time.perf_counter()
    tally = await load.run(port, clients, attempts(goods, sku.encode, iter(range(buyers))))
    lasted_s = time.perf_counter() - began
    _, sold = await connection.fetchrow(COUNT_SOLD, sku)
    return Sale(
        attempts_per_s=len(tally.visits_s) / lasted_s,
        p99_ms=round(load.percentile(tally.visits_s, 0.99) * 1000, 1),
        sold=int(sold),
        left=await connection.fetchval(COUNT_LEFT, sku),
        errors=tally.failed,
    )


class Size(msgspec.Struct, frozen=True):
    """How many sales, buyers in each, pieces for them, and connections."""

    sales: int
    buyers: int
    pieces: int
    clients: int
    workers: int


def measure(home: Path, size: Size, port: int) -> Report:
    """Fill a shop, serve it, and sell out."""
    stock = Stock(size.sales + 1000, size.sales, size.pieces)
    with filled(home, stock, size.buyers) as (dsn, goods), served(dsn, port, size.workers):
        return uvloop.run(sell(dsn, port, goods, size.clients, size.buyers))
