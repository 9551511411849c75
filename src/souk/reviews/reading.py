"""Reviews as everybody reads them, and one's own with what became of them."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.reviews.database import db
from souk.reviews.records import FIND, SELECT_REVIEWS, StoredReview, show
from souk.reviews.types import Review, ReviewFilter, ReviewSort

OF_PRODUCT = f"""
    {SELECT_REVIEWS}
    WHERE r.product_id = $1 AND r.status = 'published'
      AND ($2::smallint IS NULL OR r.rating = $2) AND ($3::boolean IS NULL OR r.verified = $3)
"""
LIST_NEWEST = f"{OF_PRODUCT} AND r.id < $4 ORDER BY r.id DESC LIMIT $5"
LIST_HELPFUL = f"{OF_PRODUCT} AND (r.score, r.id) < ($4, $5) ORDER BY r.score DESC, r.id DESC LIMIT $6"
LIST_HIGHEST = f"{OF_PRODUCT} AND (r.rating, r.id) < ($4, $5) ORDER BY r.rating DESC, r.id DESC LIMIT $6"
LIST_LOWEST = f"{OF_PRODUCT} AND (r.rating, r.id) > ($4, $5) ORDER BY r.rating, r.id LIMIT $6"
LIST_OWN = f"{SELECT_REVIEWS} WHERE r.user_id = $1 AND r.id < $2 ORDER BY r.id DESC LIMIT $3"
LIST_OF_SELLER = f"{SELECT_REVIEWS} WHERE r.seller_id = $1 AND r.status = 'published' AND r.id < $2 ORDER BY r.id DESC LIMIT $3"

Score = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Stars = Annotated[int, Meta(ge=0, le=6)]

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)


class Order(msgspec.Struct, frozen=True):
    """How a list is sorted: its statement, the type of its cursor and where it begins, and the key of a row."""

    sql: str
    cursor: type[tuple[object, ...]]
    begin: tuple[object, ...]
    key: Callable[[StoredReview], tuple[object, ...]]


ORDERS: dict[ReviewSort, Order] = {
    "newest": Order(LIST_NEWEST, tuple[UUID], (LAST,), lambda row: (row.id,)),
    "helpful": Order(LIST_HELPFUL, tuple[Score, UUID], (2**63 - 1, LAST), lambda row: (row.score, row.id)),
    "highest": Order(LIST_HIGHEST, tuple[Stars, UUID], (6, LAST), lambda row: (row.rating, row.id)),
    "lowest": Order(LIST_LOWEST, tuple[Stars, UUID], (0, FIRST), lambda row: (row.rating, row.id)),
}


@exposed()
async def list_reviews(product_id: UUID, wanted: ReviewFilter, limit: int, cursor: str | None) -> Page[Review]:
    """What was published of a product. Changes nothing."""
    order = ORDERS[wanted.sort]
    after = read_cursor(cursor, order.cursor) or order.begin
    rows = await db.search(StoredReview, order.sql, product_id, wanted.rating, wanted.verified, *after, limit + 1)
    return show_all(make_page(rows, limit, order.key))


@exposed()
async def get_review(product_id: UUID, review_id: UUID) -> Review:
    """A review. Changes nothing; raises NotFound, also for what is not published unless it is the caller's, or for an admin."""
    found = await db.maybe(StoredReview, FIND, review_id)
    who = caller().principal
    if found is None or found.product_id != product_id or not (found.is_public or who.owns(found.user_id) or who.is_admin):
        raise NotFound
    return show(found)


@exposed()
async def list_own_reviews(seller_id: UUID | None, limit: int, cursor: str | None) -> Page[Review]:
    """What the caller wrote, whatever became of it, or what was published of their own goods; the newest first. Changes nothing.

    Raises NotFound for another's seller.
    """
    who = caller().principal
    (before,) = read_cursor(cursor, tuple[UUID]) or (LAST,)
    if seller_id is None:
        rows = await db.all(StoredReview, LIST_OWN, who.require_user(), before, limit + 1)
    elif who.manages(seller_id):
        rows = await db.all(StoredReview, LIST_OF_SELLER, seller_id, before, limit + 1)
    else:
        raise NotFound
    return show_all(make_page(rows, limit, lambda row: (row.id,)))


def show_all(page: Page[StoredReview]) -> Page[Review]:
    return Page(tuple(show(row) for row in page.items), page.next)
