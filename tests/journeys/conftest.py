"""The shop of the journeys: started once per run as one process (`direct`), and as one per context (`wire`)."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import uvloop
from tests.engines.fixtures import broker, own_broker
from tests.journeys.client import Client
from tests.journeys.processes import ADMIN, Keys, Processes
from tests.sandbox.conftest import QUICK, Sandbox

from souk import app
from souk.kit.postgres import EmbeddedPostgres

__all__ = ["broker", "own_broker"]


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


@pytest.fixture(scope="session", params=["direct", "wire"])
def running_shop(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Processes, Sandbox]]:
    """The processes of a shop and its sandbox; stopped at the end, and all of them must have ended well."""
    with run_shop(request.param, postgres, tmp_path_factory.mktemp(request.param), wire=request.param == "wire") as running:
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
    """Whatever anybody may send comes after the other journeys of its shop: it leaves promotions, taxes and policies behind."""
    for topology in ("[direct", "[wire"):
        late = [item for item in items if item.path.name == "test_contract.py" and topology in item.nodeid]
        others = [item for item in items if item not in late]
        of_this_shop = [at for at, item in enumerate(others) if topology in item.nodeid]
        after = of_this_shop[-1] + 1 if of_this_shop else len(others)
        items[:] = [*others[:after], *late, *others[after:]]
