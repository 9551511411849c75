"""Lists of products: filtered, searched by their words, sorted, a page at a time."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.catalog import media
from souk.catalog.database import db
from souk.catalog.settings import shop
from souk.catalog.types import ProductStatus, ProductSummary
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.money import Currency

Sort = Literal["relevance", "price", "-price", "newest"]
BigInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

# $1 ids, $2 the currency that is preferred, $3 where media are.
SHOW_PRODUCTS = """
    SELECT p.id, p.seller_id, p.name, p.brand, p.category_id, p.status, p.version, p.created_at, p.updated_at,
           (SELECT c.name FROM catalog.category AS c WHERE c.id = p.category_id) AS category,
           jsonb_build_object('average', p.rating_average, 'count', p.rating_count) AS rating,
           (SELECT jsonb_build_object('amount', l.amount, 'currency', l.currency) FROM catalog.lowest_price AS l
            WHERE l.product_id = p.id ORDER BY l.currency <> $2, l.currency LIMIT 1) AS price,
           $3::text || i.file || '.webp' AS image_url, $3 || i.file || '-480.webp' AS thumbnail_url,
           (SELECT coalesce(sum(l.available), 0)::bigint FROM catalog.variant AS v
            JOIN catalog.stock_level AS l ON l.sku = v.sku AND l.seller_id = v.seller_id
            WHERE v.product_id = p.id AND NOT v.archived) AS stock_available
    FROM catalog.product AS p
    LEFT JOIN LATERAL (SELECT file FROM catalog.image WHERE product_id = p.id ORDER BY position, id LIMIT 1) AS i ON true
    WHERE p.id = ANY($1)
    ORDER BY p.id
"""
LIST_BRANDS = """
    WITH RECURSIVE brands AS (
        (SELECT lower(brand) AS key, brand AS name FROM catalog.product
         WHERE status = 'published' AND brand IS NOT NULL AND lower(brand) > $1 ORDER BY lower(brand), id LIMIT 1)
        UNION ALL
        SELECT found.key, found.name FROM brands CROSS JOIN LATERAL (
            SELECT lower(p.brand) AS key, p.brand AS name FROM catalog.product AS p
            WHERE p.status = 'published' AND p.brand IS NOT NULL AND lower(p.brand) > brands.key
            ORDER BY lower(p.brand), p.id LIMIT 1) AS found
    )
    SELECT key, name FROM brands LIMIT $2
"""
# From here on $n stands for the place of the filter's own value.
NOT_SUSPENDED = "NOT EXISTS (SELECT FROM catalog.suspended_seller AS s WHERE s.seller_id = p.seller_id)"
CONDITIONS = {
    "status": "p.status = $n",
    "q": "p.document @@ catalog.typed($n)",
    "category_id": """p.id IN (
        SELECT pc.product_id FROM catalog.product_category AS pc
        WHERE pc.category_id IN (SELECT c.id FROM catalog.category AS c WHERE c.path @> ARRAY[$n::uuid]))""",
    "category": """p.id IN (
        SELECT pc.product_id FROM catalog.product_category AS pc
        WHERE pc.category_id IN (
            SELECT c.id FROM catalog.category AS c
            WHERE c.path && ARRAY(SELECT top.id FROM catalog.category AS top WHERE lower(top.name) = lower($n))))""",
    "brand": "lower(p.brand) = lower($n)",
    "seller_id": "p.seller_id = $n",
    "min_price": "m.amount >= $n",
    "max_price": "m.amount <= $n",
    "min_rating": "p.rating_average >= $n::float8::numeric",
    # Not EXISTS: that would be answered for every product of the shop at once.
    "in_stock": """$n = coalesce((
        SELECT true FROM catalog.variant AS v JOIN catalog.stock_level AS l ON l.sku = v.sku AND l.seller_id = v.seller_id
        WHERE v.product_id = p.id AND NOT v.archived AND l.available > 0 LIMIT 1), false)""",
    "attributes": """EXISTS (
        SELECT FROM catalog.variant AS v WHERE v.product_id = p.id AND NOT v.archived AND NOT EXISTS (
            SELECT FROM jsonb_each_text($n::jsonb) AS wanted
            WHERE lower((p.attributes || v.attributes) ->> wanted.key) IS DISTINCT FROM lower(wanted.value)
              AND NOT coalesce((p.attributes || v.attributes) -> wanted.key @> to_jsonb(wanted.value), false)))""",
}


class Order(msgspec.Struct, frozen=True):
    """How a list is sorted: its key, the direction, and the type of a cursor."""

    key: str
    direction: Literal["ASC", "DESC"]
    cursor: type[tuple[object, ...]]


ORDERS: dict[Sort, Order] = {
    "newest": Order("NULL::float8", "DESC", tuple[None, UUID]),
    "price": Order("m.amount", "ASC", tuple[BigInt, UUID]),
    "-price": Order("m.amount", "DESC", tuple[BigInt, UUID]),
    "relevance": Order("ts_rank(p.document, catalog.typed($n), 1)::float8", "DESC", tuple[float, UUID]),
}


class ProductFilter(msgspec.Struct, frozen=True):
    """Which products, and in which order. Prices are in minor units of `currency`, or of the shop's own."""

    q: str | None = None
    category_id: UUID | None = None
    category: str | None = None
    brand: str | None = None
    seller_id: UUID | None = None
    min_price: int | None = None
    max_price: int | None = None
    currency: Currency | None = None
    min_rating: float | None = None
    in_stock: bool | None = None
    attributes: dict[str, str] | None = None
    status: ProductStatus | None = None
    sort: Sort = "newest"


class BrandName(msgspec.Struct, frozen=True):
    """A brand of which something is on sale."""

    name: str


class _Brand(msgspec.Struct, frozen=True):
    key: str
    name: str


class _Found(msgspec.Struct, frozen=True):
    id: UUID
    key: float | int | None


class Statement:
    """A statement that is put together out of the filters in use: fixed texts, every value a parameter."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self.conditions: list[str] = []

    def place(self, text: str, value: object) -> str:
        """The text with the value's place for $n."""
        self.values.append(value)
        return text.replace("$n", f"${len(self.values)}")

    def where(self, text: str, value: object) -> None:
        self.conditions.append(self.place(text, value))


@exposed()
async def list_products(wanted: ProductFilter, limit: int, cursor: str | None) -> Page[ProductSummary]:
    """A page of products that are on sale; with `status`, of the caller's own in that status. Changes nothing."""
    if not (wanted.q or "").strip():
        wanted = msgspec.structs.replace(wanted, q=None, sort="newest" if wanted.sort == "relevance" else wanted.sort)
    currency = wanted.currency or shop.now.currencies[0]
    sql, values = write_statement(wanted, limit, cursor)
    found = make_page(await db.search(_Found, sql, *values), limit, lambda row: (row.key, row.id))
    rows = await db.all(ProductSummary, SHOW_PRODUCTS, [row.id for row in found.items], currency, media.base_url())
    shown = {row.id: row for row in rows}
    return Page(tuple(shown[row.id] for row in found.items if row.id in shown), found.next)


@exposed()
async def list_brands(limit: int, cursor: str | None) -> Page[BrandName]:
    """The brands of what is on sale, by name. Changes nothing."""
    (after,) = read_cursor(cursor, tuple[str]) or ("",)
    page = make_page(await db.all(_Brand, LIST_BRANDS, after, limit + 1), limit, lambda row: (row.key,))
    return Page(tuple(BrandName(row.name) for row in page.items), page.next)


def write_statement(wanted: ProductFilter, limit: int, cursor: str | None) -> tuple[str, list[object]]:
    """The statement that finds the ids of a page, and its values."""
    order = ORDERS[wanted.sort]
    statement = Statement()
    add_conditions(statement, wanted)
    key = statement.place(order.key, wanted.q) if "$n" in order.key else order.key
    source = "catalog.product AS p"
    if wanted.sort in ("price", "-price") or wanted.min_price is not None or wanted.max_price is not None:
        currency = wanted.currency or shop.now.currencies[0]
        source += statement.place(" JOIN catalog.lowest_price AS m ON m.product_id = p.id AND m.currency = $n", currency)
    if after := read_cursor(cursor, order.cursor):
        last_key, last_id = after
        beyond = ">" if order.direction == "ASC" else "<"
        if wanted.sort == "newest":
            statement.where(f"p.id {beyond} $n", last_id)
        else:
            statement.where(f"({key}, p.id) {beyond} ({statement.place('$n', last_key)}, $n)", last_id)
    keys = "" if wanted.sort == "newest" else f"{key} {order.direction}, "
    sql = f"""
        SELECT p.id, {key} AS key FROM {source}
        WHERE {" AND ".join(statement.conditions)}
        ORDER BY {keys}p.id {order.direction} {statement.place("LIMIT $n", limit + 1)}
    """
    return sql, statement.values


def add_conditions(statement: Statement, wanted: ProductFilter) -> None:
    """What is asked for, out of what the caller may see."""
    who = caller().principal
    if wanted.status is None:
        statement.conditions += ["p.status = 'published'", NOT_SUSPENDED]
    elif not who.is_admin:
        statement.where("p.seller_id = ANY($n::uuid[])", list(who.seller_ids))
    for name, condition in CONDITIONS.items():
        if (value := getattr(wanted, name)) is not None:
            statement.where(condition, value)
