"""What the last audit found, kept so that every process of this context shows it: by rule, how many rows break it."""

from collections.abc import Iterable

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import columns
from souk.kit.telemetry import AUDIT_FINDINGS
from souk.notifications.alert_types import RuleCount
from souk.notifications.database import db

KEEP = """
    INSERT INTO notifications.audit_finding AS f (rule, broken)
    SELECT * FROM unnest($1::text[], $2::bigint[]) AS u (rule, broken) ORDER BY u.rule
    ON CONFLICT (rule) DO UPDATE SET broken = EXCLUDED.broken, updated_at = now()
"""
LIST = "SELECT rule, broken FROM notifications.audit_finding ORDER BY rule"


@exposed()
async def record_findings(found: tuple[RuleCount, ...]) -> None:
    """Keep what an audit found of these rules, in the place of what the one before did. Raises Forbidden for anybody but admins."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        await tx.run(KEEP, *columns(found, "rule", "broken"))
    show(found)


async def show_findings() -> None:
    """Show what is kept as a metric of this process."""
    show(await db.all(RuleCount, LIST))


def show(found: Iterable[RuleCount]) -> None:
    """As a metric of this process."""
    for one in found:
        AUDIT_FINDINGS.labels(one.rule).set(one.broken)
