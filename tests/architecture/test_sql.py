"""Every SQL constant is good SQL for the schema as it is migrated."""

import asyncpg
import pytest
from tests.architecture.source import Module, read_source

from souk import app

STATEMENTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def find_constants(module: Module) -> list[tuple[str, str]]:
    """The statements among a module's constants, as they are when it is imported."""
    namespace = vars(__import__(module.name, fromlist=["*"]))
    return [
        (f"{module.name}.{name}", value)
        for name, value in namespace.items()
        if name.isupper() and isinstance(value, str) and value.strip().partition(" ")[0].split("\n")[0] in STATEMENTS
    ]


async def test_every_statement_can_be_prepared(dsn: str) -> None:
    app.import_contexts()
    modules = [module for module in read_source() if module.package in app.CONTEXTS or module.package == "kit"]
    statements = dict(found for module in modules for found in find_constants(module))
    assert len(statements) > 150
    connection = await asyncpg.connect(dsn)
    broken: list[str] = []
    for name, sql in statements.items():
        try:
            await connection.prepare(sql.replace("{schema}", "orders"))
        except asyncpg.PostgresError as mistake:
            broken.append(f"{name}: {mistake}")
    await connection.close()
    assert broken == []


async def test_a_wrong_column_is_seen(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await connection.prepare("SELECT no_such_column FROM orders.orders")
    await connection.close()
