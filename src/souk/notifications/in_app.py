"""Messages of the channel in_app: each becomes a row of its reader's feed, once, and is sent in the same transaction."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from souk import users
from souk.kit.db import Transaction, columns
from souk.kit.events import publish
from souk.kit.ids import new_id
from souk.notifications.database import db
from souk.notifications.deciding import Again, decide_again
from souk.notifications.events import NotificationsSent
from souk.notifications.messages import Planned
from souk.notifications.rendering import find_link, render_short
from souk.notifications.standing import lock_standing, settle_stopped
from souk.notifications.types import Content, Message
from souk.notifications.wording import Unrenderable

BATCH = 500

# Nothing gathers here: a message is a letter.
FIND_DUE = """
    SELECT id, letter_id, notice_id, user_id, order_id, seller_id, channel, kind, topic, mandatory, content, due_at, give_up_at, attempts
    FROM notifications.message
    WHERE channel = 'in_app' AND advertises = $1 AND status = 'waiting' AND id = letter_id AND due_at <= now()
    ORDER BY due_at LIMIT $2
"""
# Held meanwhile is what is due in a thousand years.
LOCK = """
    SELECT id FROM notifications.message WHERE id = ANY($1) AND status = 'waiting' AND due_at <= now()
    ORDER BY id FOR UPDATE SKIP LOCKED
"""
ADD = """
    INSERT INTO notifications.feed_item (id, user_id, kind, topic, message, link, data)
    SELECT u.id, u.user_id, u.kind, u.topic, u.message, u.link, u.data
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[])
        WITH ORDINALITY AS u (id, user_id, kind, topic, message, link, data, number)
    ORDER BY u.number
"""
SET_SENT = """
    UPDATE notifications.message
    SET status = 'sent', reason = NULL, attempts = attempts + 1, sent_at = now(), decided_at = now(), updated_at = now()
    WHERE id = ANY($1)
"""
SET_UNSENT = """
    UPDATE notifications.message AS m
    SET status = u.status, reason = u.reason, due_at = coalesce(u.due_at, m.due_at), decided_at = now(), updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS u (id, status, reason, due_at) WHERE m.id = u.id
"""


class Item(msgspec.Struct, frozen=True):
    """A message as it lies in a feed."""

    id: UUID
    user_id: UUID
    kind: str
    topic: str
    message: str
    link: str | None
    data: Content


class Unsent(msgspec.Struct, frozen=True):
    """A message that comes into no feed, or not yet, and why."""

    id: UUID
    status: str
    reason: str
    due_at: datetime | None = None


class Id(msgspec.Struct, frozen=True):
    """Which message."""

    id: UUID


async def deliver_in_app() -> int:
    """Bring what is due into the feeds; how many messages were decided. Processes that do it at the same time share them."""
    # What only advertises comes after all the others, as it does by mail.
    found = await db.all(Message, FIND_DUE, False, BATCH) or await db.all(Message, FIND_DUE, True, BATCH)
    due = sorted(found, key=lambda one: one.id)
    if not due:
        return 0
    reader_ids = {one.user_id for one in due if one.user_id is not None}
    contacts = {one.user_id: one for one in await users.get_contacts(tuple(reader_ids))}
    now = datetime.now(UTC)
    again = decide_again(contacts, due, now)
    decided = {one.id: decide(one, again[one.id], None if one.user_id is None else contacts.get(one.user_id), now) for one in due}
    async with db.transaction() as tx:
        stopped = await lock_standing(tx, due)
        decided |= {one.id: stop(one, stopped[one.notice_id], now) for one in due if one.notice_id in stopped}
        locked = {row.id for row in await tx.all(Id, LOCK, [one.id for one in due])}
        items = [one for one in decided.values() if isinstance(one, Item) and one.id in locked]
        unsent = [one for one in decided.values() if isinstance(one, Unsent) and one.id in locked]
        if items:
            await tx.run(SET_SENT, [one.id for one in items])
            await fill_feeds(tx, items)
        if unsent:
            await tx.run(SET_UNSENT, *columns(unsent, "id", "status", "reason", "due_at"))
    return len(items) + len(unsent)


def decide(message: Message, again: Again, reader: users.Contact | None, now: datetime) -> Item | Unsent:
    """What becomes of a message now. A feed disturbs nobody, so that nothing waits for a better time, but for who knows its topic."""
    if message.user_id is None or reader is None or again.what == "suppress":
        return Unsent(message.id, "suppressed", again.reason or "erased")
    if message.give_up_at <= now:
        return Unsent(message.id, "failed", "too late")
    if again.what == "wait":
        return Unsent(message.id, "waiting", again.reason or "", again.until)
    try:
        text, link = write_item(message.kind, message.content, reader)
    except Unrenderable as mistake:
        return Unsent(message.id, "failed", f"cannot be written: {mistake}")
    return Item(message.id, message.user_id, message.kind, message.topic, text, link, message.content)


def stop(message: Message, status: str, now: datetime) -> Unsent:
    """What becomes of a message whose campaign was stopped since it was found to be due."""
    settled = settle_stopped(message, status, now)
    return Unsent(message.id, settled.status, settled.reason or "", settled.due_at)


async def fill_feeds(tx: Transaction, items: Sequence[Item]) -> None:
    """Bring these into the feeds, and tell whose have grown; their messages are sent in the same transaction."""
    await tx.run(ADD, *columns(items, *Item.__struct_fields__))
    await publish(tx, NotificationsSent(new_id(), readers_of(items)))


def take_at_once(planned: Sequence[Planned], readers: Mapping[UUID, users.Contact], now: datetime) -> dict[UUID, Item]:
    """What of these messages comes into a feed with their planning, for that was decided just now: what is due, and can be written."""
    written: dict[tuple[str, str, int], tuple[str, str | None]] = {}
    items: dict[UUID, Item] = {}
    for one in planned:
        reader = readers.get(one.user_id) if one.user_id is not None else None
        if one.channel != "in_app" or one.status != "waiting" or one.due_at > now or one.user_id is None or reader is None:
            continue
        # Many are told the same: it is written once for those who read it in the same way.
        alike = (reader.language, reader.timezone, id(one.content))
        try:
            text, link = written.get(alike) or write_item(one.kind, one.content, reader)
        except Unrenderable:
            # It waits for who says so.
            continue
        written[alike] = text, link
        items[one.id] = Item(one.id, one.user_id, one.kind, one.topic, text, link, one.content)
    return items


def write_item(kind: str, content: Content, reader: users.Contact) -> tuple[str, str | None]:
    """A message as a line, and where it leads. Raises Unrenderable."""
    return render_short(kind, reader.language, content, reader), find_link(kind, content)


def readers_of(items: Iterable[Item]) -> tuple[UUID, ...]:
    """Whose feeds these are in, each once."""
    return tuple(dict.fromkeys(one.user_id for one in items))
