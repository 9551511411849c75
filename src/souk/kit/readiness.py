"""Whether this process can do its work: the databases of its contexts answer, and have what this version needs."""

import asyncio
from functools import cache

from souk.kit.db import ATTACHED, NOT_NOW, Database, check_databases
from souk.kit.errors import Unavailable
from souk.kit.migrations import find_migrations

COUNT_APPLIED = "SELECT count(*) FROM public.souk_migration WHERE context = $1 AND name = ANY($2)"


async def check_readiness(within_s: float = 2.0) -> None:
    """Raises Unavailable with the contexts whose database gives no answer, or is older than this version. A newer one will do."""
    await check_databases(within_s)
    asked = sorted(ATTACHED, key=lambda database: database.context)
    try:
        async with asyncio.timeout(within_s):
            migrated = await asyncio.gather(*map(is_migrated, asked))
    except NOT_NOW as silence:
        raise Unavailable(f"No answer from a database: {type(silence).__name__}") from silence
    if behind := [database.context for database, ready in zip(asked, migrated, strict=True) if not ready]:
        raise Unavailable(f"The database is older than this version: {', '.join(behind)}")


async def is_migrated(database: Database) -> bool:
    """Whether every file of this version has been applied."""
    names = _names(database.context)
    return bool(await database.pool.fetchval(COUNT_APPLIED, database.context, names) == len(names))


@cache
def _names(context: str) -> list[str]:
    return [migration.name for migration in find_migrations(context)]
