"""Products, variants, views, categories and brands over HTTP."""

import re
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from litestar import Response
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from souk.catalog import browsing, categories, http_files, pages, products, suggestions, variants, views
from souk.catalog.browsing import BrandName, ProductFilter, Sort
from souk.catalog.suggestions import Suggestion
from souk.catalog.types import (
    Category,
    CategoryChange,
    NewCategory,
    NewProduct,
    NewVariant,
    NewView,
    Product,
    ProductChange,
    ProductStatus,
    ProductSummary,
    ProductVariant,
    ProductView,
    VariantChange,
)
from souk.catalog.views import RecordView
from souk.kit.errors import InvalidField, NotFound
from souk.kit.http import ADMIN, PUBLIC, SIGNED_IN, Cursor, Limit, Page, route
from souk.kit.ids import new_id

Versioned = TypeVar("Versioned", bound=Product | ProductVariant | Category)

TAG = re.compile(r'\s*"([0-9]{1,18})"\s*')
ETAG = (ResponseHeader(name="ETag", description='The version, as `"3"`', documentation_only=True),)

NO_NUL = r"^[^\x00]+$"
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", max_length=400, description='The ETag, as `"3"`: only if this is still the version, else 412'),
]
InCurrency = Annotated[str | None, QueryParameter(pattern=r"^[A-Z]{3}(?!\n)$", description="Prices in this currency, where there are any")]
WORDS = 'Words as on the web: "a phrase", or, -without; the last one may be a beginning'
Words = Annotated[str | None, QueryParameter(min_length=1, max_length=200, pattern=NO_NUL, description=WORDS)]
CATEGORY = "A category's id or name; what stands below it is included"
Beginning = Annotated[str, QueryParameter(min_length=1, max_length=200, pattern=NO_NUL, description="What was typed so far")]
Few = Annotated[int, QueryParameter(ge=1, le=20, description="How many suggestions at the most")]
InCategory = Annotated[str | None, QueryParameter(min_length=1, max_length=100, pattern=NO_NUL, description=CATEGORY)]
OfBrand = Annotated[str | None, QueryParameter(min_length=1, max_length=200, pattern=NO_NUL)]
OfSeller = Annotated[UUID | None, QueryParameter(description="Of this seller")]
Amount = Annotated[int | None, QueryParameter(ge=0, le=10**15, description="In minor units of `currency`, or of the shop's own")]
Stars = Annotated[float | None, QueryParameter(ge=1, le=5)]
InStock = Annotated[bool | None, QueryParameter(description="Whether a piece can be had now")]
ATTRIBUTES = "`name:value`, of the product or of one of its variants; may be repeated, and then all are to be true"
OnlyWith = Annotated[list[str] | None, QueryParameter(max_items=20, description=ATTRIBUTES)]
InStatus = Annotated[ProductStatus | None, QueryParameter(description="Your own products in this status, whether they are on sale or not")]
Sorting = Annotated[Sort | None, QueryParameter(description="By default the newest first, and for a search by relevance")]
BelowParent = Annotated[UUID | None, QueryParameter(description="Only what stands directly below this category")]
ManyAtOnce = Annotated[int, QueryParameter(ge=1, le=1000, description="How many items at the most")]


async def read_filter(  # noqa: PLR0913  one for each parameter of the query
    *,
    q: Words = None,
    category: InCategory = None,
    brand: OfBrand = None,
    seller: OfSeller = None,
    min_price: Amount = None,
    max_price: Amount = None,
    currency: InCurrency = None,
    min_rating: Stars = None,
    in_stock: InStock = None,
    attributes: OnlyWith = None,
    status: InStatus = None,
    sort: Sorting = None,
) -> ProductFilter:
    """The filters of a list."""
    category_id = read_uuid(category)
    return ProductFilter(
        q=q,
        category_id=category_id,
        category=None if category_id else category,
        brand=brand,
        seller_id=seller,
        min_price=min_price,
        max_price=max_price,
        currency=currency,
        min_rating=min_rating,
        in_stock=in_stock,
        attributes=read_attributes(attributes) if attributes else None,
        status=status,
        sort=sort or "newest",
    )


FILTERED = {"wanted": Provide(read_filter)}


@route("POST", "/products", SIGNED_IN, response_headers=ETAG)
async def create_product(data: JSONBody[NewProduct]) -> Response[Product]:
    """List a product. Send an Idempotency-Key, or an id of your own: a repeated request lists it once. It begins as a draft."""
    (product,) = await products.create_products((data,))
    return tagged(product)


@route("GET", "/products", PUBLIC, dependencies=FILTERED)
async def list_products(wanted: NamedDependency[ProductFilter], limit: Limit = 20, cursor: Cursor = None) -> Page[ProductSummary]:
    """Products on sale."""
    return await browsing.list_products(wanted, limit, cursor)


@route("GET", "/products/search", PUBLIC, dependencies=FILTERED)
async def search_products(
    wanted: NamedDependency[ProductFilter], sort: Sorting = None, limit: Limit = 20, cursor: Cursor = None
) -> Page[ProductSummary]:
    """Products on sale that have these words in name, brand or description; without words, all of them."""
    return await browsing.list_products(msgspec.structs.replace(wanted, sort=sort or "relevance"), limit, cursor)


@route("GET", "/products/suggest", PUBLIC)
async def suggest_products(q: Beginning, limit: Few = 10) -> Page[Suggestion]:
    """Names of categories, brands and products on sale that begin with what was typed; there is no next page."""
    return await suggestions.suggest(q, limit)


@route("GET", "/products/{product_id:uuid}", PUBLIC, response_headers=ETAG)
async def get_product(product_id: FromPath[UUID], currency: InCurrency = None) -> Response[Product]:
    """A product that is on sale, or one of yours. Reading it records no view."""
    return tagged(await pages.get_product(product_id, currency))


@route("PATCH", "/products/{product_id:uuid}", SIGNED_IN, response_headers=ETAG)
async def change_product(product_id: FromPath[UUID], data: JSONBody[ProductChange], if_match: IfMatch = None) -> Response[Product]:
    """Change the fields that are sent. `status` puts it on sale (published), takes it off (archived), or back to a draft."""
    return tagged(await products.change_product(product_id, data, read_versions(if_match)))


@route("DELETE", "/products/{product_id:uuid}", SIGNED_IN)
async def remove_product(product_id: FromPath[UUID], if_match: IfMatch = None) -> None:
    """Remove a product for good; to take it off sale only, archive it."""
    await products.remove_product(product_id, read_versions(if_match))


@route("GET", "/products/{product_id:uuid}/variants", PUBLIC)
async def list_variants(product_id: FromPath[UUID], currency: InCurrency = None) -> Page[ProductVariant]:
    """A product's variants."""
    return Page((await pages.get_product(product_id, currency)).variants)


@route("POST", "/products/{product_id:uuid}/variants", SIGNED_IN, response_headers=ETAG)
async def add_variant(product_id: FromPath[UUID], data: JSONBody[NewVariant]) -> Response[ProductVariant]:
    """Add a variant. Send an Idempotency-Key: a repeated request adds it once."""
    return tagged(await variants.add_variant(product_id, data))


@route("GET", "/products/{product_id:uuid}/variants/{variant_id:uuid}", PUBLIC, response_headers=ETAG)
async def get_variant(product_id: FromPath[UUID], variant_id: FromPath[UUID], currency: InCurrency = None) -> Response[ProductVariant]:
    """A variant of a product."""
    product = await pages.get_product(product_id, currency)
    found = next((variant for variant in product.variants if variant.id == variant_id), None)
    if found is None:
        raise NotFound
    return tagged(found)


@route("PATCH", "/products/{product_id:uuid}/variants/{variant_id:uuid}", SIGNED_IN, response_headers=ETAG)
async def change_variant(
    product_id: FromPath[UUID], variant_id: FromPath[UUID], data: JSONBody[VariantChange], if_match: IfMatch = None
) -> Response[ProductVariant]:
    """Change the fields that are sent; `prices` are replaced as a whole."""
    return tagged(await variants.change_variant(product_id, variant_id, data, read_versions(if_match)))


@route("DELETE", "/products/{product_id:uuid}/variants/{variant_id:uuid}", SIGNED_IN)
async def remove_variant(product_id: FromPath[UUID], variant_id: FromPath[UUID], if_match: IfMatch = None) -> None:
    """Remove a variant for good; to take it off sale only, archive it."""
    await variants.remove_variant(product_id, variant_id, read_versions(if_match))


@route("POST", "/products/{product_id:uuid}/views", PUBLIC)
async def record_view(product_id: FromPath[UUID], data: JSONBody[NewView | None] = None) -> ProductView:
    """Note that somebody looks at a product: you, if you are signed in, else a guest. The same id again notes nothing more."""
    view_id = new_id() if data is None or data.id is None else data.id
    return await views.record_view(RecordView(view_id, product_id))


@route("GET", "/brands", PUBLIC)
async def list_brands(limit: Limit = 100, cursor: Cursor = None) -> Page[BrandName]:
    """The brands of what is on sale."""
    return await browsing.list_brands(limit, cursor)


@route("GET", "/categories", PUBLIC)
async def list_categories(parent_id: BelowParent = None, limit: ManyAtOnce = 1000, cursor: Cursor = None) -> Page[Category]:
    """The category tree as a list, by name."""
    return await categories.list_categories(parent_id, limit, cursor)


@route("POST", "/categories", ADMIN, response_headers=ETAG)
async def create_category(data: JSONBody[NewCategory]) -> Response[Category]:
    """Add a category. Send an Idempotency-Key: a repeated request adds it once."""
    return tagged(await categories.create_category(data))


@route("GET", "/categories/{category_id:uuid}", PUBLIC, response_headers=ETAG)
async def get_category(category_id: FromPath[UUID]) -> Response[Category]:
    """A category."""
    return tagged(await categories.get_category(category_id))


@route("PATCH", "/categories/{category_id:uuid}", ADMIN, response_headers=ETAG)
async def change_category(category_id: FromPath[UUID], data: JSONBody[CategoryChange], if_match: IfMatch = None) -> Response[Category]:
    """Rename a category, or move it, with all that is below it, to another parent."""
    return tagged(await categories.change_category(category_id, data, read_versions(if_match)))


@route("DELETE", "/categories/{category_id:uuid}", ADMIN)
async def remove_category(category_id: FromPath[UUID], if_match: IfMatch = None) -> None:
    """Remove a category in which nothing is."""
    await categories.remove_category(category_id, read_versions(if_match))


def tagged(resource: Versioned) -> Response[Versioned]:
    """The resource with its version as ETag. What is not on sale is the seller's to see, and nobody's to keep."""
    headers = {"ETag": f'"{resource.version}"'}
    if isinstance(resource, Product) and resource.status != "published":
        headers["Cache-Control"] = "private, no-store"
    return Response(resource, headers=headers)


def read_versions(if_match: str | None) -> tuple[int, ...] | None:
    """The versions of which the resource is to be one; None if any will do. A tag that is none of ours is nobody's version."""
    if if_match is None or if_match.strip() == "*":
        return None
    return tuple(int(found[1]) for part in if_match.split(",") if (found := TAG.fullmatch(part)))


def read_attributes(pairs: list[str]) -> dict[str, str]:
    """`name:value` pairs; raises InvalidField."""
    wanted: dict[str, str] = {}
    for pair in pairs:
        name, colon, value = pair.partition(":")
        if not (name and colon and value) or "\x00" in pair or len(pair) > 2200:
            raise InvalidField("attributes", "are to be written as name:value")
        wanted[name] = value
    return wanted


def read_uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


routes: tuple[BaseRouteHandler, ...] = (
    create_product,
    list_products,
    search_products,
    suggest_products,
    get_product,
    change_product,
    remove_product,
    list_variants,
    add_variant,
    get_variant,
    change_variant,
    remove_variant,
    record_view,
    list_brands,
    list_categories,
    create_category,
    get_category,
    change_category,
    remove_category,
    *http_files.routes,
)
