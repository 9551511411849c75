"""Partitions are there before their month begins, and old ones go; rows of any time find a place."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.kit import notebook
from tests.kit.test_outbox import publish_notes

from souk.kit.housekeeping import keep_house
from souk.kit.ids import new_id
from souk.kit.partitions import add_partitions, bound, drop_old_partitions, month_start

TABLES = """
    CREATE SCHEMA calendar;
    CREATE TABLE calendar.by_id (id uuid PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE calendar.by_time (at timestamptz) PARTITION BY RANGE (at);
    CREATE TABLE calendar.plain (id uuid);
"""
WRITE_OLD_FACT = """
    INSERT INTO kit.outbox (event_id, type, aggregate_id, payload, request_id, created_at) VALUES ($1, 'kit.Noted', $1, '{}', '', $2)
"""
PARTITION_OF = "SELECT tableoid::regclass::text FROM {} LIMIT 1"


@pytest.fixture
async def connection(kit_dsn: str) -> object:
    connection = await asyncpg.connect(kit_dsn, server_settings={"timezone": "America/St_Johns"})
    await connection.execute(TABLES)
    yield connection
    await connection.close()


async def names(connection: asyncpg.Connection, parent: str) -> list[str]:
    rows = await connection.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass", parent)
    return sorted(row["name"].rpartition("by_")[2] for row in rows)


def id_of(moment: datetime) -> UUID:
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | 12345)


async def test_this_month_and_the_next_are_made_once(connection: asyncpg.Connection) -> None:
    november = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert await add_partitions(connection, "calendar", november) == 4
    assert await add_partitions(connection, "calendar", november) == 0
    assert await names(connection, "calendar.by_id") == ["id_2026_11", "id_2026_12", "id_rest"]
    assert await add_partitions(connection, "calendar", november + timedelta(minutes=1)) == 2
    assert await names(connection, "calendar.by_time") == ["time_2026_11", "time_2026_12", "time_2027_01", "time_rest"]


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (datetime(2026, 10, 31, 23, 59, 59, 999000, tzinfo=UTC), "rest"),
        (datetime(2026, 11, 1, tzinfo=UTC), "2026_11"),
        (datetime(2026, 11, 30, 23, 59, 59, 999000, tzinfo=UTC), "2026_11"),
        (datetime(2026, 12, 1, tzinfo=UTC), "2026_12"),
        (datetime(2011, 12, 9, tzinfo=UTC), "rest"),
        (datetime(2099, 1, 1, tzinfo=UTC), "rest"),
    ],
)
async def test_a_row_lies_in_the_month_of_its_time_or_of_its_id(connection: asyncpg.Connection, moment: datetime, month: str) -> None:
    await add_partitions(connection, "calendar", datetime(2026, 11, 15, tzinfo=UTC))
    await connection.execute("INSERT INTO calendar.by_id VALUES ($1)", id_of(moment))
    await connection.execute("INSERT INTO calendar.by_time VALUES ($1)", moment)
    assert await connection.fetchval(PARTITION_OF.format("calendar.by_id")) == f"calendar.by_id_{month}"
    assert await connection.fetchval(PARTITION_OF.format("calendar.by_time")) == f"calendar.by_time_{month}"


async def test_partitions_are_dropped_when_their_month_ended_long_enough_ago(connection: asyncpg.Connection) -> None:
    for month in (1, 3):
        await add_partitions(connection, "calendar", datetime(2026, month, 15, tzinfo=UTC))
    end_of_january = datetime(2026, 2, 1, tzinfo=UTC)
    assert await drop_old_partitions(connection, "calendar.by_time", 30, end_of_january + timedelta(days=30)) == 0
    assert await drop_old_partitions(connection, "calendar.by_time", 30, end_of_january + timedelta(days=30, seconds=1)) == 1
    assert await names(connection, "calendar.by_time") == ["time_2026_02", "time_2026_03", "time_2026_04", "time_rest"]
    late = datetime(2027, 1, 1, tzinfo=UTC)
    assert await drop_old_partitions(connection, "calendar.by_time", 30, late, keep="calendar.by_time_2026_03") == 2
    assert await names(connection, "calendar.by_time") == ["time_2026_03", "time_rest"]
    assert len(await names(connection, "calendar.by_id")) == 5


async def test_rows_that_came_before_their_partition_do_not_stop_it(connection: asyncpg.Connection) -> None:
    november = datetime(2026, 11, 15, tzinfo=UTC)
    await add_partitions(connection, "calendar", november)
    await connection.execute("INSERT INTO calendar.by_time VALUES ($1)", datetime(2027, 1, 15, tzinfo=UTC))
    await connection.execute("INSERT INTO calendar.by_id VALUES ($1)", id_of(datetime(2027, 1, 15, tzinfo=UTC)))
    await add_partitions(connection, "calendar", month_start(november, 1))
    assert await connection.fetchval(PARTITION_OF.format("calendar.by_time")) == "calendar.by_time_2027_01"
    assert await connection.fetchval(PARTITION_OF.format("calendar.by_id")) == "calendar.by_id_2027_01"
    assert await connection.fetchval("SELECT count(*) FROM calendar.by_time") == 1


async def test_what_is_append_only_may_still_go_to_its_month(connection: asyncpg.Connection) -> None:
    await add_partitions(connection, "calendar", datetime(2026, 11, 15, tzinfo=UTC))
    await connection.execute("""
        CREATE FUNCTION calendar.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append-only'; END $$;
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON calendar.by_time FOR EACH ROW EXECUTE FUNCTION calendar.refuse();
    """)
    for month in (1, 8):
        await connection.execute("INSERT INTO calendar.by_time VALUES ($1)", datetime(2027, month, 15, tzinfo=UTC))
    await add_partitions(connection, "calendar", datetime(2026, 12, 15, tzinfo=UTC))
    assert len(await connection.fetch("SELECT FROM calendar.by_time_2027_01")) == 1
    for table in ("by_time", "by_time_rest", "by_time_2027_01"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute(f"DELETE FROM calendar.{table}")


def test_a_new_id_lies_between_the_bounds_of_its_month() -> None:
    now = datetime.now(UTC)
    assert bound(month_start(now, 0), "uuid") <= str(new_id()) < bound(month_start(now, 1), "uuid")


async def test_housekeeping_looks_after_a_context(here: str) -> None:
    await publish_notes(1)
    async with notebook.db.transaction() as tx:
        last = month_start(datetime.now(UTC), 1)
        await tx.run(f"DROP TABLE kit.outbox_{last:%Y_%m}")
    await keep_house(notebook.db)
    assert await notebook.db.value("SELECT to_regclass($1) IS NOT NULL", f"kit.outbox_{last:%Y_%m}")
    assert await notebook.db.value("SELECT count(*) FROM kit.outbox") == 1


async def test_the_newest_fact_outlives_its_time(here: str) -> None:
    async with notebook.db.pool.acquire() as connection:
        await add_partitions(connection, "kit", datetime(2020, 1, 15, tzinfo=UTC))
        for month in (1, 2):
            await connection.execute(WRITE_OLD_FACT, new_id(), datetime(2020, month, 15, tzinfo=UTC))
    await keep_house(notebook.db)
    assert await notebook.db.value("SELECT count(*) FROM kit.outbox") == 1
    await publish_notes(1)
    await keep_house(notebook.db)
    assert await notebook.db.value("SELECT count(*) FROM kit.outbox WHERE created_at < now() - interval '1 year'") == 0
