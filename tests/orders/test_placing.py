"""A cart becomes one order, with its stock and its money, or none."""

import asyncio
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.orders.market import as_buyer, as_guest, as_system, available, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.waiting import until

from souk import carts, inventory, orders, payments, pricing
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders import jobs, settling
from souk.orders.database import db
from souk.orders.types import CartClosed, OrderIdTaken, PaymentExpired, TotalChanged, UnknownShippingOption

BUYER = new_id()


@pytest.fixture
async def seller_id(shop: Shop) -> UUID:
    await open_market()
    return await make_seller()


async def expire_everything() -> None:
    """Fifteen minutes pass for every order that waits."""
    async with db.transaction() as tx:
        await tx.run("UPDATE orders.orders SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
        await tx.run("UPDATE orders.placement SET expires_at = now() - interval '1 second'")


async def test_a_paid_order_is_placed_with_its_lines_frozen(seller_id: UUID) -> None:
    product_id = await put_on_sale("MUG", 1200, 10, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 2))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    assert (order.status, order.payment_status, order.fulfillment_status) == ("placed", "paid", "unfulfilled")
    assert order.placed_at is not None
    (item,) = order.items
    assert (item.product_id, item.sku, item.quantity, item.unit_price) == (product_id, "MUG", 2, Money(1200, "USD"))
    assert (order.subtotal, order.shipping) == (Money(2400, "USD"), Money(500, "USD"))
    assert [part.seller_id for part in order.parts] == [seller_id]
    assert order.parts[0].total == order.total
    assert await available("MUG") == 8
    with as_system():
        payment = await payments.get_payment(order.id)
    assert (payment.status, payment.captured) == ("captured", order.total)


async def test_the_same_key_gives_the_same_order(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    request = buy(await fill_cart(BUYER, ("MUG", 1)))
    with as_buyer(BUYER, "a-key"):
        first = await orders.place_order(request)
        assert await orders.place_order(request) == first
        with pytest.raises(IdempotencyKeyReused):
            await orders.place_order(buy(request.cart_id, note="another"))
    assert await available("MUG") == 9


async def test_a_double_click_makes_one_order(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    request = buy(await fill_cart(BUYER, ("MUG", 1)))
    with as_buyer(BUYER):
        placed = await asyncio.gather(*(orders.place_order(request) for _ in range(16)))
    assert len({order.id for order in placed}) == 1
    assert {order.status for order in placed} == {"placed"}
    assert await available("MUG") == 9
    assert await db.value("SELECT count(*) FROM orders.orders") == 1


async def test_two_buyers_after_the_last_piece(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 1, seller_id)
    buyers = [new_id() for _ in range(8)]
    carts = [await fill_cart(buyer, ("MUG", 1)) for buyer in buyers]

    async def try_to_buy(buyer: UUID, cart_id: UUID) -> orders.Order:
        with as_buyer(buyer):
            return await orders.place_order(buy(cart_id))

    answers = await asyncio.gather(*(try_to_buy(*pair) for pair in zip(buyers, carts, strict=True)), return_exceptions=True)
    assert sum(isinstance(answer, orders.Order) for answer in answers) == 1
    assert sum(isinstance(answer, inventory.OutOfStock) for answer in answers) == 7
    with as_system():
        captured = await db.value("SELECT count(*) FROM payments.payment WHERE captured > 0")
    assert captured == 1


async def test_a_refused_order_frees_its_cart_and_keeps_its_answer(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 1, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 2))
    with as_buyer(BUYER, "too-many"):
        for _ in range(2):
            with pytest.raises(inventory.OutOfStock) as refused:
                await orders.place_order(buy(cart_id))
            assert refused.value.shortages[0].available == 1
    with as_system():
        store = (await inventory.list_stores(seller_id, 1, None)).items[0]
        await inventory.set_stock_levels((inventory.StockCount(store.id, "MUG", 5),))
    with as_buyer(BUYER, "another-try"):
        assert (await orders.place_order(buy(cart_id))).status == "placed"


async def test_a_declined_card_leaves_an_order_that_waits_for_another(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id, "tok_declined"))
        assert (order.status, order.payment_status) == ("draft", "none")
        assert order.payment is not None
        assert order.payment.status == "declined"
        assert await available("MUG") == 9
        paid = await payments.charge(payments.ChargeRequest(order.id, "card", "tok_visa", None, new_id()))
    assert paid.status == "captured"
    with as_system():
        assert await orders.resume_order(order.id)
    with as_buyer(BUYER):
        assert (await orders.get_order(order.id)).status == "placed"


async def test_an_order_that_is_not_paid_in_time_gives_everything_back(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    with as_system():
        await pricing.create_coupon(pricing.NewCoupon(name="Ten", kind="percentage", rate_ppm=100_000, code="TEN", usage_limit=1))
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER, "slow"):
        order = await orders.place_order(buy(cart_id, None, coupon="TEN"))
    assert order.discount == Money(120, "USD")
    assert (order.status, await available("MUG")) == ("draft", 9)
    await expire_everything()
    with as_system():
        assert await jobs.resume_stuck_orders() == 1
    with as_buyer(BUYER, "slow"):
        assert (await orders.get_order(order.id)).status == "rejected"
        with pytest.raises(PaymentExpired):
            await orders.place_order(buy(cart_id, None, coupon="TEN"))
    assert await available("MUG") == 10
    with as_buyer(BUYER, "quick"):
        assert (await orders.place_order(buy(cart_id, coupon="TEN"))).status == "placed"


async def test_the_total_that_the_buyer_saw_is_the_total_that_is_charged(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        quote = await orders.quote_cart(orders.QuoteCart(cart_id=cart_id, shipping_address=buy(cart_id).shipping_address))
        for other in (quote.total - Money(1, "USD"), quote.total + Money(1, "USD")):
            with pytest.raises(TotalChanged) as changed:
                await orders.place_order(buy(cart_id, expected_total=other))
            assert changed.value.total == quote.total
        order = await orders.place_order(buy(cart_id, expected_total=quote.total))
    assert order.total == quote.total


async def test_shipping_is_chosen_by_the_buyer_or_the_cheapest(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        with pytest.raises(UnknownShippingOption):
            await orders.place_order(buy(cart_id, shipping_option="pigeon"))
        order = await orders.place_order(buy(cart_id, shipping_option="express"))
    assert order.shipping == Money(1500, "USD")
    assert order.parts[0].shipping_option == "express"


async def test_a_marketplace_order_has_a_part_per_seller_and_the_parts_add_up(seller_id: UUID) -> None:
    other_id = await make_seller("Other")
    await put_on_sale("MUG", 1200, 10, seller_id)
    await put_on_sale("CUP", 700, 10, other_id)
    cart_id = await fill_cart(BUYER, ("MUG", 1), ("CUP", 3))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    assert {part.seller_id for part in order.parts} == {seller_id, other_id}
    assert sum(part.total.amount for part in order.parts) == order.total.amount
    assert order.shipping == Money(1000, "USD")


async def test_a_seller_sees_their_own_part_and_not_who_bought(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    await put_on_sale("CUP", 700, 10, await make_seller("Other"))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(await fill_cart(BUYER, ("MUG", 1), ("CUP", 3)), email="ada@buyers.example"))
    with asked_by("seller", sells_for=(seller_id,)):
        seen = await orders.get_order(order.id)
        (listed,) = (await orders.list_orders(None, seller_id, None, 10, None)).items
    assert [item.sku for item in seen.items] == [item.sku for item in listed.items] == ["MUG"]
    assert [part.seller_id for part in seen.parts] == [seller_id]
    assert seen.total == seen.parts[0].total != order.total
    assert {(one.email, one.user_id, one.cart_id, one.coupon, one.payment) for one in (seen, listed)} == {(None,) * 5}


async def test_nobody_sees_or_orders_what_is_anothers(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(new_id()), pytest.raises(NotFound):
        await orders.place_order(buy(cart_id))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    with as_buyer(new_id()):
        for attempt in (
            orders.get_order(order.id),
            orders.cancel_order(order.id, orders.CancelOrder()),
            orders.get_timeline(order.id),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert await orders.get_orders((order.id,)) == ()
        with pytest.raises(NotFound):
            await orders.place_order(buy(cart_id))


async def test_a_guests_order_answers_to_its_token_only(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    with as_guest():
        cart = await carts.create_cart(carts.NewCart((carts.NewItem("MUG", 1),)))
    assert isinstance(cart.token, str)
    with as_guest(cart.token):
        order = await orders.place_order(buy(cart.id, email="ada@buyers.example"))
        assert (await orders.get_order(order.id)).status == "placed"
    for stranger in (as_guest(), as_guest("another-token"), as_buyer(new_id())):
        with stranger:
            assert await orders.get_orders((order.id,)) == ()
            note = orders.ChangeOrder(note="mine")
            for attempt in (
                orders.get_order(order.id),
                orders.cancel_order(order.id, orders.CancelOrder()),
                orders.change_order(order.id, note),
            ):
                with pytest.raises(NotFound):
                    await attempt


async def test_an_attempt_that_died_is_gone_on_with(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id, None))
        await payments.charge(payments.ChargeRequest(order.id, "card", "tok_visa", None, order.id))
    async with db.transaction() as tx:
        # As a process leaves it that dies between the charge and the end.
        await tx.run("UPDATE orders.placement SET step = 'completing', lease_owner = 1, lease_until = now() + interval '1 hour'")
    with as_system():
        assert await jobs.resume_stuck_orders() == 1
    with as_buyer(BUYER):
        assert (await orders.get_order(order.id)).status == "placed"


@pytest.mark.parametrize(("cents", "status"), [(0, "paid"), (100, "partially_refunded"), (None, "refunded")])
async def test_what_goes_back_between_payment_and_placement_shows_on_the_order(seller_id: UUID, cents: int | None, status: str) -> None:
    """An admin is quicker than whoever goes on with the order: money is back, and orders has heard of it, before it is placed."""
    await put_on_sale("MUG", 1200, 10, seller_id)
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id, None))
        await payments.charge(payments.ChargeRequest(order.id, "card", "tok_visa", None, order.id))
    with as_system():
        if cents != 0:
            amount = Money(cents, "USD") if cents else None
            back = await payments.refund(payments.RefundPayment(new_id(), order.id, amount, "a scratch"))
            async with db.transaction() as tx:
                await settling.add_refunds(tx, (settling.Repaid(order.id, back.amount),))
        assert (await orders.get_order(order.id)).status == "draft"
    with as_buyer(BUYER):
        placed = await orders.place_order(buy(cart_id, None))
        assert (placed.status, placed.payment_status) == ("placed", status)
        assert (await orders.get_order(order.id)).payment_status == status


async def settle_long_ago() -> None:
    async with db.transaction() as tx:
        await tx.run("UPDATE orders.placement SET expires_at = now() - interval '31 days'")


async def count_placements() -> int:
    return int(await db.value("SELECT count(*) FROM orders.placement"))


async def test_sagas_are_forgotten_when_nothing_can_become_of_their_orders(seller_id: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, seller_id)
    with as_buyer(BUYER):
        kept = await orders.place_order(buy(await fill_cart(BUYER, ("MUG", 1))))
        gone = await orders.place_order(buy(await fill_cart(BUYER, ("MUG", 1))))
        await orders.cancel_order(gone.id, orders.CancelOrder("no"))
        waits = await orders.place_order(buy(await fill_cart(BUYER, ("MUG", 1)), None))
    assert await jobs.forget_settled_placements() == 0
    await settle_long_ago()
    assert await jobs.forget_settled_placements() == 1
    assert await count_placements() == 2
    with as_buyer(BUYER):
        assert (await orders.cancel_order(kept.id, orders.CancelOrder("late"))).payment_status == "refunded"
        assert (await orders.cancel_order(waits.id, orders.CancelOrder("late"))).status == "canceled"
    assert await available("MUG") == 10


async def test_a_cart_that_was_ordered_long_ago_is_closed(working_shop: Shop) -> None:
    await open_market()
    await put_on_sale("MUG", 1200, 10, await make_seller())
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    await until_ordered(cart_id)
    async with db.transaction() as tx:
        await tx.run("UPDATE orders.orders SET fulfillment_status = 'fulfilled' WHERE id = $1", order.id)
    await settle_long_ago()
    await jobs.forget_settled_placements()
    with as_buyer(BUYER):
        with pytest.raises(CartClosed):
            await orders.place_order(buy(cart_id))
        with pytest.raises(OrderIdTaken):
            await orders.place_order(buy(await fill_cart(BUYER, ("MUG", 1)), id=order.id))


async def until_ordered(cart_id: UUID) -> None:
    async def is_ordered() -> bool:
        with as_buyer(BUYER):
            return (await carts.get_cart(cart_id)).status == "ordered"

    await until(is_ordered)
