"""`souk up --workers`: several processes at one port, started again when one dies, ended together."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.journeys.conftest import make_databases
from tests.journeys.processes import START_WITHIN_S, Process, is_ready
from tests.ports import find_free_port
from tests.waiting import until

from souk.kit.postgres import EmbeddedPostgres


def workers_of(parent: int) -> set[int]:
    """The processes that a parent has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        pytest.skip("this system does not tell which processes belong to which")
    return {int(child) for child in children.read_text().split()}


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def see(holds: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return await asyncio.to_thread(holds)

    return look


@pytest.fixture
def shop(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Process]:
    (dsn,) = make_databases(postgres, "workers")
    port = find_free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_")}
    environment |= {"DATABASE_URL": dsn, "SOUK_HOME": str(tmp_path), "SOUK_POOL_SIZE": "4"}
    arguments = ["up", "--no-demo", "--workers", "2", "--port", str(port)]
    process = Process("up", tmp_path / "up.log", arguments, environment, f"http://127.0.0.1:{port}")
    process.start()
    process.wait_until_ready()
    yield process
    if process.runs:
        process.send(signal.SIGTERM)
        process.wait()


async def test_a_worker_that_dies_is_started_again_and_all_end_together(shop: Process) -> None:
    await until(see(lambda: len(workers_of(shop.pid)) == 2))
    victim, survivor = sorted(workers_of(shop.pid))
    os.kill(victim, signal.SIGKILL)
    await until(see(lambda: len(workers_of(shop.pid) - {victim}) == 2))
    assert survivor in workers_of(shop.pid)
    await until(see(lambda: is_ready(shop.url)))
    workers = workers_of(shop.pid)
    shop.send(signal.SIGTERM)
    assert shop.wait() == 0, shop.tail()
    assert not any(map(is_there, workers))
    assert "with 2 workers" in shop.tail()
    assert shop.tail().endswith("Stopped")


def test_what_cannot_start_says_so_at_once(tmp_path: Path, postgres: EmbeddedPostgres) -> None:
    environment = {**os.environ, "SOUK_HOME": str(tmp_path), "SOUK_PORT": "many", "DATABASE_URL": postgres.dsn("nowhere")}
    process = Process("up", tmp_path / "up.log", ["up", "--workers", "2"], environment, "")
    process.start()
    assert process.wait(START_WITHIN_S) == 1
    assert "SOUK_PORT" in process.tail()
    environment["SOUK_PORT"] = str(find_free_port())
    process.start()
    assert process.wait(START_WITHIN_S) == 1
    assert "The database cannot be used" in process.tail()
