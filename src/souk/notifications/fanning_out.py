"""Campaigns on their way: begun in time, told page by page, held or withdrawn where nobody has it yet, ended when all of it is out."""

from typing import get_args
from uuid import UUID

import msgspec

from souk.kit.db import Transaction
from souk.kit.ids import first_id
from souk.notifications.bells import wake_senders
from souk.notifications.campaign_types import Campaign, CampaignKind
from souk.notifications.campaigns import OF_CAMPAIGN, SHOWN
from souk.notifications.database import db
from souk.notifications.pages import plan_page

# On the first clock of the world it is fourteen hours later than in UTC.
BEGIN = """
    UPDATE notifications.campaign SET status = 'sending', begun_at = now(), updated_at = now()
    WHERE status = 'scheduled' AND scheduled_at - CASE WHEN local_time THEN interval '14 hours' ELSE interval '0' END <= now()
"""
# Kinds that a newer process knows are left to it. Somebody attends to a campaign by mail that has gone on just now, if no letter is late.
FIND_OPEN = f"""
    SELECT {SHOWN}, unsettled, NOT local_time AND (channels IS NULL OR 'email' = ANY(channels))
        AND updated_at > now() - make_interval(secs => $2) AND NOT EXISTS (
            SELECT FROM notifications.message WHERE channel = 'email' AND advertises AND status = 'waiting' AND id = letter_id
              AND due_at < now() - make_interval(secs => $3)) AS is_attended
    FROM notifications.campaign WHERE ((status = 'sending') OR unsettled) AND kind = ANY($1) ORDER BY scheduled_at
"""
FINISH = f"""
    UPDATE notifications.campaign AS c SET status = 'sent', finished_at = now(), updated_at = now()
    WHERE id = $1 AND status = 'sending' AND planned_at IS NOT NULL AND NOT unsettled
      AND NOT EXISTS (SELECT FROM notifications.message WHERE notice_id = c.id AND {OF_CAMPAIGN} AND status = 'waiting')
      AND NOT EXISTS (SELECT FROM notifications.message WHERE notice_id = c.id AND {OF_CAMPAIGN} AND status = 'sending')
"""
LOCK_STATUS = "SELECT status FROM notifications.campaign WHERE id = $1 FOR UPDATE"
# What is held is put off by a thousand years, so that the time at which it was due is not lost.
LOCK_TO_HOLD = f"""
    SELECT id FROM notifications.message
    WHERE notice_id = $1 AND id >= $3 AND {OF_CAMPAIGN} AND status = 'waiting' AND reason IS DISTINCT FROM 'paused'
    ORDER BY id LIMIT $2 FOR UPDATE
"""
HOLD = """
    UPDATE notifications.message
    SET reason = 'paused', due_at = due_at + interval '1000 years', give_up_at = give_up_at + interval '1000 years', updated_at = now()
    WHERE id = ANY($1) AND status = 'waiting'
"""
LOCK_TO_RELEASE = f"""
    SELECT id FROM notifications.message
    WHERE notice_id = $1 AND id >= $3 AND {OF_CAMPAIGN} AND status = 'waiting' AND reason = 'paused' ORDER BY id LIMIT $2 FOR UPDATE
"""
RELEASE = """
    UPDATE notifications.message
    SET reason = NULL, due_at = greatest(due_at - interval '1000 years', now()), updated_at = now(),
        give_up_at = greatest(due_at - interval '1000 years', now()) + (give_up_at - due_at)
    WHERE id = ANY($1) AND status = 'waiting'
"""
LOCK_TO_WITHDRAW = f"""
    SELECT id FROM notifications.message
    WHERE notice_id = $1 AND id >= $3 AND {OF_CAMPAIGN} AND status = 'waiting' ORDER BY id LIMIT $2 FOR UPDATE
"""
WITHDRAW = """
    UPDATE notifications.message SET status = 'suppressed', reason = 'campaign_cancelled', updated_at = now()
    WHERE id = ANY($1) AND status = 'waiting'
"""
SETTLE = "UPDATE notifications.campaign SET unsettled = false, updated_at = now() WHERE id = $1"

# What becomes of messages that wait when their campaign stands so.
CHANGES = {"paused": (LOCK_TO_HOLD, HOLD), "sending": (LOCK_TO_RELEASE, RELEASE), "cancelled": (LOCK_TO_WITHDRAW, WITHDRAW)}

# Messages that are changed at once: a transaction of a fraction of a second.
CHANGED_AT_ONCE = 2_000
# Who sends has so long to take a page, or to claim what waits, before the next one is planned for nobody in particular.
TAKEN_WITHIN_S = 1.0
# When letters have been due for so long there is no relay, or a slow one. What somebody has left who died is due all at once, and takes
# seconds: if those counted, pages would be written whose letters are late themselves a moment later, and so on to the end.
LATE_AFTER_S = 10.0


class OpenCampaign(Campaign, frozen=True, kw_only=True):
    """A campaign in which something is left to do."""

    unsettled: bool
    is_attended: bool


class _Id(msgspec.Struct, frozen=True):
    id: UUID


async def move_campaigns() -> int:
    """Take every campaign a step further; how many steps that were. It may be broken off and repeated anywhere.

    Raises what one of them met, when all the others have gone on.
    """
    async with db.transaction() as tx:
        done = await tx.run(BEGIN)
        if done:
            wake_senders(tx)
    failures: list[Exception] = []
    for one in await db.all(OpenCampaign, FIND_OPEN, get_args(CampaignKind), TAKEN_WITHIN_S, LATE_AFTER_S):
        try:
            done += await move_campaign(one)
        except Exception as failure:
            # The others are none the worse for it.
            failures.append(failure)
    if failures:
        raise failures[0]
    return done


async def move_campaign(one: OpenCampaign) -> int:
    if one.unsettled:
        return await settle(one)
    if one.planned_at is None:
        return 0 if one.is_attended else int(await plan_page(one) is not None)
    async with db.transaction() as tx:
        return await tx.run(FINISH, one.id)


async def settle(campaign: OpenCampaign) -> int:
    """Let some of the messages that wait know how their campaign stands; at least 1, until all of them do and it is settled."""
    async with db.transaction() as tx:
        status = await tx.value(LOCK_STATUS, campaign.id)
        changed = await change_waiting(tx, campaign, status) if status in CHANGES else 0
        if changed < CHANGED_AT_ONCE:
            await tx.run(SETTLE, campaign.id)
    return 1


async def change_waiting(tx: Transaction, campaign: Campaign, status: str) -> int:
    """Hold, release or withdraw some messages; how many were looked at. What has left, or is just leaving, stays."""
    lock, change = CHANGES[status]
    # The ids of its messages begin with this time: no older partition is looked into.
    oldest = first_id((campaign.begun_at or campaign.created_at).timestamp() - 1)
    ids = [row.id for row in await tx.all(_Id, lock, campaign.id, CHANGED_AT_ONCE, oldest)]
    await tx.run(change, ids)
    if status == "sending" and ids:
        wake_senders(tx)
    return len(ids)
