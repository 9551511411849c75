"""How often people are disturbed, looked at once more when a letter leaves: what was put off since it was planned may be too much now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from souk.kit.db import Transaction, columns
from souk.notifications.deciding import WORTH_SENDING, Limit
from souk.notifications.limits import limits
from souk.notifications.messages import find_limits
from souk.notifications.topics import TOPICS, Urgency
from souk.notifications.types import Channel, MessageStatus

# After the rows of letters, by nobody but senders: of two that send to one person the second sees what the first has taken.
LOCK_PACE = """
    SELECT pg_advisory_xact_lock(7304, place)
    FROM (SELECT DISTINCT (hashtextextended(person::text, 0) & 511)::int AS place FROM unnest($1::uuid[]) AS person ORDER BY 1) AS locks
"""
# What is on its way may have arrived. The first condition is for the index.
FIND_LEFT = """
    SELECT user_id, topic, coalesce(sent_at, now()) AS left_at FROM notifications.message
    WHERE user_id = ANY($1) AND due_at > $2 AND id = letter_id AND NOT mandatory AND status IN ('waiting', 'sending', 'sent')
      AND channel IN ('email', 'push', 'sms') AND channel = $3 AND status <> 'waiting'
"""
PUT_OFF = """
    UPDATE notifications.message AS m SET status = u.status, reason = u.reason, due_at = coalesce(u.due_at, m.due_at), updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS u (letter_id, status, reason, due_at)
    WHERE m.letter_id = u.letter_id AND m.status = 'waiting'
"""

# Nothing leaves later than that after it was due, and nothing is counted for longer than a day.
FURTHEST = max(WORTH_SENDING.values()) + timedelta(days=2)


class Leaving(msgspec.Struct, frozen=True):
    """A letter that is about to leave, by its first message."""

    id: UUID
    user_id: UUID | None
    topic: str
    mandatory: bool
    give_up_at: datetime
    claimed_at: datetime


class Left(msgspec.Struct, frozen=True):
    """A letter that somebody has, or may have by now."""

    user_id: UUID
    topic: str
    left_at: datetime


class Excess(msgspec.Struct, frozen=True):
    """A letter for which there is no room now, and what becomes of it."""

    letter_id: UUID
    status: MessageStatus
    reason: str
    due_at: datetime | None = None


async def keep_pace(tx: Transaction, channel: Channel, leaving: Sequence[Leaving]) -> list[UUID]:
    """Which of these letters, whose first messages are locked, may leave now; the others are put off, or not sent at all.

    Until the transaction ends nobody else lets anything leave for the same people.
    """
    excess = await find_too_many(tx, channel, leaving)
    if excess:
        await tx.run(PUT_OFF, *columns(excess, *Excess.__struct_fields__))
    too_many = {one.letter_id for one in excess}
    return [one.id for one in leaving if one.id not in too_many]


async def find_too_many(tx: Transaction, channel: Channel, leaving: Sequence[Leaving]) -> list[Excess]:
    """Which letters would be too many now. Until the transaction ends nobody else lets anything leave for the same people."""
    counted = [one for one in leaving if one.user_id is not None and not one.mandatory]
    if not counted:
        return []
    people = sorted({one.user_id for one in counted if one.user_id is not None})
    await tx.run(LOCK_PACE, people)
    # A statement of its own: it sees what those took for whom the locks were held just before.
    left = await tx.all(Left, FIND_LEFT, people, counted[0].claimed_at - FURTHEST, channel)
    return find_excess(counted, left, find_limits(limits.now))


def find_excess(leaving: Sequence[Leaving], left: Iterable[Left], known: Mapping[Urgency, Limit]) -> list[Excess]:
    """Those of these letters with which some stretch of time would hold more than its limit; the first come first."""
    taken: defaultdict[tuple[UUID | None, Urgency], list[datetime]] = defaultdict(list)
    for one in left:
        if one.topic in TOPICS:
            taken[one.user_id, TOPICS[one.topic].urgency].append(one.left_at)
    found: list[Excess] = []
    for letter in leaving:
        urgency = TOPICS[letter.topic].urgency if letter.topic in TOPICS else "mandatory"
        if urgency not in known:
            continue
        limit, moments = known[urgency], taken[letter.user_id, urgency]
        near = sorted(one for one in moments if one > letter.claimed_at - limit.within)
        room_at = letter.claimed_at if len(near) < limit.count else near[-limit.count] + limit.within
        moments.append(room_at)
        if room_at > letter.claimed_at:
            found.append(refuse(letter, urgency, room_at))
    return found


def refuse(letter: Leaving, urgency: Urgency, room_at: datetime) -> Excess:
    """An advertisement that is too much is none; what somebody is to know waits until there is room, if it is worth anything then."""
    if urgency == "promotion":
        return Excess(letter.id, "suppressed", "too_many")
    if room_at > letter.give_up_at:
        return Excess(letter.id, "failed", "given_up: too_many")
    return Excess(letter.id, "waiting", "too_many", room_at)
