"""What people find in their feed, and what they do with it: read, put away, remove."""

from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.kit.batching import Asked
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import columns
from souk.kit.errors import DomainError, NotFound
from souk.kit.http import read_cursor, write_cursor
from souk.kit.outbox import LAST_ID
from souk.kit.streams import read_position
from souk.notifications.database import db
from souk.notifications.feed_types import Feed, FeedChange, FeedFilter, FeedRow, MarkedAll, News, Notification, ReadAll, Unread

SHOWN = "id, kind, topic, message, link, data, sent_at, read_at, archived_at, created_at, updated_at, user_id, xid, place"
HORIZON = "SELECT notifications.outbox_xid(pg_snapshot_xmin(pg_current_snapshot()))"
LIST = f"""
    SELECT {SHOWN} FROM notifications.feed_item
    WHERE user_id = $1 AND (xid, place) < ($2, $3)
      AND ($4::boolean IS NULL OR (read_at IS NULL) = $4) AND (archived_at IS NOT NULL) = $5 AND ($6::text IS NULL OR topic = $6)
    ORDER BY xid DESC, place DESC
    LIMIT $7
"""
COUNT_UNREAD = "SELECT count(*) FROM notifications.feed_item WHERE user_id = $1 AND read_at IS NULL AND archived_at IS NULL"
# Only what is final: below the horizon nothing can come any more between what is told here and what was told before.
READ_NEWS = f"""
    SELECT {SHOWN}
    FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (reader_id, after_xid, after_place)) AS wanted
    CROSS JOIN LATERAL (
        SELECT {SHOWN} FROM notifications.feed_item
        WHERE user_id = wanted.reader_id AND (xid, place) > (wanted.after_xid, wanted.after_place)
          AND xid < notifications.outbox_xid(pg_snapshot_xmin(pg_current_snapshot()))
        ORDER BY xid, place LIMIT $4
    ) AS item
    ORDER BY user_id, xid, place
"""
MARK = f"""
    UPDATE notifications.feed_item
    SET read_at = CASE $3::boolean WHEN true THEN coalesce(read_at, now()) WHEN false THEN NULL ELSE read_at END,
        archived_at = CASE $4::boolean WHEN true THEN coalesce(archived_at, now()) WHEN false THEN NULL ELSE archived_at END,
        updated_at = now()
    WHERE id = $1 AND user_id = $2
    RETURNING {SHOWN}
"""
# In one order, so that two who read all at once wait for each other and not in a circle (decision 7).
LOCK_UNREAD = """
    SELECT id FROM notifications.feed_item
    WHERE user_id = $1 AND read_at IS NULL AND archived_at IS NULL AND (xid, place) <= ($2, $3) AND ($4::text IS NULL OR topic = $4)
    ORDER BY id FOR UPDATE
"""
READ = "UPDATE notifications.feed_item SET read_at = now(), updated_at = now() WHERE id = ANY($1) AND read_at IS NULL"
REMOVE = "DELETE FROM notifications.feed_item WHERE id = $1 AND user_id = $2"



class Id(msgspec.Struct, frozen=True):
    """Which message."""

    id: UUID


END = (LAST_ID, LAST_ID)
# How much of a feed a stream reads at once.
MOST_NEWS = 50


@exposed()
async def list_notifications(user_id: UUID | None, wanted: FeedFilter, limit: int, cursor: str | None) -> Feed:
    """A page of somebody's feed, the newest first. Nobody's but the caller's own, for an admin anybody's; else NotFound."""
    reader_id = _require_reader(user_id)
    before = read_cursor(cursor, tuple[int, int]) or END
    async with db.transaction(isolation="repeatable_read", readonly=True) as tx:
        await tx.run("SET LOCAL plan_cache_mode = force_custom_plan")
        horizon = await tx.value(HORIZON)
        rows = await tx.all(FeedRow, LIST, reader_id, *before, wanted.unread, wanted.archived, wanted.topic, limit + 1)
        unread = await tx.value(COUNT_UNREAD, reader_id)
    more = write_cursor((rows[limit - 1].xid, rows[limit - 1].place)) if len(rows) > limit else None
    return Feed(tuple(row.show() for row in rows[:limit]), more, unread, f"{horizon - 1}.{LAST_ID}")


@exposed()
async def count_unread() -> Unread:
    """How many messages of the caller were neither read nor archived. Changes nothing."""
    return Unread(await db.value(COUNT_UNREAD, caller().principal.require_user()))


@exposed.batched(timeout=5.0, turns=False)
async def read_news(asked: tuple[Asked[News], ...]) -> tuple[tuple[FeedRow, ...] | DomainError, ...]:
    """What has come into a feed after a place, the oldest first and at most MOST_NEWS. Changes nothing; raises NotFound for another's."""
    rows = await db.all(FeedRow, READ_NEWS, *columns([one.request for one in asked], "user_id", "xid", "place"), MOST_NEWS)
    found: dict[UUID, list[FeedRow]] = {}
    for row in rows:
        found.setdefault(row.user_id, []).append(row)
    return tuple(_answer(one, found.get(one.request.user_id, [])) for one in asked)


def _answer(one: Asked[News], rows: list[FeedRow]) -> tuple[FeedRow, ...] | DomainError:
    who, wanted = one.caller.principal, one.request
    if not who.owns(wanted.user_id):
        return NotFound()
    # Somebody with several streams asks from several places, and gets each row as often as it was found.
    after = {(row.xid, row.place): row for row in rows if (row.xid, row.place) > (wanted.xid, wanted.place)}
    return tuple(after[place] for place in sorted(after)[:MOST_NEWS])


@exposed()
async def mark_notification(notification_id: UUID, change: FeedChange) -> Notification:
    """Read a message of one's own or not, put it away or take it back. Again changes nothing. Raises NotFound for another's."""
    user_id = caller().principal.require_user()
    read, archived = (None if value is UNSET else value for value in (change.read, change.archived))
    found = await db.write(FeedRow, MARK, notification_id, user_id, read, archived)
    if not found:
        raise NotFound
    return found[0].show()


@exposed()
async def mark_all_notifications(wanted: ReadAll) -> MarkedAll:
    """Read all messages of the caller's, or those up to a place in the feed. Again changes nothing more."""
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        rows = await tx.all(Id, LOCK_UNREAD, user_id, *(read_position(wanted.up_to) or END), wanted.topic)
        marked = await tx.run(READ, [row.id for row in rows])
        return MarkedAll(marked, await tx.value(COUNT_UNREAD, user_id))


@exposed()
async def remove_notification(notification_id: UUID) -> None:
    """Take a message out of the caller's feed for good; that it was sent stays on record. Raises NotFound, as it does when repeated."""
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        if not await tx.run(REMOVE, notification_id, user_id):
            raise NotFound


def _require_reader(user_id: UUID | None) -> UUID:
    who = caller().principal
    own = who.require_user() if user_id is None else user_id
    if not (who.owns(own) or who.is_admin):
        raise NotFound
    return own
