"""Pages of a campaign: its next recipients, with what becomes of it for each of them on each channel, in one transaction.

Who sends takes a page when there is nothing else to do, and has its letters at once. What no sender takes is planned for all of them.
"""

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
from souk.notifications import in_app, pacing, picks, planning
from souk.notifications.campaign_types import Campaign, CampaignKind, choose_words
from souk.notifications.campaigns import SHOWN, make_content
from souk.notifications.database import db
from souk.notifications.deciding import channels_for
from souk.notifications.hours import zone_of
from souk.notifications.messages import Draft, Planned, Situation, plan_drafts
from souk.notifications.recipients import Recipient
from souk.notifications.topics import KINDS
from souk.notifications.types import NOBODY, Channel, Content, Message, Notice
from souk.users import Contact

# Where everybody has it at the same time, so that whoever takes a page has something to send.
FIND_TO_TAKE = f"""
    SELECT {SHOWN} FROM notifications.campaign
    WHERE status = 'sending' AND planned_at IS NULL AND NOT local_time AND NOT unsettled AND kind = ANY($1) ORDER BY scheduled_at
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

# On which a campaign reaches whoever has not said anything.
CHANNELS_OF_CAMPAIGNS = frozenset(channel for kind in get_args(CampaignKind) for channel in KINDS[kind].topic.channels)
# Recipients of a page: a transaction of a fraction of a second.
PAGE = 500
# Recipients for whom it is decided before letters that are on their way have their turn.
AT_ONCE = 25

# By user; who is not among them is told nothing.
Contents = Mapping[UUID, Content]


class Taker(msgspec.Struct, frozen=True):
    """Who sends what is due on a channel as soon as it is planned, to so many recipients at the most."""

    channel: Channel
    owner: int
    most: int


class Taken(msgspec.Struct, frozen=True):
    """Messages that are their taker's, and their recipients as they were when it was decided, a moment ago."""

    messages: tuple[Message, ...] = ()
    contacts: Mapping[UUID, Contact] = {}


async def take_page(taker: Taker) -> Taken:
    """Messages for the next recipients of a campaign, which the taker is to send; none if nobody is left. Raises Unavailable."""
    while taker.channel in CHANNELS_OF_CAMPAIGNS:
        found = await db.all(Campaign, FIND_TO_TAKE, get_args(CampaignKind))
        seen = next((one for one in found if is_told_on(one, taker.channel)), None)
        if seen is None:
            break
        taken = await plan_page(seen, taker)
        if taken is not None and taken.messages:
            return taken
    return Taken()


def is_told_on(campaign: Campaign, channel: Channel) -> bool:
    """Whether somebody who has not said anything is told on this channel."""
    return channel in KINDS[campaign.kind].topic.channels and (campaign.channels is None or channel in campaign.channels)


async def plan_page(seen: Campaign, taker: Taker | None = None) -> Taken | None:
    """Write the messages of the next recipients, and how far that is, in one transaction; which of them are the taker's.

    None if somebody else has done it, or stopped it.
    """
    most = PAGE if taker is None else taker.most
    page = await users.list_contacts(seen.segment, seen.after_user_id, most)
    contents = await find_contents(seen, page)
    async with db.transaction() as tx:
        found = await tx.maybe(Campaign, LOCK_SENDING, seen.id)
        if found is None or found.after_user_id != seen.after_user_id:
            return None
        taken = Taken()
        if page:
            situation = await planning.look_around(tx, sorted(one.user_id for one in page))
            planned: list[Planned] = []
            for some in plan_messages(found, page, contents, situation):
                planned += some
                # Letters are on their way meanwhile.
                await asyncio.sleep(0)
            contacts = {one.user_id: one for one in page}
            items = in_app.take_at_once(planned, contacts, situation.now)
            planned = [replace(one, status="sent") if one.id in items else one for one in planned]
            if taker is not None:
                planned = await take(tx, taker, planned, situation.now)
            written = await planning.write_messages(tx, planned)
            taken = Taken(tuple(message_of(one) for one in planned if one.id in written), contacts)
            if items:
                await in_app.fill_feeds(tx, list(items.values()))
        last = page[-1].user_id if page else None
        await tx.run(ADVANCE, found.id, last, len(page), len(page) < most)
    return taken


async def take(tx: Transaction, taker: Taker, planned: Sequence[Planned], now: datetime) -> list[Planned]:
    """Give messages to a taker that are due now on its channel, as far as their recipients have not had too much meanwhile."""
    letters = [one for one in planned if one.channel == taker.channel and one.status == "waiting" and one.id == one.letter_id]
    due = [one for one in letters if one.due_at <= now]
    leaving = [pacing.Leaving(one.id, one.user_id, one.topic, one.mandatory, one.give_up_at, now) for one in due]
    too_many = {one.letter_id for one in await pacing.find_too_many(tx, taker.channel, leaving)}
    ours = {one.id for one in due} - too_many
    return [replace(one, status="sending", owner=taker.owner) if one.id in ours else one for one in planned]


def message_of(planned: Planned) -> Message:
    """A message that is being sent for the first time."""
    return Message(
        planned.id, planned.letter_id, planned.notice_id, planned.user_id, planned.order_id, planned.seller_id, planned.channel,
        planned.kind, planned.topic, planned.mandatory, planned.content, planned.due_at, planned.give_up_at, 1,
    )  # fmt: skip


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
    channels = (one for one in channels_for(kind.topic, contact) if campaign.channels is None or one in campaign.channels)
    return (Draft(notice, kind, recipient, channel, content) for channel in channels)
