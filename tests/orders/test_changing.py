"""An order that is not paid may go elsewhere or otherwise, and its payment follows; a paid one keeps its total."""

import asyncio
from uuid import UUID

import msgspec
import pytest
from tests.orders.market import ADDRESS, as_buyer, as_system, buy, fill_cart, make_seller, open_market, put_on_sale

from souk import orders, payments, pricing
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders import placements, reading, requoting
from souk.orders.types import AddressCountryFixed, NotChangeable, PaymentUnderWay, UnknownShippingOption

BUYER = new_id()
EXPRESS = orders.ChangeOrder(shipping_option="express")
IN_FRANCE = msgspec.structs.replace(ADDRESS, country="FR", city="Paris", postal_code="75001")


@pytest.fixture
async def seller_id(shop: Shop) -> UUID:
    await open_market()
    seller_id = await make_seller()
    await put_on_sale("MUG", 1200, 100, seller_id)
    return seller_id


async def draft(sku: str = "MUG", token: str | None = None, **more: object) -> orders.Order:
    """An order of the buyer that waits for its payment."""
    with as_buyer(BUYER):
        return await orders.place_order(buy(await fill_cart(BUYER, (sku, 2)), token, **more))


async def change(order: orders.Order, wanted: orders.ChangeOrder) -> orders.Order:
    with as_buyer(BUYER):
        return await orders.change_order(order.id, wanted)


async def charge(order: orders.Order, token: str = "tok_visa") -> payments.Payment:
    with as_buyer(BUYER):
        return await payments.charge(payments.ChargeRequest(order.id, "card", token, None, attempt_id=new_id()))


async def resume(order: orders.Order) -> orders.Order:
    """The sweeper comes by."""
    with as_system():
        await orders.resume_order(order.id)
        return await orders.get_order(order.id)


async def payment_of(order: orders.Order) -> payments.Payment:
    with as_system():
        return await payments.get_payment(order.id)


def adds_up(order: orders.Order) -> bool:
    """Whether lines and shipping are the parts, and the parts are the order."""
    items = sum(item.total.amount for item in order.items)
    shipping = order.shipping.amount + (0 if order.tax_included else order.tax.amount - sum(item.tax.amount for item in order.items))
    return order.total.amount == sum(part.total.amount for part in order.parts) == items + shipping


async def test_another_shipping_option_changes_total_and_payment(seller_id: UUID) -> None:
    before = await draft()
    after = await change(before, EXPRESS)
    assert (before.shipping, after.shipping) == (Money(500, "USD"), Money(1500, "USD"))
    assert after.parts[0].shipping_option == "express"
    assert (after.total - before.total, after.tax_included) == (Money(1000, "USD"), True)
    assert after.tax.amount - before.tax.amount == 239 - 80  # the 19 % that are in 15.00 and in 5.00
    assert after.version == before.version + 1
    assert [item.id for item in after.items] == [item.id for item in before.items]
    assert adds_up(after)
    assert (await payment_of(after)).amount == after.total
    assert (await charge(after)).captured == after.total
    placed = await resume(after)
    assert (placed.status, placed.payment_status, placed.total) == ("placed", "paid", after.total)


async def test_the_same_change_again_changes_nothing(seller_id: UUID) -> None:
    first = await change(await draft(), EXPRESS)
    assert await change(first, EXPRESS) == first
    with as_buyer(BUYER):
        assert len(await orders.get_timeline(first.id)) == 1


async def test_a_declined_order_may_be_changed_and_paid(seller_id: UUID) -> None:
    declined = await draft(token="tok_declined")
    assert declined.payment is not None and declined.payment.status == "declined"
    changed = await change(declined, EXPRESS)
    assert (await charge(changed)).captured == changed.total


async def test_each_part_goes_its_own_way(seller_id: UUID) -> None:
    other = await make_seller("Lantern")
    await put_on_sale("LAMP", 3000, 10, other)
    with as_buyer(BUYER):
        order = await orders.place_order(buy(await fill_cart(BUYER, ("MUG", 1), ("LAMP", 1)), None))
    changed = await change(order, orders.ChangeOrder(shipping_options={other: "express"}))
    assert {part.seller_id: part.shipping_option for part in changed.parts} == {seller_id: "standard", other: "express"}
    both = await change(changed, orders.ChangeOrder(shipping_options={seller_id: "express"}))
    assert {part.shipping_option for part in both.parts} == {"express"}
    assert adds_up(changed) and adds_up(both)


async def test_an_unpaid_order_may_go_to_another_country(seller_id: UUID) -> None:
    german = await draft()
    french = await change(german, orders.ChangeOrder(shipping_address=IN_FRANCE))
    assert (german.tax.amount > 0, french.tax.amount) == (True, 0)
    assert french.shipping_address == IN_FRANCE
    assert adds_up(french)
    assert (await payment_of(french)).amount == french.total


async def test_the_prices_of_the_lines_stay(seller_id: UUID) -> None:
    order = await draft()
    with as_system():
        await pricing.set_tax_rates((pricing.NewTaxRate(country="DE", name="VAT", rate_ppm=70_000),))
    changed = await change(order, EXPRESS)
    assert changed.subtotal == order.subtotal
    assert {item.unit_price for item in changed.items} == {item.unit_price for item in order.items}
    assert {item.tax_rate_ppm for item in changed.items} == {70_000}


async def test_an_option_that_is_not_offered_changes_nothing_and_holds_nothing_up(seller_id: UUID) -> None:
    order = await draft()
    with pytest.raises(UnknownShippingOption):
        await change(order, orders.ChangeOrder(shipping_option="by pigeon"))
    assert (await change(order, EXPRESS)).shipping == Money(1500, "USD")


async def test_an_order_keeps_the_only_use_of_its_coupon(seller_id: UUID) -> None:
    with as_system():
        await pricing.create_coupon(pricing.NewCoupon(name="Once", kind="percentage", rate_ppm=100_000, code="ONCE", usage_limit=1))
    order = await draft(coupon="ONCE")
    changed = await change(order, EXPRESS)
    assert changed.discount == order.discount != Money(0, "USD")
    assert (await charge(changed)).captured == changed.total


async def test_a_paid_order_keeps_its_total(seller_id: UUID) -> None:
    paid = await draft(token="tok_visa")
    with pytest.raises(NotChangeable):
        await change(paid, EXPRESS)
    with pytest.raises(AddressCountryFixed):
        await change(paid, orders.ChangeOrder(shipping_address=IN_FRANCE))
    nearby = msgspec.structs.replace(ADDRESS, line1="2 Main St")
    changed = await change(paid, orders.ChangeOrder(shipping_address=nearby, note="Ring twice"))
    assert (changed.shipping_address, changed.note, changed.total) == (nearby, "Ring twice", paid.total)
    with as_buyer(BUYER):
        assert [entry.data for entry in await orders.get_timeline(paid.id) if entry.type == "changed"] == [
            {"fields": ["note"]},
            {"fields": ["shipping_address"]},
        ]


async def test_a_canceled_order_is_not_changed(seller_id: UUID) -> None:
    order = await draft()
    with as_buyer(BUYER):
        await orders.cancel_order(order.id, orders.CancelOrder("no"))
    for wanted in (EXPRESS, orders.ChangeOrder(note="x"), orders.ChangeOrder(shipping_address=IN_FRANCE)):
        with pytest.raises(NotChangeable):
            await change(order, wanted)


async def test_another_buyers_order_is_not_there(seller_id: UUID) -> None:
    order = await draft()
    with as_buyer(new_id()), pytest.raises(NotFound):
        await orders.change_order(order.id, EXPRESS)


async def decide(order: orders.Order) -> placements.Placement:
    """The process dies as soon as the change is decided."""
    with as_buyer(BUYER):
        stored = await reading.find_order(order.id)
        assert stored.shipping_address is not None
        wanted = await requoting.quote_again(stored, stored.shipping_address, {}, "express")
        placement = await placements.take_lease(order.id)
        assert placement is not None
        return await placements.remember_change(placement, wanted)


async def tell_payment(placement: placements.Placement) -> None:
    """And this one when the payment knows of it, and the order does not yet."""
    assert placement.change is not None
    parts = requoting.parts_to_pay(placement.change.parts, "USD")
    with as_system():
        amount = Money(placement.change.total, "USD")
        await payments.change_payment(payments.ChangePayment(placement.order_id, amount, parts))


@pytest.mark.parametrize("payment_knows", [False, True])
async def test_a_change_that_was_decided_is_done_by_whoever_goes_on(seller_id: UUID, payment_knows: bool) -> None:
    order = await draft()
    placement = await decide(order)
    if payment_knows:
        await tell_payment(placement)
    await placements.give_up_attempt(placement)
    changed = await resume(order)
    assert (changed.status, changed.shipping) == ("draft", Money(1500, "USD"))
    assert (await payment_of(order)).amount == changed.total


@pytest.mark.parametrize("payment_knows", [False, True])
async def test_who_pays_in_the_middle_of_a_change_gets_what_they_paid(seller_id: UUID, payment_knows: bool) -> None:
    order = await draft()
    placement = await decide(order)
    if payment_knows:
        await tell_payment(placement)
    paid = await charge(order)
    await placements.give_up_attempt(placement)
    placed = await resume(order)
    assert (placed.status, placed.payment_status) == ("placed", "paid")
    assert placed.total == paid.captured
    assert placed.shipping == Money(1500 if payment_knows else 500, "USD")


async def test_of_a_change_and_a_payment_at_once_either_comes_first(seller_id: UUID) -> None:
    made = [await draft() for _ in range(12)]
    outcomes = await asyncio.gather(*(change(order, EXPRESS) for order in made), *(charge(order) for order in made), return_exceptions=True)
    assert [one for one in outcomes if isinstance(one, BaseException) and not isinstance(one, PaymentUnderWay | NotChangeable)] == []
    for order in made:
        placed = await resume(order)
        if placed.status == "draft":
            placed = await resume(order)
        assert (placed.status, (await payment_of(order)).captured) == ("placed", placed.total)
        assert adds_up(placed)
