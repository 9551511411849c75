"""Crowds: many who do one thing at the same moment, at two processes of one shop, so that no batch and no memory puts them in a row."""

import json
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.journeys.client import Answer, Client, together
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, order
from tests.journeys.processes import Process, Processes
from tests.payments.outside import Outside
from tests.sandbox.conftest import Sandbox

from souk import app
from souk.kit.callers import SYSTEM, Caller, asking
from souk.sandbox.webhooks import read_secret, sign

COUNT_FACTS = "SELECT count(*) FROM {context}.outbox WHERE aggregate_id = $1 AND type = $2"
COUNT_DEADLOCKS = "SELECT sum(deadlocks)::int FROM pg_stat_database"


class Crowd:
    """Buyers and admins of a running shop; every other one comes to its twin.

    At most 60 at once at each of the two: so many are let in by a process that has too much to do.
    """

    def __init__(self, shop: Shop, twin: Process) -> None:
        self.shop = shop
        self.urls = (shop.url, twin.url)
        self.outside = Outside(shop.sandbox, shop.session)
        self.deadlocks = 0

    def guests(self, count: int) -> list[Client]:
        """So many people without an account."""
        return [Client(self.shop.session, self.urls[number % 2]) for number in range(count)]

    def tabs(self, of: Client, count: int) -> list[Client]:
        """The same person so many times."""
        tabs = self.guests(count)
        for tab in tabs:
            tab.headers, tab.user = dict(of.headers), of.user
        return tabs

    @asynccontextmanager
    async def inside(self, *contexts: str) -> AsyncIterator[None]:
        """Here these contexts' functions are called as another process of the shop calls them: over the wire, trusted."""
        processes = self.shop.processes
        secret = processes.environment["SOUK_INTERNAL_SECRETS"]
        peers = {context: processes.internal_url(context) for context in contexts}
        async with app.opened(app.Shop(app.Settings(internal_secrets=(secret,)), {}, peers)):
            with asking(Caller(SYSTEM, request_id="crowd")):
                yield

    @asynccontextmanager
    async def hosting(self, context: str) -> AsyncIterator[None]:
        """Here this context's functions run on the shop's own database: a third process."""
        async with app.opened(app.Shop(app.Settings(pool_size=16), {context: self.shop.processes.dsns[context]}, {})):
            with asking(Caller(SYSTEM, request_id="crowd")):
                yield

    @asynccontextmanager
    async def rows(self, context: str) -> AsyncIterator[asyncpg.Connection]:
        """A look into a context's database."""
        connection = await asyncpg.connect(self.shop.processes.dsns[context])
        try:
            yield connection
        finally:
            await connection.close()

    async def count_facts(self, context: str, kind: str, aggregate_id: str) -> int:
        """How often a context has announced this of an order."""
        async with self.rows(context) as connection:
            return int(await connection.fetchval(COUNT_FACTS.format(context=context), UUID(aggregate_id), f"{context}.{kind}"))

    async def count_deadlocks(self) -> int:
        """How many deadlocks the server has had to break."""
        async with self.rows("orders") as connection:
            return int(await connection.fetchval(COUNT_DEADLOCKS))

    async def tell(self, sale: dict[str, Any], kind: str, event_id: str, copies: int = 1) -> list[Answer]:
        """The gateway tells of a sale, so many times at once."""
        body = json.dumps({"id": event_id, "type": kind, "created_at": sale["created_at"], "data": sale}).encode()
        secret = self.shop.processes.environment["SOUK_PAYMENTS_SANDBOX_WEBHOOK_SECRETS"]
        now = int(time.time())
        signed = {
            "webhook_id": event_id,
            "webhook_timestamp": str(now),
            "webhook_signature": sign(read_secret(secret), event_id, now, body),
        }
        return await together(*(door.post("/payments/webhooks/sandbox", body, **signed) for door in self.guests(copies)))

    async def movements_of(self, *order_ids: str) -> dict[str, list[tuple[str, int]]]:
        """What the gateway's book says of these orders' money."""
        book = await self.outside.read_book()
        return {
            order_id: [
                (entry["kind"], entry["amount"])
                for entry in book
                if entry["payment_reference"].startswith(order_id) and entry["kind"] in ("capture", "refund")
            ]
            for order_id in order_ids
        }

    async def read_gateways(self) -> None:
        """Take in what stands in the gateways' books."""
        (await (await self.shop.admin()).get("/audit?settled=true")).ok  # noqa: B018

    async def settle(self, within_s: float = 30.0) -> None:
        """Return when every fact has been applied, and no order is on its way."""
        await (await self.shop.admin()).until("/audit?settled=true", is_settled, within_s)

    async def check_books(self) -> None:
        """The shop's own audit finds nothing, and nobody has waited for who waited for them."""
        report = (await (await self.shop.admin()).get("/audit")).ok
        assert [rule for rule in report["rules"] if not rule["holds"]] == []
        assert await self.count_deadlocks() == self.deadlocks


def is_settled(report: Answer) -> bool:
    return all(rule["holds"] for rule in report.ok["rules"] if rule["id"] in ("I4.saga", "I8.applied"))


async def fill_carts(buyers: Sequence[Client], sku: str, quantity: int = 1) -> list[str]:
    """A new cart for each of them."""
    return [await fill_cart(buyer, sku, quantity) for buyer in buyers]


async def order_together(buyers: Sequence[Client], cart_ids: Sequence[str], **more: Any) -> list[Answer]:
    """All of them order at the same moment."""
    return await together(*(order_as_guest(buyer, cart_id, **more) for buyer, cart_id in zip(buyers, cart_ids, strict=True)))


async def order_as_guest(buyer: Client, cart_id: str, **more: Any) -> Answer:
    """Order with an e-mail address of the buyer's own, as who has no account has to."""
    return await order(buyer, cart_id, **({"email": f"{buyer.headers['Souk-Token'][:16].lower()}@guests.example"} | more))


async def refill_carts(buyers: Sequence[Client], cart_ids: list[str], answers: Sequence[Answer], sku: str) -> None:
    """Who got something has a new cart; the others keep theirs, which may be ordered again."""
    for number, (buyer, answer) in enumerate(zip(buyers, answers, strict=True)):
        if answer.status == 201:
            cart_ids[number] = await fill_cart(buyer, sku)


def ids_of(answers: Sequence[Answer]) -> list[str]:
    """The orders that came about."""
    return [answer.ok["id"] for answer in answers if answer.status == 201]


def refusals_of(answers: Sequence[Answer]) -> dict[tuple[int, str], int]:
    """How many were refused, by status and code."""
    refused = [(answer.status, answer.code) for answer in answers if answer.status >= 400]
    return {why: refused.count(why) for why in set(refused)}


def new_code(name: str) -> str:
    """The code of a coupon that nobody has had."""
    return f"{name}-{secrets.token_hex(4)}".upper()


@pytest.fixture(scope="package")
def twin(running_shop: tuple[Processes, Sandbox]) -> Iterator[Process]:
    """One more process of the running shop, on the same databases."""
    processes, _ = running_shop
    process = processes.make_twin()
    try:
        process.start()
        process.wait_until_ready()
        yield process
    finally:
        process.send(signal.SIGTERM)
        code = process.wait()
    assert code == 0, process.tail()


@pytest.fixture
async def crowd(shop: Shop, twin: Process) -> AsyncIterator[Crowd]:
    """Many who use the running shop at the same moment; the world outside is in its usual mood again afterwards."""
    crowd = Crowd(shop, twin)
    crowd.deadlocks = await crowd.count_deadlocks()
    yield crowd
    await crowd.outside.control("reset")
