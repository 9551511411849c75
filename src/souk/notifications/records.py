"""What became of every message: to whom, on which channel, when, and why not."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.http import Page, make_page, read_cursor
from souk.notifications.database import db
from souk.notifications.types import Channel, MessageStatus

LIST = """
    SELECT id, notice_id, letter_id, user_id, order_id, seller_id, channel, kind, topic, mandatory, content AS data, status, reason, due_at,
           attempts, sent_at, created_at, updated_at
    FROM notifications.message
    WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
      AND ($4::text IS NULL OR channel = $4) AND ($5::uuid IS NULL OR notice_id = $5) AND id < $6
    ORDER BY id DESC
    LIMIT $7
"""

NEWEST = UUID(int=2**128 - 1)


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A message and what became of it. One that waits is due at `due_at`; one that was not sent, or not yet, says why."""

    id: UUID
    notice_id: Annotated[UUID, Meta(description="What it tells of, or the campaign that it belongs to")]
    letter_id: Annotated[UUID, Meta(description="What it left in, which may hold several messages")]
    user_id: UUID | None
    order_id: UUID | None
    seller_id: UUID | None
    channel: Channel
    kind: str
    topic: str
    mandatory: bool
    data: dict[str, object]
    status: MessageStatus
    reason: str | None
    due_at: datetime
    attempts: int
    sent_at: datetime | None
    created_at: datetime
    updated_at: datetime


class MessageFilter(msgspec.Struct, frozen=True):
    """Which messages: those to which all that is given applies."""

    user_id: UUID | None = None
    kind: str | None = None
    status: MessageStatus | None = None
    channel: Channel | None = None
    notice_id: UUID | None = None


@exposed()
async def list_own_messages(wanted: MessageFilter, limit: int, cursor: str | None) -> Page[MessageRecord]:
    """What the caller was told, is to be told and was not told, the newest first. Changes nothing."""
    return await find_messages(msgspec.structs.replace(wanted, user_id=caller().principal.require_user()), limit, cursor)


@exposed()
async def list_messages(wanted: MessageFilter, limit: int, cursor: str | None) -> Page[MessageRecord]:
    """What became of messages to anybody, the newest first. Changes nothing; raises Forbidden for anybody but admins."""
    caller().principal.require_admin()
    return await find_messages(wanted, limit, cursor)


async def find_messages(wanted: MessageFilter, limit: int, cursor: str | None) -> Page[MessageRecord]:
    """A page of messages, the newest first."""
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    chosen = (wanted.user_id, wanted.kind, wanted.status, wanted.channel, wanted.notice_id)
    return make_page(await db.search(MessageRecord, LIST, *chosen, before, limit + 1), limit, lambda row: (row.id,))
