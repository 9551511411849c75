"""Carts that their users have left: told once each time, so that somebody may remind them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk.carts.database import db
from souk.carts.events import CartAbandoned
from souk.carts.settings import settings
from souk.carts.types import CartLine
from souk.kit.events import publish
from souk.kit.ids import first_id

# The cart that a user is filling, and no guest's: a guest has given an address for an order, not to be written to. Only carts made
# of late are looked at ($1): nobody wants to hear of older ones. Of those an index tells in which pages something was touched at the time.
TELL = """
    WITH left_behind AS MATERIALIZED (
        SELECT c.id FROM carts.cart AS c JOIN carts.current_cart AS current ON current.user_id = c.user_id AND current.cart_id = c.id
        WHERE c.id >= $1 AND c.status = 'active' AND c.updated_at < $2 AND c.updated_at >= $3
          AND (c.abandoned_at IS NULL OR c.abandoned_at < c.updated_at)
          AND EXISTS (SELECT FROM carts.cart_item AS i WHERE i.cart_id = c.id)
        ORDER BY c.id LIMIT $4 FOR UPDATE OF c SKIP LOCKED
    )
    UPDATE carts.cart AS c SET abandoned_at = now() FROM left_behind WHERE c.id = left_behind.id
    RETURNING c.id, c.user_id, (SELECT jsonb_agg(jsonb_build_object('sku', i.sku, 'quantity', i.quantity) ORDER BY i.id)
                                FROM carts.cart_item AS i WHERE i.cart_id = c.id) AS lines
"""

AT_ONCE = 500
# A shop that stood still for longer does not wake everybody when it is back.
TOLD_WITHIN = timedelta(days=1)
MADE_WITHIN = timedelta(days=60)


class _Left(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID
    lines: tuple[CartLine, ...]


async def tell_abandoned() -> int:
    """Tell of every cart that was left since we last looked; how many."""
    if not settings.now.abandoned_hours:
        return 0
    now = datetime.now(UTC)
    left_before = now - timedelta(hours=settings.now.abandoned_hours)
    told = 0
    while True:
        async with db.transaction() as tx:
            oldest = first_id((now - MADE_WITHIN).timestamp())
            found = await tx.all(_Left, TELL, oldest, left_before, left_before - TOLD_WITHIN, AT_ONCE)
            await publish(tx, *(CartAbandoned(one.id, one.user_id, one.lines) for one in found))
        told += len(found)
        if len(found) < AT_ONCE:
            return told
