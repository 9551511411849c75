"""What was sent on something to which its recipient had said no by then, as far as their wishes are still what they were."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk import users
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.ids import first_id
from souk.notifications.database import db
from souk.notifications.deciding import wants
from souk.notifications.topics import TOPICS
from souk.notifications.types import NOBODY, Channel

# By whom, on what and how, and when it was looked last whether they want it. Nobody says no for a guest.
READ_SENT = """
    SELECT user_id, topic, channel, max(decided_at) AS decided_at FROM notifications.message
    WHERE (user_id, topic, channel) > ($1, $2, $3) AND id >= $4 AND status = 'sent' AND NOT mandatory AND decided_at IS NOT NULL
    GROUP BY user_id, topic, channel ORDER BY user_id, topic, channel LIMIT $5
"""
PAGE = 2_000
LOOKS_BACK = timedelta(days=30)
# What is decided just then may not know it yet, and clocks of processes and databases are not quite the same.
AT_ONCE = timedelta(minutes=1)


class SentUnwanted(msgspec.Struct, frozen=True):
    """Something was decided to be sent after its recipient had said no."""

    user_id: UUID
    topic: str
    channel: Channel
    said_at: datetime
    decided_at: datetime


class _Sent(msgspec.Struct, frozen=True):
    user_id: UUID
    topic: str
    channel: Channel
    decided_at: datetime


@exposed(timeout=120.0)
async def find_unwanted() -> tuple[SentUnwanted, ...]:
    """What people were sent in the last month more than a minute after they had said no to it; for admins. Changes nothing.

    Whoever has changed their wishes since is not looked at before that: what they wanted until then is not kept. Raises Forbidden.
    """
    caller().principal.require_admin()
    found: list[SentUnwanted] = []
    after: tuple[UUID, str, str] = (NOBODY, "", "")
    oldest = first_id((datetime.now(UTC) - LOOKS_BACK).timestamp())
    while page := await db.all(_Sent, READ_SENT, *after, oldest, PAGE):
        wishes = {one.user_id: one for one in await users.get_preferences(tuple({one.user_id for one in page}))}
        for one in page:
            wish, topic = wishes.get(one.user_id), TOPICS.get(one.topic)
            if wish is None or topic is None or wants(topic, one.channel, wish.notifications):
                continue
            if one.decided_at > wish.updated_at + AT_ONCE:
                found.append(SentUnwanted(one.user_id, one.topic, one.channel, wish.updated_at, one.decided_at))
        after = (page[-1].user_id, page[-1].topic, page[-1].channel)
    return tuple(found)
