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
        (consumer, source, xid, id, event_id, type, aggregate_id, payload, request_id, occurred_at, reason)
    SELECT $1, $2, u.xid, u.id, u.event_id, u.type, u.aggregate_id, u.payload, u.request_id, u.occurred_at, $3
    FROM unnest($4::bigint[], $5::bigint[], $6::uuid[], $7::text[], $8::uuid[], $9::json[], $10::text[], $11::timestamptz[])
        AS u (xid, id, event_id, type, aggregate_id, payload, request_id, occurred_at)
    ON CONFLICT DO NOTHING
"""
FIND_BLOCKED = "SELECT DISTINCT aggregate_id FROM {schema}.dead_letter WHERE consumer = $1 AND aggregate_id = ANY($2)"
LIST = """
    SELECT consumer, event_id, source, type, aggregate_id, reason, occurred_at, created_at
    FROM {schema}.dead_letter ORDER BY created_at, event_id LIMIT $1
"""
LOCK_AGGREGATE = """
    SELECT d.consumer, d.xid, d.id, d.event_id, d.type, d.aggregate_id, d.payload, d.request_id, d.occurred_at
    FROM {schema}.dead_letter AS d
    JOIN {schema}.dead_letter AS chosen USING (consumer, aggregate_id)
    WHERE chosen.event_id = $1
    ORDER BY d.consumer, d.xid, d.id FOR UPDATE OF d
"""
REMOVE = "DELETE FROM {schema}.dead_letter WHERE consumer = $1 AND event_id = $2"


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


class _Parked(Fact, frozen=True, kw_only=True):
    consumer: str


class _Aggregate(msgspec.Struct, frozen=True):
    aggregate_id: UUID


async def find_blocked(tx: Transaction, consumer: str, facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """Those of the facts whose aggregate has an earlier fact parked for this consumer."""
    rows = await tx.all(_Aggregate, FIND_BLOCKED.format(schema=tx.database.context), consumer, [fact.aggregate_id for fact in facts])
    aggregates = {row.aggregate_id for row in rows}
    return tuple(fact for fact in facts if fact.aggregate_id in aggregates)


async def park(tx: Transaction, consumer: str, source: str, facts: Sequence[Fact], reason: str) -> None:
    """Set facts aside with the reason."""
    names = ("xid", "id", "event_id", "type", "aggregate_id", "payload", "request_id", "occurred_at")
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
        async with database.transaction() as tx:
            parked = await tx.all(_Parked, LOCK_AGGREGATE.format(schema=schema), event_id)
            if not parked:
                raise NotFound
            calls = [letter for letter in parked if CONSUMERS[letter.consumer].kind == "call"]
            for letter in parked:
                if letter not in calls:
                    await CONSUMERS[letter.consumer].function(tx, (_decode(letter),))
                    await tx.run(REMOVE.format(schema=schema), letter.consumer, letter.event_id)
        for letter in calls:
            await CONSUMERS[letter.consumer].function((_decode(letter),))
            async with database.transaction() as tx:
                await tx.run(REMOVE.format(schema=schema), letter.consumer, letter.event_id)
        return len(parked)

    for function in (list_dead_letters, redrive_dead_letter):
        ExposedFunction(function, timeout_s=30.0, context=schema)


def _decode(letter: _Parked) -> Delivered[Any]:
    consumer: Consumer = CONSUMERS[letter.consumer]
    event = msgspec.convert(letter.payload, consumer.decoders[letter.type])
    return Delivered(event, letter.event_id, letter.occurred_at)


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
