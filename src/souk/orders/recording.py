"""Record orders that were made elsewhere: the prices and the time of the one who asks, stock shipped at once."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from souk import inventory
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders import drafting, placing
from souk.orders.database import db
from souk.orders.drafts import Draft, DraftLine, DraftPart
from souk.orders.parcels import Step, follow
from souk.orders.settling import LOCK_ORDERS
from souk.orders.types import OrderItem, PaymentChoice

# A parcel of each seller, which shipping never sees.
PACK = """
    WITH packed AS (
        UPDATE orders.order_line SET packed = quantity
        WHERE order_id = $1 AND packed = 0 AND EXISTS (SELECT FROM orders.orders WHERE id = $1 AND status = 'placed')
        RETURNING order_id, seller_id, id, quantity
    )
    INSERT INTO orders.parcel (order_id, id, seller_id, lines)
    SELECT order_id, uuidv7(), seller_id, jsonb_agg(jsonb_build_object('line_id', id, 'quantity', quantity))
    FROM packed GROUP BY order_id, seller_id
    RETURNING id
"""

FIND_FULFILLED = "SELECT id FROM orders.orders WHERE id = ANY($1) AND fulfillment_status IN ('fulfilled', 'delivered', 'returned')"
SUM_REVENUE = """
    SELECT to_char(placed_at, 'YYYY-MM') AS month, coalesce(country, '') AS country, currency,
           sum(total)::bigint AS revenue, sum(refunded)::bigint AS refunded
    FROM orders.orders
    WHERE id = ANY($1) AND status = 'placed'
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
"""

# The way to pay of an order whose money came elsewhere: it is booked, nobody is charged.
PAID_ELSEWHERE = "external"


class RecordedLine(msgspec.Struct, frozen=True):
    """So many pieces at this price."""

    product_id: UUID
    variant_id: UUID
    seller_id: UUID
    sku: str
    name: str
    quantity: Annotated[int, Meta(ge=1)]
    unit_price: Money


class RecordOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was made and paid elsewhere. Its id is the caller's: a UUIDv7 of the time when it was placed."""

    order_id: UUID
    placed_at: datetime
    currency: str
    lines: Annotated[tuple[RecordedLine, ...], Meta(min_length=1)]
    user_id: UUID | None = None
    country: str | None = None
    note: str | None = None


class Revenue(msgspec.Struct, frozen=True):
    """What orders of a month to a country brought, and what of it went back, in minor units."""

    month: str
    country: str
    currency: str
    revenue: int
    refunded: int


class _Id(msgspec.Struct, frozen=True):
    id: UUID


@exposed(timeout=40.0)
async def record_order(request: RecordOrder) -> None:
    """Write an order down that was made, paid and shipped elsewhere, through the same stock, payment and events as any other.

    For admins. Recording the same order again changes nothing and goes on from where the last attempt stopped. Raises
    OutOfStock if the stock is not there.
    """
    caller().principal.require_admin()
    choice = PaymentChoice(PAID_ELSEWHERE)
    written = await drafting.write_draft(make_recorded_draft(request))
    await (placing.complete(written, choice) if written else placing.drive(request.order_id, choice))
    await inventory.ship_stock(inventory.ShipStock(request.order_id, ()))
    async with db.transaction() as tx:
        await tx.run(LOCK_ORDERS, [request.order_id])
        packed = await tx.all(_Id, PACK, request.order_id)
        await follow(tx, [Step(request.order_id, parcel.id, "dispatched") for parcel in packed])


@exposed(timeout=30.0)
async def find_fulfilled(ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    """Which of these orders were shipped as a whole, whatever came back since; for admins."""
    caller().principal.require_admin()
    return tuple(row.id for row in await db.all(_Id, FIND_FULFILLED, list(ids)))


@exposed(timeout=30.0)
async def sum_revenue(ids: tuple[UUID, ...]) -> tuple[Revenue, ...]:
    """What these orders brought per month, country and currency; for admins."""
    caller().principal.require_admin()
    return await db.all(Revenue, SUM_REVENUE, list(ids))


def make_recorded_draft(request: RecordOrder) -> Draft:
    """The order as it was: no discount, no tax and no shipping beyond its prices, and no commission of ours."""
    items = tuple(make_item(line) for line in request.lines)
    by_seller: defaultdict[UUID, int] = defaultdict(int)
    for item in items:
        by_seller[item.seller_id] += item.total.amount
    total = sum(by_seller.values())
    return Draft(
        order_id=request.order_id,
        lines=tuple(DraftLine(item) for item in items),
        parts=tuple(DraftPart(seller_id, None, 0, 0, goods, 0, 0) for seller_id, goods in by_seller.items()),
        currency=request.currency,
        subtotal=total,
        discount=0,
        shipping=0,
        tax=0,
        total=total,
        tax_included=True,
        subject="recorded",
        key=str(request.order_id),
        fingerprint=drafting.fingerprint_of(request),
        expires_at=datetime.now(request.placed_at.tzinfo) + timedelta(days=3650),
        user_id=request.user_id,
        country=request.country,
        note=request.note,
        placed_at=request.placed_at,
    )


def make_item(line: RecordedLine) -> OrderItem:
    nothing = Money(0, line.unit_price.currency)
    total = line.unit_price * line.quantity
    return OrderItem(
        new_id(), line.product_id, line.variant_id, line.seller_id, line.sku, line.name, line.quantity, line.unit_price,
        nothing, nothing, total,
    )  # fmt: skip
