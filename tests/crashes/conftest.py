"""A shop that may be killed: its server, the card processor, and in some tests a PostgreSQL of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from tests.crashes.books import find_faults, find_unrest
from tests.journeys.conftest import Shop, make_databases
from tests.journeys.processes import ADMIN, Keys, Process, Processes
from tests.payments.outside import Outside
from tests.sandbox.conftest import Sandbox
from tests.waiting import until

from souk import app
from souk.kit.postgres import EmbeddedPostgres

RECOVERS_WITHIN_S = 10.0
# A processor that tells a moment after its answer and, when nobody listens, again as real ones do.
PROCESSOR = {
    "timeout_s": 3.0,
    "webhook_delay_s": 0.05,
    "webhook_late_s": 2.0,
    "webhook_hold_s": 2.0,
    "webhook_timeout_s": 5.0,
    "webhook_retries_s": [1.0, 5.0, 15.0, 60.0],
}


class Launched(Process):
    """The shop's server, which can be told where to die."""

    program = "tests.crashes.launcher"


# As patient as any shop is.
PATIENCE = {"SOUK_POOL_SIZE": "8", "SOUK_USERS_ATTEMPTS": "100000"}


class Mortal(Processes):
    """A shop in one process."""

    kind = Launched
    patience = PATIENCE


class Victim(Shop):
    """A shop that is killed and has to come to rest with its books in order."""

    def __init__(self, processes: Processes, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        super().__init__(processes, sandbox, session)
        self.server = processes.processes["all"]
        self.dsn = processes.dsns["orders"]
        self.outside = Outside(sandbox, session)
        self.home = processes.folder / "home"

    @property
    def plan(self) -> Path:
        """Where the launcher reads at which place to die."""
        return self.home / "crash-plan"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """A look at the rows from outside."""
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def start(self) -> float:
        """Start the server after its death, as whoever watches over it does; when that was."""
        began = time.monotonic()
        self.server.start()
        await asyncio.to_thread(self.server.wait_until_ready)
        return began

    async def rest(self, within_s: float = 60.0) -> float:
        """Return when nothing is left to be done; when that was."""
        end = time.monotonic() + within_s
        async with self.database() as connection:
            while unrest := await find_unrest(connection):
                assert time.monotonic() < end, f"not at rest after {within_s} s: {unrest}"
                await asyncio.sleep(0.05)
        return time.monotonic()

    async def find_faults(self, *acknowledged: str) -> list[str]:
        """What is wrong in the books of a shop at rest."""
        async with self.database() as connection:
            return await find_faults(connection, self.outside, acknowledged)

    def audit(self) -> None:
        """The shop's own audit finds nothing, where the shop has one."""
        if "\n  audit " in self.processes.souk("--help"):
            self.processes.souk("audit", "--json", "--settled")

    async def expire(self) -> None:
        """The time of every order that waits for its buyer is over."""
        async with self.database() as connection:
            await connection.execute("UPDATE orders.orders SET expires_at = now() WHERE status = 'draft'")
            await connection.execute("UPDATE orders.placement SET expires_at = now() WHERE step = 'waiting'")

            async def all_are_settled() -> bool:
                return await connection.fetchval("SELECT count(*) FROM orders.placement WHERE step <> 'done'") == 0

            await until(all_are_settled)


@asynccontextmanager
async def meeting(processes: Processes, sandbox: Sandbox) -> AsyncIterator[Victim]:
    """The running shop, and somebody to ask it, on a new line each time."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        yield Victim(processes, sandbox, session)


@contextmanager
def running(folder: Path, dsn: str) -> Iterator[tuple[Mortal, Sandbox]]:
    """A shop with its admin and its processor; whatever is left of them at the end is killed."""
    app.import_contexts()
    keys = Keys()
    settings: dict[str, Any] = {**PROCESSOR, "webhook_secret": keys.webhook_secret, "api_key": keys.api_key}
    sandbox = Sandbox(home=str(folder / "sandbox"), webhook_url="http://127.0.0.1:9/", **settings)
    processes = Mortal(folder, dict.fromkeys(app.CONTEXTS, dsn), keys, sandbox.url, wire=False)
    sandbox.settings["webhook_url"] = f"{processes.url}/payments/webhooks/sandbox"
    try:
        sandbox.start()
        processes.start()
        processes.souk("users", "create", ADMIN[0], "--role", "admin", "--password-stdin", stdin=ADMIN[1] + "\n")
        yield processes, sandbox
    finally:
        if processes.processes["all"].runs:
            processes.processes["all"].kill()
        sandbox.end()


@pytest.fixture(scope="module")
def mortal(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Mortal, Sandbox]]:
    """A shop of a module's own, on the server of the run."""
    name = request.module.__name__.rpartition(".")[2]
    (dsn,) = make_databases(postgres, f"mortal_{name}")
    with running(tmp_path_factory.mktemp(name), dsn) as shop:
        yield shop


@pytest.fixture
async def victim(mortal: tuple[Mortal, Sandbox]) -> AsyncIterator[Victim]:
    """The shop of this module, alive again whatever a test has done to it."""
    processes, sandbox = mortal
    (processes.folder / "home" / "crash-plan").unlink(missing_ok=True)
    processes.start()
    async with meeting(processes, sandbox) as victim:
        yield victim
