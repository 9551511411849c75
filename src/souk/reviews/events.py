"""What reviews announces."""

from uuid import UUID

from souk.kit.events import Event


class ReviewPosted(Event, frozen=True):
    """A review can be read by everybody: for the first time, again, or with other words or stars."""

    review_id: UUID
    product_id: UUID
    seller_id: UUID
    user_id: UUID | None
    rating: int
    verified: bool


class ReviewHidden(Event, frozen=True):
    """A review that everybody could read is not there any more: removed, refused, or looked at anew."""

    review_id: UUID
    product_id: UUID
    seller_id: UUID


class ReviewRejected(Event, frozen=True):
    """An admin refused a review; why is told to its author, who asks for it."""

    review_id: UUID
    product_id: UUID
    user_id: UUID | None


class ReviewReplied(Event, frozen=True):
    """The seller has answered a review."""

    review_id: UUID
    product_id: UUID
    seller_id: UUID
    user_id: UUID | None


class RatingChanged(Event, frozen=True):
    """A product has so many published ratings, and this is their sum. Of two such facts the one with the higher version is newer."""

    product_id: UUID
    count: int
    total: int
    version: int


class FavoriteAdded(Event, frozen=True):
    """Somebody keeps a product in mind."""

    user_id: UUID
    product_id: UUID


class FavoriteRemoved(Event, frozen=True):
    """Somebody does not keep a product in mind any more."""

    user_id: UUID
    product_id: UUID
