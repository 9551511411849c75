"""Letters whose sender is gone, or of which nobody knows: what became of them is asked for, and what nobody got is due again."""

import logging
from datetime import UTC, datetime

from souk.kit.lines import Silent, Unreachable
from souk.kit.locks import OWNER_LIVES
from souk.notifications.bells import due_messages
from souk.notifications.channels.carriers import find_carrier
from souk.notifications.database import db
from souk.notifications.sending import FIELDS, in_hand, write_down
from souk.notifications.settings import settings
from souk.notifications.settling import NOBODYS, UNKNOWN, Patience, Settled, settle_orphan
from souk.notifications.types import Channel, Message

log = logging.getLogger(__name__)

# Of those who are gone, and of ours ($4) what no task of ours has in its hands ($5): it was dropped by a failure.
LOCK_ORPHANS = f"""
    SELECT id, owner FROM notifications.message
    WHERE channel = $1 AND status = 'sending' AND updated_at < now() - make_interval(secs => $2)
      AND (owner = $4 OR NOT {OWNER_LIVES.format("owner")}) AND id <> ALL($5)
    ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
"""
ADOPT = f"""
    UPDATE notifications.message SET owner = $2, updated_at = now() WHERE id = ANY($1) AND status = 'sending' RETURNING {FIELDS}
"""

# Asked about in one go.
MOST_ORPHANS = 500


async def settle_orphans(channel: Channel) -> int:
    """Find out what became of some, beside whatever is being sent; how many messages. Raises Unavailable."""
    carrier = find_carrier(channel)
    if carrier is None:
        return 0
    owner = db.owner
    async with db.transaction() as tx:
        found = await tx.connection.fetch(LOCK_ORPHANS, channel, settings.now.grace_s, MOST_ORPHANS, owner, list(in_hand))
        orphans = await tx.all(Message, ADOPT, [row["id"] for row in found], owner) if found else ()
    if not orphans:
        return 0
    now = datetime.now(UTC)
    owners = {row["id"]: row["owner"] for row in found}
    try:
        accepted = await carrier.find_accepted(sorted({one.letter_id for one in orphans}))
    except (Silent, Unreachable) as silence:
        log.warning("book_not_read", extra={"channel": channel, "reason": str(silence)})
        await write_down([Settled(one, "sending", UNKNOWN, owner=owners[one.id]) for one in orphans], (), owner)
        return 0
    pause_s = settings.now.retry_after_s
    settled = [
        settle_orphan(one, None if accepted is None else one.letter_id in accepted, now, Patience(pause_s, owners[one.id] != NOBODYS))
        for one in orphans
    ]
    log.info("orphans_settled", extra={"channel": channel, "count": len(orphans)})
    await write_down(settled, (), owner)
    due_messages[channel].ring()
    return len(orphans)
