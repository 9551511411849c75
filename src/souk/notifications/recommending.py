"""Recommendations by mail: once a week a campaign begins whose content is of each reader."""

from datetime import UTC, datetime, timedelta

from souk.kit.db import Transaction
from souk.kit.ids import derive_id
from souk.notifications.bells import wake_campaigns, wake_senders
from souk.notifications.settings import settings
from souk.notifications.types import NOBODY
from souk.users import Segment

BEGIN = """
    INSERT INTO notifications.campaign (id, name, kind, words, segment, status, scheduled_at, begun_at, created_by)
    VALUES ($1, $2, 'recommendations', '{}', $3, 'sending', $4, now(), $5) ON CONFLICT (id) DO NOTHING
"""
# What was held for so long that the next week's begins is not sent beside it.
END_EARLIER = """
    UPDATE notifications.campaign SET status = 'cancelled', unsettled = true, finished_at = now(), updated_at = now()
    WHERE kind = 'recommendations' AND status IN ('sending', 'paused') AND id <> $1
"""


async def begin_recommendations(tx: Transaction, at: datetime) -> bool:
    """Begin the recommendations of this week, unless they have begun; whether they did."""
    if not settings.now.recommendations:
        return False
    monday, week = find_week(at)
    campaign_id = derive_id(monday, f"recommendations {week}")
    if not await tx.run(BEGIN, campaign_id, f"Recommendations {week}", Segment(has_likings=True), at, NOBODY):
        return False
    await tx.run(END_EARLIER, campaign_id)
    wake_campaigns(tx)
    wake_senders(tx)
    return True


def find_week(at: datetime) -> tuple[datetime, str]:
    """The beginning of a moment's week, and what the week is called: the same for all of its moments."""
    day = at.astimezone(UTC).date()
    monday = day - timedelta(days=day.weekday())
    return datetime(monday.year, monday.month, monday.day, tzinfo=UTC), f"{day:%G-W%V}"
