"""Decide what rows of an import change, given what is there: nothing here reads or writes."""

from collections.abc import Iterable, Mapping
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.catalog.records import ProductRow, VariantRow, check_prices, is_same
from souk.catalog.rows import ImportRow, RowRefused
from souk.catalog.types import MOST_VARIANTS, NotSellable, SkuTaken, TooManyVariants, UnknownCategory
from souk.kit.errors import DomainError
from souk.kit.ids import new_id

Result = Literal["created", "updated", "unchanged", "refused"]

OF_PRODUCT = (
    "name", "description", "brand", "attributes", "tax_category", "requires_shipping", "status", "rating_average", "rating_count",
)  # fmt: skip


class NumberedRow(msgspec.Struct, frozen=True):
    """A row and its place in the file; whether it is the first one there of its product, and of its SKU."""

    line: int
    row: ImportRow
    first_of_product: bool = True
    first_of_sku: bool = True


class RowReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a row: `created` is a SKU that is new. A refused row says why: a stable code and a sentence."""

    line: int
    result: Result
    sku: str | None = None
    product_id: UUID | None = None
    code: str | None = None
    reason: str | None = None


class Merge:
    """Products and variants as they are and as they are to be; rows are taken one after the other."""

    def __init__(self, seller_id: UUID, products: Iterable[ProductRow], variants: Iterable[VariantRow], *, trusted: bool) -> None:
        self.seller_id = seller_id
        self.trusted = trusted
        self._old_products = {product.id: product for product in products}
        self._old_variants = {variant.sku: variant for variant in variants}
        self._products = dict(self._old_products)
        self._variants = dict(self._old_variants)
        self._by_external_id: dict[str, UUID] = {}
        named: set[UUID] = set()
        # A product without an external id goes by the SKU of its first variant, as in an export.
        for variant in self._old_variants.values():
            product = self._old_products[variant.product_id]
            if product.seller_id == seller_id and product.external_id is None and product.id not in named:
                self._by_external_id[variant.sku] = product.id
                named.add(product.id)
        for product in self._old_products.values():
            if product.seller_id == seller_id and product.external_id is not None:
                self._by_external_id[product.external_id] = product.id

    def take(self, numbered: NumberedRow, places: Mapping[str, UUID | None]) -> RowReport:
        """Take a row in, or refuse it; a refused row leaves everything as it is."""
        row = numbered.row
        try:
            category_ids = find_categories(row, places)
            self._check(row)
            known = self._find_product(row)
            product = self._merge_product(known, numbered, category_ids)
            variant = self._merge_variant(product, numbered)
            product = self._count(product, variant)
        except (RowRefused, DomainError) as refusal:
            reason = refusal.reason if isinstance(refusal, RowRefused) else str(refusal)
            return RowReport(numbered.line, "refused", row.sku, code=refusal.code, reason=reason)
        result = self._compare(product, variant)
        self._products[product.id] = product
        self._variants[variant.sku] = variant
        if product.external_id is not None:
            self._by_external_id[product.external_id] = product.id
        return RowReport(numbered.line, result, row.sku, product.id)

    def new_products(self) -> list[ProductRow]:
        return [product for product in self._products.values() if product.id not in self._old_products]

    def changed_products(self) -> list[tuple[ProductRow, ProductRow]]:
        pairs = [(old, self._products[old.id]) for old in self._old_products.values()]
        return [(old, new) for old, new in pairs if not is_same(old, new)]

    def new_variants(self) -> list[VariantRow]:
        return [variant for sku, variant in self._variants.items() if sku not in self._old_variants]

    def changed_variants(self) -> list[tuple[VariantRow, VariantRow]]:
        pairs = [(old, self._variants[sku]) for sku, old in self._old_variants.items()]
        return [(old, new) for old, new in pairs if not is_same(old, new)]

    def touched_products(self) -> set[UUID]:
        """The products that were there and are to have a new version."""
        changed = {new.product_id for new in self.new_variants()} | {new.product_id for _, new in self.changed_variants()}
        return (changed | {new.id for _, new in self.changed_products()}) & self._old_products.keys()

    def _check(self, row: ImportRow) -> None:
        """Raises what is wrong with a row whatever is there."""
        if row.prices is not UNSET:
            check_prices(row.sku, row.prices)
        if (row.rating_average is UNSET) != (row.rating_count is UNSET):
            raise RowRefused("invalid", "A rating is an average and a count")
        if row.rating_count is not UNSET and not self.trusted:
            raise RowRefused("forbidden", "Ratings are not a seller's to give")

    def _find_product(self, row: ImportRow) -> ProductRow | None:
        """The product that a row is about, if it is there; raises SkuTaken."""
        variant = self._variants.get(row.sku)
        if variant is not None and variant.seller_id != self.seller_id:
            raise SkuTaken(row.sku)
        if row.external_id is UNSET and variant is not None:
            return self._products[variant.product_id]
        product_id = self._by_external_id.get(row.sku if row.external_id is UNSET else row.external_id)
        if variant is not None and variant.product_id != product_id:
            raise SkuTaken(row.sku)
        return self._products[product_id] if product_id else None

    def _merge_product(self, known: ProductRow | None, numbered: NumberedRow, category_ids: tuple[UUID, ...]) -> ProductRow:
        row = numbered.row
        given = {name: value for name in OF_PRODUCT if (value := getattr(row, name)) is not UNSET}
        for name in ("name", "brand"):
            if name in given:
                given[name] = given[name].strip()
        if known is None:
            if row.name is UNSET:
                raise RowRefused("no_name", "A new product needs a name")
            external_id = row.sku if row.external_id is UNSET else row.external_id
            known = ProductRow(new_id(), self.seller_id, row.name, external_id, status="published")
        elif not numbered.first_of_product:
            given = {}
        # Once it has reviews, it is rated by them.
        if known.reviewed:
            given = {name: value for name, value in given.items() if name not in ("rating_average", "rating_count")}
        if category_ids:
            given["category_ids"] = tuple(sorted({*known.category_ids, *category_ids}))
            if numbered.first_of_product or known.category_id is None:
                given["category_id"] = category_ids[0]
        return msgspec.structs.replace(known, **given)

    def _merge_variant(self, product: ProductRow, numbered: NumberedRow) -> VariantRow:
        row = numbered.row
        fields = {"name": row.variant_name, "attributes": row.variant_attributes, "prices": row.prices, "weight_g": row.weight_g}
        given = {name: value for name, value in fields.items() if value is not UNSET}
        if row.prices is not UNSET:
            given["prices"] = tuple(sorted(row.prices, key=lambda price: price.currency))
        variant = self._variants.get(row.sku)
        if variant is None:
            if row.prices is UNSET:
                raise RowRefused("no_price", "A new SKU needs a price")
            if product.variants >= MOST_VARIANTS:
                raise TooManyVariants(MOST_VARIANTS)
            variant = VariantRow(new_id(), product.id, product.seller_id, row.sku, row.prices)
        elif not numbered.first_of_sku:
            return variant
        return msgspec.structs.replace(variant, **given)

    def _count(self, product: ProductRow, variant: VariantRow) -> ProductRow:
        """The product with the variant counted; raises NotSellable."""
        if variant.sku not in self._variants:
            product = msgspec.structs.replace(product, variants=product.variants + 1, live_variants=product.live_variants + 1)
        if product.status == "published" and not product.live_variants:
            raise NotSellable
        return product

    def _compare(self, product: ProductRow, variant: VariantRow) -> Result:
        old_variant = self._variants.get(variant.sku)
        if old_variant is None:
            return "created"
        same = is_same(old_variant, variant) and is_same(self._products[product.id], product)
        return "unchanged" if same else "updated"


def find_categories(row: ImportRow, places: Mapping[str, UUID | None]) -> tuple[UUID, ...]:
    """The ids of the categories that a row names; raises UnknownCategory."""
    found: list[UUID] = []
    for names in row.categories:
        category_id = places.get(names)
        if category_id is None:
            raise UnknownCategory(names)
        found.append(category_id)
    return tuple(found)
