"""Plain SQL, forward only: the kit's tables for each context and for each database, and the runner that applies files in order."""

import hashlib
from collections.abc import Callable
from importlib import resources

import asyncpg
import msgspec

from souk.kit.partitions import add_partitions

OLDEST_SERVER = 15
EXTENSIONS = ("pg_trgm", "unaccent", "btree_gin")

# Any fixed number: two processes that migrate one database at the same moment take turns.
MIGRATION_LOCK = 7_305_519_001

# Under this name a database's own files are remembered, which it has once for all of its contexts.
DATABASE = "database"

FIND_APPLIED = "SELECT name, checksum FROM public.souk_migration WHERE context = $1"
REMEMBER = "INSERT INTO public.souk_migration (context, name, checksum) VALUES ($1, $2, $3)"
MAKE_REGISTER = """
    CREATE TABLE IF NOT EXISTS public.souk_migration (
        context    text        NOT NULL,
        name       text        NOT NULL,
        checksum   text        NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (context, name)
    )
"""


FIND_NEWEST = "SELECT max(xid) FROM {schema}.outbox"
FIND_NEXT = "SELECT {schema}.outbox_xid(pg_current_xact_id())"
COUNT_ON = """
    CREATE OR REPLACE FUNCTION {schema}.outbox_xid(xid8) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT $1::text::bigint + {missing}'
"""


class CannotMigrate(Exception):
    """Why the database cannot be brought to this version, in one sentence."""


class Migration(msgspec.Struct, frozen=True):
    """One file of SQL."""

    context: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def find_migrations(context: str) -> tuple[Migration, ...]:
    """The kit's files and then the context's own, in the order in which they apply; of DATABASE those that each database has once."""
    found: list[Migration] = []
    kit = resources.files("souk.kit.migrations")
    for folder in (kit / DATABASE,) if context == DATABASE else (kit, resources.files(f"souk.{context}.migrations")):
        for file in sorted(folder.iterdir(), key=lambda one: one.name):
            if file.name.endswith(".sql"):
                sql = file.read_text()
                found.append(Migration(context, file.name, sql.replace("{schema}", context)))
    return tuple(found)


async def migrate(dsn: str, contexts: tuple[str, ...], report: Callable[[str], None] = lambda line: None) -> int:
    """Bring the schemas of these contexts up to date; how many files were applied. Applying again applies nothing.

    Each file is one transaction. Raises CannotMigrate for a server that is too old or a file that was changed after it
    had been applied.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        if connection.get_server_version().major < OLDEST_SERVER:
            version = connection.get_server_version().major
            raise CannotMigrate(f"PostgreSQL {OLDEST_SERVER} or newer is needed; this server is version {version}")
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        await connection.execute(MAKE_REGISTER)
        await _add_extensions(connection)
        applied = await _migrate_context(connection, DATABASE, report)
        for context in contexts:
            applied += await _migrate_context(connection, context, report)
            await continue_after_restore(connection, context)
            await add_partitions(connection, context)
        return applied
    finally:
        await connection.close()


async def _add_extensions(connection: asyncpg.Connection) -> None:
    for extension in EXTENSIONS:
        try:
            await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} WITH SCHEMA public")
        except asyncpg.PostgresError as refusal:
            raise CannotMigrate(f"The PostgreSQL extension {extension} cannot be added: {refusal}") from refusal


async def _migrate_context(connection: asyncpg.Connection, context: str, report: Callable[[str], None]) -> int:
    known = {row["name"]: row["checksum"] for row in await connection.fetch(FIND_APPLIED, context)}
    applied = 0
    for migration in find_migrations(context):
        if migration.name in known:
            if known[migration.name] != migration.checksum:
                raise CannotMigrate(f"{context}/{migration.name} was changed after it had been applied; add a new file instead")
            continue
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(REMEMBER, context, migration.name, migration.checksum)
        report(f"{context}: {migration.name}")
        applied += 1
    return applied


async def continue_after_restore(connection: asyncpg.Connection, context: str) -> None:
    """If the newest fact is from another server's future, let transaction ids of this one count on from there."""
    newest = await connection.fetchval(FIND_NEWEST.format(schema=context))
    if newest is not None and newest >= await connection.fetchval(FIND_NEXT.format(schema=context)):
        here = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
        await connection.execute(COUNT_ON.format(schema=context, missing=newest + 1 - here))
