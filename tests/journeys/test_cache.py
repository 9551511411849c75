"""Whatever becomes of the cache (killed, stopped, emptied, full, of yesterday), two processes sell on, at the prices of now."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from tests.caches import CacheServer
from tests.journeys.client import Client
from tests.journeys.conftest import Shop, make_databases, make_sandbox
from tests.journeys.market import Market, fill_cart, open_market, order
from tests.journeys.processes import ADMIN, Keys, Process, Processes
from tests.sandbox.conftest import Sandbox
from tests.waiting import until

from souk import app
from souk.kit.postgres import EmbeddedPostgres

Running = tuple[Processes, Process, Sandbox, CacheServer]

SHIPPING_CENTS = 500


def stop(server: CacheServer) -> None:
    server.send(signal.SIGSTOP)


def empty(server: CacheServer) -> None:
    server.client().flushall()


def fill(server: CacheServer) -> None:
    server.client().config_set("maxmemory", "1mb")


def bring_back_yesterday(server: CacheServer) -> None:
    server.kill()
    server.start()


TROUBLES: dict[str, Callable[[CacheServer], None]] = {
    "killed": CacheServer.kill, "stopped": stop, "emptied": empty, "full": fill, "of yesterday": bring_back_yesterday,
}  # fmt: skip


@pytest.fixture(scope="module")
def running(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A shop of two processes with a cache."""
    folder, keys = tmp_path_factory.mktemp("cached"), Keys()
    server = CacheServer(folder)
    (dsn,) = make_databases(postgres, "cached")
    sandbox = make_sandbox(folder, keys)
    processes = Processes(folder, dict.fromkeys(app.CONTEXTS, dsn), keys, sandbox.url, wire=False)
    processes.environment["SOUK_CACHE_URL"] = server.url
    processes.processes["all"] = processes._make("all")
    twin = processes.make_twin()
    sandbox.settings["webhook_url"] = f"{processes.url}/payments/webhooks/sandbox"
    try:
        server.start()
        sandbox.start()
        processes.start()
        twin.start()
        twin.wait_until_ready()
        processes.souk("users", "create", ADMIN[0], "--role", "admin", "--password-stdin", stdin=ADMIN[1] + "\n")
        yield processes, twin, sandbox, server
    finally:
        twin.send(signal.SIGTERM)
        twin.wait()
        processes.stop()
        sandbox.end()
        server.kill()


class Town:
    """A seller, buyers at both processes, and a cache to which something happens."""

    def __init__(self, market: Market, twin: Process, server: CacheServer) -> None:
        self.market = market
        self.twin = twin
        self.server = server
        self.bought = 0

    @property
    def urls(self) -> tuple[str, str]:
        return self.market.shop.url, self.twin.url

    def guest(self, number: int) -> Client:
        return Client(self.market.shop.session, self.urls[number % 2])

    async def reprice(self, goods: dict[str, str], cents: int) -> None:
        """The seller wants another price, at the first process."""
        page = (await self.market.seller.get(f"/products/{goods['id']}")).ok
        change = {"prices": [{"amount": cents, "currency": "USD"}]}
        (await self.market.seller.patch(f"/products/{goods['id']}/variants/{page['variants'][0]['id']}", change)).ok  # noqa: B018

    async def buy(self, number: int, goods: dict[str, str]) -> int:
        """Look, put in a cart, order; what it cost without shipping."""
        guest = self.guest(number)
        (await guest.get(f"/products/{goods['id']}")).ok  # noqa: B018
        placed = (await order(guest, await fill_cart(guest, goods["sku"]), email="ada@shop.example")).ok
        self.bought += 1
        return int(placed["total"]["amount"]) - SHIPPING_CENTS

    async def until_asked(self, number: int, goods: dict[str, str], cents: int) -> None:
        """A cart at this process asks so much."""

        async def is_asked() -> bool:
            cart = (await self.guest(number).post("/carts", {"items": [{"sku": goods["sku"], "quantity": 1}]})).ok
            return bool(cart["subtotal"]["amount"] == cents)

        await until(is_asked)

    async def until_more_is_bought(self, count: int) -> None:
        enough = self.bought + count

        async def is_bought() -> bool:
            return self.bought >= enough

        await until(is_bought)

    @asynccontextmanager
    async def selling(self, goods: dict[str, str]) -> AsyncIterator[None]:
        """People buy at both processes all the while; whatever fails is raised at the end."""
        ends = asyncio.Event()

        async def go_on(number: int) -> None:
            while not ends.is_set():
                await self.buy(number, goods)

        buyers = [asyncio.create_task(go_on(number)) for number in range(4)]
        try:
            yield
        finally:
            ends.set()
            await asyncio.gather(*buyers)


@pytest.fixture
async def town(running: Running) -> AsyncIterator[Town]:
    processes, twin, sandbox, server = running
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Town(await open_market(Shop(processes, sandbox, session)), twin, server)
    server.kill()
    server.start()


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_shop_sells_on_at_the_price_of_now(town: Town, trouble: str) -> None:
    goods = [await town.market.put_on_sale(100_000, 1000) for _ in range(2)]
    for number in range(4):
        assert [await town.buy(number, one) for one in goods] == [1000, 1000]
    town.server.save()
    busy, priced = goods
    async with town.selling(busy):
        await town.reprice(priced, 1100)
        assert await town.buy(0, priced) == 1100
        TROUBLES[trouble](town.server)
        assert await town.buy(0, priced) == 1100
        for cents in range(1200, 1205):
            await town.reprice(priced, cents)
            # At once where it was changed, and elsewhere when it has been heard there.
            assert await town.buy(0, priced) == cents
            await town.until_asked(1, priced, cents)
            assert await town.buy(1, priced) == cents
            await town.until_more_is_bought(8)
    if trouble == "stopped":
        town.server.send(signal.SIGCONT)


async def test_a_process_that_starts_beside_a_cache_of_yesterday_knows_todays_prices(town: Town) -> None:
    goods = await town.market.put_on_sale(1000, 1000)
    for number in range(4):
        assert await town.buy(number, goods) == 1000
    town.server.save()
    await town.reprice(goods, 1700)
    town.twin.kill()
    bring_back_yesterday(town.server)
    assert town.server.keys("souk:page:*:value:*")
    town.twin.start()
    town.twin.wait_until_ready()
    page = (await town.guest(1).get(f"/products/{goods['id']}")).ok
    assert page["price"]["amount"] == 1700
    assert await town.buy(1, goods) == 1700
