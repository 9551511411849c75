"""What catalog announces."""

from datetime import datetime
from uuid import UUID

from souk.kit.events import Event
from souk.kit.money import Money


class VariantAdded(Event, frozen=True):
    """A SKU exists, and this seller may stock it."""

    product_id: UUID
    seller_id: UUID
    variant_id: UUID
    sku: str


class VariantRemoved(Event, frozen=True):
    """A SKU is gone for good."""

    product_id: UUID
    variant_id: UUID
    sku: str


class ProductPublished(Event, frozen=True):
    """A product can be found and bought, for the first time or again."""

    product_id: UUID
    seller_id: UUID


class ProductChanged(Event, frozen=True):
    """Something about a product is new: its words, categories, status, variants or images."""

    product_id: UUID
    version: int


class ProductRemoved(Event, frozen=True):
    """A product is gone for good."""

    product_id: UUID
    seller_id: UUID


class PriceChanged(Event, frozen=True):
    """A SKU costs something else now."""

    product_id: UUID
    sku: str
    prices: tuple[Money, ...]


class RatingShown(Event, frozen=True):
    """A product shows another rating."""

    product_id: UUID


class ProductViewed(Event, frozen=True):
    """Somebody looked at a product."""

    product_id: UUID
    user_id: UUID | None
    viewed_at: datetime


class CategoryChanged(Event, frozen=True):
    """A category was added, renamed or removed, or stands elsewhere now, with all that is below it."""

    category_id: UUID


class ListingsHidden(Event, frozen=True):
    """Nothing of a seller can be found or bought for now."""

    seller_id: UUID


class ListingsShown(Event, frozen=True):
    """What a seller offers can be found and bought again."""

    seller_id: UUID


# By one of these it is told whatever changes of a product that others see: its words, variants, prices, images and whether it is sold.
OF_A_PRODUCT = (ProductChanged, ProductPublished, ProductRemoved, PriceChanged, VariantAdded, VariantRemoved)
OfAProduct = ProductChanged | ProductPublished | ProductRemoved | PriceChanged | VariantAdded | VariantRemoved
# And by one of these, whatever changes of many at once.
OF_MANY = (CategoryChanged, ListingsHidden, ListingsShown)
OfMany = CategoryChanged | ListingsHidden | ListingsShown
