"""How many stars a product got: counted with each review in one transaction, and told with a version."""

from uuid import UUID

import msgspec

from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField
from souk.kit.events import publish
from souk.reviews.database import db
from souk.reviews.events import RatingChanged
from souk.reviews.types import RatingSummary, StarCount

BEGIN = "INSERT INTO reviews.product_rating (product_id) VALUES ($1) ON CONFLICT DO NOTHING"
# Two transactions may stand in the outbox in another order than they got this row: the version says which one is newer.
COUNT = """
    UPDATE reviews.product_rating
    SET stars1 = stars1 + $2, stars2 = stars2 + $3, stars3 = stars3 + $4, stars4 = stars4 + $5, stars5 = stars5 + $6,
        version = version + 1, updated_at = now()
    WHERE product_id = $1
    RETURNING product_id, count, total, version
"""
FIND = """
    SELECT product_id, stars1, stars2, stars3, stars4, stars5, count, total
    FROM reviews.product_rating WHERE product_id = ANY($1) ORDER BY product_id
"""

MOST_AT_ONCE = 500
STARS = range(1, 6)


class _Rating(msgspec.Struct, frozen=True):
    product_id: UUID
    stars1: int
    stars2: int
    stars3: int
    stars4: int
    stars5: int
    count: int
    total: int


@exposed()
async def get_ratings(product_ids: tuple[UUID, ...]) -> tuple[RatingSummary, ...]:
    """The ratings of up to 500 products, in the order of the ids; of one that nobody has rated there are none. Changes nothing."""
    if len(product_ids) > MOST_AT_ONCE:
        raise InvalidField("product_ids", f"are to be at most {MOST_AT_ONCE}")
    found = {row.product_id: row for row in await db.all(_Rating, FIND, list(product_ids))}
    nobody = (0,) * (len(STARS) + 2)
    return tuple(sum_up(found.get(product_id) or _Rating(product_id, *nobody)) for product_id in product_ids)


async def count_stars(tx: Transaction, product_id: UUID, before: int | None, after: int | None) -> None:
    """Count a rating that came, went or became another, and tell of it; None is one that is not public."""
    if before == after:
        return
    await tx.run(BEGIN, product_id)
    deltas = [(stars == after) - (stars == before) for stars in STARS]
    await publish(tx, await tx.one(RatingChanged, COUNT, product_id, *deltas))


def sum_up(row: _Rating) -> RatingSummary:
    """The average to two places, and the stars from five down to one."""
    # As PostgreSQL rounds what the catalogue shows: half of a hundredth goes up.
    average = (200 * row.total + row.count) // (2 * row.count) / 100 if row.count else None
    counts = (row.stars1, row.stars2, row.stars3, row.stars4, row.stars5)
    return RatingSummary(row.product_id, average, row.count, tuple(StarCount(stars, counts[stars - 1]) for stars in reversed(STARS)))
