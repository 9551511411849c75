"""Send goods back: asked for by the buyer, approved or refused and received by the seller, paid back for what has arrived."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from souk.kit.callers import Caller, caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import publish
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders import reading
from souk.orders.database import db
from souk.orders.events import ReturnApproved, ReturnClosed, ReturnRequested
from souk.orders.reading import FIND_ORDERS, StoredLine, StoredOrder
from souk.orders.return_policies import adapt, choose_terms, ends_at, find_policies
from souk.orders.return_types import (
    ChangeReturn,
    NewReturn,
    NotReturnable,
    RefundTo,
    Return,
    ReturnItem,
    ReturnPolicy,
    ReturnReason,
    ReturnStatus,
    ReturnWindowOver,
    TooMuchReturned,
    WrongReturnStatus,
)
from souk.orders.settling import LOCK_ORDERS, Moment, add_to_timeline
from souk.orders.types import LinePieces

COLUMNS = """
    id, order_id, seller_id, status, items, refund_to, note, reason, refund, deduction, currency, version, created_at, updated_at
"""
ADD = f"""
    INSERT INTO orders.returns (id, order_id, seller_id, items, refund_to, note, currency) VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING {COLUMNS}
"""
FIND = f"SELECT {COLUMNS} FROM orders.returns WHERE id = $1"
LOCK = f"{FIND} FOR UPDATE"
LIST_OF_ORDER = f"SELECT {COLUMNS} FROM orders.returns WHERE order_id = $1 ORDER BY id LIMIT 1000"
LIST_OF_SELLER = f"""
    SELECT {COLUMNS} FROM orders.returns
    WHERE seller_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($4::text IS NULL OR status = $4) ORDER BY id DESC LIMIT $3
"""
MOVE = f"""
    UPDATE orders.returns SET status = $2, reason = coalesce($3, reason), version = version + 1, updated_at = now() WHERE id = $1
    RETURNING {COLUMNS}
"""
COUNT = """
    UPDATE orders.order_line AS l SET return_open = l.return_open + u.open, returned = l.returned + u.returned
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS u (id, open, returned)
    WHERE l.order_id = $1 AND l.id = u.id
"""
FIND_CATEGORIES = "SELECT id, category_ids FROM orders.order_line WHERE order_id = $1"
# When the pieces of a line were last seen on their way or arriving.
FIND_ARRIVALS = """
    SELECT (line ->> 'line_id')::uuid AS line_id, max(p.updated_at) AS at
    FROM orders.parcel AS p, jsonb_array_elements(p.lines) AS line
    WHERE p.order_id = $1 AND p.status IN ('dispatched', 'delivered')
    GROUP BY 1
"""
# A return is refunded when its refund is; it bears the return's id.
MARK_REFUNDED = """
    UPDATE orders.returns SET status = 'refunded', version = version + 1, updated_at = now()
    WHERE id IN (SELECT r.id FROM orders.returns AS r WHERE r.id = ANY($1) AND r.status = 'received' ORDER BY r.id FOR UPDATE)
"""

# From which statuses a return gets into another; what is refused after it was approved has come back otherwise than was said.
BEFORE: dict[str, tuple[ReturnStatus, ...]] = {
    "approved": ("requested",),
    "refused": ("requested", "approved"),
    "canceled": ("requested", "approved"),
    "received": ("requested", "approved"),
}


class StoredReturn(msgspec.Struct, frozen=True):
    """A row of returns."""

    id: UUID
    order_id: UUID
    seller_id: UUID
    status: ReturnStatus
    items: tuple[ReturnItem, ...]
    refund_to: RefundTo
    note: str | None
    reason: str | None
    refund: int | None
    deduction: int
    currency: str
    version: int
    created_at: datetime
    updated_at: datetime


class _Arrival(msgspec.Struct, frozen=True):
    line_id: UUID
    at: datetime


class _Filed(msgspec.Struct, frozen=True):
    id: UUID
    category_ids: tuple[UUID, ...]


class Terms(msgspec.Struct, frozen=True):
    """What decides whether pieces of an order may come back: policies and categories of when it was made, arrivals.

    Lenient ones take back what is a final sale, or comes late: an admin asks.
    """

    policies: tuple[ReturnPolicy, ...]
    categories: Mapping[UUID, tuple[UUID, ...]]
    arrivals: Mapping[UUID, datetime]
    now: datetime
    lenient: bool


@exposed(timeout=10.0)
async def request_return(order_id: UUID, new: NewReturn) -> tuple[Return, ...]:
    """Ask to send pieces of an order of one's own back; one return for each of their sellers.

    The same Idempotency-Key asks once. Raises NotFound for another's order, TooMuchReturned, InvalidField; NotReturnable and
    ReturnWindowOver, but not for an admin.
    """
    order = await reading.find_order(order_id)
    who = caller()
    if not (who.principal.is_admin or reading.is_owner(order, who)):
        raise NotFound
    if new.refund_to == "wallet" and order.user_id is None:
        raise InvalidField("refund_to", "is to be origin: a guest has no wallet")
    wanted = add_up(new)

    async def work(tx: Transaction) -> tuple[Return, ...]:
        await tx.run(LOCK_ORDERS, [order_id])
        now = await tx.one(StoredOrder, FIND_ORDERS, [order_id])
        sellers = {line.seller_id for line in now.lines}
        # What was made elsewhere was agreed on before it was written down here.
        policies = await find_policies(tx, sellers, min(now.created_at, now.placed_at or now.created_at))
        categories = {row.id: row.category_ids for row in await tx.all(_Filed, FIND_CATEGORIES, order_id)}
        arrivals = {row.line_id: row.at for row in await tx.all(_Arrival, FIND_ARRIVALS, order_id)}
        items = accept(now, wanted, Terms(policies, categories, arrivals, datetime.now(UTC), who.principal.is_admin))
        return await write_requested(tx, now, items, new)

    return await once(db, (order_id, new), work)


async def write_requested(
    tx: Transaction, order: StoredOrder, items: Mapping[UUID, list[ReturnItem]], new: NewReturn
) -> tuple[Return, ...]:
    """Write the returns of an order that is locked, by seller, and count their pieces."""
    made = []
    for seller_id, own in items.items():
        row = await tx.one(
            StoredReturn, ADD, new_id(), order.id, seller_id, msgspec.to_builtins(own), new.refund_to, new.note, order.currency
        )
        await count(tx, order.id, {item.line_id: (item.quantity, 0) for item in own})
        lines = tuple(LinePieces(item.line_id, item.quantity) for item in own)
        await publish(tx, ReturnRequested(order.id, row.id, seller_id, order.user_id, lines))
        made.append(show(row))
    await add_to_timeline(tx, tuple(moment_of(one, "return_requested") for one in made))
    return tuple(made)


@exposed()
async def get_return(return_id: UUID) -> Return:
    """A return, for its buyer, its seller and admins. Changes nothing; raises NotFound."""
    found = await db.maybe(StoredReturn, FIND, return_id)
    if found is None:
        raise NotFound
    order = await reading.find_order(found.order_id)
    if not (caller().principal.manages(found.seller_id) or reading.is_owner(order, caller())):
        raise NotFound
    return show(found)


@exposed()
async def get_returns_of(order_id: UUID) -> tuple[Return, ...]:
    """Those returns of an order that the caller may see, the oldest first. Changes nothing; raises NotFound for another's order."""
    order = await reading.find_visible(order_id)
    who = caller()
    rows = await db.all(StoredReturn, LIST_OF_ORDER, order_id)
    return tuple(show(row) for row in rows if reading.is_owner(order, who) or who.principal.manages(row.seller_id))


@exposed()
async def list_returns(seller_id: UUID, status: ReturnStatus | None, before: UUID | None, limit: int) -> tuple[Return, ...]:
    """The returns to one's own seller account (any for an admin), newest first. Changes nothing; raises NotFound for another's."""
    if not caller().principal.manages(seller_id):
        raise NotFound
    return tuple(show(row) for row in await db.search(StoredReturn, LIST_OF_SELLER, seller_id, before, limit, status))


async def rule_on(tx: Transaction, order: StoredOrder, found: StoredReturn, change: ChangeReturn) -> StoredReturn:
    """Approve, refuse or cancel a return that is locked, with its order."""
    row = await tx.one(StoredReturn, MOVE, found.id, change.status, change.reason)
    if change.status == "approved":
        await publish(tx, ReturnApproved(order.id, row.id, row.seller_id, order.user_id))
    else:
        await count(tx, order.id, {item.line_id: (-item.quantity, 0) for item in found.items})
        await publish(tx, ReturnClosed(order.id, row.id, row.seller_id, order.user_id, refused=change.status == "refused"))
    return row


def moment_of(one: Return | StoredReturn, type: str) -> Moment:
    """What the timeline of its order tells of a return."""
    return Moment(one.order_id, type, {"return_id": str(one.id), "seller_id": str(one.seller_id)}, caller().principal.user_id)


async def count(tx: Transaction, order_id: UUID, counts: Mapping[UUID, tuple[int, int]]) -> None:
    """Add to what is to come back and to what has, by line. The order is locked."""
    columns = zip(*counts.values(), strict=True)
    await tx.run(COUNT, order_id, list(counts), *map(list, columns))


async def mark_refunded(tx: Transaction, refund_ids: Iterable[UUID]) -> None:
    """The money of these refunds is back; those that are for returns end them."""
    await tx.run(MARK_REFUNDED, sorted(refund_ids))


def check_may_move(found: StoredReturn, order: StoredOrder, change: ChangeReturn, who: Caller) -> None:
    """Raise NotFound for who has nothing to do with it, and WrongReturnStatus for what cannot be.

    A buyer may give a return up; whether goods are taken back, and what has arrived, the seller says.
    """
    is_seller, is_buyer = who.principal.manages(found.seller_id), reading.is_owner(order, who)
    if not (is_seller or is_buyer):
        raise NotFound
    allowed = who.principal.is_admin or (is_buyer if change.status == "canceled" else is_seller)
    if not allowed or not (found.status in BEFORE[change.status] or is_again(found, change)):
        raise WrongReturnStatus(found.status)


def is_again(found: StoredReturn, change: ChangeReturn) -> bool:
    """Whether that has become of it before."""
    return found.status == change.status or (change.status == "received" and found.status == "refunded")


def accept(order: StoredOrder, wanted: Mapping[UUID, tuple[int, ReturnReason]], terms: Terms) -> dict[UUID, list[ReturnItem]]:
    """What comes back, by seller, each item on its terms; raises why it may not."""
    lines = {line.id: line for line in order.lines}
    items: defaultdict[UUID, list[ReturnItem]] = defaultdict(list)
    for line_id, (quantity, reason) in wanted.items():
        if line_id not in lines:
            raise InvalidField("items", "hold a line that is not of this order")
        line = lines[line_id]
        if quantity > (left := line.shipped - line.return_open - line.returned):
            raise TooMuchReturned(line_id, quantity, left)
        items[line.seller_id].append(accept_line(line, quantity, reason, terms))
    return dict(items)


def accept_line(line: StoredLine, quantity: int, reason: ReturnReason, terms: Terms) -> ReturnItem:
    """The item of a return; raises NotReturnable or ReturnWindowOver."""
    mine = adapt(choose_terms(terms.policies, line.seller_id, terms.categories[line.id]), reason)
    if mine.final_sale and not terms.lenient:
        raise NotReturnable(line.id)
    until = ends_at(mine, terms.arrivals.get(line.id, terms.now))
    if terms.now > until and not terms.lenient:
        raise ReturnWindowOver(line.id, until)
    return ReturnItem(line.id, line.sku, quantity, reason, mine.restocking_fee_ppm, mine.return_shipping)


def add_up(new: NewReturn) -> dict[UUID, tuple[int, ReturnReason]]:
    """Pieces by line; a line is sent back for one reason."""
    pieces: Counter[UUID] = Counter()
    reasons: dict[UUID, ReturnReason] = {}
    for one in new.items:
        if reasons.setdefault(one.line_id, one.reason) != one.reason:
            raise InvalidField("items", "name a line twice for different reasons: ask for two returns")
        pieces[one.line_id] += one.quantity
    return {line_id: (quantity, reasons[line_id]) for line_id, quantity in pieces.items()}


def show(row: StoredReturn) -> Return:
    """A return as others see it."""
    return Return(
        id=row.id,
        order_id=row.order_id,
        seller_id=row.seller_id,
        status=row.status,
        items=row.items,
        refund_to=row.refund_to,
        note=row.note,
        reason=row.reason,
        refund=None if row.refund is None else Money(row.refund, row.currency),
        deduction=Money(row.deduction, row.currency),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
