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


async def find_unprepared(dsn: str, statements: dict[str, str]) -> list[str]:
    """Statements that PostgreSQL does not understand with the schema as it is migrated."""
    connection = await asyncpg.connect(dsn)
    broken: list[str] = []
    for name, sql in statements.items():
        try:
            await connection.prepare(sql.replace("{schema}", "orders"))
        except asyncpg.PostgresError as mistake:
            broken.append(f"{name}: {mistake}")
    await connection.close()
    return broken


async def test_every_statement_can_be_prepared(dsn: str) -> None:
    app.import_contexts()
    modules = [module for module in read_source() if module.package in app.CONTEXTS or module.package == "kit"]
    statements = dict(found for module in modules for found in find_constants(module))
    assert len(statements) > 150
    assert_none(await find_unprepared(dsn, statements))


@pytest.mark.parametrize(
    "sql",
    ["SELECT no_such_column FROM orders.orders", "SELECT 1 FROM orders.no_such_table", "SELECT id FROM orders.orders WHERE id = 'x'::text"],
)
async def test_a_planted_statement_is_seen(dsn: str, sql: str) -> None:
    assert len(await find_unprepared(dsn, {"planted": sql, "good": "SELECT id FROM orders.orders"})) == 1


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


async def find_bad_tables(dsn: str, contexts: list[str]) -> list[str]:
    """Tables whose rows have no date of birth, or with columns for inexact numbers or times without a zone."""
    connection = await asyncpg.connect(dsn)
    tables = await connection.fetch(FIND_TABLES, contexts)
    await connection.close()
    assert tables
    return [f"{row['name']} wants created_at timestamptz NOT NULL DEFAULT now()" for row in tables if not row["dated"]] + [
        f"{row['name']}.{column}: integers and timestamptz only" for row in tables for column in row["vague"] or ()
    ]


async def test_every_table_dates_its_rows_and_counts_exactly(dsn: str) -> None:
    assert_none(await find_bad_tables(dsn, list(app.CONTEXTS)))


@pytest.mark.parametrize(
    ("columns", "seen"),
    [
        ("id uuid", "created_at"),
        ("created_at timestamptz DEFAULT now()", "created_at"),
        ("created_at timestamptz NOT NULL", "created_at"),
        ("created_at timestamp NOT NULL DEFAULT now()", "planted.created_at"),
        ("created_at timestamptz NOT NULL DEFAULT now(), price float8", "planted.price"),
        ("created_at timestamptz NOT NULL DEFAULT now(), price real", "planted.price"),
        ("created_at timestamptz NOT NULL DEFAULT now(), price money", "planted.price"),
        ("created_at timestamptz NOT NULL DEFAULT now(), due timestamp", "planted.due"),
        ("created_at timestamptz NOT NULL DEFAULT now(), due timestamptz, price bigint", None),
    ],
)
async def test_a_planted_table_is_seen(dsn: str, columns: str, seen: str | None) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE TABLE orders.planted ({columns})")
    broken = await find_bad_tables(dsn, ["orders"])
    await connection.execute("DROP TABLE orders.planted")
    await connection.close()
    assert len(broken) == (seen is not None)
    assert seen is None or seen in broken[0]
