"""What orders does by the clock."""

import asyncio
from uuid import UUID

from souk.kit.errors import Unavailable
from souk.kit.jobs import every
from souk.orders import placements, placing

AT_ONCE = 20
SETTLED_KEPT_DAYS = 30


@every(0.5)
async def resume_stuck_orders() -> int:
    """Go on with orders whose attempt died, whose payment has news, or whose time is over."""
    due = await placements.find_due(200)
    gate = asyncio.Semaphore(AT_ONCE)
    return sum(await asyncio.gather(*(_resume(order_id, gate) for order_id in due)))


@every(600)
async def forget_settled_placements() -> int:
    """Forget the sagas of orders that ended long ago; the orders stay."""
    forgotten = 0
    while done := await placements.forget_settled(SETTLED_KEPT_DAYS, 500):
        forgotten += done
    return forgotten


async def _resume(order_id: UUID, gate: asyncio.Semaphore) -> int:
    async with gate:
        try:
            return int(await placing.resume_order(order_id))
        except Unavailable:
            return 0
