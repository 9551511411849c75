"""A shop to measure: filled in bulk, with tokens signed directly, and served by real processes."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID

import msgspec
import uvloop

from bench import load
from souk import app, catalog, inventory, payments, pricing, shipping, users
from souk.kit.auth import AUDIENCE, ISSUER, Claims
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.events import CONSUMERS
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.postgres import start as start_postgres
from souk.users.keys import sign

CURRENCY = "USD"
COUPON = "BENCH5"
SELLERS = 20
TOKEN_S = 6 * 3600.0


class Goods(msgspec.Struct, frozen=True):
    """Products by their ids and the SKU of each one's variant, and buyers' access tokens. The first `rare` products are rare."""

    product_ids: tuple[str, ...]
    skus: tuple[str, ...]
    rare: int = 0
    tokens: tuple[str, ...] = ()


class Stock(msgspec.Struct, frozen=True):
    """How many products there are, how many of them have few pieces, and how many that is."""

    products: int
    rare: int = 0
    pieces: int = 500


PLENTY = 1_000_000


@contextmanager
def filled(home: Path, stock: Stock, buyers: int, *, split: bool = False, **settings: str) -> Iterator[tuple[str, Goods]]:
    """A new shop's database with this much in it, running as long as this block; its address and its goods.

    With `split` each context has a database of its own on that server.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    os.environ["SOUK_HOME"] = str(home)
    with start_postgres(home, lambda line: print(line, file=sys.stderr), settings) as postgres:
        began = time.perf_counter()
        if split:
            uvloop.run(app.separate_contexts(postgres.dsn(), lambda line: None))
        goods = uvloop.run(_fill(postgres.dsn(), stock, buyers))
        print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        yield postgres.dsn(), goods


async def _fill(dsn: str, stock: Stock, buyers: int) -> Goods:
    shop = app.read_shop(app.CONTEXTS, dsn)
    await app.migrate_all(shop.dsns)
    async with app.at_work(shop):
        with asking(Caller(principal=SYSTEM, request_id="bench")):
            await payments.allow_test_gateway()
            await make_terms()
            owner = (await users.register_users((users.NewUser(id=new_id(), email="seller@bench.example"),)))[0]
            sellers = [await make_seller(owner, number) for number in range(SELLERS)]
            goods = await make_products(sellers, stock)
            tokens = await make_tokens(buyers)
            await until_told()
            return msgspec.structs.replace(goods, tokens=tokens)


async def make_terms() -> None:
    """Tax inside the prices, two ways to ship, and a coupon for everybody."""
    await pricing.set_tax_rates((pricing.NewTaxRate(country="DE", name="VAT", rate_ppm=190_000),))
    standard = (
        shipping.ZoneRate(Money(490, CURRENCY), total_below=10_000),
        shipping.ZoneRate(Money(0, CURRENCY), total_from=10_000),
    )
    methods = (
        shipping.Method("standard", "Standard", 3, 5, standard),
        shipping.Method("express", "Express", 1, 2, (shipping.ZoneRate(Money(1490, CURRENCY)),)),
    )
    await shipping.create_zone(shipping.NewZone(name="Everywhere", methods=methods))
    await pricing.create_coupon(pricing.NewCoupon(name="Five", kind="percentage", rate_ppm=50_000, code=COUPON))


async def make_seller(owner: UUID, number: int) -> tuple[UUID, UUID]:
    """An approved seller and its store."""
    with asking(Caller(Principal("user", owner, ("seller",)), request_id="bench")):
        seller = await users.apply_as_seller(users.SellerFields(f"Seller {number}"))
    await users.approve_seller(seller.id)
    store = await inventory.create_store(inventory.NewStore("Store", "DE", seller_id=seller.id))
    return seller.id, store.id


async def make_products(sellers: list[tuple[UUID, UUID]], stock: Stock) -> Goods:
    """Published products of one variant each, spread over sellers and a hundred categories, with stock."""
    chance = random.Random(1)
    places = [(await catalog.ensure_category(("Goods", f"Shelf {number:02}"))).id for number in range(100)]
    ids: list[str] = []
    skus = [f"SKU-{number:07}" for number in range(stock.products)]
    for start in range(0, stock.products, 500):
        numbers = range(start, min(start + 500, stock.products))
        made = await catalog.create_products(
            tuple(
                catalog.NewProduct(
                    name=f"Thing {number}",
                    description="A thing of good quality that does what it should. " * 4,
                    brand=f"Brand {number % 300}",
                    category_id=places[number % 100],
                    seller_id=sellers[number % SELLERS][0],
                    status="published",
                    variants=(catalog.NewVariant(skus[number], (catalog.Price(chance.randrange(200, 9000), CURRENCY),), weight_g=300),),
                )
                for number in numbers
            )
        )
        ids += [str(product.id) for product in made]
        counts = tuple(
            inventory.StockCount(sellers[number % SELLERS][1], skus[number], stock.pieces if number < stock.rare else PLENTY)
            for number in numbers
        )
        await inventory.set_stock_levels(counts)
    return Goods(tuple(ids), tuple(skus), stock.rare)


async def make_tokens(buyers: int) -> tuple[str, ...]:
    """Access tokens of new buyers, as a sign-in would give them."""
    tokens: list[str] = []
    for start in range(0, buyers, 5000):
        new = tuple(users.NewUser(id=new_id(), email=f"buyer{number}@bench.example") for number in range(start, min(start + 5000, buyers)))
        tokens += await sign_tokens(await users.register_users(new))
    return tuple(tokens)


async def sign_tokens(buyers: Iterable[UUID]) -> tuple[str, ...]:
    """An access token of each."""
    now = time.time()
    async with app.database_of("users").transaction() as tx:
        return tuple([await sign(tx, Claims(ISSUER, AUDIENCE, buyer, new_id(), now, now + TOKEN_S, ("buyer",))) for buyer in buyers])


async def until_told(within_s: float = 300.0) -> None:
    """Wait until every consumer has gone through every event, of whichever type, and has written that down."""
    end = time.monotonic() + within_s
    while behind := await count_behind():
        if time.monotonic() > end:
            raise TimeoutError(f"{behind} consumers are behind")
        await asyncio.sleep(0.2)


async def count_behind() -> int:
    """How many consumers have not reached the end of an outbox that they read."""
    behind = 0
    for consumer in (one for one in CONSUMERS.values() if one.context in app.CONTEXTS):
        for source in consumer.sources if consumer.kind != "memory" else ():
            last = await app.database_of(source).value(f"SELECT max(xid) FROM {source}.outbox")
            at = await app.database_of(consumer.context).value(
                f"SELECT xid FROM {consumer.context}.consumer_position WHERE consumer = $1 AND source = $2", consumer.path, source
            )
            behind += last is not None and (at is None or at < last)
    return behind


@contextmanager
def served(dsn: str, port: int, workers: int, *, split: bool = False, **environment: str) -> Iterator[int]:
    """The shop as `souk up` serves it, by so many workers or in parts; the id of its first process."""
    form = ["--split"] if split else ["--workers", str(workers)]
    command = [sys.executable, "-m", "souk", "up", "--no-demo", "--port", str(port), *form]
    process = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": dsn, "SOUK_LOG_LEVEL": "WARNING", **environment})
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/health/ready")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def sandbox(home: Path, port: int, shop_port: int) -> Iterator[dict[str, str]]:
    """The fake card processor as a process of its own; what the shop has to be told of it."""
    command = [sys.executable, "-m", "souk", "sandbox", "--port", str(port), "--shop", f"http://127.0.0.1:{shop_port}"]
    process = subprocess.Popen(command, env={**os.environ, "SOUK_HOME": str(home)})
    try:
        load.wait_until_listening(port)
        yield {"SOUK_PAYMENTS_SANDBOX_URL": f"http://127.0.0.1:{port}", "SOUK_HOME": str(home)}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_until_ready(url: str, within_s: float = 180.0) -> None:
    end = time.monotonic() + within_s
    while True:
        try:
            with urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"{url} does not answer")
        time.sleep(0.1)
