"""What comes back is counted once, paid back as the terms say by whom it had been paid to, and only what can be sold again is for sale."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.audit.history import is_settled
from tests.conftest import asked_by
from tests.orders.market import as_buyer, as_guest, as_system, available, buy, fill_cart
from tests.orders.test_cancelling_items import balance, has_available, is_refunded
from tests.orders.test_parcels import BUYER, Sale, as_seller, sell
from tests.waiting import until

from souk import inventory, orders, payments
from souk.app import Shop
from souk.catalog.categories import create_category
from souk.catalog.products import change_product
from souk.catalog.types import NewCategory, ProductChange
from souk.kit.errors import InvalidField, NotFound
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders.database import db
from souk.orders.return_types import (
    ChangeReturn,
    NewReturn,
    NotReturnable,
    PolicyTerms,
    ReceivedLine,
    RecordedPieces,
    RecordReturn,
    Return,
    ReturnedLine,
    ReturnReason,
    ReturnWindowOver,
    TooMuchRecorded,
    TooMuchReturned,
    WrongReturnStatus,
)


@pytest.fixture
async def sale(working_shop: Shop) -> AsyncIterator[Sale]:
    """Three mugs of one seller for 12.00 and two bowls of another for 8.00, each with 5.00 of shipping; and books in order in the end."""
    yield await sell()
    await until(is_settled)


@pytest.fixture
async def sent(sale: Sale) -> Sale:
    """All of it has left and was earned."""
    for seller_id in (sale.mugs, sale.bowls):
        await sale.dispatch(await sale.pack(seller_id))
    await sale.is_seen_as("fulfilled", "fulfilled", "fulfilled")

    async def is_earned() -> bool:
        return await balance(sale.mugs) > 0 and await balance(sale.bowls) > 0

    await until(is_earned)
    return sale


async def ask(sale: Sale, quantity: int, reason: ReturnReason = "changed_mind", **how: object) -> Return:
    """The buyer wants to send so many mugs back."""
    with as_buyer(BUYER):
        (made,) = await orders.request_return(sale.order.id, NewReturn((ReturnedLine(sale.line(sale.mugs), quantity, reason),), **how))
    return made


async def change(sale: Sale, one: Return, status: str, **how: object) -> Return:
    with as_seller(one.seller_id):
        return await orders.change_return(one.id, ChangeReturn(status, **how))


async def is_paid_back(sale: Sale, one: Return) -> None:
    async def is_so() -> bool:
        with as_buyer(BUYER):
            return (await orders.get_return(one.id)).status == "refunded"

    await until(is_so)


async def test_a_mug_comes_back_and_its_seller_gives_the_money(sent: Sale) -> None:
    earned = await balance(sent.mugs)
    asked = await ask(sent, 1)
    assert (asked.status, asked.seller_id, asked.items[0].quantity, asked.refund) == ("requested", sent.mugs, 1, None)
    assert (await change(sent, asked, "approved")).status == "approved"
    received = await change(sent, asked, "received")
    assert (received.status, received.refund) == ("received", Money(1200, "USD"))
    await is_refunded(sent, 1200)
    await is_paid_back(sent, asked)
    await has_available("MUG", 8)
    # 12.00 with 19 % of tax in them: 10.08 without, of which the platform had kept 1.01.
    assert earned - await balance(sent.mugs) == 1008 - 101
    item = next(item for item in (await sent.look()).items if item.seller_id == sent.mugs)
    assert (item.shipped, item.returned) == (3, 1)
    assert (await sent.look()).payment_status == "partially_refunded"


async def test_all_of_a_part_comes_back_with_its_shipping(sent: Sale) -> None:
    for pieces in (1, 2):
        await change(sent, await ask(sent, pieces), "received")
    await is_refunded(sent, 3 * 1200 + 500)
    await sent.is_seen_as("fulfilled", "returned", "fulfilled")

    async def is_all_given() -> bool:
        return await balance(sent.mugs) == 0

    await until(is_all_given)


async def test_a_damaged_piece_is_not_sold_again_and_what_did_not_arrive_is_not_paid(sent: Sale) -> None:
    asked = await ask(sent, 3, "damaged")
    line_id = sent.line(sent.mugs)
    received = await change(sent, asked, "received", items=(ReceivedLine(line_id, 2, 1),))
    assert received.refund == Money(2400, "USD")
    await is_refunded(sent, 2400)
    await has_available("MUG", 8)
    assert (received.items[0].received, received.items[0].resellable) == (2, 1)
    with pytest.raises(TooMuchReturned) as refused:
        await ask(sent, 2)
    assert refused.value.left == 1


async def test_what_comes_back_damaged_is_not_sold_again_unless_its_seller_says_so(sent: Sale) -> None:
    received = await change(sent, await ask(sent, 1, "damaged"), "received")
    assert (received.items[0].received, received.items[0].resellable) == (1, 0)
    await change(sent, await ask(sent, 1), "received")
    await has_available("MUG", 8)


async def test_a_deduction_is_kept_by_the_seller(sent: Sale) -> None:
    received = await change(sent, await ask(sent, 1), "received", deduction=Money(333, "USD"), reason="a crack")
    assert (received.refund, received.deduction, received.reason) == (Money(867, "USD"), Money(333, "USD"), "a crack")
    await is_refunded(sent, 867)
    with pytest.raises(InvalidField):
        await change(sent, await ask(sent, 1), "received", deduction=Money(1201, "USD"))


async def test_less_is_paid_back_for_a_reason_only(sent: Sale) -> None:
    asked = await ask(sent, 1, "damaged")
    for reason in (None, ""):
        with pytest.raises(InvalidField, match="reason"):
            await change(sent, asked, "received", deduction=Money(1200, "USD"), reason=reason)
    assert (await change(sent, asked, "received", deduction=Money(0, "USD"))).refund == Money(1200, "USD")


async def test_of_what_did_not_arrive_nothing_is_received(sent: Sale) -> None:
    asked = await ask(sent, 1)
    for nothing in ((), (ReceivedLine(sent.line(sent.mugs), 0),)):
        with pytest.raises(InvalidField, match="refuse"):
            await change(sent, asked, "received", items=nothing)
    assert (await change(sent, asked, "refused", reason="an empty box")).status == "refused"
    assert (await ask(sent, 3)).status == "requested"


async def test_an_admin_takes_back_what_comes_late_or_is_a_final_sale(sent: Sale) -> None:
    with as_seller(sent.mugs):
        await orders.set_return_policy(PolicyTerms(sent.mugs, None, 14, 0, True))
    await ordered_later(sent)
    await db.pool.execute("UPDATE orders.parcel SET updated_at = now() - interval '15 days' WHERE order_id = $1", sent.order.id)
    line = ReturnedLine(sent.line(sent.mugs), 1)
    for refusal, reason in ((NotReturnable, "changed_mind"), (ReturnWindowOver, "damaged")):
        with pytest.raises(refusal):
            await ask(sent, 1, reason)
    with as_system():
        (late,) = await orders.request_return(sent.order.id, NewReturn((line,)))
    assert (await change(sent, late, "received")).refund == Money(1200, "USD")


async def test_the_money_goes_to_the_wallet_if_the_buyer_wants_that(sent: Sale) -> None:
    asked = await ask(sent, 1, refund_to="wallet")
    await change(sent, asked, "received")
    await is_paid_back(sent, asked)
    with as_buyer(BUYER):
        (wallet,) = (await payments.get_wallet()).balances
    assert wallet.balance == Money(1200, "USD")


async def test_what_comes_back_of_an_order_that_was_paid_back_whole_is_at_its_end(sent: Sale) -> None:
    with as_system():
        await payments.refund(payments.RefundPayment(new_id(), sent.order.id, None, "for the trouble"))
    await is_refunded(sent, sent.order.total.amount)
    asked = await ask(sent, 1)
    await change(sent, asked, "received")
    await is_paid_back(sent, asked)
    await is_refunded(sent, sent.order.total.amount)


async def test_a_store_that_is_gone_holds_up_nobodys_goods(sent: Sale) -> None:
    with as_seller(sent.bowls):
        (store,) = (await inventory.list_stores(sent.bowls, 10, None)).items

        async def has_left() -> bool:
            return (await inventory.get_stock(store.id, "BOWL")).on_hand == 8

        await until(has_left)
        await inventory.set_stock(inventory.StockCount(store.id, "BOWL", 0))
        await inventory.delete_store(store.id)
    with as_buyer(BUYER):
        lines = tuple(ReturnedLine(sent.line(seller_id), 1) for seller_id in (sent.bowls, sent.mugs))
        for one in await orders.request_return(sent.order.id, NewReturn(lines)):
            await change(sent, one, "received")
    await has_available("MUG", 8)
    assert await db.value("SELECT count(*) FROM inventory.dead_letter") == 0


async def test_a_refused_or_given_up_return_frees_its_pieces(sent: Sale) -> None:
    refused = await ask(sent, 3)
    with pytest.raises(TooMuchReturned):
        await ask(sent, 1)
    assert (await change(sent, refused, "refused", reason="worn")).reason == "worn"
    given_up = await ask(sent, 3)
    with as_buyer(BUYER):
        assert (await orders.change_return(given_up.id, ChangeReturn("canceled"))).status == "canceled"
    assert (await change(sent, await ask(sent, 3), "approved")).status == "approved"
    with pytest.raises(WrongReturnStatus):
        await change(sent, refused, "received")


async def test_what_has_not_left_cannot_come_back(sale: Sale) -> None:
    await sale.dispatch(await sale.pack(sale.mugs, 1))
    await sale.is_seen_as("partial", "partial", "unfulfilled")
    with pytest.raises(TooMuchReturned):
        await ask(sale, 2)
    assert (await ask(sale, 1)).status == "requested"


async def test_32_requests_and_receipts_at_once_pay_each_piece_once(sent: Sale) -> None:
    answers = await asyncio.gather(*(ask(sent, 1) for _ in range(32)), return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, Return)]
    assert len(made) == 3
    assert all(isinstance(answer, TooMuchReturned) for answer in answers if not isinstance(answer, Return))
    await asyncio.gather(*(change(sent, one, "received") for one in made for _ in range(8)))
    await is_refunded(sent, 3 * 1200 + 500)
    await has_available("MUG", 10)


async def test_who_may_do_what(sent: Sale) -> None:
    asked = await ask(sent, 1)
    with asked_by("buyer"), pytest.raises(NotFound):
        await orders.request_return(sent.order.id, NewReturn((ReturnedLine(sent.line(sent.mugs), 1),)))
    for stranger in (asked_by("buyer"), as_seller(sent.bowls), as_guest("a token")):
        with stranger:
            with pytest.raises(NotFound):
                await orders.get_return(asked.id)
            with pytest.raises(NotFound):
                await orders.change_return(asked.id, ChangeReturn("approved"))
    with as_buyer(BUYER):
        assert await orders.get_returns_of(sent.order.id) == (await orders.get_return(asked.id),)
        for status in ("approved", "refused", "received"):
            with pytest.raises(WrongReturnStatus):
                await orders.change_return(asked.id, ChangeReturn(status))
    await change(sent, asked, "approved")
    with as_buyer(BUYER), pytest.raises(WrongReturnStatus, match="approved"):
        await orders.change_return(asked.id, ChangeReturn("approved"))
    with as_seller(sent.mugs):
        assert [one.id for one in await orders.list_returns(sent.mugs, "approved", None, 10)] == [asked.id]
        with pytest.raises(NotFound):
            await orders.list_returns(sent.bowls, None, None, 10)
        with pytest.raises(WrongReturnStatus):
            await orders.change_return(asked.id, ChangeReturn("canceled"))


async def test_the_terms_are_those_of_when_it_was_ordered(sent: Sale) -> None:
    with as_seller(sent.mugs):
        await orders.set_return_policy(PolicyTerms(sent.mugs, None, 14, 250_000, True, "seller"))
        assert (await orders.list_return_policies(sent.mugs))[0].final_sale
    assert (await ask(sent, 1)).items[0].restocking_fee_ppm == 0
    await ordered_later(sent)
    with pytest.raises(NotReturnable):
        await ask(sent, 1)
    broken = await ask(sent, 1, "damaged")
    assert (broken.items[0].restocking_fee_ppm, broken.items[0].return_shipping) == (0, "seller")
    await change(sent, broken, "refused")
    with as_seller(sent.mugs):
        await orders.set_return_policy(PolicyTerms(sent.mugs, None, 14, 250_000))
    await ordered_later(sent)
    received = await change(sent, await ask(sent, 1), "received")
    assert received.refund == Money(900, "USD")
    await db.pool.execute("UPDATE orders.parcel SET updated_at = now() - interval '15 days' WHERE order_id = $1", sent.order.id)
    with pytest.raises(ReturnWindowOver):
        await ask(sent, 1)


async def ordered_later(sale: Sale) -> None:
    """The order was made just now, and paid."""
    await db.pool.execute(
        "UPDATE orders.orders SET (created_at, placed_at) = (clock_timestamp(), clock_timestamp()) WHERE id = $1", sale.order.id
    )


async def test_terms_that_are_set_before_an_order_is_paid_are_not_its(sent: Sale) -> None:
    with as_seller(sent.mugs):
        await orders.set_return_policy(PolicyTerms(sent.mugs, None, 14, 250_000, True, "seller"))
    await db.pool.execute("UPDATE orders.orders SET placed_at = clock_timestamp() WHERE id = $1", sent.order.id)
    assert (await ask(sent, 1)).items[0].restocking_fee_ppm == 0


async def test_a_seller_who_files_a_product_elsewhere_changes_nothing_for_who_has_bought_it(sale: Sale) -> None:
    mug_id = next(item.product_id for item in sale.order.items if item.seller_id == sale.mugs)
    with as_system():
        mugs, sold_off = [(await create_category(NewCategory(name))).id for name in ("Mugs", "Sold off")]
        await change_product(mug_id, ProductChange(category_id=mugs))
    with as_seller(sale.mugs):
        await orders.set_return_policy(PolicyTerms(sale.mugs, mugs, 60, 100_000))
        await orders.set_return_policy(PolicyTerms(sale.mugs, sold_off, final_sale=True))
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        later = Sale(await orders.place_order(buy(cart_id)), sale.mugs, sale.bowls)
    await later.dispatch(await later.pack(sale.mugs))

    async def has_left() -> bool:
        return (await later.look()).fulfillment_status == "fulfilled"

    await until(has_left)
    with as_seller(sale.mugs):
        await change_product(mug_id, ProductChange(category_id=sold_off))
    assert (await ask(later, 1)).items[0].restocking_fee_ppm == 100_000


async def test_what_came_back_elsewhere_is_told_and_no_more_of_it_than_was_sent(sent: Sale) -> None:
    pieces = (RecordedPieces("MUG", Money(1200, "USD"), 4),)
    with as_system():
        with pytest.raises(TooMuchRecorded, match="4 pieces of MUG are more than the 3"):
            await orders.record_return(RecordReturn(new_id(), sent.order.id, sent.mugs, pieces))
        fewer = (msgspec.structs.replace(pieces[0], quantity=1),)
        await orders.record_return(RecordReturn(new_id(), sent.order.id, sent.mugs, fewer))
        assert (await orders.get_timeline(sent.order.id))[-1].type in ("return_received", "refunded")
    await is_refunded(sent, 1200)


async def test_asked_once_with_a_key(sent: Sale) -> None:
    with as_buyer(BUYER, "my-return"):
        new = NewReturn((ReturnedLine(sent.line(sent.mugs), 1), ReturnedLine(sent.line(sent.bowls), 2)))
        twins = await asyncio.gather(*(orders.request_return(sent.order.id, new) for _ in range(8)))
    assert len(set(twins)) == 1
    assert {one.seller_id for one in twins[0]} == {sent.mugs, sent.bowls}
    assert await available("MUG") == 7
