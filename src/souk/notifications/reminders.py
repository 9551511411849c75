"""Reminders of carts that were left: not sent any more when what lay in them is ordered."""

from collections.abc import Sequence
from uuid import UUID

from souk.kit.db import Transaction

DROP_NOTICES = """
    UPDATE notifications.notice SET status = 'dropped', reason = 'ordered', updated_at = now()
    WHERE status = 'new' AND kind = 'cart_abandoned' AND recipient_id = ANY($1) AND (content ->> 'cart_id')::uuid = ANY($2)
"""
LOCK = """
    SELECT id FROM notifications.message
    WHERE user_id = ANY($1) AND kind = 'cart_abandoned' AND status = 'waiting' AND (content ->> 'cart_id')::uuid = ANY($2)
    ORDER BY id FOR UPDATE
"""
SUPPRESS = """
    UPDATE notifications.message SET status = 'suppressed', reason = 'ordered', updated_at = now()
    WHERE user_id = ANY($1) AND kind = 'cart_abandoned' AND status = 'waiting' AND (content ->> 'cart_id')::uuid = ANY($2)
"""


async def stop_reminders(tx: Transaction, user_ids: Sequence[UUID], cart_ids: Sequence[UUID]) -> None:
    """Nobody is reminded of what they have ordered."""
    for statement in (DROP_NOTICES, LOCK, SUPPRESS):
        await tx.run(statement, user_ids, cart_ids)
