"""Delivery of facts to consumers: in batches, with the position committed, retries, and a place for what cannot be applied."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

import asyncpg
import msgspec

from souk.kit import deadletters
from souk.kit.cache import cache
from souk.kit.callers import SYSTEM, Caller, caller, set_caller
from souk.kit.calls import EXPOSED, ExposedFunction
from souk.kit.db import NOT_NOW, Database, Transaction
from souk.kit.errors import Failed, Unavailable
from souk.kit.events import Consumer, Delivered
from souk.kit.feeds import Feed
from souk.kit.outbox import START, Fact, Position, find_horizon, read_recent
from souk.kit.telemetry import EVENT_LAG, EVENTS_APPLIED, EVENTS_PARKED
from souk.kit.tracing import tracing

log = logging.getLogger(__name__)

FIND_POSITION = "SELECT xid, id FROM {schema}.consumer_position WHERE consumer = $1 AND source = $2"
BEGIN_POSITION = "INSERT INTO {schema}.consumer_position (consumer, source, xid, id) VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING"
LIST_POSITIONS = "SELECT consumer, source, xid, id FROM {schema}.consumer_position ORDER BY consumer, source"
# Guarded by the old position: if another process has moved on, this batch was applied over there and must not commit here.
MOVE_POSITION = """
    UPDATE {schema}.consumer_position SET xid = $5, id = $6, updated_at = now()
    WHERE consumer = $1 AND source = $2 AND xid = $3 AND id = $4
"""

TRIES = 5
FIRST_PAUSE_S = 0.1  # before the second try; twice as long before each later one
WAIT_S = 2.0
# How long a position may stay unsaved when nothing for this consumer came by.
SAVE_EVERY_S = 2.0
# How far a memory looks back when it begins, so that it may take what others have loaded before.
RECENT = 10_000
# A memory whose feed has seen nothing for so long is void; one that is interrupted and goes on has missed nothing.
BLIND_S = 1.0


# What takes longer than this hangs, unless the database does: then that is silent, and no event is to blame.
APPLY_WITHIN_S = 30.0
ANSWER_WITHIN_S = 5.0
# The database ends what takes too long in it earlier than that. Not what waits for a lock: that is somebody else's doing, and passes.
CUT_OFF = (asyncpg.QueryCanceledError, asyncpg.IdleInTransactionSessionTimeoutError)


class Hung(Exception):
    """A consumer does not come to an end."""


class Broke(Exception):
    """A consumer raised what a database or a neighbour that is away would raise, and it was neither of them."""


class LostPosition(Exception):
    """Another process has moved this consumer on."""


class _Place(msgspec.Struct, frozen=True):
    xid: int
    id: int


class ConsumerPosition(msgspec.Struct, frozen=True):
    """Up to where a consumer has applied the facts of a source."""

    consumer: str
    source: str
    xid: int
    id: int

    @property
    def position(self) -> Position:
        return (self.xid, self.id)


class Delivery:
    """Brings the facts of one source to one consumer, in order."""

    def __init__(self, consumer: Consumer, source: str, database: Database, feed: Feed) -> None:
        self.consumer = consumer
        self.source = source
        self.database = database
        self.feed = feed
        self.read: Position = START
        self.saved: Position = START
        self.failures = 0
        self._save_at = 0.0
        self._waiting: tuple[Fact, ...] | None = None
        self._move = MOVE_POSITION.format(schema=database.context)
        EVENT_LAG.labels(consumer.path, source).set_function(self.lag_s)

    def lag_s(self) -> float:
        """The age of the oldest fact that is here and not applied; for how long nobody knows, if the source cannot be asked.

        Nothing where another process delivers.
        """
        if self._waiting is None:
            return 0.0
        first = next((fact for fact in self._waiting if fact.position > self.saved), None)
        return max(self.feed.blind_s(), time.time() - first.occurred_at.timestamp() if first else 0.0)

    async def run(self) -> None:
        """Deliver forever. Returns when another process has taken over; raises when the database cannot be reached."""
        set_caller(Caller(principal=SYSTEM, request_id=f"consumer:{self.consumer.path}"))
        self.read = self.saved = await self._find_position()
        self._save_at = asyncio.get_running_loop().time() + SAVE_EVERY_S
        self._waiting = self._waiting or ()
        while True:
            facts = await self.feed.after(self.read, WAIT_S)
            self._waiting = tuple(fact for fact in facts if fact.type in self.consumer.decoders)
            if self._waiting:
                await self._deliver(self._waiting)
            self._waiting = ()
            if facts:
                self.read = facts[-1].position
            await self._save_now_and_then()

    def end(self) -> None:
        """What waits is another process's to deliver."""
        self._waiting = None

    async def _deliver(self, facts: tuple[Fact, ...]) -> None:
        """Apply all at once; if that fails one by one, so that one bad event does not hold up its neighbours for ever."""
        try:
            await self._apply_in_time(facts)
        except Exception as failure:
            if is_passing(failure):
                raise
            log.exception("consumer_failed", extra={"consumer": self.consumer.path, "events": len(facts)})
            for fact in facts:
                await self._deliver_one(fact)

    async def _deliver_one(self, fact: Fact) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._apply_in_time((fact,))
            except Exception as failure:
                if is_passing(failure):
                    raise
                if attempt == TRIES:
                    await self._park(fact, f"{type(failure).__name__}: {failure}")
                    return
                await asyncio.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            else:
                return

    async def _apply_in_time(self, facts: tuple[Fact, ...]) -> None:
        limit = asyncio.timeout(APPLY_WITHIN_S)
        try:
            async with limit:
                await self._apply(facts)
        except Exception as failure:
            if not limit.expired() and not isinstance(failure.__cause__ or failure, CUT_OFF):
                raise
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self.database.value("SELECT true")
            within = f"{APPLY_WITHIN_S} s" if limit.expired() else "the time that the database gives it"
            raise Hung(f"{self.consumer.path} was not done with it in {within}") from failure

    async def _apply(self, facts: tuple[Fact, ...]) -> None:
        with tracing.join(self.consumer.path, "consumer", (fact.traceparent for fact in facts)):
            await self._apply_traced(facts)

    async def _apply_traced(self, facts: tuple[Fact, ...]) -> None:
        if self.consumer.kind == "call":
            await self._apply_by_calling(facts)
        else:
            async with self.database.transaction() as tx:
                blocked = await self._move_past(tx, facts)
                if news := decode(self.consumer, (fact for fact in facts if fact not in blocked)):
                    await self._consume(tx, news)
        self.saved = facts[-1].position
        EVENTS_APPLIED.labels(self.consumer.path).inc(len(facts))

    async def _apply_by_calling(self, facts: tuple[Fact, ...]) -> None:
        async with self.database.transaction() as tx:
            blocked = await deadletters.find_blocked(tx, self.consumer.path, facts)
        if news := decode(self.consumer, (fact for fact in facts if fact not in blocked)):
            await self._consume(news)
        async with self.database.transaction() as tx:
            if await self._move_past(tx, facts) != blocked:
                raise LostPosition(f"{self.consumer.path}: what blocked these events was redriven meanwhile")

    async def _consume(self, *arguments: Any) -> None:
        """Neighbours that are away are Unavailable; any other OSError, of a file or a socket, is the consumer's own and no reason to wait.

        One of the transaction's connection is not taken for that: a dead connection cannot be rolled back, which is Unavailable again.
        """
        try:
            await self.consumer.function(*arguments)
        except OSError as failure:
            raise Broke(f"{type(failure).__name__}: {failure}") from failure

    async def _move_past(self, tx: Transaction, facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
        """Move the position, and park those facts that must wait behind a parked one: these are returned.

        The position's row comes first, for it is what a redrive locks, too: an event is parked before it or not at all.
        """
        await self._move_to(tx, facts[-1].position)
        blocked = await deadletters.find_blocked(tx, self.consumer.path, facts)
        if blocked:
            await deadletters.park(tx, self.consumer.path, self.source, blocked, "waits behind an earlier event of the same aggregate")
        return blocked

    async def _park(self, fact: Fact, reason: str) -> None:
        async with self.database.transaction() as tx:
            await self._move_to(tx, fact.position)
            await deadletters.park(tx, self.consumer.path, self.source, (fact,), reason)
        self.saved = fact.position
        EVENTS_PARKED.labels(self.consumer.path).inc()
        log.error("event_parked", extra={"consumer": self.consumer.path, "event_id": str(fact.event_id), "reason": reason})

    async def _move_to(self, tx: Transaction, position: Position) -> None:
        if not await tx.run(self._move, self.consumer.path, self.source, *self.saved, *position):
            raise LostPosition(self.consumer.path)

    async def _save_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._save_at:
            return
        self._save_at = now + SAVE_EVERY_S
        if self.read != self.saved:
            async with self.database.transaction() as tx:
                await self._move_to(tx, self.read)
            self.saved = self.read

    async def _find_position(self) -> Position:
        schema, names = self.database.context, (self.consumer.path, self.source)
        async with self.database.transaction() as tx:
            # Nothing is written if it is there: who can only read the position is to see, and to say, what waits behind it.
            place = await tx.maybe(_Place, FIND_POSITION.format(schema=schema), *names)
            if place is None:
                await tx.run(BEGIN_POSITION.format(schema=schema), *names)
                place = await tx.one(_Place, FIND_POSITION.format(schema=schema), *names)
        return (place.xid, place.id)


def is_passing(failure: Exception) -> bool:
    """Whether no event is to blame: all of it is tried again until it succeeds."""
    return isinstance(failure, (LostPosition, Unavailable, *NOT_NOW)) and not isinstance(failure, Failed)


async def deliver_forever(delivery: Delivery) -> None:
    """Run a delivery under its lock and begin again after trouble, a little later each time."""
    pause_s = 0.05
    try:
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await delivery.run()
            except (LostPosition, Unavailable, *NOT_NOW) as trouble:
                log.warning("delivery_interrupted", extra={"consumer": delivery.consumer.path, "reason": str(trouble)})
            except Exception:
                log.exception("delivery_failed", extra={"consumer": delivery.consumer.path})
            lasted_s = asyncio.get_running_loop().time() - began
            pause_s = 0.05 if lasted_s > 5 else min(pause_s * 2, 2.0)
            await asyncio.sleep(pause_s)
    finally:
        delivery.end()


async def tell_memory(consumer: Consumer, source: str, feed: Feed) -> None:
    """Tell a memory of this process what changes, from now on; what it kept is void when that breaks off."""
    set_caller(Caller(principal=SYSTEM, request_id=f"memory:{consumer.path}"))
    told = (consumer.path, source)
    assert consumer.keeps is not None  # noqa: S101  `remembers` gives it
    shared = consumer.keeps.shared if cache.is_used else None
    while True:
        try:
            position = await find_horizon(source)
            recent = await read_recent(source, position, tuple(consumer.decoders), RECENT) if shared else None
            consumer.keeps.begin(told)
            if shared and recent:
                shared.begin(recent.life, recent.floor)
                tell_one_by_one(consumer, recent.facts)
                shared.reach(position)
            while True:
                facts = await feed.after(position, WAIT_S)
                if feed.blind_s() > BLIND_S:
                    raise Unavailable(f"{source} cannot be heard of")
                position = facts[-1].position if facts else position
                if shared:
                    tell_one_by_one(consumer, facts)
                    shared.reach(position)
                elif news := decode(consumer, facts):
                    consumer.hear(news)
        except (Unavailable, *NOT_NOW) as silence:
            log.warning("memory_interrupted", extra={"consumer": consumer.path, "reason": str(silence)})
        finally:
            consumer.keeps.end(told)
        await asyncio.sleep(1.0)


def tell_one_by_one(consumer: Consumer, facts: tuple[Fact, ...]) -> None:
    """Tell a memory of facts, each with its place."""
    for fact in facts:
        if news := decode(consumer, (fact,)):
            consumer.hear(news, fact.position)


def decode(consumer: Consumer, facts: Iterable[Fact]) -> tuple[Delivered[Any], ...]:
    """The facts that a consumer wants, as events."""
    decoders = consumer.decoders
    return tuple(
        Delivered(decoder.decode(fact.payload), fact.event_id, fact.occurred_at)
        for fact in facts
        if (decoder := decoders.get(fact.type)) is not None
    )


def expose_positions(database: Database) -> None:
    """Make the positions of this context's consumers known to every process of the shop, for admins."""

    async def list_positions() -> tuple[ConsumerPosition, ...]:
        """Up to where each consumer of this context has applied the facts of each source. Raises Forbidden."""
        caller().principal.require_admin()
        return await database.all(ConsumerPosition, LIST_POSITIONS.format(schema=database.context))

    ExposedFunction(list_positions, timeout_s=5.0, context=database.context)


async def list_positions(context: str) -> tuple[ConsumerPosition, ...]:
    """The positions of a context's consumers, wherever it is hosted."""
    function = EXPOSED[f"{context}/list_positions"]
    found: tuple[ConsumerPosition, ...] = await function.ask(function.argument_type())
    return found
