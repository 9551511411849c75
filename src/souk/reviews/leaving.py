"""People who leave: what we keep of them, and what of it stays. What they published stays, without a name and without a link to them."""

from uuid import UUID

import msgspec

from souk.kit.db import Transaction
from souk.kit.personal import exports_user_data
from souk.reviews import purchases
from souk.reviews.database import db
from souk.reviews.records import SELECT_REVIEWS, StoredReview, show
from souk.reviews.types import Favorite, Report

REVIEWS = f"{SELECT_REVIEWS} WHERE r.user_id = $1 ORDER BY r.id LIMIT 10000"
VOTES = "SELECT review_id, helpful FROM reviews.vote WHERE user_id = $1 ORDER BY review_id LIMIT 100000"
REPORTS = "SELECT review_id, reason, comment, created_at FROM reviews.report WHERE user_id = $1 ORDER BY created_at LIMIT 100000"
FAVORITES = "SELECT product_id, created_at FROM reviews.favorite WHERE user_id = $1 ORDER BY id LIMIT 100000"
PURCHASES = "SELECT DISTINCT product_id FROM reviews.purchase WHERE user_id = $1 ORDER BY product_id LIMIT 100000"

# All that will be changed, in the order of its keys (decision 7).
LOCK = """
    SELECT id FROM reviews.review
    WHERE id IN (SELECT id FROM reviews.review WHERE user_id = ANY($1)
                 UNION ALL SELECT review_id FROM reviews.vote WHERE user_id = ANY($1)
                 UNION ALL SELECT review_id FROM reviews.report WHERE user_id = ANY($1))
    ORDER BY id FOR UPDATE
"""
FORGET_VOTES = """
    WITH gone AS (DELETE FROM reviews.vote WHERE user_id = ANY($1) RETURNING review_id, helpful),
    counted AS (SELECT review_id, count(*) FILTER (WHERE helpful) AS helpful, count(*) FILTER (WHERE NOT helpful) AS unhelpful
                FROM gone GROUP BY review_id)
    UPDATE reviews.review AS r SET helpful = r.helpful - c.helpful, unhelpful = r.unhelpful - c.unhelpful, updated_at = now()
    FROM counted AS c WHERE r.id = c.review_id
"""
FORGET_REPORTS = """
    WITH gone AS (DELETE FROM reviews.report WHERE user_id = ANY($1) RETURNING review_id, decided),
    counted AS (SELECT review_id, count(*) AS open FROM gone WHERE NOT decided GROUP BY review_id)
    UPDATE reviews.review AS r SET reports = r.reports - c.open, updated_at = now() FROM counted AS c WHERE r.id = c.review_id
"""
FORGET_UNSEEN = "DELETE FROM reviews.review WHERE user_id = ANY($1) AND status <> 'published'"
FORGET_AUTHORS = "UPDATE reviews.review SET user_id = NULL, display_name = NULL, updated_at = now() WHERE user_id = ANY($1)"
FORGET_FAVORITES = "DELETE FROM reviews.favorite WHERE user_id = ANY($1)"
FORGET_PACE = "DELETE FROM reviews.pace WHERE user_id = ANY($1)"


class _Vote(msgspec.Struct, frozen=True):
    review_id: UUID
    helpful: bool


class _Purchase(msgspec.Struct, frozen=True):
    product_id: UUID


@exports_user_data
async def export_reviews(user_id: UUID) -> dict[str, object]:
    """What a user wrote, voted, reported and keeps in mind, and what they may review."""
    return {
        "reviews": [show(one) for one in await db.all(StoredReview, REVIEWS, user_id)],
        "votes": await db.all(_Vote, VOTES, user_id),
        "reports": await db.all(Report, REPORTS, user_id),
        "favorites": await db.all(Favorite, FAVORITES, user_id),
        "purchases": await db.all(_Purchase, PURCHASES, user_id),
    }


async def forget_users(tx: Transaction, user_ids: list[UUID]) -> None:
    """Forget votes, reports, favourites and purchases of people who are gone, and who wrote their reviews."""
    await tx.run(LOCK, user_ids)
    for statement in (FORGET_VOTES, FORGET_REPORTS, FORGET_UNSEEN, FORGET_AUTHORS, FORGET_FAVORITES, FORGET_PACE):
        await tx.run(statement, user_ids)
    await purchases.forget_buyers(tx, user_ids)
