"""Read orders: whole for the buyer, their own part for a seller, and what happened to them."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk import payments
from souk.kit.callers import Caller, caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.ids import first_id
from souk.kit.money import Money
from souk.orders.database import db
from souk.orders.drafts import DraftPart
from souk.orders.types import (
    Address,
    FulfillmentStatus,
    NextAction,
    Order,
    OrderItem,
    OrderPart,
    OrderPayment,
    OrderStatus,
    PaymentStatus,
    TimelineEntry,
)

SELECT_ORDERS = """
    SELECT o.id, o.number, o.user_id, o.guest_token_hash, o.email, o.cart_id, o.status, o.payment_status, o.fulfillment_status,
           o.currency, o.subtotal, o.discount, o.shipping, o.tax, o.total, o.tax_included, o.coupon,
           o.coupon_discount, o.shipping_address, o.note,
           o.expires_at, o.placed_at, o.version, o.created_at, o.updated_at,
           (SELECT jsonb_agg(to_jsonb(l) - '{order_id,discounts,category_ids,created_at}'::text[] ORDER BY l.id)
            FROM orders.order_line AS l WHERE l.order_id = o.id) AS lines,
           (SELECT jsonb_agg(to_jsonb(p) - 'order_id' - 'created_at' - 'updated_at' ORDER BY p.created_at, p.seller_id)
            FROM orders.order_part AS p WHERE p.order_id = o.id) AS parts
    FROM orders.orders AS o
"""
FIND_ORDERS = f"{SELECT_ORDERS} WHERE o.id = ANY($1) ORDER BY o.id"
LIST_OF_USER = f"{SELECT_ORDERS} WHERE o.user_id = $1 AND o.id < $2 ORDER BY o.id DESC LIMIT $3"
LIST_OF_SELLER = f"""
    {SELECT_ORDERS}
    WHERE o.id IN (SELECT order_id FROM orders.order_part WHERE seller_id = $1 AND order_id < $2 ORDER BY order_id DESC LIMIT $3)
      AND o.status <> 'draft'
    ORDER BY o.id DESC
"""
LIST_ALL = f"{SELECT_ORDERS} WHERE o.id < $1 AND ($2::text IS NULL OR o.status = $2) ORDER BY o.id DESC LIMIT $3"
# The lines are narrowed as well, so that months that lie before are not looked at.
FIND_BOUGHT = """
    SELECT DISTINCT o.user_id, l.product_id FROM orders.orders AS o JOIN orders.order_line AS l ON l.order_id = o.id
    WHERE o.user_id = ANY($1) AND o.id >= $2 AND l.order_id >= $2 AND o.status = 'placed'
"""
IS_KNOWN = "SELECT EXISTS (SELECT FROM orders.orders WHERE id = $1)"
READ_TIMELINE = "SELECT id, type, data, actor_id, created_at FROM orders.timeline WHERE order_id = $1 ORDER BY id LIMIT 500"

# What all sellers of an order may know of it.
KNOWN_TO_ALL = ("placed", "canceled")
NEWEST = UUID(int=2**128 - 1)


class StoredLine(msgspec.Struct, frozen=True):
    """A row of order_line."""

    id: UUID
    seller_id: UUID
    product_id: UUID
    variant_id: UUID
    sku: str
    name: str
    image_url: str | None
    quantity: int
    unit_price: int
    discount: int
    tax: int
    tax_rate_ppm: int
    total: int
    commission: int = 0
    platform_discount: int = 0
    packed: int = 0
    shipped: int = 0
    delivered: int = 0
    canceled: int = 0
    return_open: int = 0
    returned: int = 0


class StoredPart(DraftPart, frozen=True, kw_only=True):
    """A row of order_part."""

    status: FulfillmentStatus


class StoredOrder(msgspec.Struct, frozen=True):
    """A row of orders with its lines and parts."""

    id: UUID
    number: int
    user_id: UUID | None
    guest_token_hash: bytes | None
    email: str | None
    cart_id: UUID | None
    status: OrderStatus
    payment_status: PaymentStatus
    fulfillment_status: FulfillmentStatus
    currency: str
    subtotal: int
    discount: int
    shipping: int
    tax: int
    total: int
    tax_included: bool
    coupon: str | None
    coupon_discount: int
    shipping_address: Address | None
    note: str | None
    expires_at: datetime | None
    placed_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    lines: tuple[StoredLine, ...]
    parts: tuple[StoredPart, ...]


class Bought(msgspec.Struct, frozen=True):
    """Somebody has bought a product."""

    user_id: UUID
    product_id: UUID


@exposed()
async def list_bought(user_ids: tuple[UUID, ...], since: datetime) -> tuple[Bought, ...]:
    """Which products each of these users has in a placed order since then. Changes nothing; raises Forbidden for anybody but admins."""
    caller().principal.require_admin()
    return await db.all(Bought, FIND_BOUGHT, list(user_ids), first_id(since.timestamp()))


@exposed()
async def get_orders(ids: tuple[UUID, ...]) -> tuple[Order, ...]:
    """Those of these orders that the caller may see; a seller sees their own part only."""
    who = caller()
    found = (narrow(order, who) for order in await db.all(StoredOrder, FIND_ORDERS, list(ids)))
    return tuple(make_order(order) for order in found if order is not None)


@exposed()
async def get_order(order_id: UUID) -> Order:
    """An order with how its payment stands. Another's order is NotFound."""
    return await show_order(order_id)


@exposed()
async def list_orders(
    user_id: UUID | None, seller_id: UUID | None, status: OrderStatus | None, limit: int, cursor: str | None
) -> Page[Order]:
    """Orders, newest first: one's own, those with a part of one's seller, or all of them for an admin. Raises NotFound."""
    who = caller().principal
    (before,) = read_cursor(cursor, tuple[UUID]) or (NEWEST,)
    if seller_id is not None:
        if not (who.sells_for(seller_id) or who.is_admin):
            raise NotFound
        rows = await db.all(StoredOrder, LIST_OF_SELLER, seller_id, before, limit + 1)
        rows = tuple(cut for row in rows if (cut := keep_sellers(row, (seller_id,))) is not None)
    elif user_id is None and who.is_admin:
        rows = await db.search(StoredOrder, LIST_ALL, before, status, limit + 1)
    else:
        mine = user_id or who.require_user()
        if not (who.owns(mine) or who.is_admin):
            raise NotFound
        rows = await db.all(StoredOrder, LIST_OF_USER, mine, before, limit + 1)
    return make_page(tuple(make_order(row) for row in rows), limit, lambda order: (order.id,))


@exposed()
async def get_timeline(order_id: UUID) -> tuple[TimelineEntry, ...]:
    """What happened to an order, oldest first: all of it, or to a seller's own goods. Another's order is NotFound."""
    order, who = await find_visible(order_id), caller()
    entries = await db.all(TimelineEntry, READ_TIMELINE, order_id)
    if who.principal.is_admin or is_owner(order, who):
        return entries
    own = {str(part.seller_id) for part in order.parts}
    return tuple(cut for entry in entries if (cut := narrow_entry(entry, own)) is not None)


async def find_order(order_id: UUID) -> StoredOrder:
    """The order as it is stored; raises NotFound."""
    found = await db.maybe(StoredOrder, FIND_ORDERS, [order_id])
    if found is None:
        raise NotFound
    return found


async def is_known(order_id: UUID) -> bool:
    """Whether there is such an order, whosever it is."""
    return bool(await db.value(IS_KNOWN, order_id))


async def find_visible(order_id: UUID) -> StoredOrder:
    """The order as far as the caller may see it; raises NotFound."""
    visible = narrow(await find_order(order_id), caller())
    if visible is None:
        raise NotFound
    return visible


async def show_order(order_id: UUID) -> Order:
    """The order as far as the caller may see it; with how its payment stands, which is no seller's business."""
    stored = await find_visible(order_id)
    who = caller()
    private = who.principal.is_admin or is_owner(stored, who)
    if not private or not stored.total or stored.status not in ("draft", "placed"):
        return make_order(stored)
    try:
        return make_order(stored, await payments.get_payment(order_id))
    except payments.PaymentNotFound:
        # The order was written a moment ago, and its payment is not opened yet.
        return make_order(stored)


def narrow(order: StoredOrder, who: Caller) -> StoredOrder | None:
    """What this caller may see of an order: all, their sellers' parts, or nothing."""
    if who.principal.is_admin or is_owner(order, who):
        return order
    return keep_sellers(order, who.principal.seller_ids) if order.status != "draft" else None


def is_owner(order: StoredOrder, who: Caller) -> bool:
    """Whether the caller placed it. An order without a user belongs to whoever has the guest's token."""
    if order.user_id is not None:
        return who.principal.owns(order.user_id)
    return who.holds(order.guest_token_hash)


def keep_sellers(order: StoredOrder, seller_ids: tuple[UUID, ...]) -> StoredOrder | None:
    """The order as these sellers see it: their lines and parts, and the sums of those."""
    parts = tuple(part for part in order.parts if part.seller_id in seller_ids)
    if not parts:
        return None
    lines = tuple(line for line in order.lines if line.seller_id in seller_ids)
    return msgspec.structs.replace(
        order,
        lines=lines,
        parts=parts,
        subtotal=sum(line.quantity * line.unit_price for line in lines),
        discount=sum(line.discount for line in lines),
        shipping=sum(part.shipping for part in parts),
        tax=sum(part.tax for part in parts),
        total=sum(part.total for part in parts),
        email=None,
        coupon=None,
        cart_id=None,
        user_id=None,
    )


def narrow_entry(entry: TimelineEntry, own: set[str]) -> TimelineEntry | None:
    """What these sellers may know of a moment: what happened to their goods, whether the order stands, and nothing of who did it."""
    if entry.data.get("seller_id") in own:
        return msgspec.structs.replace(entry, actor_id=None)
    return msgspec.structs.replace(entry, data={}, actor_id=None) if entry.type in KNOWN_TO_ALL else None


def make_order(stored: StoredOrder, payment: payments.Payment | None = None) -> Order:
    """The public shape of an order."""
    items = tuple(make_item(line, stored.currency) for line in stored.lines)
    return Order(
        id=stored.id,
        number=stored.number,
        status=stored.status,
        payment_status=stored.payment_status,
        fulfillment_status=stored.fulfillment_status,
        currency=stored.currency,
        items=items,
        parts=tuple(make_part(part, items, stored.currency) for part in stored.parts),
        subtotal=Money(stored.subtotal, stored.currency),
        discount=Money(stored.discount, stored.currency),
        shipping=Money(stored.shipping, stored.currency),
        tax=Money(stored.tax, stored.currency),
        total=Money(stored.total, stored.currency),
        tax_included=stored.tax_included,
        version=stored.version,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        user_id=stored.user_id,
        cart_id=stored.cart_id,
        email=stored.email,
        coupon=stored.coupon,
        shipping_address=stored.shipping_address,
        note=stored.note,
        expires_at=stored.expires_at,
        placed_at=stored.placed_at,
        payment=OrderPayment(payment.status, payment.method, payment.decline_code) if payment else None,
        next_action=NextAction(payment.redirect_url) if payment and payment.redirect_url else None,
    )


def make_item(line: StoredLine, currency: str) -> OrderItem:
    return OrderItem(
        id=line.id,
        product_id=line.product_id,
        variant_id=line.variant_id,
        seller_id=line.seller_id,
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        unit_price=Money(line.unit_price, currency),
        discount=Money(line.discount, currency),
        tax=Money(line.tax, currency),
        total=Money(line.total, currency),
        tax_rate_ppm=line.tax_rate_ppm,
        image_url=line.image_url,
        shipped=line.shipped,
        delivered=line.delivered,
        canceled=line.canceled,
        returned=line.returned,
    )


def make_part(part: StoredPart, items: tuple[OrderItem, ...], currency: str) -> OrderPart:
    return OrderPart(
        seller_id=part.seller_id,
        items=tuple(item for item in items if item.seller_id == part.seller_id),
        status=part.status,
        shipping=Money(part.shipping, currency),
        tax=Money(part.tax, currency),
        total=Money(part.total, currency),
        shipping_option=part.shipping_option,
    )
