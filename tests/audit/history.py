"""What happened in the shop that the audit looks at, and who asks for it."""

from tests.orders.market import as_buyer, as_system, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.waiting import until

from souk import audit, carts, inventory, orders, payments, pricing
from souk.audit import Report
from souk.kit.ids import new_id
from souk.kit.money import Money

COUPON = "WELCOME"


async def make_history() -> None:
    """Mugs are bought with and without a coupon, shipped, cancelled, refunded, declined and left waiting; then all is quiet."""
    await open_market()
    seller_id = await make_seller()
    await put_on_sale("MUG", 1200, 50, seller_id)
    await put_on_sale("POT", 3000, 50, await make_seller("Potters"))
    with as_system():
        await pricing.create_coupon(
            pricing.NewCoupon(code=COUPON, name="Welcome", kind="percentage", rate_ppm=100_000, usage_limit=10, usage_limit_per_buyer=5)
        )
    await order_mugs(3)
    await order_mugs(2, coupon=COUPON)
    shipped = await order_mugs(2)
    refunded = await order_mugs(4)
    for given_up in (await order_mugs(1), await order_mugs(1, coupon=COUPON), await order_mugs(1, token=None)):
        with as_system():
            await orders.cancel_order(given_up.id, "changed my mind")
    await order_mugs(1, token="tok_declined")
    await order_mugs(2, token=None)
    with as_system():
        await inventory.ship_stock(inventory.ShipStock(shipped.id, ()))
        await payments.refund(payments.RefundPayment(new_id(), refunded.id, Money(500, "USD"), "a scratch"))
        await until(is_settled)


async def order_mugs(pieces: int, *, coupon: str | None = None, token: str | None = "tok_visa") -> orders.Order:
    """An order of so many mugs and a pot, by somebody new."""
    buyer_id = new_id()
    cart_id = await fill_cart(buyer_id, ("MUG", pieces), ("POT", 1))
    with as_buyer(buyer_id):
        if coupon:
            await carts.set_cart_coupon(cart_id, coupon)
        return await orders.place_order(buy(cart_id, token))


async def is_settled() -> bool:
    return (await check(settled=True)).broken == 0


async def check(*, settled: bool = False) -> Report:
    """What the audit says now."""
    with as_system():
        return await audit.check_books(settled=settled)
