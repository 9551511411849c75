"""The shop of the journeys: started once per run as one process (`direct`), and as one per context (`wire`); some ask for another kind."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import uvloop
from tests.collector import Collector
from tests.engines.brokers import KINDS
from tests.engines.fixtures import run_broker
from tests.journeys.client import Client
from tests.journeys.processes import ADMIN, Keys, Processes
from tests.sandbox.conftest import QUICK, Sandbox

from souk import app
from souk.kit.postgres import EmbeddedPostgres


class Shop:
    """A running shop, the people who use it, and the world outside."""

    def __init__(self, processes: Processes, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.processes = processes
        self.sandbox = sandbox
        self.session = session
        self.url = processes.url
        self.wire = processes.wire
        self._admin: Client | None = None

    def visitor(self) -> Client:
        """Somebody without an account."""
        return Client(self.session, self.url)

    async def buyer(self, **fields: object) -> Client:
        """Somebody with a new account, signed in."""
        return await self.visitor().register(**fields)

    async def admin(self) -> Client:
        """The admin, signed in."""
        if self._admin is None:
            self._admin = await self.visitor().log_in(*ADMIN)
        return self._admin

    def kill(self, context: str) -> None:
        """The process that hosts this context dies without a warning."""
        self.processes.host_of(context).kill()

    def restart(self, context: str) -> None:
        """The process that hosts this context is started again, and is ready."""
        process = self.processes.host_of(context)
        if not process.runs:
            process.start()
        process.wait_until_ready()


def make_databases(postgres: EmbeddedPostgres, *names: str) -> list[str]:
    async def make() -> None:
        admin = await asyncpg.connect(postgres.dsn())
        for name in names:
            await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()

    uvloop.run(make())
    return [postgres.dsn(name) for name in names]


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Hears of traces from the shops that were told of it."""
    one = Collector()
    yield one
    one.close()


@pytest.fixture(scope="session", params=["direct", "wire"])
def running_shop(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Processes, Sandbox]]:
    """The processes of a shop and its sandbox; stopped at the end, and all of them must have ended well.

    A test may ask for other kinds, which are of many processes and tell the collector of traces: "traced", or that of a broker. Shops
    are slow to start and busy while they run: tests of one kind follow each other, and one kind ends before the next begins.
    """
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    settings = {} if kind in ("direct", "wire") else {"SOUK_TRACES_URL": collector.url}
    with ExitStack() as stack:
        broker = stack.enter_context(run_broker(kind, folder / "broker")) if kind in KINDS else None
        if broker is not None:
            settings["SOUK_BROKER_URL"] = broker.url
        running = stack.enter_context(run_shop(kind, postgres, folder, wire=kind != "direct", settings=settings))
        running[0].broker = broker
        yield running


@contextmanager
def run_shop(
    name: str, postgres: EmbeddedPostgres, folder: Path, *, wire: bool, settings: Mapping[str, str] | None = None, mail_port: int = 0
) -> Iterator[tuple[Processes, Sandbox]]:
    """A shop with databases of its own, which runs inside. With a port for mail it sends its letters there, to a post that keeps a book."""
    keys = Keys()
    names = [f"journey_{name}_{context}" for context in app.CONTEXTS] if wire else [f"journey_{name}"]
    dsns = make_databases(postgres, *names)
    places = dict(zip(app.CONTEXTS, dsns if wire else dsns * len(app.CONTEXTS), strict=True))
    sandbox = make_sandbox(folder, keys)
    sandbox.settings["mail_port"] = mail_port
    mail = mail_settings(sandbox.url, keys, mail_port) if mail_port else {}
    processes = Processes(folder, places, keys, sandbox.url, wire=wire, settings={**mail, **(settings or {})})
    sandbox.settings["webhook_url"] = f"{processes.url}/payments/webhooks/sandbox"
    sandbox.settings["bank_webhook_url"] = f"{processes.url}/payments/webhooks/sandbox_bank"
    sandbox.settings["carrier_webhook_url"] = f"{processes.url}/shippings/webhooks/sandbox"
    try:
        sandbox.start()
        processes.start()
        processes.souk("users", "create", ADMIN[0], "--role", "admin", "--password-stdin", stdin=ADMIN[1] + "\n")
        yield processes, sandbox
    finally:
        codes = processes.stop()
        sandbox.end()
    assert set(codes.values()) == {0}, codes


def mail_settings(url: str, keys: Keys, port: int) -> dict[str, str]:
    """Of a shop that sends by the sandbox's post, and need not wait long for what a dead process had on its way."""
    return {
        "SOUK_NOTIFICATIONS_SMTP_HOST": "127.0.0.1",
        "SOUK_NOTIFICATIONS_SMTP_PORT": str(port),
        "SOUK_NOTIFICATIONS_SMTP_IS_SANDBOX": "true",
        "SOUK_NOTIFICATIONS_SANDBOX_URL": url,
        "SOUK_NOTIFICATIONS_SANDBOX_API_KEY": keys.api_key,
        "SOUK_NOTIFICATIONS_ORPHAN_GRACE_S": "2",
    }


def make_sandbox(folder: Path, keys: Keys) -> Sandbox:
    """The card processor and the payment app, quick enough for a test."""
    settings = {**QUICK, "webhook_secret": keys.webhook_secret, "api_key": keys.api_key, "timeout_s": 3.0}
    return Sandbox(home=str(folder / "sandbox"), webhook_url="http://127.0.0.1:9/", **settings)


@pytest.fixture
async def shop(running_shop: tuple[Processes, Sandbox]) -> AsyncIterator[Shop]:
    """The running shop; whatever a test has killed runs again afterwards."""
    processes, sandbox = running_shop
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Shop(processes, sandbox, session)
    processes.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A journey that fails shows what its processes said last."""
    report = yield
    if report.failed and isinstance(item, pytest.Function) and "running_shop" in item.funcargs:
        processes, _ = item.funcargs["running_shop"]
        report.sections += [(f"log of {name}", process.tail()) for name, process in processes.processes.items()]
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shops that stay come at the end of a run, so that none is busy while others are tested. Whatever anybody may send comes last of a
    shop: it leaves promotions, taxes and policies behind.
    """
    staying = [item for item in items if "running_shop" in item.fixturenames]
    kinds = list(dict.fromkeys(kind_of(item) for item in staying))
    staying.sort(key=lambda item: (kinds.index(kind_of(item)), item.path.name == "test_contract.py"))
    items[:] = [*(item for item in items if item not in set(staying)), *staying]


def kind_of(item: pytest.Item) -> str:
    """Which kind of shop it is for."""
    return str(item.callspec.params["running_shop"])
