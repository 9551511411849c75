"""The vocabulary of the catalogue: products, their variants and images, categories, and why something is refused."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict, Invalid
from souk.kit.money import LARGEST_AMOUNT, Currency, Money

ProductStatus = Literal["draft", "published", "archived"]

MOST_VARIANTS = 200

# A SKU stands in addresses: no slash, nothing that is not printed, and not the dots that mean a folder.
SKU = r"^(?!\.{1,2}$)[^\s/\x00-\x1f\x7f]([^/\x00-\x1f\x7f]*[^\s/\x00-\x1f\x7f])?(?!\n)$"
Sku = Annotated[str, Meta(min_length=1, max_length=100, pattern=SKU, description="unique; no slash", examples=["MUG-BLUE"])]
Name = Annotated[str, Meta(min_length=1, max_length=300, pattern=r"\S", examples=["Stoneware mug"])]
VariantName = Annotated[str, Meta(max_length=300, examples=["blue"])]
Description = Annotated[str, Meta(max_length=20_000, examples=["Holds 350 ml, and keeps it warm."])]
Brand = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S", examples=["Kumo"])]
TaxCategory = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,50}(?!\n)$", description="which tax rate applies", examples=["standard"])]
WeightG = Annotated[int, Meta(ge=0, le=100_000_000, description="grams", examples=[380])]
ExternalId = Annotated[str, Meta(min_length=1, max_length=200, description="the seller's own key, unique per seller", examples=["mug-7"])]
CategoryName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\s>|]([^>|]*[^\s>|])?(?!\n)$", examples=["Kitchen"])]

AttributeName = Annotated[str, Meta(min_length=1, max_length=100)]
AttributeText = Annotated[str, Meta(max_length=2000)]
AttributeNumber = Annotated[int, Meta(ge=-(2**53), le=2**53)] | float | bool
Attributes = Annotated[
    dict[AttributeName, AttributeText | AttributeNumber | Annotated[list[AttributeText], Meta(max_length=100)] | None],
    Meta(max_length=100, description="anything else there is to say", examples=[{"colour": "blue", "dishwasher_safe": True}]),
]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one piece costs in one currency."""

    amount: Annotated[int, Meta(ge=0, le=LARGEST_AMOUNT // 1000, description="minor units", examples=[1900])]
    currency: Currency


Prices = Annotated[tuple[Price, ...], Meta(min_length=1, max_length=50, description="one per currency of the shop")]


class Variant(msgspec.Struct, frozen=True):
    """What can be bought under a SKU, as other contexts need it. `category_ids` has every category of the product and all above."""

    id: UUID
    product_id: UUID
    seller_id: UUID
    sku: str
    product_name: str
    name: str
    attributes: dict[str, object]
    prices: tuple[Money, ...]
    weight_g: int
    category_id: UUID | None
    category_ids: tuple[UUID, ...]
    tax_category: str
    requires_shipping: bool
    image_url: str | None
    active: bool
    version: int


class CategoryRef(msgspec.Struct, frozen=True):
    """A category's name."""

    id: UUID
    name: str


class Rating(msgspec.Struct, frozen=True):
    """How many rated it, and the average of 1 to 5; null as long as nobody has."""

    average: float | None
    count: int


class Image(msgspec.Struct, frozen=True):
    """A picture of a product; `thumbnails` by their longest side in pixels."""

    id: UUID
    url: str
    thumbnails: dict[str, str]
    width: int
    height: int
    alt: str
    position: int
    created_at: datetime
    updated_at: datetime


class ProductVariant(msgspec.Struct, frozen=True):
    """A variant as a shopper sees it. `price` is in the currency asked for, or in another if it has none there."""

    id: UUID
    sku: str
    name: str
    attributes: dict[str, object]
    price: Money | None
    prices: tuple[Money, ...]
    weight_g: int
    archived: bool
    stock_available: int
    version: int
    created_at: datetime
    updated_at: datetime


class Product(msgspec.Struct, frozen=True):
    """A seller's listing. Stock and rating are not part of its version."""

    id: UUID
    seller_id: UUID
    external_id: str | None
    name: str
    description: str
    brand: str | None
    category: str | None
    category_id: UUID | None
    categories: tuple[CategoryRef, ...]
    attributes: dict[str, object]
    tax_category: str
    requires_shipping: bool
    status: ProductStatus
    price: Money | None
    variants: tuple[ProductVariant, ...]
    images: tuple[Image, ...]
    image_url: str | None
    stock_available: int
    rating: Rating
    version: int
    published_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ProductSummary(msgspec.Struct, frozen=True):
    """A product in a list: without description, variants, attributes and further images."""

    id: UUID
    seller_id: UUID
    name: str
    brand: str | None
    category: str | None
    category_id: UUID | None
    status: ProductStatus
    price: Money | None
    image_url: str | None
    thumbnail_url: str | None
    stock_available: int
    rating: Rating
    version: int
    created_at: datetime
    updated_at: datetime


class NewVariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant to add."""

    sku: Sku
    prices: Prices
    name: VariantName = ""
    attributes: Attributes = {}
    weight_g: WeightG = 0


class NewProduct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A product to create. `seller_id` may be left out by who sells for one seller only; the id may be made by the caller."""

    name: Name
    variants: Annotated[tuple[NewVariant, ...], Meta(max_length=MOST_VARIANTS)] = ()
    description: Description = ""
    brand: Brand | None = None
    category_id: Annotated[UUID | None, Meta(description="the primary category")] = None
    category_ids: Annotated[tuple[UUID, ...], Meta(max_length=50, description="further categories")] = ()
    attributes: Attributes = {}
    tax_category: TaxCategory = "standard"
    requires_shipping: bool = True
    status: Literal["draft", "published"] = "draft"
    external_id: ExternalId | None = None
    seller_id: UUID | None = None
    id: UUID | None = None


class ProductChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; fields that are left out stay as they are."""

    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    brand: Brand | UnsetType | None = UNSET
    category_id: UUID | UnsetType | None = UNSET
    category_ids: Annotated[tuple[UUID, ...], Meta(max_length=50)] | UnsetType = UNSET
    attributes: Attributes | UnsetType = UNSET
    tax_category: TaxCategory | UnsetType = UNSET
    requires_shipping: bool | UnsetType = UNSET
    status: ProductStatus | UnsetType = UNSET
    external_id: ExternalId | UnsetType | None = UNSET


class VariantChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; fields that are left out stay as they are. A SKU never changes: stock is kept under it."""

    name: VariantName | UnsetType = UNSET
    attributes: Attributes | UnsetType = UNSET
    prices: Prices | UnsetType = UNSET
    weight_g: WeightG | UnsetType = UNSET
    archived: bool | UnsetType = UNSET


class ImageChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different about a picture; the lowest position is the first."""

    alt: Annotated[str, Meta(max_length=300, examples=["A blue mug on a table"])] | UnsetType = UNSET
    position: Annotated[int, Meta(ge=0, le=1_000_000)] | UnsetType = UNSET


class ProductView(msgspec.Struct, frozen=True):
    """Somebody looked at a product; `user_id` is null for a guest."""

    id: UUID
    product_id: UUID
    user_id: UUID | None
    view_timestamp: datetime


class NewView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody looks at a product; with an id of the caller's it is one view however often it is sent."""

    id: UUID | None = None


class Category(msgspec.Struct, frozen=True):
    """A place in the category tree; `path` has the ids from the root down to itself."""

    id: UUID
    name: str
    parent_id: UUID | None
    path: tuple[UUID, ...]
    version: int
    created_at: datetime
    updated_at: datetime


class NewCategory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A category to create; without a parent it is a root."""

    name: CategoryName
    parent_id: UUID | None = None


class CategoryChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; a category moves with everything below it."""

    name: CategoryName | UnsetType = UNSET
    parent_id: UUID | UnsetType | None = UNSET


class SkuTaken(Conflict, code="catalog.sku_taken"):
    """The SKU {sku} is in use: a SKU is unique in the shop."""

    sku: str


class ExternalIdTaken(Conflict, code="catalog.external_id_taken"):
    """This seller has another product with the external id {external_id}."""

    external_id: str


class NotSellable(Conflict, code="catalog.not_sellable"):
    """A published product has at least one variant that is not archived."""


class TooManyVariants(Conflict, code="catalog.too_many_variants"):
    """A product has at most {most} variants."""

    most: int


class TooManyImages(Conflict, code="catalog.too_many_images"):
    """A product has at most {most} images."""

    most: int


class UnknownCategory(Invalid, code="catalog.unknown_category"):
    """There is no category {category}."""

    category: str


class CategoryNameTaken(Conflict, code="catalog.category_name_taken"):
    """There is another category named {name} in the same place."""

    name: str


class CategoryCircle(Conflict, code="catalog.category_circle"):
    """A category cannot stand below itself."""


class CategoryTooDeep(Conflict, code="catalog.category_too_deep"):
    """Categories are at most {deepest} levels deep."""

    deepest: int


class CategoryInUse(Conflict, code="catalog.category_in_use"):
    """The category has sub-categories or products; move them first."""


class CurrencyNotSold(Invalid, code="catalog.currency_not_sold"):
    """This shop does not sell in {currency}."""

    currency: str


class PriceRepeated(Invalid, code="catalog.price_repeated"):
    """{sku} has two prices in {currency}; there is one per currency."""

    sku: str
    currency: str
