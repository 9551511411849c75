"""Dead letters: facts that a consumer could not apply, kept with the reason, listed, and delivered again on request."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import EXPOSED, ExposedFunction
from souk.kit.db import Database, Transaction, columns
from souk.kit.errors import NotFound
from souk.kit.events import CONSUMERS, Consumer, Delivered
from souk.kit.outbox import Fact

PARK = """
    INSERT INTO {schema}.dead_letter
        (consumer, source, xid, id, event_id, type, aggregate_id, payload, request_id, occurred_at, traceparent, reason)
    SELECT $1, $2, u.xid, u.id, u.event_id, u.type, u.aggregate_id, u.payload::json, u.request_id, u.occurred_at, u.traceparent, $3
    FROM unnest($4::bigint[], $5::bigint[], $6::uuid[], $7::text[], $8::uuid[], $9::text[], $10::text[], $11::timestamptz[],
                $12::text[])
        AS u (xid, id, event_id, type, aggregate_id, payload, request_id, occurred_at, traceparent)
    ON CONFLICT DO NOTHING
"""
FIND_BLOCKED = "SELECT DISTINCT aggregate_id FROM {schema}.dead_letter WHERE consumer = $1 AND aggregate_id = ANY($2)"
LIST = """
    SELECT consumer, event_id, source, type, aggregate_id, reason, occurred_at, created_at
    FROM {schema}.dead_letter ORDER BY created_at, event_id LIMIT $1
"""
FIND_PARKED = "SELECT consumer, source, aggregate_id FROM {schema}.dead_letter WHERE event_id = $1 ORDER BY consumer"
# Whoever delivers moves a row of these before it looks for what blocks an event: while all are locked nothing more is parked.
LOCK_POSITIONS = "SELECT FROM {schema}.consumer_position WHERE consumer = $1 ORDER BY source FOR UPDATE"
LIST_AGGREGATE = """
    SELECT xid, id, event_id, type, aggregate_id, payload::text AS payload, request_id, occurred_at, traceparent
    FROM {schema}.dead_letter WHERE consumer = $1 AND aggregate_id = $2 ORDER BY occurred_at, source, xid, id
"""
REMOVE = "DELETE FROM {schema}.dead_letter WHERE consumer = $1 AND event_id = ANY($2)"


class DeadLetter(msgspec.Struct, frozen=True):
    """A fact that waits for somebody to look at it."""

    consumer: str
    event_id: UUID
    source: str
    type: str
    aggregate_id: UUID
    reason: str
    occurred_at: datetime
    created_at: datetime


class _Parked(msgspec.Struct, frozen=True):
    consumer: str
    source: str
    aggregate_id: UUID


class _Aggregate(msgspec.Struct, frozen=True):
    aggregate_id: UUID


async def find_blocked(tx: Transaction, consumer: str, facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """Those of the facts whose aggregate has an earlier fact parked for this consumer."""
    rows = await tx.all(_Aggregate, FIND_BLOCKED.format(schema=tx.database.context), consumer, [fact.aggregate_id for fact in facts])
    aggregates = {row.aggregate_id for row in rows}
    return tuple(fact for fact in facts if fact.aggregate_id in aggregates)


async def park(tx: Transaction, consumer: str, source: str, facts: Sequence[Fact], reason: str) -> None:
    """Set facts aside with the reason."""
    names = ("xid", "id", "event_id", "type", "aggregate_id", "payload", "request_id", "occurred_at", "traceparent")
    await tx.run(PARK.format(schema=tx.database.context), consumer, source, reason[:2000], *columns(facts, *names))


def expose_dead_letters(database: Database) -> None:
    """Make this context's dead letters listed and redriven by every process of the shop, for admins."""
    schema = database.context

    async def list_dead_letters(limit: int) -> tuple[DeadLetter, ...]:
        """The oldest dead letters of this context. Raises Forbidden for anybody but an admin."""
        caller().principal.require_admin()
        return await database.all(DeadLetter, LIST.format(schema=schema), limit)

    async def redrive_dead_letter(event_id: UUID) -> int:
        """Apply a parked event, and those of its aggregate that wait behind it, in order; how many.

        Raises NotFound, and whatever the consumer still raises: then all of them stay where they are.
        """
        caller().principal.require_admin()
        parked = await database.all(_Parked, FIND_PARKED.format(schema=schema), event_id)
        if not parked:
            raise NotFound
        return sum([await _redrive(database, one) for one in parked])

    for function in (list_dead_letters, redrive_dead_letter):
        ExposedFunction(function, timeout_s=30.0, context=schema)


async def _redrive(database: Database, parked: _Parked) -> int:
    consumer = CONSUMERS[parked.consumer]
    if consumer.kind == "table":
        async with database.transaction() as tx:
            facts = await _lock_aggregate(tx, parked)
            for fact in facts:
                await consumer.function(tx, (_decode(consumer, fact),))
            await _remove(tx, parked, facts)
        return len(facts)
    count = 0
    while facts := await database.all(Fact, LIST_AGGREGATE.format(schema=database.context), parked.consumer, parked.aggregate_id):
        await consumer.function((_decode(consumer, facts[0]),))
        async with database.transaction() as tx:
            await _lock_aggregate(tx, parked)
            await _remove(tx, parked, facts[:1])
        count += 1
    return count


async def _lock_aggregate(tx: Transaction, parked: _Parked) -> tuple[Fact, ...]:
    schema = tx.database.context
    await tx.run(LOCK_POSITIONS.format(schema=schema), parked.consumer)
    return await tx.all(Fact, LIST_AGGREGATE.format(schema=schema), parked.consumer, parked.aggregate_id)


async def _remove(tx: Transaction, parked: _Parked, facts: Sequence[Fact]) -> None:
    await tx.run(REMOVE.format(schema=tx.database.context), parked.consumer, [fact.event_id for fact in facts])


def _decode(consumer: Consumer, fact: Fact) -> Delivered[Any]:
    return Delivered(consumer.decoders[fact.type].decode(fact.payload), fact.event_id, fact.occurred_at)


async def list_dead_letters(context: str, limit: int) -> tuple[DeadLetter, ...]:
    """Dead letters of a context, wherever it is hosted."""
    function = EXPOSED[f"{context}/list_dead_letters"]
    found: tuple[DeadLetter, ...] = await function.ask(function.argument_type(limit))
    return found


async def redrive_dead_letter(context: str, event_id: UUID) -> int:
    """Redrive a dead letter of a context, wherever it is hosted."""
    function = EXPOSED[f"{context}/redrive_dead_letter"]
    count: int = await function.ask(function.argument_type(event_id))
    return count
