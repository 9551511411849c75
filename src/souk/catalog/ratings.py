"""What a product shows of its rating, as reviews last told. It is not part of the product's version, as stock is not."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.catalog.database import db
from souk.catalog.events import RatingShown
from souk.catalog.records import LOCK_PRODUCTS
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.events import publish
from souk.reviews.events import RatingChanged

# The rows are locked before (decision 7).
SHOW_RATINGS = """
    UPDATE catalog.product AS p
    SET rating_count = u.count, rating_average = CASE WHEN u.count > 0 THEN u.total::numeric / u.count END, reviews_version = u.version
    FROM (SELECT DISTINCT ON (product_id) * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[])
              AS n (product_id, count, total, version) ORDER BY product_id, version DESC) AS u
    WHERE p.id = u.product_id AND p.reviews_version < u.version
    RETURNING p.id AS product_id
"""
READ_BOOKS = """
    SELECT id AS product_id, rating_count AS count, (rating_average * 100)::bigint AS average_hundredths
    FROM catalog.product WHERE id = ANY($1) ORDER BY id
"""


class ShownRating(msgspec.Struct, frozen=True):
    """What a product shows: so many ratings, and their average in hundredths of a star."""

    product_id: UUID
    count: int
    average_hundredths: int | None


async def show_ratings(tx: Transaction, changes: Sequence[RatingChanged]) -> None:
    """Show the newest rating of each product, and tell; an older one that comes late is dropped."""
    await tx.run(LOCK_PRODUCTS, [change.product_id for change in changes])
    await publish(tx, *await tx.all(RatingShown, SHOW_RATINGS, *columns(changes, "product_id", "count", "total", "version")))


@exposed(timeout=30.0)
async def read_shown_ratings(product_ids: tuple[UUID, ...]) -> tuple[ShownRating, ...]:
    """What those of these products show that are still there; for admins. Changes nothing, raises Forbidden."""
    caller().principal.require_admin()
    return await db.all(ShownRating, READ_BOOKS, list(product_ids))
