"""Who looked at what, written many at a time."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from souk.catalog.database import db
from souk.catalog.events import ProductViewed
from souk.catalog.settings import settings
from souk.catalog.types import ProductView
from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import DomainError, NotFound
from souk.kit.events import publish
from souk.kit.partitions import drop_old_partitions
from souk.kit.personal import exports_user_data

ADD_VIEWS = """
    INSERT INTO catalog.product_view (id, product_id, user_id)
    SELECT u.id, u.product_id, u.user_id
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS u (id, product_id, user_id)
    JOIN catalog.product AS p ON p.id = u.product_id
    WHERE p.status = 'published' AND NOT EXISTS (SELECT FROM catalog.suspended_seller AS s WHERE s.seller_id = p.seller_id)
    ORDER BY u.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id, product_id, user_id, viewed_at AS view_timestamp
"""
FIND_VIEWS = """
    SELECT id, product_id, user_id, viewed_at AS view_timestamp FROM catalog.product_view WHERE id = ANY($1) ORDER BY id
"""
FIND_VIEWS_OF = """
    SELECT id, product_id, user_id, viewed_at AS view_timestamp FROM catalog.product_view WHERE user_id = $1 ORDER BY id
"""
FORGET_VIEWERS = "UPDATE catalog.product_view SET user_id = NULL WHERE user_id = ANY($1)"
# Views whose ids their callers made of something else than the time do not lie in the partition of a month.
FORGET_STRAY_VIEWS = """
    DELETE FROM catalog.product_view_rest WHERE id IN (
        SELECT id FROM catalog.product_view_rest WHERE viewed_at < now() - make_interval(days => $1) LIMIT $2)
"""

STRAYS_AT_ONCE = 10_000


class RecordView(msgspec.Struct, frozen=True):
    """The caller looks at a product; the id makes it one look, however often it is told."""

    view_id: UUID
    product_id: UUID


@exposed.batched(timeout=5.0)
async def record_view(asked: tuple[Asked[RecordView], ...]) -> tuple[ProductView | DomainError, ...]:
    """Note that the caller looked at a product. The same view id again notes nothing more and gives the first view.

    Raises NotFound for a product that is not on sale.
    """
    wanted = [(one.request.view_id, one.request.product_id, one.caller.principal.user_id) for one in asked]
    async with db.transaction() as tx:
        added = await tx.all(ProductView, ADD_VIEWS, *(list(column) for column in zip(*wanted, strict=True)))
        await publish(tx, *(ProductViewed(view.product_id, view.user_id, view.view_timestamp) for view in added))
        known = {view.id: view for view in added}
        if missing := [view_id for view_id, _, _ in wanted if view_id not in known]:
            known |= {view.id: view for view in await tx.all(ProductView, FIND_VIEWS, missing)}
    return tuple(answer(known.get(view_id), product_id, user_id) for view_id, product_id, user_id in wanted)


def answer(view: ProductView | None, product_id: UUID, user_id: UUID | None) -> ProductView | DomainError:
    """The view, if it is this one."""
    if view is None or (view.product_id, view.user_id) != (product_id, user_id):
        return NotFound()
    return view


@exports_user_data
async def export_views(user_id: UUID) -> Mapping[str, object]:
    """What a user looked at."""
    return {"product_views": await db.all(ProductView, FIND_VIEWS_OF, user_id)}


async def forget_viewers(tx: Transaction, user_ids: list[UUID]) -> None:
    """Keep that somebody looked, forget who."""
    await tx.run(FORGET_VIEWERS, user_ids)


async def forget_old_views() -> int:
    """Drop whole months of views that are older than the settings say, and some of those that lie elsewhere; how many months and views."""
    days = settings.now.views_days
    async with db.transaction() as tx:
        strays = await tx.run(FORGET_STRAY_VIEWS, days, STRAYS_AT_ONCE)
    async with db.pool.acquire() as connection:
        return strays + await drop_old_partitions(connection, "catalog.product_view", days)
