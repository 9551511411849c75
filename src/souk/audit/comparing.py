"""Compare orders with their stock, money, coupons, parcels and credit notes, which other contexts keep, page by page.

The contexts are read one after the other, so that what changes meanwhile looks broken: what differs is read again some seconds later,
and only what differs in the same way then is reported.
"""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import msgspec

from souk import inventory, invoices, orders, payments, pricing, shipping
from souk.audit.reporting import verdict_on
from souk.inventory import ReservationBook
from souk.kit.rules import Finding, Rule, Verdict
from souk.orders import OrderBook
from souk.payments import PaymentBook
from souk.shipping import ShipmentBook

PAGE = 5_000
AGAIN_AFTER_S = 3.0
FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)

PIECES = Rule("I3.pieces", "For a placed order exactly its pieces are set aside or have left")
HELD = Rule("I3.undone", "For an order that did not come about nothing is set aside")
MONEY = Rule("I6.orders", "What came and went of an order's money is what its payment says")
BACK = Rule("I6.undone", "The money of an order that did not come about is back, or promised back")
WAITS = Rule("I6.paid", "No order waits for money that is there", settled=True)
EARNED = Rule("I6.earned", "What sellers have earned of an order is what its pieces that have left are worth")
FREED = Rule("I6.released", "What was let go of an order's money is what its cancelled pieces were worth")
GIVEN = Rule("I6.returns", "What goes back for returns is what they are worth, as far as it has not gone back otherwise")
COUPON = Rule("I11.orders", "A coupon counts the placed orders that bear it, and no other")
PARCELS = Rule("I7.parcels", "The parcels of an order that shipping knows are those that orders counts, and as far")
CREDITED = Rule("I16.returns", "What goes back for returns is credited, or will be when their part is invoiced")
LEFT = Rule("I7.dispatched", "Nothing has left of an order that is not placed")
CHARGED = Rule("I6.labels", "What sellers gave for labels is what the labels of their parcels cost")
RULES = (PIECES, HELD, MONEY, BACK, WAITS, EARNED, FREED, GIVEN, COUPON, PARCELS, CREDITED, LEFT, CHARGED)


class Books(msgspec.Struct, frozen=True):
    """What each context knows of a range of orders, by the order's id."""

    after: UUID
    until: UUID
    orders: dict[UUID, OrderBook]
    reservations: dict[UUID, ReservationBook]
    payments: dict[UUID, PaymentBook]
    coupons: dict[UUID, str]
    packed: dict[UUID, str]
    shipments: dict[UUID, ShipmentBook]
    charged: dict[UUID, str]
    credits: dict[UUID, int]

    def order_ids(self) -> list[UUID]:
        """Every order that anybody knows."""
        kept = (self.orders, self.reservations, self.payments, self.coupons, self.packed, self.shipments, self.charged, self.credits)
        return sorted({order_id for book in kept for order_id in book})


# Which rule a row breaks, and the row.
Difference = tuple[str, Finding]


async def compare_contexts(*, settled: bool) -> tuple[Verdict, ...]:
    """What becomes of the rules between contexts."""
    checked = tuple(rule for rule in RULES if settled or not rule.settled)
    suspects: list[tuple[Books, dict[tuple[str, str], Finding]]] = []
    after = FIRST
    while after < LAST:
        books = await read_books(after, LAST, PAGE)
        if differences := index(books):
            suspects.append((books, differences))
        after = books.until
    found: list[Difference] = []
    if suspects:
        await asyncio.sleep(AGAIN_AFTER_S)
    for books, differences in suspects:
        # Orders may have come into this range meanwhile.
        again = index(await read_books(books.after, books.until, 2 * PAGE))
        found += [(rule_id, one) for (rule_id, key), one in differences.items() if again.get((rule_id, key)) == one]
    return tuple(verdict_on(rule, tuple(one for rule_id, one in found if rule_id == rule.id)) for rule in checked)


async def read_books(after: UUID, until: UUID, limit: int) -> Books:
    """What is known of the next orders after one; of the last ones also what is known of later ids, which no order has."""
    page = await orders.read_order_books(after, until, limit)
    end = page[-1].id if len(page) == limit else until
    return Books(
        after,
        end,
        {one.id: one for one in page},
        {one.order_id: one for one in await inventory.read_reservation_books(after, end)},
        {one.id: one for one in await payments.read_payment_books(after, end)},
        {one.order_id: one.code for one in await pricing.read_redemption_books(after, end)},
        {one.order_id: one.parcels for one in await orders.read_parcel_books(after, end)},
        {one.order_id: one for one in await shipping.read_shipment_books(after, end)},
        {one.order_id: one.labels for one in await payments.read_label_books(after, end)},
        {one.order_id: one.credited for one in await invoices.read_credit_books(after, end)},
    )


def index(books: Books) -> dict[tuple[str, str], Finding]:
    """The differences by rule and row."""
    return {(rule.id, finding.key): finding for rule, finding in find_differences(books)}


def find_differences(books: Books) -> Iterator[tuple[Rule, Finding]]:
    """What does not fit, order by order, also of orders that are not there."""
    for order_id in books.order_ids():
        order = books.orders.get(order_id)
        for rule, found in (
            *compare_stock(order, books.reservations.get(order_id)),
            *compare_money(order, books.payments.get(order_id)),
            *compare_earnings(order, books.payments.get(order_id)),
            *compare_coupon(order, books.coupons.get(order_id)),
            *compare_parcels(order, books.packed.get(order_id), books.shipments.get(order_id)),
            *compare_labels(books.shipments.get(order_id), books.charged.get(order_id)),
            *compare_credits(order, books.credits.get(order_id, 0)),
        ):
            yield rule, Finding(str(order_id), {"order": order.status if order else None, **found})


Found = Iterator[tuple[Rule, dict[str, object]]]


def has_ended(order: OrderBook | None) -> bool:
    """Whether nothing may be left of an order: it did not come about, or it never was, and it is not being undone just now."""
    return order is None or (order.status in ("canceled", "rejected") and not order.under_way)


def compare_stock(order: OrderBook | None, reservation: ReservationBook | None) -> Found:
    status, pieces = (reservation.status, reservation.pieces) if reservation else (None, None)
    if order is not None and order.status == "placed" and (status not in ("confirmed", "shipped") or pieces != order.pieces):
        yield PIECES, {"ordered": order.pieces, "reserved": pieces, "reservation": status}
    # A part that had left before the order was given up has left.
    if has_ended(order) and status in ("held", "confirmed"):
        yield HELD, {"reserved": pieces, "reservation": status}


def compare_money(order: OrderBook | None, payment: PaymentBook | None) -> Found:
    captured, refunding, refunded = (payment.captured, payment.refunding, payment.refunded) if payment else (0, 0, 0)
    if order is not None:
        # What came is written on an order when it is placed, what went at any time.
        differs = order.refunded != refunded or (order.captured > 0 and order.captured != captured)
        unpaid = order.status == "placed" and captured != order.total
        if differs or unpaid or (payment and captured and payment.currency != order.currency):
            yield MONEY, {
                "total": order.total, "captured": order.captured, "refunded": order.refunded,
                "payment": {"captured": captured, "refunded": refunded},
            }  # fmt: skip
        if order.status == "draft" and order.total and captured == order.total:
            yield WAITS, {"total": order.total}
    if has_ended(order) and captured != refunding:
        yield BACK, {"captured": captured, "refunding": refunding}


def compare_earnings(order: OrderBook | None, payment: PaymentBook | None) -> Found:
    earned, released = (payment.earned, payment.released) if payment else (0, 0)
    if earned != (order.earned if order else 0):
        yield EARNED, {"left": order.earned if order else None, "earned": earned}
    # An order that was never placed has let go whatever came.
    if order is not None and order.captured and released != order.canceled:
        yield FREED, {"canceled": order.canceled, "released": released}
    worth, given, repaid = order.returned if order else 0, payment.returned if payment else 0, payment.repaid if payment else 0
    if given > worth or (given + repaid < worth and payment is not None and payment.refunding < payment.captured):
        yield GIVEN, {"worth": worth, "given": given}


def compare_coupon(order: OrderBook | None, code: str | None) -> Found:
    if order is not None and order.status == "placed" and order.coupon != code:
        yield COUPON, {"coupon": order.coupon, "counted": code}
    elif has_ended(order) and code is not None:
        yield COUPON, {"coupon": order.coupon if order else None, "counted": code}


def compare_parcels(order: OrderBook | None, packed: str | None, shipments: ShipmentBook | None) -> Found:
    known = shipments.parcels if shipments else None
    if packed != known:
        yield PARCELS, {"counted": packed, "in_shipping": known}
    if shipments and shipments.dispatched and (order is None or order.status != "placed"):
        yield LEFT, {"in_shipping": known}


def compare_labels(shipments: ShipmentBook | None, charged: str | None) -> Found:
    cost = shipments.labels if shipments else None
    if cost != charged:
        yield CHARGED, {"cost": cost, "charged": charged}


def compare_credits(order: OrderBook | None, credited: int) -> Found:
    returned = order.returned if order else 0
    if credited != returned:
        yield CREDITED, {"returned": returned, "credited": credited}
