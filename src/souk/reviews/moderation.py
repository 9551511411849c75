"""What people report, and what admins decide: what waits, what is shown, what is not."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.kit.http import Page, make_page, read_cursor
from souk.reviews import pacing
from souk.reviews.database import db
from souk.reviews.events import ReviewRejected
from souk.reviews.records import SELECT_REVIEWS, StoredReview, lock_public, lock_review, show, write_review
from souk.reviews.settings import settings
from souk.reviews.types import AlreadyRejected, NewReport, OwnReview, QueuedReview, Report, Review

# What an admin has decided before the author wrote something else was said of other words.
FIND_REPORT = """
    SELECT review_id, reason, comment, created_at FROM reviews.report
    WHERE review_id = $1 AND user_id = $2 AND (NOT decided OR updated_at >= coalesce($3::timestamptz, '-infinity'))
"""
WRITE_REPORT = """
    INSERT INTO reviews.report (review_id, user_id, reason, comment) VALUES ($1, $2, $3, $4)
    ON CONFLICT (review_id, user_id) DO UPDATE
    SET reason = excluded.reason, comment = excluded.comment, decided = false, created_at = now(), updated_at = now()
    RETURNING review_id, reason, comment, created_at
"""
# It stays where everybody reads it: a handful of accounts is not to silence a buyer.
COUNT_REPORT = """
    UPDATE reviews.review
    SET reports = reports + 1, updated_at = now(),
        queued_at = CASE WHEN reports + 1 >= $2 THEN coalesce(queued_at, now()) ELSE queued_at END
    WHERE id = $1
"""
DECIDE_REPORTS = "UPDATE reviews.report SET decided = true, updated_at = now() WHERE review_id = $1 AND NOT decided"
LIST_QUEUE = f"""
    SELECT q.*, coalesce((SELECT jsonb_agg(to_jsonb(n)) FROM (
        SELECT review_id, reason, comment, created_at FROM reviews.report
        WHERE review_id = q.id AND NOT decided ORDER BY created_at DESC LIMIT 20) AS n), '[]') AS reported
    FROM ({SELECT_REVIEWS} WHERE r.queued_at IS NOT NULL AND (r.queued_at, r.id) > ($1, $2) ORDER BY r.queued_at, r.id LIMIT $3) AS q
    ORDER BY q.queued_at, q.id
"""

# A cursor before which no row lies.
BEGIN = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@exposed()
async def report_review(review_id: UUID, new: NewReport) -> Report:
    """Say that something is wrong with a review that everybody can read, once per person: reporting it again gives the first report.

    What its author changed after an admin had decided can be reported anew. With enough reports it waits for an admin, and stays to be
    read. Raises NotFound, OwnReview, TooMany.
    """
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        await pacing.take_turn(tx, user_id)
        found = await lock_public(tx, review_id)
        if found.user_id == user_id:
            raise OwnReview
        known = await tx.maybe(Report, FIND_REPORT, review_id, user_id, found.edited_at)
        if known is not None:
            return known
        await pacing.limit_reports(tx, user_id)
        await tx.run(COUNT_REPORT, review_id, settings.now.reports_to_queue)
        return await tx.one(Report, WRITE_REPORT, review_id, user_id, new.reason, new.comment)


@exposed()
async def list_review_queue(limit: int, cursor: str | None) -> Page[QueuedReview]:
    """The reviews that wait for an admin, those that wait longest first. Changes nothing; raises Forbidden for anybody else."""
    caller().principal.require_admin()
    after = read_cursor(cursor, tuple[datetime, UUID]) or BEGIN
    rows = await db.all(QueuedReview, LIST_QUEUE, *after, limit + 1)
    return make_page(rows, limit, lambda row: (row.queued_at, row.id))


@exposed()
async def approve_review(review_id: UUID) -> Review:
    """Show a review, and count what was reported of it as decided. Again changes nothing. For admins.

    Raises Forbidden, NotFound, and AlreadyRejected for one that was rejected.
    """
    caller().principal.require_admin()
    async with db.transaction() as tx:
        found = await lock_review(tx, review_id)
        if found.status == "withdrawn":
            raise NotFound
        if found.status == "rejected":
            raise AlreadyRejected
        if found.is_public and found.queued_at is None and not found.reports:
            return show(found)
        return await decide(tx, found, msgspec.structs.replace(found, status="published"))


@exposed()
async def reject_review(review_id: UUID, reason: str) -> Review:
    """Do not show a review, for a reason that its author is told. Again changes the reason. For admins; raises Forbidden, NotFound."""
    caller().principal.require_admin()
    async with db.transaction() as tx:
        return await reject(tx, await lock_review(tx, review_id), reason)


async def reject(tx: Transaction, found: StoredReview, reason: str) -> Review:
    """Reject a review that is locked; raises NotFound if its author has taken it back."""
    if found.status == "withdrawn":
        raise NotFound
    if found.status != "rejected":
        await publish(tx, ReviewRejected(found.id, found.product_id, found.user_id))
    return await decide(tx, found, msgspec.structs.replace(found, status="rejected", reason=reason))


async def decide(tx: Transaction, found: StoredReview, wanted: StoredReview) -> Review:
    """Write what an admin decided: it waits no longer, and its reports are looked at."""
    await tx.run(DECIDE_REPORTS, found.id)
    return await write_review(tx, found, msgspec.structs.replace(wanted, queued_at=None, reports=0))
