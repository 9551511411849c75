"""One thing at a time for each person, and how much of it in a day."""

from uuid import UUID

from souk.kit.db import Transaction
from souk.kit.errors import TooMany
from souk.reviews.settings import settings

# What is counted before it is written is counted right: who does two things at once does one after the other.
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('reviews ' || $1::uuid::text, 0))"
# Counted apart from the reviews: who removes one has written it all the same.
COUNT_REVIEW = """
    INSERT INTO reviews.pace AS p (user_id) VALUES ($1)
    ON CONFLICT (user_id) DO UPDATE
    SET written = CASE WHEN p.since > now() - interval '1 day' THEN p.written + 1 ELSE 1 END,
        since = CASE WHEN p.since > now() - interval '1 day' THEN p.since ELSE now() END, updated_at = now()
    RETURNING written
"""
COUNT_REPORTS = "SELECT count(*) FROM reviews.report WHERE user_id = $1 AND created_at > now() - interval '1 day'"

DAY_S = 86_400


async def take_turn(tx: Transaction, user_id: UUID) -> None:
    """Until the transaction ends this person does nothing else here. It comes before any lock on a row."""
    await tx.run(TAKE_TURN, user_id)


async def limit_reviews(tx: Transaction, user_id: UUID) -> None:
    """Count a review that this person is about to write; raises TooMany if they have written enough for a day."""
    if await tx.value(COUNT_REVIEW, user_id) > settings.now.reviews_per_day:
        raise TooMany(DAY_S)


async def limit_reports(tx: Transaction, user_id: UUID) -> None:
    """Raises TooMany if this person has reported enough for a day."""
    if await tx.value(COUNT_REPORTS, user_id) >= settings.now.reports_per_day:
        raise TooMany(DAY_S)
