"""Notices: written once each, whoever tells of them and how often."""

from collections.abc import Iterable

from souk.kit.db import Transaction, columns
from souk.notifications.bells import wake_planner
from souk.notifications.types import Notice

WRITE = """
    INSERT INTO notifications.notice (id, kind, fact_id, recipient_kind, recipient_id, content, occurred_at)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::jsonb[], $7::timestamptz[])
                  AS u (id, kind, fact_id, recipient_kind, recipient_id, content, occurred_at)
    ORDER BY u.id
    ON CONFLICT (id) DO NOTHING
"""
COLUMNS = ("id", "kind", "fact_id", "recipient_kind", "recipient_id", "content", "occurred_at")


async def write_notices(tx: Transaction, notices: Iterable[Notice]) -> int:
    """Write down what is to be told, and wake who plans it; how much of it was new."""
    wanted = {notice.id: notice for notice in notices}
    if not wanted:
        return 0
    written = await tx.run(WRITE, *columns(tuple(wanted.values()), *COLUMNS))
    if written:
        wake_planner(tx)
    return written
