"""Write down how an order came out: placed, rejected or canceled, with the news of it, many at once."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk import inventory, shipping
from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import caller
from souk.kit.db import Transaction, columns, part
from souk.kit.errors import DomainError, refusal_to_wire
from souk.kit.events import APPEND, Event, News, publish
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders import placements
from souk.orders.database import db
from souk.orders.events import DigitalGoodsSold, OrderCancelled, OrderedLine, OrderPaid, OrderPlaced, OrderRejected
from souk.orders.placements import LetGo, LostLease, Placement
from souk.orders.reading import StoredOrder
from souk.orders.securing import lines_of
from souk.orders.types import OrderStatus, PaymentStatus

LOCK_ORDERS = "SELECT FROM orders.orders WHERE id = ANY($1) ORDER BY id FOR UPDATE"
# All of it in one statement, for one round trip a batch: end the attempts that are still the newest, place those of their orders that
# are drafts, and tell of it in the timelines and the outbox. Sagas are locked before orders, both in the order of their keys, and no
# join says which rows change (decision 7). Money may have gone back between its capture and now.
# $1 orders, $2 the attempt, $3 when, $4 the ids of the timelines' entries, $5 to $9 the news.
PLACE = f"""
    WITH held AS MATERIALIZED (
        SELECT order_id FROM orders.placement WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE
    ), ended AS (
        UPDATE orders.placement SET step = 'done', change = NULL, nudged = false, lease_until = '-infinity', updated_at = now()
        WHERE order_id = ANY(ARRAY(SELECT order_id FROM held)) AND attempt = $2
        RETURNING order_id
    ), locked AS MATERIALIZED (
        SELECT id FROM orders.orders WHERE id = ANY(ARRAY(SELECT order_id FROM ended)) ORDER BY id FOR UPDATE
    ), placed AS (
        UPDATE orders.orders SET
            status = 'placed', captured = total, placed_at = coalesce(placed_at, $3), expires_at = NULL, version = version + 1,
            payment_status = CASE WHEN refunded = 0 THEN 'paid' WHEN refunded < total THEN 'partially_refunded' ELSE 'refunded' END,
            updated_at = now()
        WHERE id = ANY(ARRAY(SELECT id FROM locked)) AND status = 'draft'
        RETURNING id, payment_status, placed_at, version, updated_at, user_id
    ), entered AS (
        INSERT INTO orders.timeline (order_id, id, type, data, actor_id)
        SELECT p.id, u.entry_id, 'placed', '{{}}', p.user_id
        FROM placed AS p JOIN unnest($1::uuid[], $4::uuid[]) AS u (order_id, entry_id) ON u.order_id = p.id
    ), announced AS (
        {part(APPEND.format(schema="orders"), 4, "WHERE u.aggregate_id IN (SELECT id FROM placed)")}
    )
    SELECT e.order_id, p.payment_status, p.placed_at, p.version, p.updated_at
    FROM ended AS e LEFT JOIN placed AS p ON p.id = e.order_id
"""
MARK_REJECTED = """
    UPDATE orders.orders AS o SET status = u.status, payment_status = u.payment_status, expires_at = NULL, version = o.version + 1,
                                  updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS u (id, status, payment_status)
    WHERE o.id = u.id AND o.status = 'draft'
    RETURNING o.id, o.user_id
"""
# Its row is locked before: what is packed and has not been unpacked is on its way.
MARK_CANCELED = """
    UPDATE orders.orders SET status = 'canceled', fulfillment_status = 'canceled', version = version + 1, updated_at = now()
    WHERE id = $1 AND status = 'placed' AND NOT EXISTS (SELECT FROM orders.order_line WHERE order_id = $1 AND packed > 0)
    RETURNING id, user_id
"""
CANCEL_LINES = "UPDATE orders.order_line SET canceled = quantity WHERE order_id = $1"
CANCEL_PARTS = """
    UPDATE orders.order_part SET status = 'canceled', updated_at = now() WHERE order_id = $1 AND status <> 'canceled' RETURNING seller_id
"""
SET_PAYMENT_STATUS = """
    UPDATE orders.orders AS o SET payment_status = u.payment_status, version = o.version + 1, updated_at = now()
    FROM unnest($1::uuid[], $2::text[]) AS u (id, payment_status)
    WHERE o.id = u.id AND o.payment_status <> u.payment_status
"""
ADD_REFUNDS = """
    UPDATE orders.orders AS o SET
        refunded = o.refunded + u.amount, version = o.version + 1, updated_at = now(),
        payment_status = CASE WHEN u.amount = 0 THEN o.payment_status WHEN o.refunded + u.amount = 0 THEN 'paid'
                              WHEN o.refunded + u.amount >= o.captured THEN 'refunded' ELSE 'partially_refunded' END
    FROM (SELECT id, sum(amount)::bigint AS amount FROM unnest($1::uuid[], $2::bigint[]) AS r (id, amount) GROUP BY id) AS u
    WHERE o.id = u.id
"""
ADD_TO_TIMELINE = """
    INSERT INTO orders.timeline (order_id, id, type, data, actor_id)
    SELECT u.order_id, u.id, u.type, u.data, u.actor_id
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[], $5::uuid[]) AS u (order_id, id, type, data, actor_id)
"""


class _Placed(msgspec.Struct, frozen=True):
    """An order whose attempt was the newest; all else is empty if it was no draft: it had been placed before."""

    order_id: UUID
    payment_status: PaymentStatus | None
    placed_at: datetime | None
    version: int | None
    updated_at: datetime | None


class _Ended(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID | None


class _Part(msgspec.Struct, frozen=True):
    seller_id: UUID


class Moment(msgspec.Struct, frozen=True):
    """An entry of an order's timeline that is to be written."""

    order_id: UUID
    type: str
    data: dict[str, object]
    actor_id: UUID | None = None


class Why(msgspec.Struct, frozen=True):
    """Why something is cancelled: by whom, which everybody is told, and in what words, which stay with the order."""

    by: Literal["buyer", "seller", "admin"]
    words: str


class Repaid(msgspec.Struct, frozen=True):
    """Money that counts as given back to the buyer (below zero: no longer), and what the timeline says of it, if anything."""

    order_id: UUID
    amount: Money
    type: str = ""
    shown: Money | None = None


class Settled(msgspec.Struct, frozen=True):
    """An attempt that has brought its order to the end: stock is set aside, and the money is there."""

    placement: Placement
    order: StoredOrder


async def settle_placed(placement: Placement, order: StoredOrder) -> StoredOrder:
    """The order is paid: confirm its stock and write that it is placed. The order as it is now.

    Raises OutOfStock if its stock was given back meanwhile and is gone, LostLease if another attempt has taken over.
    """
    placed = await _placing.ask(Settled(placement, order), caller())
    if placed is None:
        raise LostLease
    return placed


async def place_orders(asked: tuple[Asked[Settled], ...]) -> Answers[StoredOrder | None]:
    """What is confirmed is placed."""
    orders = [(one.request.order, one.caller) for one in asked]
    confirmed = await inventory.confirm_stock.many([(inventory.ConfirmStock(order.id, lines_of(order)), who) for order, who in orders])
    refused = {one.request.order.id: answer for one, answer in zip(asked, confirmed, strict=True) if isinstance(answer, Exception)}
    settled = {one.request.order.id: one.request for one in asked if one.request.order.id not in refused}
    traces = {one.request.order.id: one.caller.traceparent for one in asked}
    placed = await write_placed(settled, traces) if settled else {}
    return tuple(refused.get(order.id) or placed.get(order.id) for order, _ in orders)


_placing: Batcher[Settled, StoredOrder | None] = Batcher(place_orders)


async def write_placed(settled: dict[UUID, Settled], traces: Mapping[UUID, str | None]) -> dict[UUID, StoredOrder]:
    """Write down that these orders are placed; those whose attempt was still the newest, as they are now."""
    by_attempt: defaultdict[int, dict[UUID, StoredOrder]] = defaultdict(dict)
    for order_id, one in settled.items():
        by_attempt[one.placement.attempt][order_id] = one.order
    placed: dict[UUID, StoredOrder] = {}
    for attempt, orders in by_attempt.items():  # nearly always the first
        ids, now = sorted(orders), datetime.now(UTC)
        news = News([event for order_id in ids for event in news_of(orders[order_id], now)], traces)
        rows = await db.write(_Placed, PLACE, ids, attempt, now, [new_id() for _ in ids], *news.values)
        news.tell(db, {row.order_id for row in rows if row.placed_at is not None})
        placed |= {row.order_id: as_placed(orders[row.order_id], row) for row in rows}
    return placed


def as_placed(order: StoredOrder, row: _Placed) -> StoredOrder:
    if row.payment_status is None or row.version is None or row.updated_at is None:
        return order
    return msgspec.structs.replace(
        order,
        status="placed",
        payment_status=row.payment_status,
        placed_at=row.placed_at,
        expires_at=None,
        version=row.version,
        updated_at=row.updated_at,
    )


def news_of(order: StoredOrder, now: datetime) -> tuple[Event, ...]:
    """What is to be told of an order that becomes final now. An order of old times has been placed already when it is written down."""
    total = Money(order.total, order.currency)
    ordered = tuple(
        OrderedLine(line.sku, line.product_id, line.seller_id, line.quantity, Money(line.total, order.currency)) for line in order.lines
    )
    placed_at = order.placed_at or now
    digital = any(one.shipping_option == shipping.NO_SHIPPING for one in order.parts)
    return (
        OrderPlaced(order.id, order.number, order.user_id, order.cart_id, total, ordered, placed_at),
        OrderPaid(order.id, total),
        *((DigitalGoodsSold(order.id),) if digital else ()),
    )


class Rejection(msgspec.Struct, frozen=True):
    """An order does not come about and all that was done for it is undone: for a reason, or (None) because it was cancelled."""

    placement: Placement
    refusal: DomainError | None
    payment_status: PaymentStatus = "none"

    @property
    def status(self) -> OrderStatus:
        return "rejected" if self.refusal else "canceled"

    @property
    def reason(self) -> str:
        return self.refusal.code if self.refusal else "canceled"

    @property
    def ended(self) -> LetGo:
        """The end of the saga; a refusal is kept for whoever asks again."""
        kept = msgspec.json.encode(refusal_to_wire(self.refusal)).decode() if self.refusal else None
        return LetGo(self.placement.order_id, self.placement.attempt, "done", frees_cart=True, refusal=kept)


async def _write_rejected(asked: tuple[Asked[Rejection], ...]) -> Answers[bool]:
    rejections = {one.request.placement.order_id: one.request for one in asked}
    async with db.transaction() as tx:
        ours = sorted(await placements.let_go(tx, tuple(one.ended for one in rejections.values())))
        statuses = {order_id: rejections[order_id].payment_status for order_id in ours}
        marks = [rejections[order_id].status for order_id in ours]
        await tx.run(LOCK_ORDERS, ours)
        drafts = await tx.all(_Ended, MARK_REJECTED, ours, marks, list(statuses.values()))
        await publish(tx, *(OrderRejected(order.id, order.user_id, rejections[order.id].reason) for order in drafts))
        moments = tuple(Moment(order.id, rejections[order.id].status, {"reason": rejections[order.id].reason}) for order in drafts)
        await add_to_timeline(tx, moments)
        # Those that were no drafts had been placed and then canceled: what is left to say is where their money is.
        await set_payment_status(tx, statuses)
    return tuple(one.request.placement.order_id in ours for one in asked)


_rejecting: Batcher[Rejection, bool] = Batcher(_write_rejected)


async def settle_rejected(rejection: Rejection) -> None:
    """The order did not come about; whoever asks again gets the refusal. Raises LostLease."""
    if not await _rejecting.ask(rejection, caller()):
        raise LostLease


async def mark_canceled(tx: Transaction, order_id: UUID, why: Why) -> bool:
    """Cancel a placed order of which nothing was shipped; False if it is not one."""
    await tx.run(LOCK_ORDERS, [order_id])
    order = await tx.maybe(_Ended, MARK_CANCELED, order_id)
    if order is None:
        return False
    await tx.run(CANCEL_LINES, order_id)
    parts = await tx.all(_Part, CANCEL_PARTS, order_id)
    await publish(tx, OrderCancelled(order.id, order.user_id, why.by, tuple(sorted(part.seller_id for part in parts))))
    await add_to_timeline(tx, (Moment(order.id, "canceled", {"reason": why.words}, caller().principal.user_id),))
    return True


async def set_payment_status(tx: Transaction, statuses: dict[UUID, PaymentStatus]) -> None:
    """Write what the payments context says of these orders' money. The caller has locked them."""
    await tx.run(SET_PAYMENT_STATUS, list(statuses), list(statuses.values()))


async def add_refunds(tx: Transaction, refunds: tuple[Repaid, ...]) -> None:
    """Write on the orders that money went back; each refund is told once."""
    await tx.run(LOCK_ORDERS, [one.order_id for one in refunds])
    await tx.run(ADD_REFUNDS, [one.order_id for one in refunds], [one.amount.amount for one in refunds])
    told = (Moment(one.order_id, one.type, {"amount": msgspec.to_builtins(one.shown)}) for one in refunds if one.type)
    await add_to_timeline(tx, tuple(told))


async def add_to_timeline(tx: Transaction, moments: tuple[Moment, ...]) -> None:
    """Write what happened to these orders."""
    names = ("order_id", "type", "data", "actor_id")
    order_ids, types, data, actors = columns(moments, *names)
    await tx.run(ADD_TO_TIMELINE, order_ids, [new_id() for _ in moments], types, data, actors)
