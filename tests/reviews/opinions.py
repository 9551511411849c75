"""What tests of reviews share: things that were delivered, people who say what they think of them, and a look into the books."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from uuid import UUID

from tests.conftest import asked_by

from souk import reviews
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.reviews import consumers, rules
from souk.reviews.database import db
from souk.reviews.types import NewReview, RatingSummary, Review
from souk.shipping.events import ShipmentDelivered, ShipmentDispatched, ShippedLine

SELLER = new_id()


def as_buyer(user_id: UUID) -> AbstractContextManager[None]:
    return asked_by("buyer", user_id=user_id)


def as_seller(seller_id: UUID = SELLER) -> AbstractContextManager[None]:
    return asked_by("seller", sells_for=(seller_id,))


def as_admin() -> AbstractContextManager[None]:
    return asked_by("admin")


def parcel(user_id: UUID | None, *product_ids: UUID, seller_id: UUID = SELLER, at: datetime | None = None) -> ShipmentDelivered:
    """The news of a parcel that has arrived with these products in it."""
    lines = tuple(ShippedLine(new_id(), "SKU", 1, product_id) for product_id in product_ids)
    return ShipmentDelivered(new_id(), new_id(), seller_id, lines, at or datetime.now(UTC), user_id)


def sent(arrived: ShipmentDelivered, at: datetime) -> ShipmentDispatched:
    """The news of when such a parcel had left."""
    return ShipmentDispatched(arrived.shipment_id, arrived.order_id, arrived.seller_id, arrived.lines, at, arrived.user_id)


async def hear(*news: ShipmentDispatched | ShipmentDelivered) -> None:
    """Tell reviews of parcels that have left or arrived."""
    async with db.transaction() as tx:
        await consumers.keep_purchases(tx, tuple(Delivered(one, new_id(), datetime.now(UTC)) for one in news))


async def receive(product_id: UUID, seller_id: UUID = SELLER) -> UUID:
    """Somebody new to whom a product was delivered."""
    user_id = new_id()
    await hear(parcel(user_id, product_id, seller_id=seller_id))
    return user_id


async def write(product_id: UUID, rating: int = 5, comment: str = "Good.", user_id: UUID | None = None, **more: object) -> Review:
    """A review by somebody who received the product: somebody new, if nobody is named."""
    with as_buyer(user_id or await receive(product_id)):
        return await reviews.create_review(product_id, NewReview(rating, comment=comment, **more))


async def shown(product_id: UUID) -> tuple[Review, ...]:
    """What everybody reads of a product, the newest first."""
    return (await reviews.list_reviews(product_id, reviews.ReviewFilter(), 100, None)).items


async def rating_of(product_id: UUID) -> RatingSummary:
    (summary,) = await reviews.get_ratings((product_id,))
    return summary


async def announced(kind: str) -> list[dict]:
    """The events of this kind, in their order."""
    async with db.transaction() as tx:
        rows = await tx.connection.fetch("SELECT payload FROM reviews.outbox WHERE type = $1 ORDER BY xid, id", f"reviews.{kind}")
    return [row["payload"] for row in rows]


async def check_books() -> None:
    """Every rule of the books holds."""
    for rule in rules.RULES:
        found = await db.value(f"SELECT jsonb_agg(to_jsonb(broken)) FROM ({rule.sql}) AS broken")
        assert found is None, rule.statement
