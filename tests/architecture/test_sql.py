"""Every SQL constant is good SQL for the schema as it is migrated."""

import re

import asyncpg
import pytest
from tests.architecture.source import Module, assert_none, read_source

from souk import app

STATEMENTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
SCHEMA = re.compile(rf"(?<![\w.])({'|'.join(app.CONTEXTS)})\.[a-z]")
COMMENT_OR_TEXT = re.compile(r"--[^\n]*|'[^']*'")
# Partitions are copies of their parents; a table of the migrations' own is not ours.
FIND_TABLES = """
    SELECT n.nspname || '.' || c.relname AS name,
           bool_or(a.attname = 'created_at' AND d.oid IS NOT NULL AND a.attnotnull) AS dated,
           array_agg(a.attname) FILTER (WHERE t.typname IN ('float4', 'float8', 'money', 'timestamp')) AS vague
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    GROUP BY 1 ORDER BY 1
"""


def find_constants(module: Module) -> list[tuple[str, str]]:
    """The statements among a module's constants, as they are when it is imported."""
    namespace = vars(__import__(module.name, fromlist=["*"]))
    return [
        (f"{module.name}.{name}", value)
        for name, value in namespace.items()
        if name.isupper() and isinstance(value, str) and value.strip().partition(" ")[0].split("\n")[0] in STATEMENTS
    ]


def find_foreign_schemas(context: str, name: str, sql: str) -> list[str]:
    """Tables of other contexts in a statement: they may lie in another database."""
    others = {found for found in SCHEMA.findall(COMMENT_OR_TEXT.sub("", sql)) if found != context}
    return [f"{name} touches {other}'s tables; ask its front door, or keep a copy fed by its events" for other in sorted(others)]


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
    assert_none(broken)


async def test_a_wrong_column_is_seen(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await connection.prepare("SELECT no_such_column FROM orders.orders")
    await connection.close()


def test_a_context_reads_and_writes_its_own_tables_only() -> None:
    app.import_contexts()
    modules = [module for module in read_source() if module.package in app.CONTEXTS]
    assert_none(
        [broken for module in modules for name, sql in find_constants(module) for broken in find_foreign_schemas(module.package, name, sql)]
    )


def test_a_foreign_table_is_seen() -> None:
    assert len(find_foreign_schemas("orders", "X", "SELECT 1 FROM orders.orders JOIN catalog.product ON true")) == 1
    assert (
        find_foreign_schemas("orders", "X", "SELECT o.users FROM orders.orders AS o -- not catalog.product\n WHERE x = 'carts.cart'") == []
    )


async def test_every_table_dates_its_rows_and_counts_exactly(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    tables = await connection.fetch(FIND_TABLES, list(app.CONTEXTS))
    await connection.execute("CREATE TABLE orders.planted (id uuid, price float8)")
    planted = [row for row in await connection.fetch(FIND_TABLES, ["orders"]) if row["name"] == "orders.planted"]
    await connection.execute("DROP TABLE orders.planted")
    await connection.close()
    assert len(tables) > 60
    assert_none([f"{row['name']} wants created_at timestamptz NOT NULL DEFAULT now()" for row in tables if not row["dated"]])
    assert_none([f"{row['name']}.{column}: integers and timestamptz only" for row in tables for column in row["vague"] or ()])
    assert [(row["dated"], row["vague"]) for row in planted] == [(False, ["price"])]
