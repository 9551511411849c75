"""Secure what orders are about to be paid for: the use of a coupon, then stock, for many orders at once."""

import hashlib

from souk import inventory, pricing
from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import caller
from souk.kit.money import Money
from souk.orders.reading import StoredOrder


async def secure(order: StoredOrder) -> inventory.Reservation:
    """Count the order's use of its coupon and set its stock aside; repeating changes nothing. Raises the refusal of either."""
    return await _securing.ask(order, caller())


async def secure_orders(asked: tuple[Asked[StoredOrder], ...]) -> Answers[inventory.Reservation]:
    """Coupons first: an order whose coupon is refused sets no stock aside."""
    with_coupon = [one for one in asked if one.request.coupon]
    redeemed = await pricing.redeem_coupon.many([(redemption_of(one.request), one.caller) for one in with_coupon])
    refused = {one.request.id: answer for one, answer in zip(with_coupon, redeemed, strict=True) if isinstance(answer, Exception)}
    wanted = [(inventory.ReserveStock(one.request.id, lines_of(one.request)), one.caller) for one in asked if one.request.id not in refused]
    reserved = iter(await inventory.reserve_stock.many(wanted))
    return tuple(refused[one.request.id] if one.request.id in refused else next(reserved) for one in asked)


_securing: Batcher[StoredOrder, inventory.Reservation] = Batcher(secure_orders)


def lines_of(order: StoredOrder) -> tuple[inventory.StockLine, ...]:
    return tuple(inventory.StockLine(line.sku, line.seller_id, line.quantity) for line in order.lines)


def redemption_of(order: StoredOrder) -> pricing.RedeemCoupon:
    """Under whose name the coupon's use is counted: the user, or the guest's e-mail address, of which only a hash is told."""
    guest = hashlib.sha256((order.email or "").strip().lower().encode()).hexdigest()
    buyer = str(order.user_id) if order.user_id else f"guest:{guest}"
    return pricing.RedeemCoupon(order.id, order.coupon or "", buyer, Money(order.coupon_discount, order.currency))
