"""Whether a review was of help: one vote per person, counted in the review."""

from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.reviews.database import db
from souk.reviews.records import lock_public, read_review
from souk.reviews.types import OwnGoods, OwnReview, Review

FIND_VOTE = "SELECT helpful FROM reviews.vote WHERE review_id = $1 AND user_id = $2"
SET_VOTE = """
    INSERT INTO reviews.vote (review_id, user_id, helpful) VALUES ($1, $2, $3)
    ON CONFLICT (review_id, user_id) DO UPDATE SET helpful = excluded.helpful, updated_at = now()
"""
TAKE_VOTE_BACK = "DELETE FROM reviews.vote WHERE review_id = $1 AND user_id = $2"
COUNT_VOTE = "UPDATE reviews.review SET helpful = helpful + $2, unhelpful = unhelpful + $3, updated_at = now() WHERE id = $1"


@exposed()
async def vote_on_review(review_id: UUID, helpful: bool) -> Review:
    """Say whether a review was of help; another vote takes the place of the first, the same one changes nothing.

    Raises NotFound, OwnReview, and OwnGoods for who sells what it is about.
    """
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        found = await lock_public(tx, review_id)
        if found.user_id == user_id:
            raise OwnReview
        if caller().principal.sells_for(found.seller_id):
            raise OwnGoods
        before = await tx.value(FIND_VOTE, review_id, user_id)
        await tx.run(SET_VOTE, review_id, user_id, helpful)
        await count_vote(tx, review_id, before, helpful)
        return await read_review(tx, review_id)


@exposed()
async def withdraw_vote(review_id: UUID) -> Review:
    """Take one's vote back; without one it changes nothing. Raises NotFound."""
    user_id = caller().principal.require_user()
    async with db.transaction() as tx:
        await lock_public(tx, review_id)
        before = await tx.value(FIND_VOTE, review_id, user_id)
        await tx.run(TAKE_VOTE_BACK, review_id, user_id)
        await count_vote(tx, review_id, before, None)
        return await read_review(tx, review_id)


async def count_vote(tx: Transaction, review_id: UUID, before: bool | None, after: bool | None) -> None:
    """Count a vote that came, went or became another; None is no vote. The review is locked."""
    if before is not after:
        await tx.run(COUNT_VOTE, review_id, *((after is kind) - (before is kind) for kind in (True, False)))
