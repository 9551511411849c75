"""What notifications does by the clock, and whenever there is something to tell."""

import asyncio
import logging

from souk.kit.background import in_every_process, whenever
from souk.kit.db import NOT_NOW, Transaction
from souk.kit.errors import Unavailable
from souk.kit.jobs import every
from souk.kit.queue import job
from souk.kit.schedules import Tick, scheduled
from souk.notifications import (
    alerts,
    announcing,
    fanning_out,
    findings,
    forgetting,
    in_app,
    orphans,
    planning,
    prices,
    recommending,
    sending,
    streaming,
)
from souk.notifications.bells import campaign_moves, due_messages, left_letters, new_notices
from souk.notifications.settings import settings

log = logging.getLogger(__name__)

SHOW_EVERY_S = 10.0
# For a campaign or a price that another process has changed, and for what one has left.
SOON_ENOUGH_S = 1.0


@whenever(new_notices, alone=True)
async def plan_messages() -> int:
    """Turn notices into messages."""
    return await planning.plan_all()


@whenever(due_messages["in_app"], alone=False)
async def fill_feeds() -> int:
    """Bring messages of the channel in_app into the feeds."""
    return await in_app.deliver_in_app()


@whenever(due_messages["email"], alone=False)
async def send_emails() -> int:
    """Send what is due by e-mail."""
    return await sending.send_due("email")


@whenever(due_messages["sms"], alone=False)
async def send_texts() -> int:
    """Send what is due by SMS."""
    return await sending.send_due("sms")


@whenever(due_messages["push"], alone=False)
async def send_pushes() -> int:
    """Send what is due to apps."""
    return await sending.send_due("push")


@whenever(left_letters, alone=False, look_again_s=SOON_ENOUGH_S)
async def settle_emails() -> int:
    """Find out what became of e-mails whose sender is gone."""
    return await orphans.settle_orphans("email")


@whenever(left_letters, alone=False, look_again_s=SOON_ENOUGH_S)
async def settle_texts() -> int:
    """Find out what became of SMS whose sender is gone."""
    return await orphans.settle_orphans("sms")


@whenever(left_letters, alone=False, look_again_s=SOON_ENOUGH_S)
async def settle_pushes() -> int:
    """Find out what became of pushes whose sender is gone."""
    return await orphans.settle_orphans("push")


@whenever(new_notices, alone=True, look_again_s=SOON_ENOUGH_S)
async def tell_of_prices() -> int:
    """Find prices that have dropped, and tell those who keep the products in mind."""
    return await prices.compare_prices() + await prices.tell_of_drops()


@whenever(campaign_moves, alone=True, look_again_s=SOON_ENOUGH_S)
async def move_campaigns() -> int:
    """Begin campaigns in time, tell their recipients page by page, and end them."""
    return await fanning_out.move_campaigns()


@scheduled(lambda: settings.now.recommendations_at)
@job()
async def begin_recommendations(tx: Transaction, tick: Tick) -> None:
    """Recommend something to everybody who says what they like, once a week."""
    await recommending.begin_recommendations(tx, tick.at)


@every(5.0)
async def end_alerts() -> int:
    """End alerts of which nobody tells any more."""
    return await alerts.end_alerts()


@in_every_process
async def show_findings() -> None:
    """Show what the last audit found, whichever process it was told."""
    while True:
        try:
            await findings.show_findings()
        except (Unavailable, *NOT_NOW) as silence:
            log.warning("findings_unknown", extra={"reason": str(silence)})
        await asyncio.sleep(SHOW_EVERY_S)


@every(60.0)
async def forget_old_tickets() -> int:
    """Drop tickets of streams that nobody has used, and what sellers wrote that is not counted any more."""
    return await streaming.forget_old_tickets() + await announcing.forget_written()


@every(3600.0)
async def forget_old_messages() -> int:
    """Drop whole months of messages, notices and feeds that lie too far back, old prices, and alerts that were over long ago."""
    return await forgetting.forget_old_messages() + await prices.forget_old_prices() + await alerts.forget_old_alerts()
