"""Reading a context's outbox: facts in the order in which they became final, from any position, here or over HTTP."""

import asyncio
import logging
from bisect import bisect_right
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.calls import EXPOSED, ExposedFunction
from souk.kit.db import NOT_NOW, Database
from souk.kit.errors import Unavailable

log = logging.getLogger(__name__)

# `WHERE id > last_id` would lose events: ids become visible out of order. Below the oldest running transaction nothing
# new can appear any more, so (xid, id) below that horizon is a position that never has to look back.
READ_FACTS = """
    SELECT xid, id, event_id, type, aggregate_id, payload::text AS payload, request_id, created_at AS occurred_at
    FROM {schema}.outbox
    WHERE (xid, id) > ($1, $2) AND xid < {schema}.outbox_xid(pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY xid, id
    LIMIT $3
"""

# What came before a position, newest first: so many rows, of which some may be wanted, and the one before them.
READ_RECENT = """
    SELECT xid, id, event_id, type, aggregate_id, payload::text AS payload, request_id, created_at AS occurred_at
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
# How long a feed waits at its source for news: no longer than that process may take to stop.
WAIT_S = 2.0
# What comes shortly after other news waits for more: consumers then apply it in fewer and larger batches.
REST_S = 0.2


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


def expose_outbox(database: Database) -> None:
    """Make `read_outbox` of this context callable, like a front-door function, by every process of the shop."""
    read_facts = READ_FACTS.format(schema=database.context)

    async def read_outbox(after: Position, limit: int, wait_s: float) -> tuple[Fact, ...]:
        """Up to `limit` facts after a position; waits up to `wait_s` seconds for the first one."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        pause_s = QUIET_S
        while True:
            facts = await database.all(Fact, read_facts, *after, limit)
            left_s = end - loop.time()
            if facts or left_s <= 0:
                return facts
            rang = await database.bell.wait(min(pause_s, left_s))
            pause_s = SOON_S if rang else min(pause_s * 2, QUIET_S)

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


class Feed:
    """One reader of a source for all consumers of this process: the newest facts are read once and kept for a while."""

    KEEP = 2_000
    BATCH = 500

    def __init__(self, source: str) -> None:
        self.source = source
        self._facts: list[Fact] = []
        self._start: Position | None = None
        self._end: Position = START
        self._begun = asyncio.Event()
        self._more = asyncio.Condition()

    async def after(self, position: Position, wait_s: float) -> tuple[Fact, ...]:
        """Facts after a position, at most a batch of them; none if nothing came within `wait_s`."""
        if self._start is None or position < self._start:
            # Far behind the others, or the first to ask: a read of one's own.
            if facts := await read_outbox(self.source, position, self.BATCH, 0):
                return facts
            if self._start is None:
                self._start = self._end = position
                self._begun.set()
        try:
            async with asyncio.timeout(wait_s), self._more:
                await self._more.wait_for(lambda: bool(self._facts) and self._facts[-1].position > position)
        except TimeoutError:
            return ()
        return self._kept_after(position)

    def _kept_after(self, position: Position) -> tuple[Fact, ...]:
        first = bisect_right(self._facts, position, key=lambda fact: fact.position)
        return tuple(self._facts[first : first + self.BATCH])

    async def follow_forever(self) -> None:
        """Read on at the end; after trouble begin again where it was."""
        set_caller(Caller(principal=SYSTEM, request_id=f"feed:{self.source}"))
        while True:
            try:
                await self._follow()
            except (Unavailable, *NOT_NOW) as silence:
                log.warning("feed_interrupted", extra={"source": self.source, "reason": str(silence)})
                await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        await self._begun.wait()
        loop = asyncio.get_running_loop()
        while True:
            facts = await read_outbox(self.source, self._end, self.BATCH, WAIT_S)
            if not facts:
                continue
            read_at = loop.time()
            async with self._more:
                self._facts.extend(facts)
                self._end = facts[-1].position
                if len(self._facts) > self.KEEP:
                    dropped = self._facts[: -self.KEEP]
                    self._facts = self._facts[-self.KEEP :]
                    self._start = dropped[-1].position
                self._more.notify_all()
            if len(facts) < self.BATCH:
                await asyncio.sleep(read_at + REST_S - loop.time())
