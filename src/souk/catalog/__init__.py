"""Catalog knows what is sold: products with their variants, prices and images, the category tree, and who looked at what."""

from souk.catalog.browsing import ProductFilter, list_products
from souk.catalog.categories import ensure_category, list_categories
from souk.catalog.columns import COLUMN_MAPS
from souk.catalog.importing import ImportSummary, import_file
from souk.catalog.merging import RowReport
from souk.catalog.products import create_products
from souk.catalog.ratings import ShownRating, read_shown_ratings
from souk.catalog.reading import get_products
from souk.catalog.rows import UnreadableFile
from souk.catalog.selling import get_variants
from souk.catalog.shelves import Shelf, ShelfProduct, list_shelves
from souk.catalog.suggestions import Suggestion, suggest
from souk.catalog.types import (
    Category,
    CategoryRef,
    Image,
    NewProduct,
    NewVariant,
    Price,
    Product,
    ProductSummary,
    ProductVariant,
    ProductView,
    Rating,
    Variant,
)
from souk.catalog.views import RecordView, record_view

__all__ = [
    "COLUMN_MAPS",
    "Category",
    "CategoryRef",
    "Image",
    "ImportSummary",
    "NewProduct",
    "NewVariant",
    "Price",
    "Product",
    "ProductFilter",
    "ProductSummary",
    "ProductVariant",
    "ProductView",
    "Rating",
    "RecordView",
    "RowReport",
    "Shelf",
    "ShelfProduct",
    "ShownRating",
    "Suggestion",
    "UnreadableFile",
    "Variant",
    "create_products",
    "ensure_category",
    "get_products",
    "get_variants",
    "import_file",
    "list_categories",
    "list_products",
    "list_shelves",
    "read_shown_ratings",
    "record_view",
    "suggest",
]
