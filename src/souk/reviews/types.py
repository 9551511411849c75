"""The vocabulary of reviews: what is written, what is shown, who may not, and favourites."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict, Forbidden

ReviewStatus = Literal["pending", "published", "rejected", "withdrawn"]
ReviewSort = Literal["newest", "helpful", "highest", "lowest"]
ReportReason = Literal["spam", "offensive", "off_topic", "untrue", "other"]

Stars = Annotated[int, Meta(ge=1, le=5, examples=[5])]
Title = Annotated[str, Meta(max_length=150, examples=["Keeps warm"])]
Comment = Annotated[str, Meta(max_length=5000, description="plain text", examples=["My tea is hot after an hour."])]
DisplayName = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"\S", description="shown beside it", examples=["Ada"])]
ReplyText = Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"\S", examples=["Thank you, Ada."])]
Why = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S", examples=["an advertisement"])]


class NewReview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a buyer thinks of a product. Without `display_name` it is shown without a name."""

    rating: Stars
    title: Title = ""
    comment: Comment = ""
    display_name: DisplayName | None = None


class ReviewChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; fields that are left out stay as they are."""

    rating: Stars | UnsetType = UNSET
    title: Title | UnsetType = UNSET
    comment: Comment | UnsetType = UNSET
    display_name: DisplayName | UnsetType | None = UNSET


class Reply(msgspec.Struct, frozen=True):
    """What the seller answered."""

    comment: str
    created_at: datetime
    updated_at: datetime


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A review as it is shown. `verified` says that the product was delivered to its author; `reason` is why it was rejected."""

    id: UUID
    product_id: UUID
    rating: int
    title: str
    comment: str
    display_name: str | None
    verified: bool
    status: ReviewStatus
    reason: str | None
    helpful: int
    unhelpful: int
    reply: Reply | None
    edited_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ReviewFilter(msgspec.Struct, frozen=True):
    """Which reviews of a product, and in which order."""

    rating: int | None = None
    verified: bool | None = None
    sort: ReviewSort = "newest"


class StarCount(msgspec.Struct, frozen=True):
    """How many gave so many stars."""

    rating: int
    count: int


class RatingSummary(msgspec.Struct, frozen=True):
    """How many rated a product, the average of 1 to 5, null as long as nobody has, and how many gave how many stars."""

    product_id: UUID
    average: float | None
    count: int
    stars: tuple[StarCount, ...]


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a review was of help."""

    helpful: bool = True


class ReplyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the seller answers."""

    comment: ReplyText


class NewReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with a review."""

    reason: ReportReason
    comment: Annotated[str, Meta(max_length=500)] = ""


class Report(msgspec.Struct, frozen=True):
    """Somebody finds something wrong with a review."""

    review_id: UUID
    reason: ReportReason
    comment: str
    created_at: datetime


class Rejection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a review is not shown."""

    reason: Why


class QueuedReview(Review, frozen=True, kw_only=True):
    """A review that waits for an admin, since when, and the newest of what was reported of it."""

    user_id: UUID | None
    seller_id: UUID
    queued_at: datetime
    reported: tuple[Report, ...]


class NewFavorite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A product to keep in mind."""

    product_id: UUID


class Favorite(msgspec.Struct, frozen=True):
    """A product that a user keeps in mind."""

    product_id: UUID
    created_at: datetime


class NotPurchased(Forbidden, code="reviews.not_purchased"):
    """Only somebody to whom this product was delivered may review it."""


class OwnGoods(Forbidden, code="reviews.own_goods"):
    """A seller rates neither their own goods nor what is said of them."""


class OwnReview(Forbidden, code="reviews.own_review"):
    """This is your own review."""


class AlreadyReviewed(Conflict, code="reviews.already_reviewed"):
    """You have reviewed this product: change the review {review_id}."""

    review_id: UUID


class AlreadyReplied(Conflict, code="reviews.already_replied"):
    """This review has a reply: change it."""


class AlreadyRejected(Conflict, code="reviews.already_rejected"):
    """This review was rejected; it can be approved when its author has changed it."""


class TooManyFavorites(Conflict, code="reviews.too_many_favorites"):
    """A user keeps at most {most} products in mind."""

    most: int
