"""Databases for tests: copies of a template, each of which is emptied after its test and serves the next one."""

import asyncio
from collections.abc import Coroutine
from threading import Thread
from typing import Any

import asyncpg
import uvloop

from souk.kit.postgres import EmbeddedPostgres

END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
# Deleting from empty tables takes milliseconds; copying a database of a thousand files does not. The migrations write no rows.
EMPTY = """
    DO $$
    DECLARE
        one record;
    BEGIN
        PERFORM set_config('session_replication_role', 'replica', true);
        FOR one IN
            SELECT format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_class AS c
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'public')
        LOOP
            EXECUTE 'DELETE FROM ' || one.name;
        END LOOP;
    END $$
"""


class Databases:
    """The databases of a run. Their connections outlive the loops of tests: a new one would read hundreds of tables' descriptions first."""

    def __init__(self, postgres: EmbeddedPostgres, template: str) -> None:
        self._postgres = postgres
        self._template = template
        self._loop = uvloop.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._connections: dict[str, asyncpg.Connection] = {}
        self._left: list[str] = []
        self._made = 0
        self._thread.start()

    async def take(self) -> str:
        """The name of one that is empty."""
        if self._left:
            return self._left.pop()
        self._made += 1
        await self._run(self._make(f"test_{self._made}"))
        return f"test_{self._made}"

    async def give_back(self, name: str) -> None:
        """Empty it for whoever takes it next."""
        await self._run(self._empty(name))
        self._left.append(name)

    def close(self) -> None:
        """Forget them; the server ends with the run."""
        for connection in self._connections.values():
            self._loop.call_soon_threadsafe(connection.terminate)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _make(self, name: str) -> None:
        admin = await asyncpg.connect(self._postgres.dsn())
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        await admin.close()

    async def _empty(self, name: str) -> None:
        connection = self._connections.get(name)
        # A test may have ended every connection but its own.
        if connection is None or connection.is_closed():
            connection = self._connections[name] = await asyncpg.connect(self._postgres.dsn(name))
        await connection.execute(END_OTHERS)
        await connection.execute(EMPTY)
        # Tests count deadlocks, and are to find their own.
        await connection.execute("SELECT pg_stat_reset()")
