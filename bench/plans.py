"""How PostgreSQL goes about each statement of the shop when its tables are large: none reads one from end to end but a reviewed few."""

import importlib
import pkgutil
import re
from fnmatch import fnmatch
from typing import Any

import asyncpg
import msgspec

import souk
from souk import app

STATEMENTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
LARGE = 100_000

# Statements that may, and why.
REVIEWED = {
    "souk.*.rules.*": "the audit proves a rule on every row, when an admin asks for it",
    "souk.carts.*.SELECT_CARTS": "the beginning of statements that choose by id or user, never run alone",
    "souk.orders.*.SELECT_ORDERS": "the beginning of statements that choose by id or user, never run alone",
    "souk.catalog.suggestions.SUGGEST": "planned for its values (Database.search): only a known beginning is a range of the index",
}

# A partition counts as the table that it is a part of: whoever reads all of a year's partitions reads a large table. Those of the
# months to come are empty, and then no index is quicker.
FIND_LARGE = """
    WITH RECURSIVE part AS (
        SELECT oid, oid AS whole FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition
        UNION ALL SELECT i.inhrelid, part.whole FROM pg_inherits AS i JOIN part ON part.oid = i.inhparent
    ), whole AS (
        SELECT part.whole FROM part JOIN pg_class AS c ON c.oid = part.oid WHERE c.relkind = 'r'
        GROUP BY part.whole HAVING sum(greatest(c.reltuples, 0)) > $1
    )
    SELECT n.nspname || '.' || c.relname AS name, whole.whole::regclass::text AS whole
    FROM part JOIN whole USING (whole) JOIN pg_class AS c ON c.oid = part.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.reltuples <> 0
"""


def find_statements() -> dict[str, str]:
    """Every SQL constant of the product by its module and name."""
    found = {}
    for info in pkgutil.walk_packages(souk.__path__, "souk."):
        if info.name.split(".")[1] in (*app.CONTEXTS, "kit"):
            for name, value in vars(importlib.import_module(info.name)).items():
                if name.isupper() and isinstance(value, str) and re.match(rf"\s*({'|'.join(STATEMENTS)})\b", value):
                    found.setdefault(value, f"{info.name}.{name}")
    return {name: sql for sql, name in found.items()}


async def find_scans(dsn: str) -> list[str]:
    """`constant reads table` for each sequential scan on a large table in the plan of a statement, the reviewed ones left out."""
    statements = find_statements()
    connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": "force_generic_plan", "jit": "off"})
    large = {row["name"]: row["whole"] for row in await connection.fetch(FIND_LARGE, LARGE)}
    found = []
    for name, sql in sorted(statements.items()):
        if any(fnmatch(name, reviewed) for reviewed in REVIEWED):
            continue
        for context in app.CONTEXTS if "{schema}" in sql else ("",):
            read = scanned(await explain(connection, sql.replace("{schema}", context)))
            found += [f"{name} reads {table}" for table in sorted({large[one] for one in read if one in large})]
    await connection.close()
    return found


async def explain(connection: asyncpg.Connection, sql: str) -> Any:
    """The plan of a statement for any values, as it is made in the pool."""
    prepared = await connection.prepare(sql)
    values = ", ".join("NULL" for _ in prepared.get_parameters())
    async with connection.transaction():
        await connection.execute(f"PREPARE explained AS {sql}")
        plan = await connection.fetchval(f"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE explained{f'({values})' if values else ''}")
        await connection.execute("DEALLOCATE explained")
    return msgspec.json.decode(plan)[0]["Plan"]


def scanned(plan: Any) -> set[str]:
    """The tables that a plan reads from end to end."""
    found = {f"{plan['Schema']}.{plan['Relation Name']}"} if plan["Node Type"] == "Seq Scan" and "Schema" in plan else set()
    return found.union(*(scanned(part) for part in plan.get("Plans", ())))
