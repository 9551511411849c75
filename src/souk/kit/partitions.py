"""Partitions by month for tables that grow with the orders, made before they are needed."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from souk.kit.db import Connection

# A statement opens every partition that its keys may lie in; the default one takes what nobody expected.
MONTHS_AHEAD = 1

FIND_PARTITIONED = """
    SELECT t.relname AS name, a.attname AS key, format_type(a.atttypid, NULL) AS kind
    FROM pg_partitioned_table AS p
    JOIN pg_class AS t ON t.oid = p.partrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = p.partattrs[0]
    WHERE n.nspname = $1
    ORDER BY t.relname
"""
FIND_PARTITIONS = """
    SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY name
"""
MONTH = re.compile(r"_(\d{4})_(\d\d)$")


async def add_partitions(connection: Connection, schema: str, today: datetime | None = None) -> int:
    """Make sure that each partitioned table of a schema has a partition for this month and the next ones; how many were added.

    A table is partitioned by a timestamptz, or by a UUIDv7, whose first 48 bits are its time in milliseconds. Rows of other
    times (imported history) go to the default partition, `<table>_rest`.
    """
    now = today or datetime.now(UTC)
    added = 0
    for table in await connection.fetch(FIND_PARTITIONED, schema):
        parent = f"{schema}.{table['name']}"
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {parent}_rest PARTITION OF {parent} DEFAULT")
        for ahead in range(MONTHS_AHEAD + 1):
            first, after = month_start(now, ahead), month_start(now, ahead + 1)
            name = f"{parent}_{first:%Y_%m}"
            if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
                continue
            low, high = (bound(one, table["kind"]) for one in (first, after))
            try:
                await connection.execute(f"CREATE TABLE {name} PARTITION OF {parent} FOR VALUES FROM ('{low}') TO ('{high}')")
            except asyncpg.CheckViolationError:
                await _add_around_rows(connection, parent, name, f"{table['key']} >= '{low}' AND {table['key']} < '{high}'", (low, high))
            added += 1
    return added


async def _add_around_rows(connection: Connection, parent: str, name: str, mine: str, bounds: tuple[str, str]) -> None:
    """Rows of that month lie in the default partition already (ids are made by callers, and their clocks may be wrong): take them along."""
    low, high = bounds
    async with connection.transaction():
        await connection.execute(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)")
        # What is append-only stays so for everybody else: nothing of it is changed, it only lies elsewhere.
        await connection.execute(f"ALTER TABLE {parent}_rest DISABLE TRIGGER USER")
        await connection.execute(
            f"WITH moved AS (DELETE FROM {parent}_rest WHERE {mine} RETURNING *) INSERT INTO {name} SELECT * FROM moved"
        )
        await connection.execute(f"ALTER TABLE {parent}_rest ENABLE TRIGGER USER")
        await connection.execute(f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')")


async def drop_old_partitions(
    connection: Connection, parent: str, days: int, today: datetime | None = None, keep: str | None = None
) -> int:
    """Drop the partitions of a table whose month ended more than so many days ago; how many. The default one and `keep` stay."""
    now = today or datetime.now(UTC)
    dropped = 0
    for row in await connection.fetch(FIND_PARTITIONS, parent):
        found = MONTH.search(row["name"])
        if found is None or row["name"] == keep:
            continue
        end = month_start(datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC), 1)
        if end < now - timedelta(days=days):
            await connection.execute(f"DROP TABLE {row['name']}")
            dropped += 1
    return dropped


def month_start(moment: datetime, months_later: int) -> datetime:
    """The first instant (UTC) of the month that lies so many months after this moment's."""
    months = moment.year * 12 + moment.month - 1 + months_later
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def bound(moment: datetime, kind: str) -> str:
    """The moment as a bound of a partition: itself, or the smallest UUIDv7 of its millisecond."""
    if kind != "uuid":
        return moment.isoformat()
    return str(UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76)))
