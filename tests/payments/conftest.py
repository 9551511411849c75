"""Fixtures for payments: a shop whose books are checked when a test is over, and the sandbox as a process that tells it things."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.fronts import make_front
from tests.payments.money import check_books
from tests.payments.outside import Outside
from tests.ports import find_free_port
from tests.sandbox.conftest import API_KEY, SECRET, Sandbox

from souk import app
from souk.app import Shop
from souk.kit import server
from souk.kit.auth import Verifier
from souk.payments.database import db
from souk.payments.settings import Settings, settings

# Our time-outs are shorter than its silence, and what is open is looked up as soon as a test asks for it.
PATIENCE = {"gateway_timeout_s": 0.3, "gateway_connect_s": 0.2, "settle_after_s": 0.0}


@pytest.fixture(autouse=True)
def settings_of_a_test() -> Iterator[None]:
    """Whatever a test sets is forgotten after it."""
    settings._read = Settings()
    yield
    settings._read = Settings()


@pytest.fixture
async def shop(whole_shop: Shop) -> AsyncIterator[Shop]:
    """The front doors work; no consumer and no job runs. Whatever a test did, the books are in order at its end."""
    async with app.opened(whole_shop):
        yield whole_shop
        await check_books()


@pytest.fixture
def test_gateway(settings_of_a_test: None) -> None:
    """A demo shop: cards are charged in this process."""
    settings.replace(test_gateway=True)


@asynccontextmanager
async def listening(port: int, verifier: Verifier | None = None) -> AsyncIterator[str]:
    """The shop's REST API at this port."""
    listener = server.Listener(make_front(verifier or Verifier()), "127.0.0.1", port)
    await listener.open()
    yield f"http://127.0.0.1:{port}"
    await listener.close()


@pytest.fixture(scope="session")
def door_port() -> int:
    return find_free_port()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, door_port: int) -> Iterator[Sandbox]:
    """One sandbox for all tests that do not harm it."""
    home, door = tmp_path_factory.mktemp("sandbox"), f"http://127.0.0.1:{door_port}/payments/webhooks/sandbox"
    slow = {"timeout_s": 0.6, "bank_settle_s": 0.4, "bank_return_s": 0.4}
    sandbox = Sandbox(home=str(home), webhook_url=door, bank_webhook_url=f"{door}_bank", **slow).start()
    yield sandbox
    sandbox.end()


@pytest.fixture
async def outside(shop: Shop, sandbox: Sandbox, door_port: int, settings_of_a_test: None) -> AsyncIterator[Outside]:
    """The sandbox, which this shop pays by and listens to; its book begins now."""
    async with listening(door_port), aiohttp.ClientSession() as session:
        outside = Outside(sandbox, session)
        await outside.control("reset")
        use_sandbox(sandbox)
        await db.pool.execute(
            "INSERT INTO payments.book_position (gateway, position) VALUES ('sandbox', $1)", await outside.find_end_of_book()
        )
        yield outside
        await outside.control("reset")


@pytest.fixture
async def bank(outside: Outside) -> Outside:
    """The sandbox's bank, by which this shop pays sellers, without a pause for new accounts; its statement begins now."""
    settings.replace(sandbox_bank_url=outside.sandbox.url, payout_change_delay_s=0.0)
    lines = (await outside.ask("GET", "/v1/statement?limit=1000"))["items"]
    assert len(lines) < 1000
    end = str(lines[-1]["seq"]) if lines else ""
    await db.pool.execute("INSERT INTO payments.book_position (gateway, position) VALUES ('sandbox_bank', $1)", end)
    return outside


def use_sandbox(sandbox: Sandbox) -> None:
    """From now on cards are charged there."""
    settings.replace(sandbox_url=sandbox.url, sandbox_api_key=API_KEY, sandbox_webhook_secrets=(SECRET,), **PATIENCE)


@pytest.fixture
async def own_sandbox(shop: Shop, tmp_path: Path, settings_of_a_test: None) -> AsyncIterator[Callable[..., Sandbox]]:
    """Start a sandbox of the test's own, one that it may kill."""
    port, started = find_free_port(), []

    def start(**how: object) -> Sandbox:
        door = f"http://127.0.0.1:{port}/payments/webhooks/sandbox"
        started.append(Sandbox(**{"home": str(tmp_path / "sandbox"), "webhook_url": door, "timeout_s": 0.6, **how}).start())
        use_sandbox(started[-1])
        return started[-1]

    async with listening(port):
        yield start
    for sandbox in started:
        sandbox.end()
