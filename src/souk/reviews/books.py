"""Ratings as the audit compares them with what the catalogue shows."""

from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.reviews.database import db

READ_BOOKS = "SELECT product_id, count, total FROM reviews.product_rating WHERE product_id > $1 ORDER BY product_id LIMIT $2"


class RatingBook(msgspec.Struct, frozen=True):
    """How many stars a product has in so many reviews."""

    product_id: UUID
    count: int
    total: int


@exposed(timeout=30.0)
async def read_rating_books(after: UUID, limit: int) -> tuple[RatingBook, ...]:
    """The ratings of the next products after one; for admins. Changes nothing, raises Forbidden."""
    caller().principal.require_admin()
    return await db.all(RatingBook, READ_BOOKS, after, limit)
