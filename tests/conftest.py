"""Fixtures for every test: a real PostgreSQL, a database of one's own, and whoever asks."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import uvloop
from tests.caches import CacheServer
from tests.databases import Databases
from tests.workers import OneHasShops, put_shops_last
from xdist.remote import Producer

from souk import app
from souk.app import Settings, Shop
from souk.kit.cache import cache, settings
from souk.kit.callers import Caller, Principal, asking
from souk.kit.ids import new_id
from souk.kit.postgres import EmbeddedPostgres, start

# A copy of a database is a thousand files: in memory they are there in 0.1 s, on a disk that others use in 1 s.
MEMORY = Path("/dev/shm")
ROOM = 8 * 2**30
if "PYTEST_DEBUG_TEMPROOT" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)

# Nothing that a test makes lands in the shop of whoever runs it.
os.environ["SOUK_HOME"] = tempfile.mkdtemp(prefix="souk-tests-")

TEMPLATE = "souk_template"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "128MB"}
# Two shops of a process for each context may run at once, beside the databases of the other tests.
FAST |= {"max_connections": "800"}


def pytest_asyncio_loop_factories() -> dict[str, object]:
    """Tests run on the loop that the shop runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    put_shops_last(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneHasShops | None:
    """With --dist loadfile, which `make test` asks for, whole shops stay with one worker."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return OneHasShops(config, log)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server for the run; it forgets everything when the machine stops, which is what makes it fast."""
    with start(tmp_path_factory.mktemp("home"), settings=FAST) as running:
        yield running


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """A migrated database to copy."""

    async def make() -> None:
        app.import_contexts()
        connection = await asyncpg.connect(postgres.dsn())
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
        await connection.close()
        await app.migrate_all(dict.fromkeys(app.CONTEXTS, postgres.dsn(TEMPLATE)))

    uvloop.run(make())
    return TEMPLATE


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres, template: str) -> Iterator[Databases]:
    """The databases of the run."""
    made = Databases(postgres, template)
    yield made
    made.close()


@pytest.fixture
async def dsn(postgres: EmbeddedPostgres, databases: Databases) -> AsyncIterator[str]:
    """A database of the test's own, migrated and empty."""
    name = await databases.take()
    yield postgres.dsn(name)
    await databases.give_back(name)


@pytest.fixture
def whole_shop(dsn: str, tmp_path: Path) -> Shop:
    """Every context in this process, on the test's database."""
    return Shop(Settings(home=tmp_path), dict.fromkeys(app.CONTEXTS, dsn), {})


@pytest.fixture
async def shop(whole_shop: Shop) -> AsyncIterator[Shop]:
    """The front doors work; no consumer and no job runs."""
    async with app.opened(whole_shop):
        yield whole_shop


@pytest.fixture
async def working_shop(whole_shop: Shop) -> AsyncIterator[Shop]:
    """The front doors work, and so do consumers and jobs."""
    async with app.at_work(whole_shop):
        yield whole_shop


@pytest.fixture
def valkey_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheServer]:
    """A running Valkey of the test's own, to which this process is as patient as a machine with too much to do needs it."""
    monkeypatch.setattr("souk.kit.cache.WITHIN_S", 1.0)
    folder = tmp_path / "valkey"
    folder.mkdir()
    server = CacheServer(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def valkey(valkey_server: CacheServer) -> AsyncIterator[CacheServer]:
    """The same, and this process uses it."""
    settings.replace(cache_url=valkey_server.url)
    async with cache.opened():
        yield valkey_server
    settings.replace(cache_url=None)


@pytest.fixture
async def cached_shop(whole_shop: Shop, valkey_server: CacheServer) -> AsyncIterator[CacheServer]:
    """The front doors work, and so do consumers and jobs, with a cache."""
    settings.replace(cache_url=valkey_server.url)
    async with app.at_work(whole_shop):
        yield valkey_server
    settings.replace(cache_url=None)


def asked_by(*roles: str, user_id: UUID | None = None, sells_for: tuple[UUID, ...] = ()) -> AbstractContextManager[None]:
    """Whatever runs inside is asked for by this user."""
    return asking(Caller(Principal("user", user_id or new_id(), roles, sells_for), request_id="test"))
