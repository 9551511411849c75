"""Reviews knows what buyers say of products they received, how they rate them, what sellers answer, and what people keep in mind."""

from souk.reviews.books import RatingBook, read_rating_books
from souk.reviews.favorites import add_favorite, get_favorite, list_favorites, remove_favorite
from souk.reviews.moderation import approve_review, list_review_queue, reject_review, report_review
from souk.reviews.ratings import get_ratings
from souk.reviews.reading import get_review, list_own_reviews, list_reviews
from souk.reviews.replies import change_reply, remove_reply, reply_to_review
from souk.reviews.types import (
    AlreadyRejected,
    AlreadyReplied,
    AlreadyReviewed,
    Favorite,
    NewReport,
    NewReview,
    NotPurchased,
    OwnGoods,
    OwnReview,
    QueuedReview,
    RatingSummary,
    Reply,
    Report,
    Review,
    ReviewChange,
    ReviewFilter,
    StarCount,
    TooManyFavorites,
)
from souk.reviews.votes import vote_on_review, withdraw_vote
from souk.reviews.writing import change_review, create_review, remove_review

__all__ = [
    "AlreadyRejected",
    "AlreadyReplied",
    "AlreadyReviewed",
    "Favorite",
    "NewReport",
    "NewReview",
    "NotPurchased",
    "OwnGoods",
    "OwnReview",
    "QueuedReview",
    "RatingBook",
    "RatingSummary",
    "Reply",
    "Report",
    "Review",
    "ReviewChange",
    "ReviewFilter",
    "StarCount",
    "TooManyFavorites",
    "add_favorite",
    "approve_review",
    "change_reply",
    "change_review",
    "create_review",
    "get_favorite",
    "get_ratings",
    "get_review",
    "list_favorites",
    "list_own_reviews",
    "list_review_queue",
    "list_reviews",
    "read_rating_books",
    "reject_review",
    "remove_favorite",
    "remove_reply",
    "remove_review",
    "reply_to_review",
    "report_review",
    "vote_on_review",
    "withdraw_vote",
]
