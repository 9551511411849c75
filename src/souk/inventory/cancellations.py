"""Give back what is set aside for pieces of an order that will not be shipped."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from souk.inventory.levels import Delta, Place, move_levels
from souk.inventory.reservations import SETTLE, lock_reservations
from souk.inventory.types import Reservation, ReservedLine
from souk.kit.db import Transaction
from souk.orders.events import CanceledLine

FORGET_LINES = """
    DELETE FROM inventory.reservation_line AS l
    USING unnest($1::uuid[], $2::uuid[], $3::text[]) AS u (order_id, store_id, sku)
    WHERE l.order_id = u.order_id AND l.sku = u.sku AND l.store_id = u.store_id
"""
LESSEN_LINES = """
    UPDATE inventory.reservation_line AS l SET quantity = u.quantity
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS u (order_id, store_id, sku, quantity)
    WHERE l.order_id = u.order_id AND l.sku = u.sku AND l.store_id = u.store_id
"""

# How many pieces a line wants, by its order, store and SKU.
Wanted = dict[tuple[UUID, UUID, str], int]


async def release_pieces(tx: Transaction, canceled: Sequence[tuple[UUID, tuple[CanceledLine, ...]]]) -> None:
    """Set less aside for these orders. What was given back as a whole meanwhile stays so. The caller sees to it that it is told once."""
    before = await lock_reservations(tx, sorted({order_id for order_id, _ in canceled}))
    after = dict(before)
    for order_id, lines in canceled:
        if order_id in after and after[order_id].status == "confirmed":
            after[order_id] = lessen(after[order_id], lines)
    await write_lines(tx, wanted_by(before.values()), wanted_by(after.values()))
    for status in ("released", "shipped"):
        if settled := [one.order_id for one in after.values() if one.status == status != before[one.order_id].status]:
            await tx.run(SETTLE, settled, status)


async def write_lines(tx: Transaction, before: Wanted, after: Wanted) -> None:
    """Write what lines want from now on, and the counters of their stores."""
    deltas: defaultdict[Place, Delta] = defaultdict(Delta)
    changed = [key for key, quantity in before.items() if after.get(key) != quantity]
    for key in changed:
        deltas[key[1:]] += Delta(reserved=after.get(key, 0) - before[key])
    gone, kept = [key for key in changed if key not in after], [key for key in changed if key in after]
    if gone:
        await tx.run(FORGET_LINES, *(list(column) for column in zip(*gone, strict=True)))
    if kept:
        await tx.run(LESSEN_LINES, *(list(column) for column in zip(*kept, strict=True)), [after[key] for key in kept])
    await move_levels(tx, deltas)


def wanted_by(reservations: Iterable[Reservation]) -> Wanted:
    return {(one.order_id, line.store_id, line.sku): line.quantity for one in reservations for line in one.lines}


def lessen(found: Reservation, canceled: Iterable[CanceledLine]) -> Reservation:
    """The reservation without these pieces, the last lines first; with nothing left to ship it has shipped, or is released."""
    demand: defaultdict[str, int] = defaultdict(int)
    for one in canceled:
        demand[one.sku] += one.quantity
    kept: list[ReservedLine] = []
    for line in reversed(found.lines):
        given = min(line.quantity - line.shipped, demand[line.sku])
        demand[line.sku] -= given
        if line.quantity > given:
            kept.insert(0, msgspec.structs.replace(line, quantity=line.quantity - given))
    done = all(line.shipped == line.quantity for line in kept)
    return msgspec.structs.replace(found, status=("shipped" if kept else "released") if done else found.status, lines=tuple(kept))
