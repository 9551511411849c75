"""What becomes of a return: ruled on, given up, or received, and then worked out how much goes back for it."""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import publish
from souk.kit.money import Money, divide_half_up, split
from souk.orders import parcels
from souk.orders.database import db
from souk.orders.events import ReturnedPieces, ReturnReceived
from souk.orders.reading import FIND_ORDERS, StoredLine, StoredOrder
from souk.orders.return_types import ChangeReturn, RecordReturn, Return, ReturnItem, TooMuchRecorded
from souk.orders.returns import ADD, COLUMNS, FIND, LOCK, StoredReturn, check_may_move, count, is_again, moment_of, rule_on, show
from souk.orders.settling import LOCK_ORDERS, add_to_timeline
from souk.orders.worths import Worth, freight_of, is_all_back, lines_of, worth_of

RECEIVE = f"""
    UPDATE orders.returns SET status = $2, reason = coalesce($3, reason), items = $4, refund = $5, deduction = $6, version = version + 1,
                              updated_at = now()
    WHERE id = $1
    RETURNING {COLUMNS}
"""

MILLION = 1_000_000


class Receipt(msgspec.Struct, frozen=True):
    """What has come back, and what goes back for it: line by line, and for the shipping if nothing is left of the part."""

    items: tuple[ReturnItem, ...]
    worths: Mapping[UUID, Worth]
    freight: Worth = Worth()

    @property
    def whole(self) -> Worth:
        return sum(self.worths.values(), self.freight)


@exposed(timeout=10.0)
async def change_return(return_id: UUID, change: ChangeReturn) -> Return:
    """Approve, refuse or receive a return to one's own seller account, or give up one's own. Saying so again changes nothing.

    What has arrived is paid back at once, as the terms say, less a deduction for which there is a reason; a return of which nothing
    has is refused and not received. Raises NotFound, WrongReturnStatus, InvalidField.
    """
    row = await db.maybe(StoredReturn, FIND, return_id)
    if row is None:
        raise NotFound
    async with db.transaction() as tx:
        await tx.run(LOCK_ORDERS, [row.order_id])
        order = await tx.one(StoredOrder, FIND_ORDERS, [row.order_id])
        found = await tx.one(StoredReturn, LOCK, return_id)
        check_may_move(found, order, change, caller())
        if is_again(found, change):
            return show(found)
        moved = await (receive if change.status == "received" else rule_on)(tx, order, found, change)
        await add_to_timeline(tx, (moment_of(moved, f"return_{change.status}"),))
        return show(moved)


@exposed(timeout=40.0)
async def record_return(request: RecordReturn) -> None:
    """Write down that pieces of an order came back elsewhere, fit for sale, and pay them back as any others.

    For admins. Recording the same return again changes nothing. Raises NotFound for an order that is not there, TooMuchRecorded.
    """
    caller().principal.require_admin()
    async with db.transaction() as tx:
        await tx.run(LOCK_ORDERS, [request.order_id])
        order = await tx.maybe(StoredOrder, FIND_ORDERS, [request.order_id])
        if order is None:
            raise NotFound
        if await tx.maybe(StoredReturn, FIND, request.return_id) is None:
            items = msgspec.to_builtins(find_items(order, request))
            made = (request.return_id, order.id, request.seller_id, items, "origin", request.note, order.currency)
            row = await tx.one(StoredReturn, ADD, *made)
            await count(tx, order.id, {item.line_id: (item.quantity, 0) for item in row.items})
            await receive(tx, order, row, ChangeReturn("received"))
            await add_to_timeline(tx, (moment_of(row, "return_received"),))


def find_items(order: StoredOrder, request: RecordReturn) -> tuple[ReturnItem, ...]:
    """The lines of which pieces came back: those of the SKU at this price. Raises TooMuchRecorded."""
    taken: Counter[UUID] = Counter()
    for piece in request.pieces:
        missing = piece.quantity
        for line in order.lines:
            if (line.seller_id, line.sku, line.unit_price) == (request.seller_id, piece.sku, piece.unit_price.amount):
                some = min(missing, line.shipped - line.return_open - line.returned - taken[line.id])
                taken[line.id] += some
                missing -= some
        if missing:
            raise TooMuchRecorded(piece.sku, piece.quantity, piece.quantity - missing)
    return tuple(ReturnItem(line.id, line.sku, taken[line.id], "other", 0, "buyer") for line in order.lines if taken[line.id])


async def receive(tx: Transaction, order: StoredOrder, found: StoredReturn, change: ChangeReturn) -> StoredReturn:
    """Count what has come back of a return that is locked, with its order, and tell what goes back for it."""
    if change.deduction is not None and change.deduction.amount and not change.reason:
        raise InvalidField("reason", "is missing: say why less is paid back")
    receipt = work_out(order, found, arrived(found, change))
    refund = deduct(receipt.whole, change.deduction, found.currency)
    await count(tx, order.id, {item.line_id: (-item.quantity, item.received) for item in receipt.items})
    await parcels.derive_fulfillment(tx, [order.id])
    amount, deducted = refund.amount, receipt.whole.amount - refund.amount
    status = "received" if amount else "refunded"
    row = await tx.one(StoredReturn, RECEIVE, found.id, status, change.reason, msgspec.to_builtins(receipt.items), amount, deducted)
    await publish(tx, tell(order, row, receipt, refund))
    return row


def arrived(found: StoredReturn, change: ChangeReturn) -> tuple[ReturnItem, ...]:
    """The items with what has come back of them: as is said, or all of it, fit for sale unless it was damaged. Raises InvalidField."""
    if change.items is None:
        fit = {item.line_id: 0 if item.reason == "damaged" else item.quantity for item in found.items}
        return tuple(msgspec.structs.replace(item, received=item.quantity, resellable=fit[item.line_id]) for item in found.items)
    said = {one.line_id: one for one in change.items}
    if len(said) < len(change.items) or said.keys() - {item.line_id for item in found.items}:
        raise InvalidField("items", "hold a line twice, or one that is not of this return")
    items = []
    for item in found.items:
        one = said.get(item.line_id)
        received, resellable = (one.quantity, one.resellable) if one else (0, 0)
        if received > item.quantity or resellable > received:
            raise InvalidField("items", "say that more has come back than was to, or that more of it can be sold again")
        items.append(msgspec.structs.replace(item, received=received, resellable=resellable))
    if not any(item.received for item in items):
        raise InvalidField("items", "say that nothing has come back: refuse the return")
    return tuple(items)


def work_out(order: StoredOrder, found: StoredReturn, items: tuple[ReturnItem, ...]) -> Receipt:
    """What goes back for what has come back: what it was worth less the fee, and the shipping with the last of the part."""
    part = next(part for part in order.parts if part.seller_id == found.seller_id)
    before = lines_of(order, part)
    back = {item.line_id: item for item in items}
    after = tuple(add_returned(line, back) for line in before)
    worths = {
        one.id: take_fee(worth_of(one, one.returned) - worth_of(two, two.returned), back[one.id].restocking_fee_ppm)
        for one, two in zip(after, before, strict=True)
        if one.id in back
    }
    return Receipt(items, worths, freight_of(part, after) if is_all_back(after) and not is_all_back(before) else Worth())


def take_fee(worth: Worth, fee_ppm: int) -> Worth:
    """What the fee leaves."""
    return worth.cut(divide_half_up(worth.amount * (MILLION - fee_ppm), MILLION)) if fee_ppm else worth


def add_returned(line: StoredLine, back: Mapping[UUID, ReturnItem]) -> StoredLine:
    return msgspec.structs.replace(line, returned=line.returned + back[line.id].received) if line.id in back else line


def deduct(worth: Worth, deduction: Money | None, currency: str) -> Worth:
    """What is left of a worth. Raises InvalidField for more than there is."""
    if deduction is None:
        return worth
    if deduction.currency != currency or not 0 <= deduction.amount <= worth.amount:
        raise InvalidField("deduction", f"is to be between 0 and {worth.amount} {currency}")
    return worth.cut(worth.amount - deduction.amount)


def tell(order: StoredOrder, row: StoredReturn, receipt: Receipt, refund: Worth) -> ReturnReceived:
    """The news of what has come back, and how what goes back for it divides over its lines."""
    parts = [*receipt.worths.values(), receipt.freight]
    amounts = split(refund.amount, [part.amount for part in parts])
    taxes = split(refund.tax, [part.tax for part in parts])
    shares = dict(zip(receipt.worths, zip(amounts, taxes, strict=True), strict=False))
    currency = order.currency
    return ReturnReceived(
        order.id,
        row.id,
        row.seller_id,
        order.user_id,
        tuple(pieces_of(item, shares[item.line_id], currency) for item in receipt.items if item.received),
        row.refund_to == "wallet",
        *refund.shown(currency),
    )


def pieces_of(item: ReturnItem, share: tuple[int, int], currency: str) -> ReturnedPieces:
    amount, tax = (Money(one, currency) for one in share)
    return ReturnedPieces(item.line_id, item.sku, item.received, item.resellable, amount, tax)
