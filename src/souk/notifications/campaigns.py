"""Campaigns as an admin sees them: written, tried, scheduled, held, ended."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.notifications import bells, notices
from souk.notifications.campaign_types import (
    Campaign,
    CampaignChange,
    CampaignHasBegun,
    CampaignPreview,
    CampaignReport,
    CampaignStatus,
    MessageCount,
    NewCampaign,
    Schedule,
    Words,
    choose_words,
    read_clock,
    refuse_far_away,
)
from souk.notifications.database import db
from souk.notifications.rendering import Recipient, Told, render_letter, render_short
from souk.notifications.types import Content, Notice

SHOWN = """id, name, words, path, segment, status, scheduled_at, local_time, begun_at, after_user_id, recipients, planned_at, finished_at,
           created_by, created_at, updated_at, kind, channels"""
# Its messages, as their index knows them.
OF_CAMPAIGN = "kind IN ('campaign', 'recommendations')"
FIND = f"SELECT {SHOWN} FROM notifications.campaign WHERE id = $1"
FIND_WRITTEN = f"{FIND} AND kind = 'campaign'"
LOCK = f"{FIND} FOR UPDATE"
LIST = f"""
    SELECT {SHOWN} FROM notifications.campaign WHERE id < $1 AND ($2::text IS NULL OR status = $2) ORDER BY id DESC LIMIT $3
"""
ADD = f"""
    INSERT INTO notifications.campaign (id, name, words, path, channels, segment, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING {SHOWN}
"""
CHANGE = f"""
    UPDATE notifications.campaign SET name = $2, words = $3, path = $4, channels = $5, segment = $6, updated_at = now()
    WHERE id = $1 RETURNING {SHOWN}
"""
SCHEDULE = f"""
    UPDATE notifications.campaign SET status = 'scheduled', scheduled_at = coalesce($2, now()), local_time = $3, updated_at = now()
    WHERE id = $1 RETURNING {SHOWN}
"""
SET_STATUS = f"""
    UPDATE notifications.campaign
    SET status = $2, unsettled = begun_at IS NOT NULL, finished_at = CASE WHEN $2 = 'cancelled' THEN now() END, updated_at = now()
    WHERE id = $1 RETURNING {SHOWN}
"""
REMOVE = "DELETE FROM notifications.campaign WHERE id = $1"
COUNT = f"""
    SELECT channel, status, reason, count(*) AS count FROM notifications.message
    WHERE notice_id = $1 AND {OF_CAMPAIGN} GROUP BY channel, status, reason ORDER BY channel, status, reason
"""
NOW = "SELECT now()"

NEWEST = UUID(int=2**128 - 1)
# How a campaign has to stand for what.
Statuses = tuple[CampaignStatus, ...]
MAY_BE_CHANGED: Statuses = ("draft", "scheduled")
MAY_BE_HELD: Statuses = ("scheduled", "sending")
MAY_BE_CANCELLED: Statuses = ("scheduled", "sending", "paused")
MAY_BE_REMOVED: Statuses = ("draft", "cancelled")


@exposed()
async def create_campaign(new: NewCampaign) -> Campaign:
    """Write a campaign; nothing is sent. Raises Forbidden for anybody but admins. Again with the same key gives the first."""
    admin_id = _require_admin()

    async def work(tx: Transaction) -> Campaign:
        return await tx.one(Campaign, ADD, new_id(), new.name, new.words, new.path, new.channels, new.segment, admin_id)

    return await once(db, new, work)


@exposed()
async def list_campaigns(status: CampaignStatus | None, limit: int, cursor: str | None) -> Page[Campaign]:
    """Campaigns, the newest first. Changes nothing; raises Forbidden for anybody but admins."""
    _require_admin()
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    return make_page(await db.search(Campaign, LIST, before, status, limit + 1), limit, lambda row: (row.id,))


@exposed()
async def get_campaign(campaign_id: UUID) -> CampaignReport:
    """A campaign, and what became of its messages. Changes nothing; raises NotFound, Forbidden."""
    _require_admin()
    async with db.transaction(isolation="repeatable_read", readonly=True) as tx:
        found = await tx.maybe(Campaign, FIND, campaign_id)
        if found is None:
            raise NotFound
        return CampaignReport(found, await tx.all(MessageCount, COUNT, campaign_id))


@exposed()
async def change_campaign(campaign_id: UUID, change: CampaignChange) -> Campaign:
    """Change a campaign that has not begun. Again changes nothing more. Raises CampaignHasBegun, NotFound, Forbidden."""
    _require_admin()
    async with db.transaction() as tx:
        found = await lock_campaign(tx, campaign_id, MAY_BE_CHANGED)
        name, words = _chosen(change.name, found.name), _chosen(change.words, found.words)
        path, channels = _chosen(change.path, found.path), _chosen(change.channels, found.channels)
        return await tx.one(Campaign, CHANGE, campaign_id, name, words, path, channels, _chosen(change.segment, found.segment))


@exposed()
async def remove_campaign(campaign_id: UUID) -> None:
    """Forget a campaign that never began. Raises CampaignHasBegun, NotFound, as it does when repeated, Forbidden."""
    _require_admin()
    async with db.transaction() as tx:
        found = await lock_campaign(tx, campaign_id, MAY_BE_REMOVED)
        if found.begun_at is not None:
            raise CampaignHasBegun(found.status)
        await tx.run(REMOVE, campaign_id)


@exposed()
async def set_campaign_schedule(campaign_id: UUID, schedule: Schedule) -> Campaign:
    """Have a campaign sent at a time, or now. Until it begins another time may be set. Raises CampaignHasBegun, InvalidField, NotFound."""
    _require_admin()
    local = None
    try:
        local = None if schedule.local is None else read_clock(schedule.local)
    except ValueError as wrong:
        raise InvalidField("local", "is no date and time") from wrong
    if local is not None and schedule.at is not None:
        raise InvalidField("at", "leave it out, or `local`")
    refuse_far_away("at" if local is None else "local", local or schedule.at, datetime.now(UTC))
    async with db.transaction() as tx:
        await lock_campaign(tx, campaign_id, MAY_BE_CHANGED)
        bells.wake_campaigns(tx)
        return await tx.one(Campaign, SCHEDULE, campaign_id, local or schedule.at, local is not None)


@exposed()
async def hold_campaign(campaign_id: UUID) -> Campaign:
    """Send nothing more of a campaign until it is resumed. Again changes nothing. Raises CampaignHasBegun, NotFound, Forbidden."""
    return await _move(campaign_id, MAY_BE_HELD, "paused")


@exposed()
async def resume_campaign(campaign_id: UUID) -> Campaign:
    """Go on where a campaign was held: nobody twice, nobody left out. Again changes nothing. Raises CampaignHasBegun, NotFound."""
    _require_admin()
    async with db.transaction() as tx:
        found = await lock_campaign(tx, campaign_id, ("paused", "scheduled", "sending"))
        if found.status != "paused":
            return found
        bells.wake_campaigns(tx)
        return await tx.one(Campaign, SET_STATUS, campaign_id, "scheduled" if found.begun_at is None else "sending")


@exposed()
async def cancel_campaign(campaign_id: UUID) -> Campaign:
    """Send nothing more of a campaign, ever. Again changes nothing. Raises CampaignHasBegun, NotFound, Forbidden."""
    return await _move(campaign_id, MAY_BE_CANCELLED, "cancelled")


@exposed(timeout=15.0)
async def describe_campaign(campaign_id: UUID, language: str) -> CampaignPreview:
    """A campaign as somebody gets it who reads this language. Changes nothing; raises NotFound, Forbidden."""
    found = await _find_written(campaign_id)
    content = make_content(choose_words(found.words, language), found.path)
    letter = render_letter((Told("campaign", content),), Recipient(language))
    return CampaignPreview(language, letter.subject, letter.text, letter.html, render_short("campaign", language, content))


@exposed()
async def send_campaign_test(campaign_id: UUID, language: str | None) -> UUID:
    """Send a campaign to the caller alone, as they would have it; the notice that their messages belong to.

    Their own preferences and limits count. Again with the same key sends nothing more. Raises NotFound, Forbidden.
    """
    admin_id = _require_admin()
    found = await _find_written(campaign_id)
    content = make_content(choose_words(found.words, language or "en"), found.path)

    async def work(tx: Transaction) -> UUID:
        notice = Notice(new_id(), "campaign", campaign_id, "user", admin_id, content, await tx.value(NOW))
        await notices.write_notices(tx, (notice,))
        return notice.id

    return await once(db, (campaign_id, language), work)


async def lock_campaign(tx: Transaction, campaign_id: UUID, allowed: Statuses) -> Campaign:
    """A campaign that nobody else moves now; raises NotFound, or CampaignHasBegun if it does not stand as it has to."""
    found = await tx.maybe(Campaign, LOCK, campaign_id)
    if found is None:
        raise NotFound
    if found.status not in allowed:
        raise CampaignHasBegun(found.status)
    return found


def make_content(words: Words, path: str | None) -> Content:
    """What a message of a campaign says."""
    content: Content = msgspec.to_builtins(words)
    return content if path is None else {**content, "path": path}


async def _move(campaign_id: UUID, allowed: Statuses, to: CampaignStatus) -> Campaign:
    _require_admin()
    async with db.transaction() as tx:
        found = await lock_campaign(tx, campaign_id, (*allowed, to))
        if found.status == to:
            return found
        bells.wake_campaigns(tx)
        return await tx.one(Campaign, SET_STATUS, campaign_id, to)


async def _find_written(campaign_id: UUID) -> Campaign:
    """A campaign whose words somebody wrote; raises NotFound, Forbidden."""
    _require_admin()
    found = await db.maybe(Campaign, FIND_WRITTEN, campaign_id)
    if found is None:
        raise NotFound
    return found


def _require_admin() -> UUID:
    who = caller().principal
    who.require_admin()
    return who.user_id or UUID(int=0)


def _chosen(wanted: object, present: object) -> object:
    return present if wanted is UNSET else wanted
