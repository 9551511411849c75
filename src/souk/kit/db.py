"""PostgreSQL: one Database per context, transactions, rows as frozen Structs."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import date, datetime
from inspect import signature
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy
from asyncpg.protocol import protocol

from souk.kit.errors import Unavailable

Row = TypeVar("Row")
Pool = asyncpg.Pool
Connection = asyncpg.Connection | PoolConnectionProxy
Isolation = Literal["read_committed", "repeatable_read", "serializable"]

# What PostgreSQL gives us as Python objects and msgspec.convert is to leave as they are.
NATIVE = (UUID, datetime, date, bytes)
# Of these types a value of a row is what the field says.
PLAIN = (*NATIVE, str, int, bool, float, Any, type(None))

PARAMETER = re.compile(r"\$(\d+)")

# How long a transaction waits for a connection when all of the pool are in use.
CONNECTION_WITHIN_S = 5.0

# Of each element of each array the driver asks whether it is an array itself, by abstract classes, which took a tenth of the shop's
# CPU. Our arrays are lists and tuples, and no element of one is either.
vars(protocol).update(IterableABC=(list, tuple), SizedABC=(list, tuple), MappingABC=dict)

_open_transaction: ContextVar[str | None] = ContextVar("souk_open_transaction", default=None)

# SQLSTATE classes and codes that say "nobody can tell" or "not now", never "your data is wrong".
NOT_NOW = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server has said that it ends the session, and the end has not come yet
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,  # refused, reset, no such socket, no such host, TimeoutError
)
TRY_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
BAD_DATA = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class CallInTransaction(RuntimeError):
    """A neighbour was called while a transaction was open: a slow neighbour would then hold our locks."""


def refuse_open_transaction(what: str) -> None:
    """Raise CallInTransaction if this task has a transaction open."""
    if (where := _open_transaction.get()) is not None:
        raise CallInTransaction(f"{what} was called while a transaction of {where} is open; call before it or after it")


async def open_pool(dsn: str, size: int = 20) -> Pool:
    """A pool of at most `size` connections; raises what asyncpg raises when the server cannot be reached."""
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        init=_prepare_connection,
        reset=_leave_as_it_is,
        statement_cache_size=1024,
        server_settings={
            "application_name": "souk",
            "timezone": "UTC",
            "statement_timeout": "10s",
            "lock_timeout": "5s",
            "idle_in_transaction_session_timeout": "10s",
            "jit": "off",
            # A statement is planned once per connection, and not for its values: planning took as much CPU as running.
            "plan_cache_mode": "force_generic_plan",
        },
    )


async def _prepare_connection(connection: asyncpg.Connection) -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=_to_json, decoder=msgspec.json.decode)


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """Nothing here changes a session's state, so the usual RESET ALL would be a round trip for nothing."""


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Transaction:
    """An open transaction of one context. What it reads comes back as Structs whose fields are the selected columns."""

    def __init__(self, database: "Database", connection: Connection) -> None:
        self.database = database
        self.connection = connection
        self.after_commit: list[Callable[[], None]] = []

    async def all(self, kind: type[Row], sql: str, *values: Any) -> tuple[Row, ...]:
        """Every row."""
        return to_rows(await self.connection.fetch(sql, *values), kind, sql)

    async def maybe(self, kind: type[Row], sql: str, *values: Any) -> Row | None:
        """The first row, or None."""
        record = await self.connection.fetchrow(sql, *values)
        return None if record is None else to_rows((record,), kind, sql)[0]

    async def one(self, kind: type[Row], sql: str, *values: Any) -> Row:
        """The row; its absence is a bug, not a refusal."""
        found = await self.maybe(kind, sql, *values)
        if found is None:
            raise LookupError(f"No row: {' '.join(sql.split())[:120]}")
        return found

    async def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        return await self.connection.fetchval(sql, *values)

    async def run(self, sql: str, *values: Any) -> int:
        """Execute a statement; how many rows it touched."""
        status = await self.connection.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What is done inside is undone alone when it raises."""
        async with self.connection.transaction():
            yield


def to_rows(records: Sequence[asyncpg.Record], kind: type[Row], sql: str) -> tuple[Row, ...]:
    """The records of a statement as Structs: columns by name, JSON columns as nested Structs."""
    if not records:
        return ()
    read = _readers.get((kind, sql))
    if read is None:
        read = _readers[kind, sql] = _make_reader(records[0], kind)
    return tuple([read(record) for record in records])


Read = Callable[[asyncpg.Record], Any]
_readers: dict[tuple[type[Any], str], Read] = {}


def _make_reader(record: asyncpg.Record, kind: type[Any]) -> Read:
    """What makes a Struct of such a record. Values that are what the field says are taken as they are; the rest is converted."""
    columns, fields, hints = tuple(record.keys()), kind.__struct_fields__, get_type_hints(kind)
    taken = [place for place, name in enumerate(columns) if name in hints]
    converted = tuple((place, _make_converter(hints[columns[place]])) for place in taken if not _is_plain(hints[columns[place]]))
    if columns == fields[: len(columns)] and all(one.kind is not one.KEYWORD_ONLY for one in signature(kind).parameters.values()):
        if not converted:
            return lambda row: kind(*row)

        def read_in_order(row: asyncpg.Record) -> Any:
            values = list(row)
            for place, convert in converted:
                values[place] = convert(values[place])
            return kind(*values)

        return read_in_order
    names = tuple((place, columns[place]) for place in taken)

    def read_by_name(row: asyncpg.Record) -> Any:
        values = list(row)
        for place, convert in converted:
            values[place] = convert(values[place])
        return kind(**{name: values[place] for place, name in names})

    return read_by_name


def _is_plain(hint: Any) -> bool:
    """Whether PostgreSQL's value is the value already."""
    if get_origin(hint) in (Union, UnionType):
        return all(map(_is_plain, get_args(hint)))
    return hint in PLAIN or get_origin(hint) is Literal


def _make_converter(hint: Any) -> Callable[[Any], Any]:
    # Of a Struct msgspec remembers what is in it; of any other type it would find that out anew for each value.
    shape: Any = msgspec.defstruct("Value", [("value", hint)], array_like=True)

    def convert(value: Any) -> Any:
        # Inside JSON an id or a time is a text that is still to be read; outside it is an object already.
        if value and (isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict))):
            return msgspec.convert((value,), shape).value
        return msgspec.convert((value,), shape, builtin_types=NATIVE).value

    return convert


class Bell:
    """Wakes whoever waits for news of a context in this process."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, at_most_s: float, heard: int | None = None) -> bool:
        """Whether it rang within this time; or already did, if it has rung more often than was heard."""
        if heard is not None and heard != self.rings:
            return True
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(at_most_s):
                await waiting
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiting)
        return True


class Database:
    """A context's own schema, in a database of its own or in a shared one."""

    def __init__(self, context: str) -> None:
        self.context = context
        self._pool: Pool | None = None
        self.bell = Bell()
        self.owner = 0  # this process in leases; app.py sets it
        self.seen: set[Hashable] = set()  # what this process knows to be there for good, so that it need not be made again

    def attach(self, pool: Pool) -> None:
        """From now on this context's statements go to this pool."""
        self._pool = pool
        self.seen.clear()
        ATTACHED.add(self)

    def detach(self) -> None:
        self._pool = None
        ATTACHED.discard(self)

    @property
    def pool(self) -> Pool:
        if self._pool is None:
            raise RuntimeError(f"The context {self.context} is not hosted by this process: it has no database here")
        return self._pool

    @asynccontextmanager
    async def transaction(self, *, isolation: Isolation = "read_committed", readonly: bool = False) -> AsyncIterator[Transaction]:
        """One transaction: commits at the end, rolls back on any exception; Unavailable if the database cannot answer.

        An Unavailable out of a commit may have been committed: writes are repeatable for that reason.
        """
        refuse_open_transaction(f"a transaction of {self.context}")
        with unavailable(self.context):
            async with asyncio.timeout(CONNECTION_WITHIN_S) as waiting, self.pool.acquire() as connection:
                waiting.reschedule(None)
                tx = Transaction(self, connection)
                with _holding(self.context):
                    async with connection.transaction(isolation=isolation, readonly=readonly):
                        yield tx
        for tell in tx.after_commit:
            tell()

    async def all(self, kind: type[Row], sql: str, *values: Any) -> tuple[Row, ...]:
        """Every row of one statement outside a transaction."""
        refuse_open_transaction("a statement outside of it")
        with unavailable(self.context):
            return to_rows(await self.pool.fetch(sql, *values), kind, sql)

    async def write(self, kind: type[Row], sql: str, *values: Any) -> tuple[Row, ...]:
        """What one statement that writes gives back: a transaction of its own, committed when it returns, in one round trip."""
        return await self.all(kind, sql, *values)

    async def search(self, kind: type[Row], sql: str, *values: Any) -> tuple[Row, ...]:
        """Every row of one statement whose best plan depends on its values (filters that may be left out): it is planned for them."""
        async with self.transaction(readonly=True) as tx:
            await tx.run("SET LOCAL plan_cache_mode = force_custom_plan")
            return await tx.all(kind, sql, *values)

    async def maybe(self, kind: type[Row], sql: str, *values: Any) -> Row | None:
        """The first row of one statement outside a transaction, or None."""
        refuse_open_transaction("a statement outside of it")
        with unavailable(self.context):
            record = await self.pool.fetchrow(sql, *values)
        return None if record is None else to_rows((record,), kind, sql)[0]

    async def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row of one statement outside a transaction, or None."""
        refuse_open_transaction("a statement outside of it")
        with unavailable(self.context):
            return await self.pool.fetchval(sql, *values)


ATTACHED: set[Database] = set()


async def check_databases(within_s: float = 2.0) -> None:
    """Ask every database of this process for an answer; raises Unavailable with the contexts whose database gave none."""
    asked = sorted(ATTACHED, key=lambda database: database.context)
    answers = await asyncio.gather(*(_ping(database, within_s) for database in asked), return_exceptions=True)
    if silent := [database.context for database, answer in zip(asked, answers, strict=True) if isinstance(answer, BaseException)]:
        raise Unavailable(f"No answer from the database of {', '.join(silent)}")


async def _ping(database: Database, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        await database.value("SELECT 1")


@contextmanager
def _holding(context: str) -> Iterator[None]:
    token = _open_transaction.set(context)
    try:
        yield
    finally:
        _open_transaction.reset(token)


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turn "the database cannot answer now" into Unavailable."""
    try:
        yield
    except NOT_NOW as silence:
        raise Unavailable(f"{what}: {type(silence).__name__}") from silence


async def wait_until_ready(dsn: str, within_s: float) -> None:
    """Return when the server answers; raises the last error after `within_s` seconds."""
    end = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except (OSError, asyncpg.PostgresError):
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.2)
        else:
            await connection.close()
            return


def columns(rows: Sequence[Any], *names: str) -> tuple[list[Any], ...]:
    """The named fields of many Structs as arrays, a statement's unnest($1, $2, ...) arguments."""
    return tuple([getattr(row, name) for row in rows] for name in names)


def part(sql: str, after: int, only: str) -> str:
    """A statement as a part (WITH) of one with so many values before its own; `only` is what it is to do less, at its `/* only */`."""
    return PARAMETER.sub(lambda found: f"${int(found[1]) + after}", sql).replace("/* only */", only)
