"""Fixtures for the kit: the notebook on a database of its own, in this process or in another one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import uvloop
from tests.engines.fixtures import broker, own_broker
from tests.kit import chores, notebook
from tests.kit.rest import ROUTES, Web
from tests.kit.tokens import POLICY
from tests.ports import find_free_port

from souk import app
from souk.kit import migrations, server
from souk.kit.auth import Verifier
from souk.kit.calls import topology
from souk.kit.db import open_pool
from souk.kit.deadletters import expose_dead_letters
from souk.kit.ids import new_id
from souk.kit.outbox import expose_outbox
from souk.kit.partitions import add_partitions
from souk.kit.postgres import EmbeddedPostgres
from souk.kit.wire import HttpPeer

ROOT = Path(__file__).parents[2]
SECRET = "a-secret-that-both-processes-were-given"

expose_outbox(notebook.db)

__all__ = ["broker", "own_broker"]

expose_dead_letters(notebook.db)


@pytest.fixture(scope="session")
def kit_template(postgres: EmbeddedPostgres) -> str:
    """A database with the kit's tables and the notebook's, to copy."""

    async def make() -> None:
        admin = await asyncpg.connect(postgres.dsn())
        await admin.execute("CREATE DATABASE kit_template")
        await admin.close()
        connection = await asyncpg.connect(postgres.dsn("kit_template"))
        folder = Path(migrations.__file__).parent
        for file in (*sorted(folder.glob("*.sql")), *sorted(folder.glob("database/*.sql"))):
            await connection.execute(file.read_text().replace("{schema}", "kit"))
        await connection.execute(notebook.TABLES)
        await connection.execute(chores.TABLES)
        await add_partitions(connection, "kit")
        await connection.close()

    uvloop.run(make())
    return "kit_template"


@pytest.fixture
async def kit_dsn(postgres: EmbeddedPostgres, kit_template: str) -> AsyncIterator[str]:
    """The notebook's database, empty."""
    name = f"kit_{new_id().hex}"
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {kit_template}")
    yield postgres.dsn(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def here(kit_dsn: str) -> AsyncIterator[str]:
    """The notebook is hosted by this process; the address of its database."""
    async with await open_pool(kit_dsn, 10) as pool:
        notebook.db.attach(pool)
        topology.hosted = {"kit"}
        yield kit_dsn
        topology.hosted = set()
        notebook.db.detach()


class Process:
    """Another process with the notebook in it."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.kit.process", *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))},
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == b"ready\n", log.read_text()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start another process; it ends with the test."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(tmp_path / "log", *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def neighbour(postgres: EmbeddedPostgres, kit_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another process that answers calls of the notebook; its address."""

    async def make_database() -> None:
        admin = await asyncpg.connect(postgres.dsn())
        await admin.execute(f"CREATE DATABASE neighbour TEMPLATE {kit_template}")
        await admin.close()

    uvloop.run(make_database())
    port = find_free_port()
    process = Process(tmp_path_factory.mktemp("neighbour") / "log", "answer", postgres.dsn("neighbour"), str(port), SECRET)
    yield f"http://127.0.0.1:{port}"
    process.kill()


@pytest.fixture
async def there(neighbour: str) -> AsyncIterator[HttpPeer]:
    """The notebook is hosted by another process and reached over HTTP."""
    async with aiohttp.ClientSession() as session:
        peer = HttpPeer("kit", neighbour, SECRET, session)
        topology.peers = {"kit": peer}
        yield peer
        topology.peers = {}


@pytest.fixture(params=["here", "there"])
def anywhere(request: pytest.FixtureRequest) -> str:
    """The notebook in this process, and then in another: a test of this fixture runs twice and must not see a difference."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture
async def web(request: pytest.FixtureRequest) -> AsyncIterator[Web]:
    """The small REST API, served; a parameter says which origins may call it from browsers."""
    async with serve_rest(getattr(request, "param", ())) as served:
        yield served


@pytest.fixture
async def slow_web() -> AsyncIterator[Web]:
    """The same API with nothing on the fast path."""
    async with serve_rest((), fast=False) as served:
        yield served


@asynccontextmanager
async def serve_rest(origins: tuple[str, ...], *, fast: bool = True) -> AsyncIterator[Web]:
    verifier = Verifier()
    verifier.learn(POLICY)
    port, stopping, ready = find_free_port(), asyncio.Event(), asyncio.Event()
    front = app.make_rest_app(list(ROUTES), verifier, origins)
    if not fast:
        front._fast._routes.clear()
    listener = server.Listener(front, "127.0.0.1", port)
    serving = asyncio.create_task(server.serve_until_stopped([listener], ready.set, stopping))
    await ready.wait()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, skip_auto_headers=("Content-Type",)) as session:
        yield Web(f"http://127.0.0.1:{port}", session, verifier)
    stopping.set()
    await serving
