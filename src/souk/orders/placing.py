"""Complete an order: stock, payment, placed. The API, the payment's webhook and the sweeper all come through here."""

import asyncio
import logging
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from souk import inventory, payments, pricing
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import NOT_NOW
from souk.kit.errors import DomainError, NotFound, Unavailable
from souk.kit.money import Money
from souk.orders import drafting, placements, reading, requoting, securing, settling
from souk.orders.drafting import Written
from souk.orders.drafts import parts_to_pay
from souk.orders.placements import LostLease, Placement
from souk.orders.quoting import price_cart
from souk.orders.reading import StoredOrder
from souk.orders.settling import Rejection
from souk.orders.types import (
    CartClosed,
    EmailMissing,
    Order,
    OrderIdTaken,
    PaymentChoice,
    PaymentExpired,
    PaymentStatus,
    PlaceOrder,
    TotalChanged,
)

log = logging.getLogger(__name__)

# How long a twin of a request waits for the one that is at work, and how often it looks.
TWIN_WAIT_S = 10.0
TWIN_LOOK_S = 0.05


class Outcome(msgspec.Struct, frozen=True):
    """What an attempt has made of its order."""

    order: StoredOrder
    payment: payments.Payment | None = None

    def show(self) -> Order:
        """The order as its buyer sees it."""
        return reading.make_order(self.order, self.payment)


@exposed(timeout=40.0)
async def place_order(request: PlaceOrder) -> Order:
    """Turn a cart into an order, and pay it if a payment is given; stock is set aside for 15 minutes.

    A declined card does not end the order, it waits for another payment. The same Idempotency-Key, or the same cart, gives the
    same order, whose answer goes on from where the last attempt stopped. Raises CartEmpty, CartClosed, ItemsUnavailable,
    OutOfStock, TotalChanged, OrderIdTaken, and what shipping and pricing refuse; then the cart may be ordered again.
    """
    begun = await begin(request)
    if isinstance(begun, Placement):
        return await drive(begun.order_id, request.payment)
    return await complete(begun, request.payment)


async def complete(written: Written, choice: PaymentChoice | None) -> Order:
    """Bring a new order as far as it can go; raises the refusal that ends it."""
    outcome = await attempt(written.placement, choice, written.order)
    return outcome.show() if outcome else await drive(written.order.id, choice)


async def drive(order_id: UUID, choice: PaymentChoice | None) -> Order:
    """Bring an order as far as it can go, with the next attempt; the order then. Raises the refusal that ends it."""
    while (placement := await take_over(order_id)).step != "done":
        if (outcome := await attempt(placement, choice)) is not None:
            return outcome.show()
    if (refusal := placement.stored_refusal()) is not None:
        raise refusal
    return await reading.show_order(order_id)


@exposed(timeout=40.0)
async def resume_order(order_id: UUID) -> bool:
    """Go on with an order where the last attempt stopped; whether there was anything to do. May be called at any time."""
    caller().principal.require_admin()
    placement = await placements.take_lease(order_id)
    if placement is None:
        return False
    try:
        await attempt(placement, None)
    except DomainError as refusal:
        log.info("order_rejected", extra={"order_id": str(order_id), "code": refusal.code})
    return True


async def begin(request: PlaceOrder) -> Written | Placement:
    """The new order of this request; or the saga of another request with its key, or for its cart, that was first."""
    try:
        priced = await price_cart(request)
        if priced.cart.user_id is None and request.email is None:
            raise EmailMissing
        if request.expected_total is not None and request.expected_total != priced.quote.total:
            raise TotalChanged(request.expected_total, priced.quote.total)
    except DomainError:
        # A cart that was bought, or whose prices have changed since: the first request decided, and this is its answer.
        if (first := await find_first(request)) is not None:
            return first
        raise
    known = request.id is not None and await reading.is_known(request.id)
    if priced.cart.status == "active" and not known:
        written = await drafting.write_draft(drafting.make_draft(request, priced))
        if written is not None:
            return written
    first = await find_first(request)
    if first is not None:
        return first
    if priced.cart.status != "active":
        raise CartClosed(priced.cart.status)
    if known:
        raise OrderIdTaken
    raise Unavailable("the order of this cart was being undone, or another has its id; ask again")


async def find_first(request: PlaceOrder) -> Placement | None:
    """The saga that this key or this cart has already; raises IdempotencyKeyReused."""
    found = await placements.find_placement(cart_id=request.cart_id, key=caller().idempotency_key)
    if found is not None:
        drafting.check_fingerprint(found, request)
    return found


async def take_over(order_id: UUID) -> Placement:
    """The saga under a lease of ours, or as whoever was at work left it. Raises Unavailable if they do not come to an end."""
    # The owner check stands before the lease: a stranger who knows a cart's id is not to move its order.
    await reading.find_visible(order_id)
    end = asyncio.get_running_loop().time() + TWIN_WAIT_S
    while True:
        if (taken := await placements.take_lease(order_id)) is not None:
            return taken
        placement = await placements.find_placement(order_id=order_id)
        if placement is None:
            raise NotFound
        if placement.step == "done":
            return placement
        if asyncio.get_running_loop().time() > end:
            raise Unavailable("another request is at work on this order")
        await asyncio.sleep(TWIN_LOOK_S)


async def attempt(placement: Placement, choice: PaymentChoice | None, order: StoredOrder | None = None) -> Outcome | None:
    """One attempt at an order, under our lease: bring it as far as it can go. Raises the refusal that ends it.

    None if it was undone, or if another attempt has taken over: then the order is what is written down of it.
    """
    try:
        if order is None:
            order = await reading.find_order(placement.order_id)
        if placement.step == "undoing":
            await undo(placement, order, placement.stored_refusal())
            return None
        return await advance(placement, await requoting.finish_change(placement, order), choice)
    except LostLease:
        return None
    except (Unavailable, TimeoutError, asyncio.CancelledError, *NOT_NOW):
        await asyncio.shield(leave_to_others(placement))
        raise


async def leave_to_others(placement: Placement) -> None:
    """Let the lease go, if the database can be reached; if not, it runs out."""
    try:
        await placements.give_up_attempt(placement)
    except (Unavailable, *NOT_NOW):
        log.warning("lease_kept", extra={"order_id": str(placement.order_id)})


async def advance(placement: Placement, order: StoredOrder, choice: PaymentChoice | None) -> Outcome:
    """Coupon, stock, payment, and when that is there: placed."""
    try:
        reservation = await securing.secure(order)
    except DomainError as refusal:
        if placement.attempt == 1 and order.coupon is None:
            # Nothing was done for it yet, so nothing is to be undone: a sold-out flash sale stays cheap.
            await settling.settle_rejected(Rejection(placement, refusal))
        else:
            await reject(placement, order, refusal)
        raise
    expired = order.expires_at is not None and order.expires_at < datetime.now(UTC)
    late = expired or reservation.status == "released"
    payment = await pay(order, None if late else choice)
    if payment is None or is_paid(payment):
        try:
            placed = await settling.settle_placed(placement, order)
        except DomainError as refusal:
            await reject(placement, order, refusal)
            raise
        return Outcome(placed, payment)
    if late:
        await reject(placement, order, PaymentExpired())
        raise PaymentExpired
    await placements.wait_for_payment(placement)
    return Outcome(order, payment)


async def pay(order: StoredOrder, choice: PaymentChoice | None) -> payments.Payment | None:
    """Open the payment, and try it if a way to pay is given; None if there is nothing to pay.

    The first attempt carries the order's id, so that a repeated request goes on with it and never charges a second time.
    """
    if order.total == 0:
        return None
    opening = payment_of(order)
    if choice is None:
        return await payments.open_payment(opening)
    return await payments.pay_order(payments.PayOrder(opening, choice.method, choice.token, choice.return_url))


def is_paid(payment: payments.Payment) -> bool:
    """Whether the whole amount came, also if some of it has gone back since."""
    return payment.captured.amount >= payment.amount.amount


async def reject(placement: Placement, order: StoredOrder, refusal: DomainError | None) -> None:
    """End an order that does not come about, for a reason or because its buyer cancels it, and undo what was done for it."""
    await placements.remember_undoing(placement, refusal)
    await undo(placement, order, refusal)


async def undo(placement: Placement, order: StoredOrder, refusal: DomainError | None) -> None:
    """Give back stock, coupon and money; each of them may be given back again without effect."""
    await inventory.release_stock(inventory.ReleaseStock(order.id))
    if order.coupon:
        await pricing.restore_coupon(pricing.RestoreCoupon(order.id))
    reason = refusal.code if refusal else "orders.canceled"
    payment = await payments.close_payment(order.id, reason) if order.total else None
    await settling.settle_rejected(Rejection(placement, refusal, payment_status_of(payment, order.total)))


def payment_status_of(payment: payments.Payment | None, total: int) -> PaymentStatus:
    """The payment's axis of an order, out of what was captured and refunded (the one place that derives it)."""
    if payment is None or (payment.captured.amount == 0 and payment.status != "voided"):
        return "none"
    if payment.captured.amount == 0:
        return "voided"
    if payment.refunded.amount >= payment.captured.amount:
        return "refunded"
    if payment.refunded.amount:
        return "partially_refunded"
    return "paid" if payment.captured.amount >= total else "partially_paid"


def payment_of(order: StoredOrder) -> payments.OpenPayment:
    """What the payment has to know of the order: the amount, and whose money it will be."""
    return payments.OpenPayment(
        order_id=order.id,
        user_id=order.user_id,
        guest_token_hash=order.guest_token_hash.hex() if order.guest_token_hash else None,
        amount=Money(order.total, order.currency),
        parts=parts_to_pay(order.parts, order.currency),
        expires_at=order.expires_at or datetime.now(UTC),
    )
