"""Alerts that are open: raised by the first process that tells of one, told to admins once, and ended when nobody tells of it any more."""

from collections.abc import Sequence
from datetime import datetime
from time import monotonic
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import Forbidden
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.ids import new_id
from souk.notifications import notices
from souk.notifications.alert_types import AlertFilter, RaisedAlert, Symptom
from souk.notifications.database import db
from souk.notifications.limits import limits
from souk.notifications.settings import settings
from souk.notifications.telling import Tale, make_notice
from souk.notifications.types import NOBODY

# One that is open is seen again; the row is new if it has the id that we gave.
RAISE = """
    INSERT INTO notifications.alert AS a (id, alert, subject, text)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS u (id, alert, subject, text) ORDER BY u.alert, u.subject
    ON CONFLICT (alert, subject) WHERE ended_at IS NULL DO UPDATE SET text = EXCLUDED.text, seen_at = now(), updated_at = now()
    RETURNING id, alert, subject, text, raised_at, seen_at, ended_at
"""
LOCK_QUIET = """
    SELECT id FROM notifications.alert WHERE ended_at IS NULL AND seen_at < now() - make_interval(secs => $1)
    ORDER BY alert, subject FOR UPDATE
"""
END = """
    UPDATE notifications.alert SET ended_at = now(), updated_at = now() WHERE id = ANY($1::uuid[])
    RETURNING id, alert, subject, text, raised_at, seen_at, ended_at
"""
LIST = """
    SELECT id, alert, subject, text, raised_at, seen_at, ended_at FROM notifications.alert
    WHERE ($1 = 'all' OR (ended_at IS NULL) = ($1 = 'open')) AND ($2::timestamptz IS NULL OR (raised_at, id) < ($2, $3))
    ORDER BY raised_at DESC, id DESC LIMIT $4
"""
FORGET = "DELETE FROM notifications.alert WHERE ended_at < now() - make_interval(days => $1)"

# Nobody could tell of anything while nobody was there to listen.
BEGUN = monotonic()


class _Quiet(msgspec.Struct, frozen=True):
    id: UUID


@exposed()
async def report_symptoms(symptoms: tuple[Symptom, ...]) -> None:
    """Keep an alert open for each of these, and tell admins of those that were not; again for the same tells nobody again.

    For the processes of the shop: raises Forbidden for people.
    """
    if caller().principal.kind != "system":
        raise Forbidden
    wanted = {(one.alert, one.subject): (new_id(), one) for one in symptoms}
    if not wanted:
        return
    ids = [given for given, _ in wanted.values()]
    async with db.transaction() as tx:
        seen = await tx.all(RaisedAlert, RAISE, ids, *columns([one for _, one in wanted.values()], "alert", "subject", "text"))
        fresh = set(ids)
        await _tell(tx, "alert_raised", [one for one in seen if one.id in fresh])


@exposed()
async def list_raised_alerts(wanted: AlertFilter, limit: int, cursor: str | None) -> Page[RaisedAlert]:
    """Alerts, the newest first. Changes nothing; raises Forbidden for anybody but admins."""
    caller().principal.require_admin()
    before = read_cursor(cursor, tuple[datetime, UUID]) or (None, None)
    rows = await db.search(RaisedAlert, LIST, wanted, *before, limit + 1)
    return make_page(rows, limit, lambda row: (row.raised_at, row.id))


async def end_alerts() -> int:
    """End those of which nobody has told for a while, and tell admins; how many. What flickers meanwhile is one alert."""
    quiet_s = settings.now.alert_quiet_s
    if not may_end(monotonic() - BEGUN, quiet_s):
        return 0
    async with db.transaction() as tx:
        quiet = await tx.all(_Quiet, LOCK_QUIET, quiet_s)
        ended = await tx.all(RaisedAlert, END, [one.id for one in quiet]) if quiet else ()
        await _tell(tx, "alert_ended", ended)
    return len(ended)


async def forget_old_alerts() -> int:
    """Drop what was over long ago; how many."""
    async with db.transaction() as tx:
        return await tx.run(FORGET, limits.now.history_days)


def may_end(up_for_s: float, quiet_s: float) -> bool:
    """Whether silence says something: this process has listened for as long as somebody may be silent."""
    return up_for_s >= quiet_s


async def _tell(tx: Transaction, kind: str, alerts: Sequence[RaisedAlert]) -> None:
    moments = {"alert_raised": [one.raised_at for one in alerts], "alert_ended": [one.ended_at or one.seen_at for one in alerts]}
    told = zip(alerts, moments[kind], strict=True)
    await notices.write_notices(
        tx,
        (
            make_notice(Tale(kind, "admins", NOBODY, {"alert": f"{one.alert}: {one.subject}", "text": one.text}), one.id, moment)
            for one, moment in told
        ),
    )
