"""What a user looked at and bought, newest first."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.partitions import drop_old_partitions
from souk.users.database import db
from souk.users.profiles import require_self
from souk.users.settings import settings
from souk.users.types import Activity, ActivityType

LIST = """
    SELECT id, activity_type, activity_timestamp, product_id, order_id, created_at FROM users.user_activity
    WHERE user_id = $1 AND (activity_timestamp, id) < ($2, $3)
    ORDER BY activity_timestamp DESC, id DESC LIMIT $4
"""
# Who is erased stays so, also when old events come again. The lock holds off who erases until this is committed, and deletes it then.
NOTE = """
    WITH known AS MATERIALIZED (SELECT id FROM users.users WHERE id = ANY($2) ORDER BY id FOR KEY SHARE)
    INSERT INTO users.user_activity (id, user_id, activity_type, activity_timestamp, product_id, order_id)
    SELECT n.id, n.user_id, n.activity_type, n.activity_timestamp, n.product_id, n.order_id
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[], $6::uuid[])
        AS n (id, user_id, activity_type, activity_timestamp, product_id, order_id)
    WHERE n.user_id IN (SELECT id FROM known)
    ON CONFLICT DO NOTHING
"""

# A cursor behind which every row lies.
BEGIN = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


class Doing(msgspec.Struct, frozen=True):
    """Something that a user did; the id is that of the event that told of it."""

    id: UUID
    user_id: UUID
    activity_type: ActivityType
    activity_timestamp: datetime
    product_id: UUID | None = None
    order_id: UUID | None = None


@exposed()
async def list_activity(user_id: UUID, limit: int, cursor: str | None) -> Page[Activity]:
    """What a user looked at and bought, newest first. Another's is NotFound."""
    require_self(user_id)
    before = read_cursor(cursor, tuple[datetime, UUID]) or BEGIN
    rows = await db.all(Activity, LIST, user_id, *before, limit + 1)
    return make_page(rows, limit, lambda row: (row.activity_timestamp, row.id))


async def note(tx: Transaction, doings: list[Doing]) -> None:
    """Write down what users did, each event once."""
    if doings:
        await tx.run(NOTE, *columns(doings, *Doing.__struct_fields__))


async def forget_old_activity() -> int:
    """Drop whole months of activity that are older than the settings say; how many."""
    async with db.pool.acquire() as connection:
        return await drop_old_partitions(connection, "users.user_activity", settings.now.activity_days)
