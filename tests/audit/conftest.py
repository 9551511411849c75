"""A shop with a past, made once and copied for every test: what a test breaks there is broken for nobody else."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import uvloop
from tests.audit.history import make_history

from souk import app
from souk.app import Settings, Shop
from souk.kit.postgres import EmbeddedPostgres

HISTORY = "souk_history"

_numbers = itertools.count()


async def run_as_admin(postgres: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def history(postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database of a shop in which things were bought, shipped, cancelled and refunded."""

    async def make() -> None:
        await run_as_admin(postgres, f"CREATE DATABASE {HISTORY} TEMPLATE {template}")
        home: Path = tmp_path_factory.mktemp("audited")
        async with app.at_work(Shop(Settings(home=home), dict.fromkeys(app.CONTEXTS, postgres.dsn(HISTORY)), {})):
            await make_history()

    uvloop.run(make())
    return HISTORY


@pytest.fixture
async def dsn(postgres: EmbeddedPostgres, history: str) -> AsyncIterator[str]:
    """A copy of that shop, thrown away after the test."""
    name = f"audited_{next(_numbers)}"
    await run_as_admin(postgres, f"CREATE DATABASE {name} TEMPLATE {history}")
    yield postgres.dsn(name)
    await run_as_admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")
