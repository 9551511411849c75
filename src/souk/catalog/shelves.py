"""Shelves: what can be had of a category or a brand, the newest first, for many of them at once."""

from typing import Literal
from uuid import UUID

import msgspec

from souk.catalog.browsing import CONDITIONS, NOT_SUSPENDED
from souk.catalog.database import db
from souk.catalog.reading import MOST_AT_ONCE
from souk.catalog.settings import shop
from souk.kit.calls import exposed
from souk.kit.errors import InvalidField
from souk.kit.money import Money

MOST_ON_A_SHELF = 50

CAN_BE_HAD = CONDITIONS["in_stock"].replace("$n", "true")


def fill(those: str) -> str:
    """The statement that fills shelves of one kind: $1 their names, $2 how many products of each, $3 the currency that is preferred."""
    return f"""
        SELECT w.name, coalesce(s.products, '[]') AS products
        FROM unnest($1::text[]) AS w (name)
        CROSS JOIN LATERAL (
            SELECT jsonb_agg(jsonb_build_object('id', f.id, 'name', f.name, 'rating', f.rating_average, 'prices', f.prices)
                             ORDER BY f.id DESC) AS products
            FROM (
                SELECT p.id, p.name, p.rating_average,
                       (SELECT jsonb_agg(jsonb_build_object('amount', l.amount, 'currency', l.currency)
                                         ORDER BY l.currency <> $3, l.currency)
                        FROM catalog.lowest_price AS l WHERE l.product_id = p.id) AS prices
                FROM catalog.product AS p
                WHERE p.status = 'published' AND {those.replace("$n", "w.name")} AND {CAN_BE_HAD} AND {NOT_SUSPENDED}
                  AND EXISTS (SELECT FROM catalog.lowest_price AS l WHERE l.product_id = p.id)
                ORDER BY p.id DESC LIMIT $2
            ) AS f
        ) AS s
    """


FILL_CATEGORIES = fill(CONDITIONS["category"])
FILL_BRANDS = fill(CONDITIONS["brand"])

ShelfKind = Literal["category", "brand"]


class ShelfProduct(msgspec.Struct, frozen=True):
    """A product on a shelf: what its cheapest variant costs in each currency, the shop's first before all others."""

    id: UUID
    name: str
    rating: float | None
    prices: tuple[Money, ...]


class Shelf(msgspec.Struct, frozen=True):
    """What can be had of a category, with all below it, or of a brand."""

    kind: ShelfKind
    name: str
    products: tuple[ShelfProduct, ...]


class _Filled(msgspec.Struct, frozen=True):
    name: str
    products: tuple[ShelfProduct, ...]


@exposed(timeout=20.0)
async def list_shelves(categories: tuple[str, ...], brands: tuple[str, ...], limit: int) -> tuple[Shelf, ...]:
    """Of each of these categories and brands, by name, up to so many products that are on sale and in stock, the newest first.

    At most 500 of either, and 50 products of each. A name that is nobody's gives an empty shelf. Changes nothing; raises InvalidField.
    """
    if max(len(categories), len(brands)) > MOST_AT_ONCE:
        raise InvalidField("categories", f"are to be at most {MOST_AT_ONCE}, and so are brands")
    wanted = min(limit, MOST_ON_A_SHELF), shop.now.currencies[0]
    found = await db.all(_Filled, FILL_CATEGORIES, list(categories), *wanted) if categories else ()
    of_brands = await db.all(_Filled, FILL_BRANDS, list(brands), *wanted) if brands else ()
    return (*(Shelf("category", one.name, one.products) for one in found), *(Shelf("brand", one.name, one.products) for one in of_brands))
