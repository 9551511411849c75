"""Cancel an order, or pieces of it, before they are shipped: stock, coupon and money go back."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from souk.kit.callers import SYSTEM, Caller, asking, caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound, Unavailable
from souk.kit.events import publish
from souk.kit.idempotency import is_answered, once
from souk.kit.ids import new_id
from souk.orders import parcels, placements, placing, reading, settling
from souk.orders.database import db
from souk.orders.events import CanceledLine, CanceledPart, ItemsCancelled
from souk.orders.placements import LostLease, Placement
from souk.orders.reading import FIND_ORDERS, StoredLine, StoredOrder
from souk.orders.settling import LOCK_ORDERS, Moment, add_to_timeline
from souk.orders.types import CancelOrder, LinePieces, NotCancellable, Order, TooMuchCanceled
from souk.orders.worths import Worth, canceled_of, lines_of

COUNT_CANCELED = """
    UPDATE orders.order_line AS l SET canceled = l.canceled + u.quantity
    FROM unnest($2::uuid[], $3::bigint[]) AS u (id, quantity)
    WHERE l.order_id = $1 AND l.id = u.id
"""

# What is to be cancelled: pieces by the id of their line.
Pieces = Mapping[UUID, int]


@exposed(timeout=40.0)
async def cancel_order(order_id: UUID, request: CancelOrder) -> Order:
    """Cancel an order of one's own, whole or some pieces, or as a seller what one has not sent yet; what was paid for it is refunded.

    Cancelling what is cancelled changes nothing; pieces are cancelled once per Idempotency-Key. Raises NotFound for another's order,
    NotCancellable once something was shipped (of pieces: once none is left), TooMuchCanceled, InvalidField.
    """
    who = caller()
    order = await reading.find_order(order_id)
    is_buyer = who.principal.is_admin or reading.is_owner(order, who)
    sellers = find_sellers(order, who, None if is_buyer else request.seller_id)
    if not sellers and not is_buyer:
        raise NotFound
    if request.items is not None or request.seller_id is not None or not is_buyer:
        await cancel_pieces(order, request, sellers)
    elif order.status == "placed":
        await cancel_placed(order, request.reason)
    elif order.status == "draft":
        await cancel_draft(order)
    return await reading.show_order(order_id)


def find_sellers(order: StoredOrder, who: Caller, seller_id: UUID | None) -> frozenset[UUID]:
    """Those sellers of the order for whom the caller may act, or only this one of them."""
    own = (part.seller_id for part in order.parts if who.principal.manages(part.seller_id))
    return frozenset(one for one in own if seller_id in (None, one))


async def cancel_placed(order: StoredOrder, reason: str) -> None:
    """The order is canceled at once, with those of its parcels that have not left; giving back goes on even if this process does not."""
    # Shipping does not know of what needed none: it would cancel the other parcels of an order that cannot be cancelled any more.
    if not any(line.shipped for line in order.lines):
        await parcels.recall_parcels(order.id)
    async with db.transaction() as tx:
        placement = await end_order(tx, order.id, reason)
    if placement is not None:
        await undo_as_far_as_possible(placement, order)


async def end_order(tx: Transaction, order_id: UUID, reason: str) -> Placement | None:
    """Cancel a placed order whole; the attempt to undo it, which is ours, or None if it had been cancelled. Raises NotCancellable."""
    if not await settling.mark_canceled(tx, order_id, reason):
        order = await tx.one(StoredOrder, FIND_ORDERS, [order_id])
        raise NotCancellable(order.status, order.fulfillment_status)
    return await placements.reopen(tx, order_id)


async def cancel_pieces(order: StoredOrder, request: CancelOrder, sellers: frozenset[UUID]) -> None:
    """Cancel pieces of a placed order, out of parcels, too, that have not left; the last ones cancel the order."""
    is_buyer = reading.is_owner(order, caller()) or caller().principal.is_admin
    wanted = choose_pieces(order, request, sellers, is_buyer=is_buyer)
    exact = request.items is not None
    ended: list[Placement] = []

    async def work(tx: Transaction) -> Order:
        await tx.run(LOCK_ORDERS, [order.id])
        now = await tx.one(StoredOrder, FIND_ORDERS, [order.id])
        placement = await write_canceled(tx, now, take_left(now, wanted, exact=exact), request.reason)
        ended.extend([placement] if placement else [])
        return reading.make_order(await tx.one(StoredOrder, FIND_ORDERS, [order.id]))

    if order.status == "placed" and can_cancel(order, wanted, exact=exact) and not await is_answered(db):
        await parcels.unpack(order, wanted)
    await once(db, request, work)
    for placement in ended:
        await undo_as_far_as_possible(placement, order)


async def write_canceled(tx: Transaction, order: StoredOrder, pieces: Pieces, reason: str) -> Placement | None:
    """Count pieces as cancelled and tell; if nothing is left of the order it ends, and the attempt to undo it is ours."""
    after = msgspec.structs.replace(order, lines=tuple(cancel(line, pieces.get(line.id, 0)) for line in order.lines))
    if all(line.canceled == line.quantity for line in after.lines):
        return await end_order(tx, order.id, reason)
    await tx.run(COUNT_CANCELED, order.id, list(pieces), list(pieces.values()))
    await parcels.derive_fulfillment(tx, [order.id])
    lines = tuple(CanceledLine(line.id, line.seller_id, line.sku, pieces[line.id]) for line in order.lines if pieces.get(line.id))
    # What somebody typed is in the timeline alone: others would keep it.
    await publish(tx, ItemsCancelled(order.id, new_id(), order.user_id, "canceled", lines, worth_of_canceled(order, after)))
    data: dict[str, object] = {"reason": reason, "items": [{"line_id": str(line.line_id), "quantity": line.quantity} for line in lines]}
    await add_to_timeline(tx, (Moment(order.id, "items_canceled", data, caller().principal.user_id),))
    return None


def worth_of_canceled(before: StoredOrder, after: StoredOrder) -> tuple[CanceledPart, ...]:
    """What was cancelled between two states of an order, by seller."""
    worths = {part.seller_id: canceled_of(part, lines_of(after, part)) - canceled_of(part, lines_of(before, part)) for part in before.parts}
    return tuple(CanceledPart(seller_id, *worth.shown(before.currency)) for seller_id, worth in worths.items() if worth != Worth())


def cancel(line: StoredLine, pieces: int) -> StoredLine:
    return msgspec.structs.replace(line, canceled=line.canceled + pieces)


def choose_pieces(order: StoredOrder, request: CancelOrder, sellers: frozenset[UUID], *, is_buyer: bool) -> Pieces:
    """What is meant: the pieces that are named, or all of the seller's part. Raises InvalidField for a line that is not the caller's."""
    allowed = {
        line.id: line.quantity - line.canceled
        for line in order.lines
        if (is_buyer or line.seller_id in sellers) and request.seller_id in (None, line.seller_id)
    }
    if request.items is None:
        return allowed
    if any(one.line_id not in allowed for one in request.items):
        raise InvalidField("items", "hold a line that is not of this order, or not yours")
    return add_up(request.items)


def take_left(order: StoredOrder, wanted: Pieces, *, exact: bool) -> Pieces:
    """What of the wanted pieces can be cancelled: all, or (not exact) what has not left. Raises NotCancellable, TooMuchCanceled."""
    left = {line.id: line.quantity - line.canceled - line.packed for line in order.lines if line.id in wanted}
    if order.status != "placed" or (not exact and not any(left.values())):
        raise NotCancellable(order.status, order.fulfillment_status)
    for line_id, pieces in wanted.items():
        if exact and pieces > left[line_id]:
            raise TooMuchCanceled(line_id, pieces, left[line_id])
    return {line_id: taken for line_id, pieces in wanted.items() if (taken := min(pieces, left[line_id]))}


def can_cancel(order: StoredOrder, wanted: Pieces, *, exact: bool) -> bool:
    """Whether so much has not left, if what is packed were unpacked."""
    return not exact or all(wanted.get(line.id, 0) <= line.quantity - line.canceled - line.shipped for line in order.lines)


def add_up(items: Iterable[LinePieces]) -> Pieces:
    """Pieces by line; two demands of one line are one."""
    demand: Counter[UUID] = Counter()
    for one in items:
        demand[one.line_id] += one.quantity
    return demand


async def cancel_draft(order: StoredOrder) -> None:
    """An order that waits for its payment does not come about."""
    placement = await placements.take_lease(order.id)
    if placement is None:
        raise Unavailable("somebody is paying or cancelling this order just now")
    await placements.remember_undoing(placement, None)
    await undo_as_far_as_possible(placement, order)


async def undo_as_far_as_possible(placement: Placement, order: StoredOrder) -> None:
    """Undo now; what cannot be reached now is undone by the sweeper, and the cancellation holds all the same.

    The shop does it: a seller who cancels the last pieces is nobody whom the payment knows.
    """
    try:
        with asking(msgspec.structs.replace(caller(), principal=SYSTEM)):
            await placing.undo(placement, order, None)
    except LostLease:
        return
    except Unavailable:
        await placing.leave_to_others(placement)
    except asyncio.CancelledError:
        await asyncio.shield(placing.leave_to_others(placement))
        raise
