"""What can be bought under a SKU, for other contexts: kept in memory, and checked against the version of its product when asked."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from souk.catalog import media
from souk.catalog.database import db
from souk.catalog.events import CategoryChanged
from souk.catalog.reading import MOST_AT_ONCE
from souk.catalog.types import Variant
from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import InvalidField
from souk.kit.events import Delivered, remembers
from souk.kit.memory import Memory

FIND_VARIANTS = """
    SELECT v.id, v.product_id, v.seller_id, v.sku, p.name AS product_name, v.name, v.attributes, v.weight_g, p.category_id,
           p.tax_category, p.requires_shipping, v.version, p.version AS product_version, s.seller_id IS NOT NULL AS hidden,
           coalesce((SELECT jsonb_agg(jsonb_build_object('amount', m.amount, 'currency', m.currency) ORDER BY m.currency)
                     FROM catalog.price AS m WHERE m.variant_id = v.id), '[]') AS prices,
           ARRAY(SELECT DISTINCT unnest(c.path) FROM catalog.product_category AS pc
                 JOIN catalog.category AS c ON c.id = pc.category_id WHERE pc.product_id = p.id) AS category_ids,
           (SELECT $2::text || i.file || '.webp' FROM catalog.image AS i
            WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1) AS image_url,
           p.status = 'published' AND NOT v.archived AND s.seller_id IS NULL AS active
    FROM catalog.variant AS v JOIN catalog.product AS p ON p.id = v.product_id
    LEFT JOIN catalog.suspended_seller AS s ON s.seller_id = p.seller_id
    WHERE v.sku = ANY($1)
"""
# Whatever changes of a product, its variants or their prices gives the product a new version.
FIND_STATES = """
    SELECT v.sku, p.id AS product_id, p.version AS product_version, s.seller_id IS NOT NULL AS hidden
    FROM catalog.variant AS v JOIN catalog.product AS p ON p.id = v.product_id
    LEFT JOIN catalog.suspended_seller AS s ON s.seller_id = p.seller_id
    WHERE v.sku = ANY($1)
"""

VARIANTS_KEPT = 50_000


class _Row(Variant, frozen=True, kw_only=True):
    product_version: int
    hidden: bool


class _State(msgspec.Struct, frozen=True):
    """What tells whether a variant in memory is still what it was."""

    sku: str
    product_id: UUID
    product_version: int
    hidden: bool


class _Kept(msgspec.Struct, frozen=True):
    variant: Variant
    state: _State


async def load_variants(skus: Sequence[str]) -> Mapping[str, _Kept]:
    rows = await db.all(_Row, FIND_VARIANTS, list(skus), media.base_url())
    names = Variant.__struct_fields__
    return {
        row.sku: _Kept(Variant(*(getattr(row, name) for name in names)), _State(row.sku, row.product_id, row.product_version, row.hidden))
        for row in rows
    }


variants = Memory(load_variants, VARIANTS_KEPT)


@remembers(variants, CategoryChanged)
def forget_variants(news: tuple[Delivered[CategoryChanged], ...]) -> None:
    """Which categories stand above a product is all that its version does not tell."""
    variants.clear()


async def find_states(asked: tuple[Asked[tuple[str, ...]], ...]) -> Answers[Mapping[str, _State]]:
    """How the SKUs of many callers stand, in one statement."""
    states = {state.sku: state for state in await db.all(_State, FIND_STATES, sorted({sku for one in asked for sku in one.request}))}
    return tuple({sku: states[sku] for sku in one.request if sku in states} for one in asked)


_states: Batcher[tuple[str, ...], Mapping[str, _State]] = Batcher(find_states, lanes=2, turns=False)


@exposed()
async def get_variants(skus: tuple[str, ...]) -> tuple[Variant, ...]:
    """Up to 500 variants by SKU as they are now, in the order of the SKUs; unknown ones are not in the answer. Changes nothing."""
    if len(skus) > MOST_AT_ONCE:
        raise InvalidField("skus", f"are to be at most {MOST_AT_ONCE}")
    wanted = sorted(set(skus))
    kept = {sku: one for sku in wanted if (one := variants.peek(sku)) is not None}
    if kept:
        states = await _states.ask(tuple(kept), caller())
        if changed := {sku for sku, one in kept.items() if states.get(sku) != one.state}:
            variants.forget(changed)
            kept = {sku: one for sku, one in kept.items() if sku not in changed}
    if missing := [sku for sku in wanted if sku not in kept]:
        kept |= await variants.get_many(missing)
    return tuple(kept[sku].variant for sku in wanted if sku in kept)
