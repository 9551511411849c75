"""Who is planned for, one planner at a time, and who is gone."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.db import Transaction
from souk.kit.personal import exports_user_data
from souk.notifications.database import db
from souk.notifications.types import Content

# In the order of what is locked, which people may share: a transaction holds so many locks at the most.
LOCK_PEOPLE = """
    SELECT pg_advisory_xact_lock(7303, place)
    FROM (SELECT DISTINCT (hashtextextended(person::text, 0) & 511)::int AS place FROM unnest($1::uuid[]) AS person ORDER BY 1) AS locks
"""
FIND_DEPARTED = "SELECT user_id FROM notifications.departure WHERE user_id = ANY($1)"
REMEMBER = "INSERT INTO notifications.departure (user_id) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING"
DROP_NOTICES = """
    UPDATE notifications.notice SET status = 'dropped', reason = 'erased', content = '{}', updated_at = now()
    WHERE recipient_kind = 'user' AND recipient_id = ANY($1) AND status = 'new'
"""
# What was told to them, or about an order of theirs, perhaps in somebody's own words. What was told to a team stays the others'.
EMPTY_NOTICES = """
    UPDATE notifications.notice SET content = '{}', updated_at = now()
    WHERE recipient_kind IN ('user', 'order') AND content <> '{}'
      AND id IN (SELECT notice_id FROM notifications.message WHERE user_id = ANY($1))
"""
# Locked first, in their order (decision 7). What is just being sent has left us; its content goes as well.
LOCK_MESSAGES = "SELECT id FROM notifications.message WHERE user_id = ANY($1) ORDER BY id FOR UPDATE"
EMPTY_MESSAGES = """
    UPDATE notifications.message SET
        content = '{}', updated_at = now(),
        status = CASE status WHEN 'waiting' THEN 'suppressed' ELSE status END,
        reason = CASE status WHEN 'waiting' THEN 'erased' ELSE reason END
    WHERE user_id = ANY($1)
"""
# After the messages, whose rows keep everybody from bringing one of them into a feed meanwhile.
LOCK_FEED = "SELECT id FROM notifications.feed_item WHERE user_id = ANY($1) ORDER BY id FOR UPDATE"
FORGET_FEED = "DELETE FROM notifications.feed_item WHERE user_id = ANY($1)"
FORGET_TICKETS = "DELETE FROM notifications.stream_ticket WHERE user_id = ANY($1)"
FORGET_FAVORITES = "DELETE FROM notifications.favorite WHERE user_id = ANY($1)"
LIST_MESSAGES = """
    SELECT id, channel, kind, topic, content, status, reason, due_at, sent_at, created_at
    FROM notifications.message WHERE user_id = $1 ORDER BY id LIMIT 100000
"""
LIST_FEED = """
    SELECT id, message, link, sent_at, read_at, archived_at FROM notifications.feed_item WHERE user_id = $1 ORDER BY id LIMIT 100000
"""
LIST_FAVORITES = "SELECT product_id FROM notifications.favorite WHERE user_id = $1 ORDER BY product_id LIMIT 100000"


class _Departed(msgspec.Struct, frozen=True):
    user_id: UUID


class _Product(msgspec.Struct, frozen=True):
    product_id: UUID


class Told(msgspec.Struct, frozen=True):
    """A message as its recipient is shown what is kept of it."""

    id: UUID
    channel: str
    kind: str
    topic: str
    content: Content
    status: str
    reason: str | None
    due_at: datetime
    sent_at: datetime | None
    created_at: datetime


class InFeed(msgspec.Struct, frozen=True):
    """What lies in somebody's feed, and what they did with it."""

    id: UUID
    message: str
    link: str | None
    sent_at: datetime
    read_at: datetime | None
    archived_at: datetime | None


async def lock_people(tx: Transaction, user_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Keep everybody else from planning for these people until the transaction ends; who of them is gone."""
    if not user_ids:
        return frozenset()
    await tx.run(LOCK_PEOPLE, user_ids)
    return frozenset(row.user_id for row in await tx.all(_Departed, FIND_DEPARTED, user_ids))


async def forget_people(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Forget what people who are gone were told, and do not tell them what was on its way. That there were messages stays."""
    await lock_people(tx, user_ids)
    await tx.run(REMEMBER, user_ids)
    for statement in (DROP_NOTICES, EMPTY_NOTICES, LOCK_MESSAGES, EMPTY_MESSAGES, LOCK_FEED, FORGET_FEED, FORGET_TICKETS, FORGET_FAVORITES):
        await tx.run(statement, user_ids)


async def empty_notices(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Forget what people were told who were gone before it was planned, and whom we have locked."""
    if user_ids:
        await tx.run(EMPTY_NOTICES, user_ids)


@exports_user_data
async def export_messages(user_id: UUID) -> dict[str, object]:
    """What somebody was told, and of which products they hear when they cost less."""
    return {
        "messages": await db.all(Told, LIST_MESSAGES, user_id),
        "feed": await db.all(InFeed, LIST_FEED, user_id),
        "watched_products": [row.product_id for row in await db.all(_Product, LIST_FAVORITES, user_id)],
    }
