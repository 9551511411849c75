"""Reading a context's outbox: facts in the order in which they became final, from any position, here or over HTTP."""

import asyncio
from bisect import bisect_right
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.calls import EXPOSED, ExposedFunction
from souk.kit.db import Database, Pool

# `WHERE id > last_id` would lose events: ids become visible out of order. Below the oldest running transaction nothing
# new can appear any more, so (xid, id) below that horizon is a position that never has to look back.
READ_FACTS = """
    SELECT xid, id, event_id, type, aggregate_id, payload::text AS payload, request_id, created_at AS occurred_at, traceparent
    FROM {schema}.outbox
    WHERE (xid, id) > ($1, $2) AND xid < {schema}.outbox_xid(pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY xid, id
    LIMIT $3
"""

# What came before a position, newest first: so many rows, of which some may be wanted, and the one before them.
READ_RECENT = """
    SELECT xid, id, event_id, type, aggregate_id, payload::text AS payload, request_id, created_at AS occurred_at, traceparent
    FROM (SELECT * FROM {schema}.outbox WHERE (xid, id) <= ($1, $2) ORDER BY xid DESC, id DESC LIMIT $3) AS newest
    WHERE type = ANY($4) ORDER BY xid, id
"""
FIND_BEFORE = "SELECT xid, id FROM {schema}.outbox WHERE (xid, id) <= ($1, $2) ORDER BY xid DESC, id DESC OFFSET $3 LIMIT 1"
# Which life of which database this is: another one after a restore, and after a standby has taken over, whose past may lack something.
FIND_LIFE = """
    SELECT system_identifier::text || '.' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.'
           || (SELECT oid FROM pg_database WHERE datname = current_database())
    FROM pg_control_system()
"""

FIND_HORIZON = "SELECT {schema}.outbox_xid(pg_snapshot_xmin(pg_current_snapshot()))"

Position = tuple[int, int]
START: Position = (0, 0)
LAST_ID = 2**63 - 1

# How often to look again: just after news whose transaction is not below the horizon yet, and when all is quiet.
SOON_S = 0.005
QUIET_S = 0.25


class Fact(msgspec.Struct, frozen=True):
    """An event as it lies in the outbox."""

    xid: int
    id: int
    event_id: UUID
    type: str
    aggregate_id: UUID
    payload: str  # JSON, which each consumer reads into the type of its event
    request_id: str
    occurred_at: datetime
    traceparent: str | None = None  # of the request that it comes from

    @property
    def position(self) -> Position:
        return (self.xid, self.id)


class Recent(msgspec.Struct, frozen=True):
    """The newest facts of some types up to a position. Whatever came after `floor` and is not here was of no such type."""

    life: str
    floor: Position
    facts: tuple[Fact, ...]


class _Place(msgspec.Struct, frozen=True):
    xid: int
    id: int


class Tail:
    """The end of an outbox that lies here, looked at once for all who wait there. Who is further behind reads alone.

    `_facts` are all that come after `_start`, up to the last of them.
    """

    KEEP = 1_000
    BATCH = 500

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = READ_FACTS.format(schema=database.context)
        self._pool: Pool | None = None
        self._start: Position | None = None
        self._facts: list[Fact] = []
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = 0.0
        self._heard = 0

    async def read(self, after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        """Up to `limit` facts after a position; waits up to `wait_s` seconds for the first one."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        pause_s = QUIET_S
        while True:
            facts, heard = await self._read_now(after, limit, pause_s if wait_s else 0.0)
            left_s = end - loop.time()
            if facts or left_s <= 0:
                return facts
            rang = await self._database.bell.wait(min(pause_s, left_s), heard)
            pause_s = SOON_S if rang else min(pause_s * 2, QUIET_S)

    async def _read_now(self, after: Position, limit: int, fresh_s: float) -> tuple[tuple[Fact, ...], int]:
        """Facts after a position, of which some may be kept, and how often the bell had rung when they were looked for."""
        if self._database.pool is not self._pool:
            self._pool = self._database.pool
            self._forget()
        if self._start is not None and after >= self._start:
            if not (facts := self._kept_after(after, limit)):
                await self._look(fresh_s)
                facts = self._kept_after(after, limit)
            return facts, self._heard
        heard = self._database.bell.rings
        facts = await self._database.all(Fact, self._sql, *after, limit)
        if not facts and not self._facts:
            self._start = after
        return facts, heard

    def _kept_after(self, position: Position, limit: int) -> tuple[Fact, ...]:
        first = bisect_right(self._facts, position, key=lambda fact: fact.position)
        return tuple(self._facts[first : first + limit])

    async def _look(self, fresh_s: float) -> None:
        """Look for what is new, with whoever does so now; not at all if somebody has just done so and the bell has not rung since."""
        now = asyncio.get_running_loop().time()
        if self._looking is None:
            if self._heard == self._database.bell.rings and now - self._looked_at < fresh_s:
                return
            self._looked_at, self._heard = now, self._database.bell.rings
            self._looking = asyncio.create_task(self._look_once())
            # Whoever waits for it may be gone by then.
            self._looking.add_done_callback(lambda one: one.cancelled() or one.exception())
        await asyncio.shield(self._looking)

    async def _look_once(self) -> None:
        try:
            end = self._end()
            facts = await self._database.all(Fact, self._sql, *end, self.BATCH)
            if facts and end == self._end():
                self._facts.extend(facts)
            if len(self._facts) > self.KEEP:
                self._start = self._facts[-self.KEEP - 1].position
                self._facts = self._facts[-self.KEEP :]
        except BaseException:
            # The database may be another when it is back.
            self._forget()
            raise
        finally:
            self._looking = None

    def _end(self) -> Position:
        return self._facts[-1].position if self._facts else self._start or START

    def _forget(self) -> None:
        self._start, self._facts = None, []


def expose_outbox(database: Database) -> None:
    """Make `read_outbox` of this context callable, like a front-door function, by every process of the shop."""
    tail = Tail(database)

    async def read_outbox(after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        """Up to `limit` facts after a position; waits up to `wait_s` seconds for the first one."""
        return await tail.read(after, limit, wait_s)

    async def find_horizon() -> Position:
        """A position with nothing new before it: every fact that becomes final from now on comes after it."""
        return (int(await database.value(FIND_HORIZON.format(schema=database.context))) - 1, LAST_ID)

    async def read_recent(until: Position, types: tuple[str, ...], limit: int) -> Recent:
        """The newest facts of these types among the last `limit` up to a position, and which life of the database this is."""
        schema = database.context
        before = await database.maybe(_Place, FIND_BEFORE.format(schema=schema), *until, limit)
        facts = await database.all(Fact, READ_RECENT.format(schema=schema), *until, limit, list(types))
        return Recent(str(await database.value(FIND_LIFE)), (before.xid, before.id) if before else START, facts)

    ExposedFunction(read_recent, timeout_s=5.0, context=database.context)
    ExposedFunction(read_outbox, timeout_s=30.0, context=database.context)
    ExposedFunction(find_horizon, timeout_s=5.0, context=database.context)


async def read_outbox(source: str, after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
    """Facts of a context after a position, wherever it is hosted."""
    function = EXPOSED[f"{source}/read_outbox"]
    found: tuple[Fact, ...] = await function.ask(function.argument_type(after, limit, wait_s))
    return found


async def find_horizon(source: str) -> Position:
    """The position after which all news of a context comes, wherever it is hosted."""
    function = EXPOSED[f"{source}/find_horizon"]
    found: Position = await function.ask(function.argument_type())
    return found


async def read_recent(source: str, until: Position, types: tuple[str, ...], limit: int) -> Recent:
    """The newest facts of a context up to a position, wherever it is hosted."""
    function = EXPOSED[f"{source}/read_recent"]
    found: Recent = await function.ask(function.argument_type(until, types, limit))
    return found
