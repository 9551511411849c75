"""Reviews as they are kept: read under a lock, written, and what follows for everybody when one can be read or cannot any more."""

from datetime import datetime
from uuid import UUID

from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.reviews import ratings
from souk.reviews.events import ReviewHidden, ReviewPosted
from souk.reviews.types import Review

SELECT_REVIEWS = """
    SELECT r.id, r.product_id, r.seller_id, r.user_id, r.rating, r.title, r.comment, r.display_name, r.verified, r.status, r.reason,
           r.queued_at, r.helpful, r.unhelpful, r.score, r.reports, r.edited_at, r.created_at, r.updated_at,
           CASE WHEN r.reply IS NOT NULL THEN jsonb_build_object(
               'comment', r.reply, 'created_at', r.replied_at, 'updated_at', r.reply_changed_at) END AS reply
    FROM reviews.review AS r
"""
FIND = f"{SELECT_REVIEWS} WHERE r.id = $1"
# Whoever changes anything of a review, its votes and reports included, holds this lock.
LOCK = f"{FIND} FOR UPDATE"
WRITE = """
    UPDATE reviews.review
    SET rating = $2, title = $3, comment = $4, display_name = $5, status = $6, reason = $7, queued_at = $8, edited_at = $9, reports = $10,
        updated_at = now()
    WHERE id = $1
"""


class StoredReview(Review, frozen=True, kw_only=True):
    """A row of review: what is shown, whose it is, and who sells what it is about."""

    seller_id: UUID
    user_id: UUID | None
    queued_at: datetime | None
    score: int
    reports: int

    @property
    def is_public(self) -> bool:
        return self.status == "published"


async def lock_review(tx: Transaction, review_id: UUID) -> StoredReview:
    """A review that nobody else changes until the transaction ends; raises NotFound."""
    found = await tx.maybe(StoredReview, LOCK, review_id)
    if found is None:
        raise NotFound
    return found


async def lock_public(tx: Transaction, review_id: UUID) -> StoredReview:
    """A review that everybody can read, which nobody else changes until the transaction ends; raises NotFound."""
    found = await lock_review(tx, review_id)
    if not found.is_public:
        raise NotFound
    return found


async def write_review(tx: Transaction, before: StoredReview, after: StoredReview) -> Review:
    """Write a review that is locked, count its stars, and tell; as it is then."""
    values = (after.rating, after.title, after.comment, after.display_name, after.status, after.reason)
    await tx.run(WRITE, after.id, *values, after.queued_at, after.edited_at, after.reports)
    await follow_change(tx, before, after)
    return await read_review(tx, after.id)


async def read_review(tx: Transaction, review_id: UUID) -> Review:
    """The review as it is inside a transaction."""
    return show(await tx.one(StoredReview, FIND, review_id))


async def follow_change(tx: Transaction, before: StoredReview | None, after: StoredReview | None) -> None:
    """Count the stars of a review that was written or removed, and tell who has to know. The review is locked, or new."""
    was, now = (one if one is not None and one.is_public else None for one in (before, after))
    if was is not None:
        await ratings.count_stars(tx, was.product_id, was.rating, now.rating if now else None)
    elif now is not None:
        await ratings.count_stars(tx, now.product_id, None, now.rating)
    if now is not None and (was is None or words_of(was) != words_of(now)):
        await publish(tx, ReviewPosted(now.id, now.product_id, now.seller_id, now.user_id, now.rating, now.verified))
    elif was is not None and now is None:
        await publish(tx, ReviewHidden(was.id, was.product_id, was.seller_id))


def words_of(stored: StoredReview) -> tuple[object, ...]:
    """What an author says."""
    return stored.rating, stored.title, stored.comment, stored.display_name


def show(stored: StoredReview) -> Review:
    """What is shown of a row."""
    return Review(**{name: getattr(stored, name) for name in Review.__struct_fields__})
