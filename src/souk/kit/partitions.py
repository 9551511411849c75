"""Partitions by month for tables that grow with the orders, made before they are needed."""

from datetime import UTC, datetime
from uuid import UUID

import asyncpg

MONTHS_AHEAD = 3

FIND_PARTITIONED = """
    SELECT t.relname AS name, format_type(a.atttypid, NULL) AS kind
    FROM pg_partitioned_table AS p
    JOIN pg_class AS t ON t.oid = p.partrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = p.partattrs[0]
    WHERE n.nspname = $1
    ORDER BY t.relname
"""


async def add_partitions(connection: asyncpg.Connection, schema: str, today: datetime | None = None) -> int:
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
            await connection.execute(f"CREATE TABLE {name} PARTITION OF {parent} FOR VALUES FROM ('{low}') TO ('{high}')")
            added += 1
    return added


def month_start(moment: datetime, months_later: int) -> datetime:
    """The first instant (UTC) of the month that lies so many months after this moment's."""
    months = moment.year * 12 + moment.month - 1 + months_later
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def bound(moment: datetime, kind: str) -> str:
    """The moment as a bound of a partition: itself, or the smallest UUIDv7 of its millisecond."""
    if kind != "uuid":
        return moment.isoformat()
    return str(UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76)))
