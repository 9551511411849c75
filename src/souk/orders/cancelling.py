"""Cancel an order before anything is shipped: stock, coupon and money go back."""

import asyncio
from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound, Unavailable
from souk.orders import parcels, placements, placing, reading, settling
from souk.orders.database import db
from souk.orders.placements import LostLease
from souk.orders.types import NotCancellable, Order


@exposed(timeout=40.0)
async def cancel_order(order_id: UUID, reason: str) -> Order:
    """Cancel an order of one's own, whole; what was paid is refunded. Cancelling again changes nothing.

    Raises NotFound for another's order and NotCancellable once something was shipped.
    """
    who = caller()
    order = await reading.find_order(order_id)
    if not (who.principal.is_admin or reading.is_owner(order, who)):
        raise NotFound
    if order.status == "placed":
        await cancel_placed(order, reason)
    elif order.status == "draft":
        await cancel_draft(order)
    return await reading.show_order(order_id)


async def cancel_placed(order: reading.StoredOrder, reason: str) -> None:
    """The order is canceled at once, with those of its parcels that have not left; giving back goes on even if this process does not."""
    await parcels.recall_parcels(order.id)
    async with db.transaction() as tx:
        if not await settling.mark_canceled(tx, order.id, reason):
            raise NotCancellable(order.status, order.fulfillment_status)
        placement = await placements.reopen(tx, order.id)
    if placement is not None:
        await undo_as_far_as_possible(placement, order)


async def cancel_draft(order: reading.StoredOrder) -> None:
    """An order that waits for its payment does not come about."""
    placement = await placements.take_lease(order.id)
    if placement is None:
        raise Unavailable("somebody is paying or cancelling this order just now")
    await placements.remember_undoing(placement, None)
    await undo_as_far_as_possible(placement, order)


async def undo_as_far_as_possible(placement: placements.Placement, order: reading.StoredOrder) -> None:
    """Undo now; what cannot be reached now is undone by the sweeper, and the cancellation holds all the same."""
    try:
        await placing.undo(placement, order, None)
    except LostLease:
        return
    except Unavailable:
        await placing.leave_to_others(placement)
    except asyncio.CancelledError:
        await asyncio.shield(placing.leave_to_others(placement))
        raise
