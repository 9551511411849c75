"""Campaigns on their way: begun in time, told page by page, held or withdrawn where nobody has it yet, ended when all of it is out."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from souk import users
from souk.kit.db import Transaction
from souk.kit.ids import first_id
from souk.notifications import in_app, picks, planning
from souk.notifications.bells import wake_senders
from souk.notifications.campaign_types import Campaign, CampaignKind, choose_words
from souk.notifications.campaigns import OF_CAMPAIGN, SHOWN, make_content
from souk.notifications.database import db
from souk.notifications.deciding import channels_for
from souk.notifications.hours import zone_of
from souk.notifications.messages import Draft, Planned, Situation, plan_drafts
from souk.notifications.recipients import Recipient
from souk.notifications.topics import KINDS
from souk.notifications.types import NOBODY, Content, Notice
from souk.users import Contact

# On the first clock of the world it is fourteen hours later than in UTC.
BEGIN = """
    UPDATE notifications.campaign SET status = 'sending', begun_at = now(), updated_at = now()
    WHERE status = 'scheduled' AND scheduled_at - CASE WHEN local_time THEN interval '14 hours' ELSE interval '0' END <= now()
"""
# Kinds that a newer process knows are left to it.
FIND_OPEN = f"""
    SELECT {SHOWN}, unsettled FROM notifications.campaign WHERE ((status = 'sending') OR unsettled) AND kind = ANY($1) ORDER BY scheduled_at
"""
LOCK_SENDING = f"""
    SELECT {SHOWN} FROM notifications.campaign WHERE id = $1 AND status = 'sending' AND planned_at IS NULL FOR NO KEY UPDATE
"""
ADVANCE = """
    UPDATE notifications.campaign
    SET after_user_id = coalesce($2, after_user_id), recipients = recipients + $3, planned_at = CASE WHEN $4 THEN now() END,
        updated_at = now()
    WHERE id = $1
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

# Recipients of a page, and messages that are changed at once: a transaction of a fraction of a second.
PAGE = 500
AT_ONCE = 25
CHANGED_AT_ONCE = 2_000


# By user; who is not among them is told nothing.
Contents = Mapping[UUID, Content]


class OpenCampaign(Campaign, frozen=True, kw_only=True):
    """A campaign in which something is left to do."""

    unsettled: bool


class _Id(msgspec.Struct, frozen=True):
    id: UUID


async def move_campaigns() -> int:
    """Take every campaign a step further; how many steps that were. It may be broken off and repeated anywhere.

    Raises what one of them met, when all the others have gone on.
    """
    async with db.transaction() as tx:
        done = await tx.run(BEGIN)
    failures: list[Exception] = []
    for one in await db.all(OpenCampaign, FIND_OPEN, get_args(CampaignKind)):
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
        return await plan_page(one)
    async with db.transaction() as tx:
        return await tx.run(FINISH, one.id)


async def plan_page(seen: Campaign) -> int:
    """Write the messages of the next recipients, and how far that is, in one transaction; 0 if somebody else has done it, or stopped it."""
    page = await users.list_contacts(seen.segment, seen.after_user_id, PAGE)
    contents = await find_contents(seen, page)
    async with db.transaction() as tx:
        found = await tx.maybe(Campaign, LOCK_SENDING, seen.id)
        if found is None or found.after_user_id != seen.after_user_id:
            return 0
        if page:
            situation = await planning.look_around(tx, sorted(one.user_id for one in page))
            planned: list[Planned] = []
            for some in plan_messages(found, page, contents, situation):
                planned += some
                # Letters are on their way meanwhile.
                await asyncio.sleep(0)
            items = in_app.take_at_once(planned, {one.user_id: one for one in page}, situation.now)
            await planning.write_messages(tx, [replace(one, status="sent") if one.id in items else one for one in planned])
            if items:
                await in_app.fill_feeds(tx, list(items.values()))
        await tx.run(ADVANCE, found.id, page[-1].user_id if page else None, len(page), len(page) < PAGE)
    return 1


async def find_contents(campaign: Campaign, page: Sequence[Contact]) -> Contents:
    """What a campaign says to each of these people."""
    if campaign.kind == "recommendations":
        return await picks.find_picks([one.user_id for one in page]) if page else {}
    # One for all who read the same language.
    said = {one: make_content(choose_words(campaign.words, one), campaign.path) for one in {contact.language for contact in page}}
    return {one.user_id: said[one.language] for one in page}


def plan_messages(campaign: Campaign, page: Sequence[Contact], contents: Contents, situation: Situation) -> Iterator[list[Planned]]:
    """What becomes of a campaign for these people on each channel, some people at a time: decided as for any other message."""
    now = situation.now
    for due_at, those in group_by_moment(campaign, page, now):
        # Decided as if it were that moment, and looked at once more when it has come.
        situation.now = due_at
        for start in range(0, len(those), AT_ONCE):
            some = those[start : start + AT_ONCE]
            drafts = [draft for contact in some for draft in draft_messages(campaign, contact, contents.get(contact.user_id))]
            yield [one if due_at == now else replace(one, decided_at=now) for one in plan_drafts(drafts, situation)]
    situation.now = now


def group_by_moment(campaign: Campaign, page: Iterable[Contact], now: datetime) -> Iterator[tuple[datetime, list[Contact]]]:
    """When these people are to have it: now, or when their clock shows the time of the campaign, if that is not over."""
    if not campaign.local_time or campaign.scheduled_at is None:
        yield now, list(page)
        return
    by_zone: defaultdict[str, list[Contact]] = defaultdict(list)
    for contact in page:
        by_zone[contact.timezone].append(contact)
    for zone, those in by_zone.items():
        yield max(now, campaign.scheduled_at.replace(tzinfo=zone_of(zone)).astimezone(UTC)), those


def draft_messages(campaign: Campaign, contact: Contact, content: Content | None) -> Iterator[Draft]:
    """What somebody may be told of a campaign, channel by channel. Its ids come from the campaign, the person and the channel."""
    kind = KINDS[campaign.kind]
    begun_at = campaign.begun_at or campaign.created_at
    notice = Notice(campaign.id, kind.name, campaign.id, "user", NOBODY, content or {}, begun_at)
    recipient = Recipient(contact.user_id, contact=contact)
    return (Draft(notice, kind, recipient, channel, content) for channel in channels_for(kind.topic, contact))


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
