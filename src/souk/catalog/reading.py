"""Read products as shoppers see them, and as their sellers do."""

from uuid import UUID

from souk.catalog import media
from souk.catalog.database import db
from souk.catalog.settings import shop
from souk.catalog.types import Product
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField

MOST_AT_ONCE = 500

# Each category is looked up by its id (LIMIT 1): for a join the planner reads the whole tree, once for each product.
# $1 ids, $2 the currency that is preferred, $3 where media are, $4 whether the caller sees everything, $5 the caller's sellers,
# $6 whether with stock (else 0).
READ_PRODUCTS = """
    SELECT p.id, p.seller_id, p.external_id, p.name, p.description, p.brand, p.category_id, p.attributes, p.tax_category,
           p.requires_shipping, p.status, p.version, p.published_at, p.created_at, p.updated_at,
           (SELECT c.name FROM catalog.category AS c WHERE c.id = p.category_id) AS category,
           coalesce((SELECT jsonb_agg(jsonb_build_object('id', c.id, 'name', c.name) ORDER BY c.name, c.id)
                     FROM catalog.product_category AS pc CROSS JOIN LATERAL
                          (SELECT id, name FROM catalog.category WHERE id = pc.category_id LIMIT 1) AS c
                     WHERE pc.product_id = p.id), '[]') AS categories,
           jsonb_build_object('average', p.rating_average, 'count', p.rating_count) AS rating,
           (SELECT jsonb_build_object('amount', l.amount, 'currency', l.currency) FROM catalog.lowest_price AS l
            WHERE l.product_id = p.id ORDER BY l.currency <> $2, l.currency LIMIT 1) AS price,
           v.variants, v.stock_available, i.images, i.images -> 0 ->> 'url' AS image_url
    FROM catalog.product AS p
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'id', v.id, 'sku', v.sku, 'name', v.name, 'attributes', v.attributes, 'weight_g', v.weight_g,
                   'archived', v.archived, 'version', v.version, 'created_at', v.created_at, 'updated_at', v.updated_at,
                   'prices', m.prices, 'price', m.price, 'stock_available', s.available) ORDER BY v.id), '[]') AS variants,
               coalesce(sum(s.available) FILTER (WHERE NOT v.archived), 0)::bigint AS stock_available
        FROM catalog.variant AS v
        CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_agg(one.money ORDER BY one.currency), '[]') AS prices,
                   (array_agg(one.money ORDER BY one.currency <> $2, one.currency))[1] AS price
            FROM (SELECT currency, jsonb_build_object('amount', amount, 'currency', currency) AS money
                  FROM catalog.price WHERE variant_id = v.id) AS one
        ) AS m
        CROSS JOIN LATERAL (
            SELECT CASE WHEN $6 THEN (SELECT coalesce(sum(l.available), 0)::bigint FROM catalog.stock_level AS l
                                      WHERE l.sku = v.sku AND l.seller_id = v.seller_id) ELSE 0 END AS available
        ) AS s
        WHERE v.product_id = p.id AND (NOT v.archived OR $4 OR p.seller_id = ANY($5::uuid[]))
    ) AS v
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'id', i.id, 'url', $3::text || i.file || '.webp', 'width', i.width, 'height', i.height, 'alt', i.alt,
                   'position', i.position, 'created_at', i.created_at, 'updated_at', i.updated_at,
                   'thumbnails', jsonb_build_object('160', $3 || i.file || '-160.webp', '480', $3 || i.file || '-480.webp')
               ) ORDER BY i.position, i.id), '[]') AS images
        FROM catalog.image AS i WHERE i.product_id = p.id
    ) AS i
    WHERE p.id = ANY($1) AND (
        $4 OR p.seller_id = ANY($5)
        OR p.status = 'published' AND NOT EXISTS (SELECT FROM catalog.suspended_seller AS s WHERE s.seller_id = p.seller_id)
    )
    ORDER BY p.id
"""


@exposed()
async def get_products(ids: tuple[UUID, ...], currency: str | None = None) -> tuple[Product, ...]:
    """Up to 500 products by id, prices in this currency where they have one. Changes nothing.

    What does not exist, and what is not published or is another's draft, is simply not in the answer.
    """
    if len(ids) > MOST_AT_ONCE:
        raise InvalidField("ids", f"are to be at most {MOST_AT_ONCE}")
    return await db.all(Product, READ_PRODUCTS, *_arguments(ids, currency))


async def read_products(tx: Transaction, ids: tuple[UUID, ...]) -> tuple[Product, ...]:
    """The products as they are inside a transaction, in the order of the ids."""
    found = {product.id: product for product in await tx.all(Product, READ_PRODUCTS, *_arguments(ids, None))}
    return tuple(found[product_id] for product_id in ids if product_id in found)


def _arguments(ids: tuple[UUID, ...], currency: str | None) -> tuple[object, ...]:
    who = caller().principal
    return list(ids), currency or shop.now.currencies[0], media.base_url(), who.is_admin, list(who.seller_ids), True
