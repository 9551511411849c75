"""A context's own database is made without that anybody who reads the server's log learns its password."""

from base64 import b64decode
from collections.abc import AsyncIterator

import asyncpg
import pytest

from souk.kit.postgres import EmbeddedPostgres
from souk.kit.separation import Role, make_database
from souk.kit.verifiers import make_verifier

FIND_KEPT = "SELECT rolpassword FROM pg_authid WHERE rolname = $1"


@pytest.fixture
async def admin(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres.dsn())
    yield connection
    await connection.execute("DROP DATABASE IF EXISTS kept_apart")
    await connection.execute("DROP ROLE IF EXISTS kept_apart")
    await connection.close()


@pytest.mark.parametrize("password", ["5f3a", "it's '$1'", "naïve Ⅸ", "a\u00a0b\u00adc", "密码"])
async def test_what_is_made_of_a_password_is_what_the_server_makes_of_it(admin: asyncpg.Connection, password: str) -> None:
    quoted = password.replace("'", "''")
    await admin.execute(f"CREATE ROLE kept_apart LOGIN PASSWORD '{quoted}'")
    kept = await admin.fetchval(FIND_KEPT, "kept_apart")
    salt = b64decode(kept.split("$")[1].partition(":")[2])
    assert make_verifier(password, salt) == kept
    assert make_verifier(password) not in (kept, make_verifier(password))


@pytest.mark.parametrize("password", ["a1b2c3d4e5f6", "it's '$1' long"])
async def test_no_statement_has_a_password_in_it(admin: asyncpg.Connection, password: str) -> None:
    statements: list[str] = []
    role = Role("kept_apart", password, "kept_apart")
    with admin.query_logger(lambda record: statements.append(record.query)):
        for _ in range(2):
            await make_database(admin, role)
    kept = await admin.fetchval(FIND_KEPT, "kept_apart")
    assert kept == make_verifier(password, b64decode(kept.split("$")[1].partition(":")[2]))
    assert len([one for one in statements if "SCRAM-SHA-256$" in one]) == 2
    assert not [one for one in statements if password in one or password.replace("'", "''") in one]
