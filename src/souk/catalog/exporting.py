"""Give out a seller's products row by row, in the form that an import takes."""

from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
from msgspec import UNSET

from souk.catalog.database import db
from souk.catalog.rows import COLUMNS, PRICE, ImportRow
from souk.catalog.settings import shop
from souk.catalog.types import Attributes, Price, ProductStatus
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import Forbidden, NotFound
from souk.kit.money import to_major
from souk.kit.spreadsheets import escape, write_line

ROWS_AT_ONCE = 500

# $3 whether ratings are given out: only admins may import them again.
FIND_ROWS = """
    SELECT v.id AS variant_id, p.id AS product_id, v.sku, coalesce(p.external_id, (
               SELECT first.sku FROM catalog.variant AS first WHERE first.product_id = p.id ORDER BY first.id LIMIT 1)) AS external_id,
           p.name, p.description, p.brand, p.attributes, v.name AS variant_name, v.attributes AS variant_attributes,
           v.weight_g, p.tax_category, p.requires_shipping, p.status,
           CASE WHEN $3 THEN p.rating_average::float8 END AS rating_average,
           CASE WHEN $3 THEN nullif(p.rating_count, 0) END AS rating_count,
           coalesce((SELECT jsonb_agg(jsonb_build_object('amount', m.amount, 'currency', m.currency) ORDER BY m.currency)
                     FROM catalog.price AS m WHERE m.variant_id = v.id), '[]') AS prices,
           ARRAY(SELECT (SELECT string_agg(above.name, ' > ' ORDER BY array_position(c.path, above.id))
                         FROM catalog.category AS above WHERE above.id = ANY(c.path))
                 FROM catalog.product_category AS pc JOIN catalog.category AS c ON c.id = pc.category_id
                 WHERE pc.product_id = p.id ORDER BY c.id <> p.category_id, c.name, c.id) AS categories
    FROM catalog.product AS p JOIN catalog.variant AS v ON v.product_id = p.id
    WHERE ($1::uuid[] IS NULL OR p.seller_id = ANY($1)) AND p.id >= $4 AND (p.id, v.id) > ($4, $5) AND NOT v.archived
    ORDER BY p.id, v.id LIMIT $2
"""
FIRST = UUID(int=0)


class _Row(msgspec.Struct, frozen=True):
    variant_id: UUID
    product_id: UUID
    sku: str
    external_id: str
    name: str
    description: str
    brand: str | None
    attributes: Attributes
    variant_name: str
    variant_attributes: Attributes
    weight_g: int
    tax_category: str
    requires_shipping: bool
    status: ProductStatus
    rating_average: float | None
    rating_count: int | None
    prices: tuple[Price, ...]
    categories: tuple[str, ...]


class ExportedRow(msgspec.Struct, frozen=True):
    """A row, and where the next ones begin."""

    row: ImportRow
    place: tuple[UUID, UUID]


@exposed(timeout=30.0)
async def export_rows(seller_id: UUID | None, after: tuple[UUID, UUID]) -> tuple[ExportedRow, ...]:
    """The next 500 variants of the caller's products, or of one of their sellers, in any status; an admin's are all. Changes nothing.

    Raises Forbidden for who sells nothing, NotFound for another's seller.
    """
    who = caller().principal
    if not who.is_admin and not who.seller_ids:
        raise Forbidden
    if seller_id is not None and not (who.is_admin or who.sells_for(seller_id)):
        raise NotFound
    sellers = [seller_id] if seller_id else None if who.is_admin else list(who.seller_ids)
    rows = await db.search(_Row, FIND_ROWS, sellers, ROWS_AT_ONCE, who.is_admin, *after)
    return tuple(ExportedRow(to_import_row(row), (row.product_id, row.variant_id)) for row in rows)


async def export_all(seller_id: UUID | None) -> AsyncIterator[tuple[ImportRow, ...]]:
    """Every row, a portion at a time."""
    after = (FIRST, FIRST)
    while portion := await export_rows(seller_id, after):
        yield tuple(one.row for one in portion)
        after = portion[-1].place


def to_import_row(row: _Row) -> ImportRow:
    """The row as an import would take it."""
    return ImportRow(
        sku=row.sku,
        external_id=row.external_id,
        name=row.name,
        description=row.description,
        brand=UNSET if row.brand is None else row.brand,
        categories=row.categories,
        attributes=row.attributes,
        variant_name=row.variant_name,
        variant_attributes=row.variant_attributes,
        prices=row.prices,
        weight_g=row.weight_g,
        tax_category=row.tax_category,
        requires_shipping=row.requires_shipping,
        status=row.status,
        rating_average=UNSET if row.rating_average is None else row.rating_average,
        rating_count=UNSET if row.rating_count is None else row.rating_count,
    )


def write_ndjson(rows: tuple[ImportRow, ...]) -> bytes:
    """One JSON object a line."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def write_header() -> bytes:
    """The first line of CSV: our columns, and a price for each of the shop's currencies."""
    return write_line([*COLUMNS, *(f"{PRICE}{currency}" for currency in shop.now.currencies)])


def write_csv(rows: tuple[ImportRow, ...]) -> bytes:
    """Lines of CSV in which no cell is a formula; prices are in major units."""
    return b"".join(write_line([to_cell(cell) for cell in to_cells(row)]) for row in rows)


def to_cells(row: ImportRow) -> list[object]:
    values = msgspec.structs.asdict(row) | {
        "categories": " | ".join(row.categories),
        "attributes": msgspec.json.encode(row.attributes).decode(),
        "variant_attributes": msgspec.json.encode(row.variant_attributes).decode(),
        "requires_shipping": "true" if row.requires_shipping else "false",
    }
    prices = {price.currency: price.amount for price in row.prices} if row.prices else {}
    amounts = [to_major(prices[currency], currency) if currency in prices else "" for currency in shop.now.currencies]
    return [*(values[name] for name in COLUMNS), *amounts]


def to_cell(value: object) -> str:
    return "" if value is UNSET else escape(str(value))
