"""What a shopper may be about to type: names of categories, brands and products that begin like it."""

from typing import Literal
from uuid import UUID

import msgspec

from souk.catalog.database import db
from souk.kit.calls import exposed
from souk.kit.http import Page

KEY = 'lower(catalog.plain({})) COLLATE "C"'
ASKED = KEY.format("$1")
BRAND, NAME, CATEGORY = KEY.format("p.brand"), KEY.format("p.name"), KEY.format("c.name")
ON_SALE = """
    p.status = 'published' AND NOT EXISTS (SELECT FROM catalog.suspended_seller AS s WHERE s.seller_id = p.seller_id)
"""
# Many products have one brand or one name: each step goes to the next text in the index, past all that have the same.
SUGGEST = f"""
    WITH RECURSIVE brands AS (
        (SELECT p.brand AS text, {BRAND} AS key FROM catalog.product AS p
         WHERE {ON_SALE} AND p.brand IS NOT NULL AND {BRAND} ^@ {ASKED} ORDER BY {BRAND}, p.id LIMIT 1)
        UNION ALL
        SELECT found.text, found.key FROM brands CROSS JOIN LATERAL (
            SELECT p.brand AS text, {BRAND} AS key FROM catalog.product AS p
            WHERE {ON_SALE} AND p.brand IS NOT NULL AND {BRAND} ^@ {ASKED} AND {BRAND} > brands.key ORDER BY {BRAND}, p.id LIMIT 1) AS found
    ), names AS (
        (SELECT p.name AS text, p.id, {NAME} AS key FROM catalog.product AS p
         WHERE {ON_SALE} AND {NAME} ^@ {ASKED} ORDER BY {NAME}, p.id LIMIT 1)
        UNION ALL
        SELECT found.text, found.id, found.key FROM names CROSS JOIN LATERAL (
            SELECT p.name AS text, p.id, {NAME} AS key FROM catalog.product AS p
            WHERE {ON_SALE} AND {NAME} ^@ {ASKED} AND {NAME} > names.key ORDER BY {NAME}, p.id LIMIT 1) AS found
    )
    SELECT kind, text, product_id, category_id FROM (
        (SELECT 1 AS place, 'category' AS kind, c.name AS text, {CATEGORY} AS key, NULL::uuid AS product_id, c.id AS category_id
         FROM catalog.category AS c WHERE {CATEGORY} ^@ {ASKED} ORDER BY {CATEGORY}, c.id LIMIT $3)
        UNION ALL
        (SELECT 2, 'brand', text, key, NULL, NULL FROM brands LIMIT $3)
        UNION ALL
        (SELECT 3, 'product', text, key, id, NULL FROM names LIMIT $2)
    ) AS found
    ORDER BY place, key, category_id LIMIT $2
"""

# So many categories, and as many brands, at the most: the rest of the list is for products.
MOST_OF_A_KIND = 3


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A text to search for. A category has its id, a product that of one that is called so."""

    kind: Literal["category", "brand", "product"]
    text: str
    product_id: UUID | None = None
    category_id: UUID | None = None


@exposed()
async def suggest(words: str, limit: int) -> Page[Suggestion]:
    """Up to `limit` names that begin with these words: categories and brands before products on sale, each text once.

    Case and accents do not matter. Changes nothing.
    """
    beginning = " ".join(words.split())
    return Page(await db.search(Suggestion, SUGGEST, beginning, limit, MOST_OF_A_KIND) if beginning else ())
