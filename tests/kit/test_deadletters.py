"""What waits for a person comes from several sources: it is applied again as it happened, and nothing is parked meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from tests.kit import notebook
from tests.kit.notebook import Noted
from tests.waiting import until

from souk.kit import deadletters
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id

PLACE = """
    INSERT INTO kit.consumer_position (consumer, source, xid, id) VALUES ('kit.hear_notes', 'far', 0, 0), ('kit.hear_notes', 'kit', 0, 0)
"""
PARK = """
    INSERT INTO kit.dead_letter (consumer, source, xid, id, event_id, type, aggregate_id, payload, request_id, occurred_at, reason)
    VALUES ('kit.hear_notes', $1, $2, 1, $3, 'kit.Noted', $4, $5::text::json, '', $6, 'poison')
"""
HOLD = "SELECT FROM kit.consumer_position WHERE source = 'kit' FOR UPDATE"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def park(source: str, xid: int, number: int, note_id: UUID) -> UUID:
    """Notes are numbered by the minute in which they were written."""
    event_id = new_id()
    payload = msgspec.json.encode(Noted(note_id, number)).decode()
    async with notebook.db.transaction() as tx:
        await tx.run(PARK, source, xid, event_id, note_id, payload, NOON + timedelta(minutes=number))
    return event_id


async def redrive(event_id: UUID) -> int:
    with asking(Caller(SYSTEM)):
        return await deadletters.redrive_dead_letter("kit", event_id)


async def test_what_two_sources_told_of_one_thing_is_redriven_as_it_happened(here: str) -> None:
    note_id = new_id()
    event_ids = [await park(source, xid, number, note_id) for source, xid, number in (("kit", 5, 2), ("far", 900, 1), ("kit", 6, 3))]
    assert await redrive(event_ids[0]) == 3
    assert await notebook.db.value("SELECT array_agg(number ORDER BY place) FROM kit.heard") == [1, 2, 3]


async def test_a_redrive_waits_for_the_deliveries_of_all_sources(here: str) -> None:
    async with notebook.db.transaction() as tx:
        await tx.run(PLACE)
    event_id = await park("far", 1, 1, new_id())

    async with notebook.db.pool.acquire() as delivering, delivering.transaction():
        await delivering.execute(HOLD)
        redriving = asyncio.create_task(redrive(event_id))

        async def waits() -> bool:
            return bool(await delivering.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

        await until(waits)
        assert not redriving.done()
    assert await redriving == 1
