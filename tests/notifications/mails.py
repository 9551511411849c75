"""What tests of mail share: messages that wait, and what became of them."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from tests.notifications.feeds import as_system

from souk import users
from souk.kit.ids import new_id
from souk.notifications import orphans, sending
from souk.notifications.database import db
from souk.notifications.topics import KINDS
from souk.notifications.types import Channel
from souk.notifications.wording import forms

ADD = """
    INSERT INTO notifications.message
        (id, letter_id, notice_id, user_id, channel, kind, topic, mandatory, advertises, content, status, due_at, give_up_at)
    SELECT u.id, coalesce($9, u.id), u.id, u.user_id, $3, $4, $5, $6, $7, $8, 'waiting', now(), now() + $10::interval
    FROM unnest($1::uuid[], $2::uuid[]) AS u (id, user_id)
"""
READ = """
    SELECT id, letter_id, user_id, status, reason, attempts, due_at > now() AS later, sent_at FROM notifications.message
    WHERE channel <> 'in_app' ORDER BY id
"""
LEAVE = """
    UPDATE notifications.message SET status = 'sending', owner = 1, attempts = 1, updated_at = now() - interval '1 hour' WHERE id = ANY($1)
"""
HURRY = "UPDATE notifications.message SET due_at = now() WHERE status = 'waiting'"


class Row(msgspec.Struct, frozen=True):
    """What became of a message."""

    id: UUID
    letter_id: UUID
    user_id: UUID | None
    status: str
    reason: str | None
    attempts: int
    later: bool


async def intend(
    user_ids: Sequence[UUID],
    kind: str = "order_shipped",
    channel: str = "email",
    content: dict[str, object] | None = None,
    letter_id: UUID | None = None,
    worth: timedelta = timedelta(days=3),
) -> list[UUID]:
    """A message to each of these people, due now; their ids."""
    ids = [letter_id if letter_id is not None and not place else new_id() for place in range(len(user_ids))]
    topic = KINDS[kind].topic
    said = forms()[kind].sample if content is None else content
    async with db.transaction() as tx:
        how = (topic.urgency == "mandatory", topic.urgency == "promotion")
        await tx.run(ADD, ids, list(user_ids), channel, kind, topic.name, *how, said, letter_id, worth)
    return ids


async def rows() -> dict[UUID, Row]:
    """Every message that leaves the shop, by its id."""
    return {row.id: row for row in await db.all(Row, READ)}


async def named(tag: str, count: int = 1) -> tuple[UUID, ...]:
    """People whose addresses ask for a habit."""
    made = tuple(users.NewUser(id=(one := new_id()), email=f"{one}+{tag}@example.com", email_verified=True) for _ in range(count))
    with as_system():
        return await users.register_users(made)


async def count_statuses() -> Counter[str]:
    return Counter(row.status for row in (await rows()).values())


async def hurry() -> None:
    """Let the time pass that messages have to wait."""
    async with db.transaction() as tx:
        await tx.run(HURRY)


async def send(channel: Channel = "email") -> int:
    """Find out what became of what others have left, and send what is due, as a process that lives; how many messages."""
    db.owner = db.owner or 4711
    with as_system():
        return await orphans.settle_orphans(channel) + await sending.send_due(channel)


async def leave_behind(ids: Sequence[UUID]) -> None:
    """As a process leaves messages that is killed while it sends."""
    async with db.transaction() as tx:
        await tx.run(LEAVE, list(ids))
