"""How the campaigns of messages stand that are about to leave: what comes back from an attempt is held or withdrawn with the others."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import get_args
from uuid import UUID

import msgspec

from souk.kit.db import Transaction
from souk.notifications.bells import wake_campaigns
from souk.notifications.campaign_types import CampaignKind
from souk.notifications.database import db
from souk.notifications.settling import Settled, try_later
from souk.notifications.types import Message

FIND = "SELECT id, status FROM notifications.campaign WHERE id = ANY($1) AND status IN ('paused', 'cancelled')"
# Whoever stops a campaign waits for those who have looked, and who fans it out does not.
LOCK_STANDING = "SELECT id, status FROM notifications.campaign WHERE id = ANY($1) ORDER BY id FOR KEY SHARE"
# Whoever moves campaigns holds or withdraws what waits of those that are unsettled.
UNSETTLE = """
    UPDATE notifications.campaign SET unsettled = true, updated_at = now() WHERE id = ANY($1) AND status = 'paused' AND NOT unsettled
"""
LOCK = "SELECT id FROM notifications.campaign WHERE id = ANY($1) ORDER BY id FOR UPDATE"

CAMPAIGNS = frozenset(get_args(CampaignKind))
HELD = "its campaign is held"
# Until it is held with the others.
HELD_SOON_S = 5.0


class _Standing(msgspec.Struct, frozen=True):
    id: UUID
    status: str


async def find_stopped(messages: Iterable[Message]) -> Mapping[UUID, str]:
    """Which campaigns of these messages are paused or cancelled."""
    ids = sorted({one.notice_id for one in messages if one.kind in CAMPAIGNS})
    return {one.id: one.status for one in await db.all(_Standing, FIND, ids)} if ids else {}


async def lock_standing(tx: Transaction, messages: Iterable[Message]) -> Mapping[UUID, str]:
    """Which campaigns of these messages are paused or cancelled; until the transaction ends nobody stops one of the others."""
    ids = sorted({one.notice_id for one in messages if one.kind in CAMPAIGNS})
    found = await tx.all(_Standing, LOCK_STANDING, ids) if ids else ()
    return {one.id: one.status for one in found if one.status in ("paused", "cancelled")}


def settle_stopped(message: Message, status: str, now: datetime) -> Settled:
    """What becomes of a message whose campaign stands so."""
    if status == "cancelled":
        return Settled(message, "suppressed", "campaign_cancelled")
    return try_later(message, HELD, now + timedelta(seconds=HELD_SOON_S), untried=True)


async def hold_again(settled: Sequence[Settled]) -> None:
    """Have those messages held with the others of their campaigns, after they have been written down. Raises Unavailable."""
    ids = sorted({one.message.notice_id for one in settled if one.reason == HELD})
    if ids:
        async with db.transaction() as tx:
            await tx.connection.fetch(LOCK, ids)
            await tx.run(UNSETTLE, ids)
            wake_campaigns(tx)
