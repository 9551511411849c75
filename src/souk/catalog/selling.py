"""What can be bought under a SKU, for other contexts: kept in memory until a fact says that it has changed."""

from collections.abc import Hashable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from souk.catalog import media
from souk.catalog.database import db
from souk.catalog.events import OF_A_PRODUCT, OF_MANY, OfAProduct, OfMany
from souk.catalog.reading import MOST_AT_ONCE
from souk.catalog.types import Variant
from souk.kit.calls import exposed
from souk.kit.errors import InvalidField
from souk.kit.events import Delivered, remembers
from souk.kit.memory import Memory, Once
from souk.kit.sharing import Shared

# Each category is looked up by its id (LIMIT 1): for a join the planner reads the whole tree, once for each product.
FIND_VARIANTS = """
    SELECT v.id, v.product_id, v.seller_id, v.sku, p.name AS product_name, v.name, v.attributes, v.weight_g, p.category_id,
           p.tax_category, p.requires_shipping, v.version,
           coalesce((SELECT jsonb_agg(jsonb_build_object('amount', m.amount, 'currency', m.currency) ORDER BY m.currency)
                     FROM catalog.price AS m WHERE m.variant_id = v.id), '[]') AS prices,
           ARRAY(SELECT DISTINCT unnest(c.path) FROM catalog.product_category AS pc CROSS JOIN LATERAL
                 (SELECT path FROM catalog.category WHERE id = pc.category_id LIMIT 1) AS c WHERE pc.product_id = p.id) AS category_ids,
           (SELECT $2::text || i.file || '.webp' FROM catalog.image AS i
            WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1) AS image_url,
           p.status = 'published' AND NOT v.archived AND s.seller_id IS NULL AS active
    FROM catalog.variant AS v JOIN catalog.product AS p ON p.id = v.product_id
    LEFT JOIN catalog.suspended_seller AS s ON s.seller_id = p.seller_id
    WHERE v.sku = ANY($1)
"""

VARIANTS_KEPT = 32_000


# What the variants of a seller or of a category have in common.
IN_COMMON = ("seller_id", "category_id", "category_ids", "tax_category")
_once: Once[Hashable] = Once(VARIANTS_KEPT)


async def load_variants(skus: Sequence[str]) -> Mapping[str, Variant]:
    """Those of these SKUs that exist, as the tables have them."""
    found = await db.all(Variant, FIND_VARIANTS, list(skus), media.base_url())
    return {variant.sku: share_parts(variant) for variant in found}


def share_parts(variant: Variant) -> Variant:
    """The variant with what it has in common with others held once."""
    return replace(variant, **{name: _once(getattr(variant, name)) for name in IN_COMMON})


def read_variant(text: bytes) -> Variant:
    """A variant out of the cache."""
    return share_parts(_decoder.decode(text))


# As JSON, like pages: an attribute may be larger than MessagePack's integers.
_decoder = msgspec.json.Decoder(Variant)
shared = Shared[str, Variant]("variant", msgspec.json.encode, read_variant, like=Variant, depends_on=media.base_url)
variants = Memory(load_variants, VARIANTS_KEPT, whole_of=lambda variant: variant.product_id, shared=shared)


@remembers(variants, *OF_A_PRODUCT, *OF_MANY)
def forget_variants(news: tuple[Delivered[OfAProduct | OfMany], ...]) -> None:
    """What has changed is read again when somebody asks for it."""
    if any(isinstance(one.event, OfMany) for one in news):
        variants.clear()
    else:
        variants.forget_parts({one.event.product_id for one in news if not isinstance(one.event, OfMany)})


@exposed()
async def get_variants(skus: tuple[str, ...]) -> tuple[Variant, ...]:
    """Up to 500 variants by SKU, in the order of the SKUs; unknown ones are not in the answer. Changes nothing.

    What this process changed is seen at once, what another changed within a quarter of a second.
    """
    if len(skus) > MOST_AT_ONCE:
        raise InvalidField("skus", f"are to be at most {MOST_AT_ONCE}")
    found = await variants.get_many(sorted(set(skus)))
    return tuple(found[sku] for sku in sorted(found))
