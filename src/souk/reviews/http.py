"""Reviews, votes, replies, moderation and favourites over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from souk.kit.http import ADMIN, PUBLIC, SIGNED_IN, Cursor, Limit, Page, route
from souk.reviews import favorites, moderation, ratings, reading, replies, votes, writing
from souk.reviews.types import (
    Favorite,
    NewFavorite,
    NewReport,
    NewReview,
    QueuedReview,
    RatingSummary,
    Rejection,
    ReplyBody,
    Report,
    Review,
    ReviewChange,
    ReviewFilter,
    ReviewSort,
    Vote,
)

OnlyStars = Annotated[int | None, QueryParameter(ge=1, le=5, description="Only reviews with so many stars")]
OnlyVerified = Annotated[bool | None, QueryParameter(description="Whether the product was delivered to the author")]
Sorting = Annotated[ReviewSort, QueryParameter(description="The newest, most helpful, highest or lowest first")]
OfSeller = Annotated[UUID | None, QueryParameter(description="Reviews of what this seller account of yours sells")]
WHY = "For an admin: why another's review is to go"
Because = Annotated[str | None, QueryParameter(min_length=1, max_length=500, pattern=r"^[^\x00]+$", description=WHY)]


@route("POST", "/products/{product_id:uuid}/reviews", SIGNED_IN)
async def create_review(product_id: FromPath[UUID], data: JSONBody[NewReview]) -> Review:
    """Review a product that was delivered to you, once. A repeated request changes nothing."""
    return await writing.create_review(product_id, data)


@route("GET", "/products/{product_id:uuid}/reviews", PUBLIC)
async def list_reviews(
    product_id: FromPath[UUID],
    rating: OnlyStars = None,
    verified: OnlyVerified = None,
    sort: Sorting = "newest",
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[Review]:
    """What buyers say of a product."""
    return await reading.list_reviews(product_id, ReviewFilter(rating, verified, sort), limit, cursor)


@route("GET", "/products/{product_id:uuid}/reviews/summary", PUBLIC)
async def get_rating_summary(product_id: FromPath[UUID]) -> RatingSummary:
    """How many rated a product, the average, and how many gave how many stars."""
    (summary,) = await ratings.get_ratings((product_id,))
    return summary


@route("GET", "/products/{product_id:uuid}/reviews/{review_id:uuid}", PUBLIC)
async def get_review(product_id: FromPath[UUID], review_id: FromPath[UUID]) -> Review:
    """A review that is published, or yours."""
    return await reading.get_review(product_id, review_id)


@route("PATCH", "/products/{product_id:uuid}/reviews/{review_id:uuid}", SIGNED_IN)
async def change_review(product_id: FromPath[UUID], review_id: FromPath[UUID], data: JSONBody[ReviewChange]) -> Review:
    """Change the fields of your review that are sent."""
    return await writing.change_review(product_id, review_id, data)


@route("DELETE", "/products/{product_id:uuid}/reviews/{review_id:uuid}", SIGNED_IN)
async def remove_review(product_id: FromPath[UUID], review_id: FromPath[UUID], reason: Because = None) -> None:
    """Remove your review. An admin rejects another's so, for a reason."""
    await writing.remove_review(product_id, review_id, reason)


@route("GET", "/reviews", SIGNED_IN)
async def list_own_reviews(seller_id: OfSeller = None, limit: Limit = 20, cursor: Cursor = None) -> Page[Review]:
    """What you wrote, whatever became of it; or what was published of your goods. The newest first."""
    return await reading.list_own_reviews(seller_id, limit, cursor)


@route("POST", "/reviews/{review_id:uuid}/votes", SIGNED_IN, status_code=200)
async def vote_on_review(review_id: FromPath[UUID], data: JSONBody[Vote | None] = None) -> Review:
    """Say that a review was of help, or that it was not. Another vote takes the place of the first."""
    return await votes.vote_on_review(review_id, data is None or data.helpful)


@route("DELETE", "/reviews/{review_id:uuid}/votes", SIGNED_IN, status_code=200)
async def withdraw_vote(review_id: FromPath[UUID]) -> Review:
    """Take your vote back."""
    return await votes.withdraw_vote(review_id)


@route("POST", "/reviews/{review_id:uuid}/reply", SIGNED_IN)
async def reply_to_review(review_id: FromPath[UUID], data: JSONBody[ReplyBody]) -> Review:
    """Answer a review of what you sell, once. A repeated request changes nothing."""
    return await replies.reply_to_review(review_id, data.comment)


@route("PATCH", "/reviews/{review_id:uuid}/reply", SIGNED_IN)
async def change_reply(review_id: FromPath[UUID], data: JSONBody[ReplyBody]) -> Review:
    """Answer with other words."""
    return await replies.change_reply(review_id, data.comment)


@route("DELETE", "/reviews/{review_id:uuid}/reply", SIGNED_IN)
async def remove_reply(review_id: FromPath[UUID]) -> None:
    """Take your reply back."""
    await replies.remove_reply(review_id)


@route("POST", "/reviews/{review_id:uuid}/reports", SIGNED_IN)
async def report_review(review_id: FromPath[UUID], data: JSONBody[NewReport]) -> Report:
    """Tell the shop that something is wrong with a review. A repeated request changes nothing."""
    return await moderation.report_review(review_id, data)


@route("GET", "/reviews/queue", ADMIN)
async def list_review_queue(limit: Limit = 20, cursor: Cursor = None) -> Page[QueuedReview]:
    """The reviews that wait for an admin, those that wait longest first."""
    return await moderation.list_review_queue(limit, cursor)


@route("POST", "/reviews/{review_id:uuid}/approve", ADMIN, status_code=200)
async def approve_review(review_id: FromPath[UUID]) -> Review:
    """Show a review, and take it off the queue."""
    return await moderation.approve_review(review_id)


@route("POST", "/reviews/{review_id:uuid}/reject", ADMIN, status_code=200)
async def reject_review(review_id: FromPath[UUID], data: JSONBody[Rejection]) -> Review:
    """Do not show a review, for a reason that its author is told."""
    return await moderation.reject_review(review_id, data.reason)


@route("POST", "/favorites", SIGNED_IN)
async def add_favorite(data: JSONBody[NewFavorite]) -> Favorite:
    """Keep a product in mind. A repeated request changes nothing."""
    return await favorites.add_favorite(data.product_id)


@route("GET", "/favorites", SIGNED_IN)
async def list_favorites(limit: Limit = 20, cursor: Cursor = None) -> Page[Favorite]:
    """The products that you keep in mind, the newest first."""
    return await favorites.list_favorites(limit, cursor)


@route("GET", "/favorites/{product_id:uuid}", SIGNED_IN)
async def get_favorite(product_id: FromPath[UUID]) -> Favorite:
    """Whether you keep a product in mind."""
    return await favorites.get_favorite(product_id)


@route("DELETE", "/favorites/{product_id:uuid}", SIGNED_IN)
async def remove_favorite(product_id: FromPath[UUID]) -> None:
    """Do not keep a product in mind any more."""
    await favorites.remove_favorite(product_id)


routes: tuple[BaseRouteHandler, ...] = (
    create_review,
    list_reviews,
    get_rating_summary,
    get_review,
    change_review,
    remove_review,
    list_own_reviews,
    vote_on_review,
    withdraw_vote,
    reply_to_review,
    change_reply,
    remove_reply,
    report_review,
    list_review_queue,
    approve_review,
    reject_review,
    add_favorite,
    list_favorites,
    get_favorite,
    remove_favorite,
)
