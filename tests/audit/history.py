"""What happened in the shop that the audit looks at, and who asks for it."""

from datetime import UTC, datetime, timedelta

from tests.orders.market import as_buyer, as_system, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.quiet import is_quiet
from tests.reviews.opinions import write
from tests.waiting import until

from souk import audit, carts, invoices, orders, payments, pricing, reviews, shipping
from souk.audit import Report
from souk.kit.ids import new_id
from souk.kit.money import Money

COUPON = "WELCOME"


async def make_history() -> None:
    """Mugs are bought with and without a coupon, sent, invoiced, reviewed, sent back, cancelled, refunded, not paid; money is held."""
    await open_market()
    seller_id = await make_seller()
    mug_id = await put_on_sale("MUG", 1200, 50, seller_id)
    await put_on_sale("POT", 3000, 50, await make_seller("Potters"))
    with as_system():
        await pricing.create_coupon(
            pricing.NewCoupon(code=COUPON, name="Welcome", kind="percentage", rate_ppm=100_000, usage_limit=10, usage_limit_per_buyer=5)
        )
    await order_mugs(3)
    await order_mugs(2, coupon=COUPON)
    await send_mugs(await order_mugs(3))
    shipped = await order_mugs(2)
    refunded = await order_mugs(4)
    for given_up in (await order_mugs(1), await order_mugs(1, coupon=COUPON), await order_mugs(1, token=None)):
        with as_system():
            await orders.cancel_order(given_up.id, orders.CancelOrder("changed my mind"))
    await order_mugs(1, token="tok_declined")
    await order_mugs(2, token=None)
    review, _ = await write(mug_id, 3), await write(mug_id, 3)
    with as_buyer(new_id()):
        await reviews.vote_on_review(review.id, True)
        await reviews.report_review(review.id, reviews.NewReport("spam"))
    with as_system():
        for part in shipped.parts:
            parcel = await orders.pack_parcel(orders.NewParcel(shipped.id, part.seller_id))
            await shipping.dispatch_shipment(parcel.id, shipping.Consignment())
        await until(lambda: has_left(shipped))
        line = orders.ReturnedLine(next(item.id for item in shipped.items if item.sku == "MUG"), 1)
        (back,) = await orders.request_return(shipped.id, orders.NewReturn((line,)))
        await orders.change_return(back.id, orders.ChangeReturn("received"))
        await until(lambda: is_credited(shipped))
        await payments.refund(payments.RefundPayment(new_id(), refunded.id, Money(500, "USD"), "a scratch"))
    await hold_money()
    with as_system():
        await until(is_settled)


async def hold_money() -> None:
    """Somebody sets money aside four times: for another user, who gets a part, for the shop, which gives it back, and twice until later."""
    anna, ben = new_id(), new_id()
    for user in (anna, ben):
        with as_buyer(user):
            await payments.deposit_money(payments.DepositMoney(Money(5_000, "USD"), "card", "tok_visa"))
    until_later = datetime.now(UTC) + timedelta(days=1)
    with as_buyer(anna):
        for_ben, for_shop, *_ = [
            await payments.hold_money(payments.HoldMoney(Money(1_000, "USD"), until_later, to)) for to in (ben, None, ben, None)
        ]
        await payments.post_hold(payments.PostHold(for_ben.id, new_id(), Money(600, "USD")))
    with as_system():
        await payments.void_hold(payments.VoidHold(for_shop.id, new_id()))


async def send_mugs(order: orders.Order) -> None:
    """One mug of an order is on its way, with a label; the others are packed."""
    seller_id, line_id = next((item.seller_id, item.id) for item in order.items if item.sku == "MUG")
    sender = shipping.NewSender(name="Mugs", line1="1 Quay", city="Leipzig", postal_code="04109", country="DE")
    with as_system():
        await shipping.set_sender(seller_id, sender)
        parcel = await orders.pack_parcel(orders.NewParcel(order.id, seller_id, (orders.LinePieces(line_id, 1),)))
        await shipping.buy_label(parcel.id, shipping.BuyLabel(weight_g=300))
        await shipping.dispatch_shipment(parcel.id, shipping.Consignment())
        await shipping.report_tracking(parcel.id, shipping.NewTracking("in_transit", datetime.now(UTC), place="Leipzig"))
        await orders.pack_parcel(orders.NewParcel(order.id, seller_id))


async def has_left(order: orders.Order) -> bool:
    return (await orders.get_order(order.id)).fulfillment_status == "fulfilled"


async def is_credited(order: orders.Order) -> bool:
    """Whether both parts of an order are invoiced, and what came back is credited."""
    return len(await invoices.list_invoices_of_order(order.id)) == 3


async def order_mugs(pieces: int, *, coupon: str | None = None, token: str | None = "tok_visa") -> orders.Order:
    """An order of so many mugs and a pot, by somebody new."""
    buyer_id = new_id()
    cart_id = await fill_cart(buyer_id, ("MUG", pieces), ("POT", 1))
    with as_buyer(buyer_id):
        if coupon:
            await carts.set_cart_coupon(cart_id, coupon)
        return await orders.place_order(buy(cart_id, token))


async def is_settled() -> bool:
    """Whether all is done and the books agree. What is under way would be compared a second time, seconds later."""
    return await is_quiet() and (await check(settled=True)).broken == 0


async def check(*, settled: bool = False) -> Report:
    """What the audit says now."""
    with as_system():
        return await audit.check_books(settled=settled)
