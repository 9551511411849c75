"""An event becomes a delivery of each webhook that wants it, in its turn behind those before it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from souk.kit.db import Bell, Transaction
from souk.kit.events import Delivered, Event
from souk.webhooks.catalogue import NAMES, PATTERNS
from souk.webhooks.payloads import Data, tell_sellers, tell_shop, write_body
from souk.webhooks.types import PING

# Rung in this process when something new waits; other processes look every second.
news = Bell()

# Their rows stay locked until the new deliveries are final: that is what gives those of two sources one order.
LOCK_LISTENING = """
    SELECT id, seller_id, events, last_place, active_since FROM webhooks.webhook
    WHERE status = 'active' AND (seller_id IS NULL OR seller_id = ANY($1)) AND events && $2
    ORDER BY id FOR UPDATE
"""
ADD_DELIVERIES = """
    INSERT INTO webhooks.delivery (webhook_id, event_id, place, type, payload)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])
"""
WAKE = """
    UPDATE webhooks.webhook AS w SET last_place = u.last_place, due_at = coalesce(w.due_at, now())
    FROM unnest($1::uuid[], $2::bigint[]) AS u (id, last_place) WHERE w.id = u.id
"""
ADD_PING = """
    WITH placed AS (
        UPDATE webhooks.webhook SET last_place = last_place + 1, due_at = now() WHERE id = $1 RETURNING last_place
    )
    INSERT INTO webhooks.delivery (webhook_id, event_id, place, type, payload) SELECT $1, $2, last_place, $3, $4 FROM placed
"""


class Listening(msgspec.Struct, frozen=True):
    """A webhook that may want one of some events, and up to where its places are taken."""

    id: UUID
    seller_id: UUID | None
    events: tuple[str, ...]
    last_place: int
    active_since: datetime

    def wants(self, story: "Story") -> bool:
        """Whether it is to be told of this: not of what happened before it was there, or while it was paused."""
        return story.told.occurred_at >= self.active_since and not PATTERNS[story.kind].isdisjoint(self.events)


class Queued(msgspec.Struct, frozen=True):
    """A delivery that is to be written."""

    webhook_id: UUID
    event_id: UUID
    place: int
    type: str
    payload: str


class Story(msgspec.Struct, frozen=True):
    """An event, and what each seller would be told of it."""

    told: Delivered[Event]
    by_seller: Mapping[UUID, Data]

    @property
    def kind(self) -> type[Event]:
        return type(self.told.event)


async def queue_deliveries(tx: Transaction, told: tuple[Delivered[Event], ...]) -> None:
    """Write one delivery for each event and each active webhook that wants it."""
    stories = [Story(one, tell_sellers(one.event)) for one in told]
    sellers = {seller_id for story in stories for seller_id in story.by_seller}
    patterns = frozenset().union(*(PATTERNS[story.kind] for story in stories))
    listening = await tx.all(Listening, LOCK_LISTENING, list(sellers), list(patterns))
    queued = [delivery for webhook in listening for delivery in queue(webhook, stories)]
    if not queued:
        return
    columns = ("webhook_id", "event_id", "place", "type", "payload")
    await tx.run(ADD_DELIVERIES, *([getattr(one, name) for one in queued] for name in columns))
    last = {one.webhook_id: one.place for one in queued}
    await tx.run(WAKE, list(last), list(last.values()))
    tx.after_commit.append(news.ring)


def queue(webhook: Listening, stories: list[Story]) -> list[Queued]:
    """The deliveries of a webhook, in the order of the events."""
    queued: list[Queued] = []
    for story in filter(webhook.wants, stories):
        data = tell_shop(story.told.event) if webhook.seller_id is None else story.by_seller.get(webhook.seller_id)
        if data is not None:
            name, place = NAMES[story.kind], webhook.last_place + len(queued) + 1
            queued.append(Queued(webhook.id, story.told.event_id, place, name, write_body(name, story.told.occurred_at, data)))
    return queued


async def queue_ping(tx: Transaction, webhook_id: UUID, event_id: UUID) -> None:
    """Write a delivery that tells of nothing, for a webhook whose row is locked, and have what waits sent at once."""
    await tx.run(ADD_PING, webhook_id, event_id, PING, write_body(PING, datetime.now(UTC), {"webhook_id": webhook_id}))
    tx.after_commit.append(news.ring)
