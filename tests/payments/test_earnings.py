"""Sellers earn what leaves and give what goes back, and in between no cent is lost."""

from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.payments.money import balance, check_books, close, give_back, look_up, pay

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.orders.events import ReturnReceived, SaleEarned
from souk.payments import consumers, earnings, ledger
from souk.payments.database import db
from souk.payments.shares import RefundShare, SaleShare, find_gain, find_owed, let_go, share_out, take_back
from souk.payments.types import OpenPayment, Payment, PaymentPart, Refund, RefundPayment

pytestmark = pytest.mark.usefixtures("test_gateway")
MUGS, BOWLS = new_id(), new_id()


def euros(amount: int) -> Money:
    return Money(amount, "EUR")


def part(seller_id: UUID, amount: int, tax: int = 0, commission: int = 0, platform_discount: int = 0) -> PaymentPart:
    return PaymentPart(seller_id, euros(amount), euros(tax), euros(commission), euros(platform_discount))


WHOLE = (part(MUGS, 11_900, 1_900, 1_000), part(BOWLS, 2_000, 0, 300, 1_000))


@pytest.fixture
async def paid(shop: Shop) -> Payment:
    """119.00 with 19.00 of tax for mugs, and 20.00 for bowls of which the platform took 10.00 off."""
    with asking(Caller(SYSTEM)):
        opened = await payments.open_payment(OpenPayment(new_id(), None, None, euros(13_900), WHOLE, (await now())))
    await pay(opened)
    return opened


async def now() -> object:
    return await db.value("SELECT now() + interval '1 hour'")


async def earn(order: Payment, one: PaymentPart, parcel_id: UUID | None = None) -> None:
    """A parcel of this worth has left."""
    money = (one.amount, one.tax, one.commission, one.platform_discount)
    async with db.transaction() as tx:
        await earnings.book_earnings(tx, [SaleEarned(order.id, parcel_id or new_id(), one.seller_id, *money)])


async def give(order: Payment, cause: str, *parts: PaymentPart) -> Refund:
    with asking(Caller(SYSTEM)):
        return await payments.refund(RefundPayment(new_id(), order.id, None, "a reason", cause=cause, parts=parts))


async def balances() -> dict[str, int]:
    """What is whose."""
    accounts = {
        "mugs": ledger.seller_balance(MUGS, "EUR"),
        "bowls": ledger.seller_balance(BOWLS, "EUR"),
        "platform": ledger.platform_revenue("EUR"),
        "tax": ledger.tax_payable("EUR"),
        "promotions": ledger.promotion_expense("EUR"),
        "funds": ledger.order_funds("EUR"),
        "card": ledger.clearing("test", "EUR"),
    }
    await check_books()
    return {name: amount for name, account in accounts.items() if (amount := await balance(account))}


async def test_what_leaves_is_earned(paid: Payment) -> None:
    assert await balances() == {"funds": 13_900, "card": -13_900}
    await earn(paid, WHOLE[0])
    assert await balances() == {"mugs": 9_000, "platform": 1_000, "tax": 1_900, "funds": 2_000, "card": -13_900}
    await earn(paid, WHOLE[1])
    earned = {"mugs": 9_000, "bowls": 2_700, "platform": 1_300, "tax": 1_900, "promotions": -1_000, "card": -13_900}
    assert await balances() == earned


async def test_a_parcel_is_earned_once_and_never_more_than_was_paid(paid: Payment) -> None:
    parcel_id = new_id()
    await earn(paid, WHOLE[0], parcel_id)
    with pytest.raises(asyncpg.UniqueViolationError):
        await earn(paid, part(MUGS, 1), parcel_id)
    with pytest.raises(asyncpg.CheckViolationError, match="funds_go_once"):
        await earn(paid, part(BOWLS, 2_001))
    assert (await balances())["funds"] == 2_000


async def test_cancelled_pieces_cost_nobody_anything(paid: Payment) -> None:
    refund = await give(paid, "canceled", WHOLE[0])
    assert (refund.amount, refund.status, refund.cause) == (euros(11_900), "succeeded", "canceled")
    await earn(paid, WHOLE[1])
    assert await balances() == {"bowls": 2_700, "platform": 300, "promotions": -1_000, "card": -2_000}


async def test_what_comes_back_is_given_by_its_seller_the_platform_and_the_tax(paid: Payment) -> None:
    await earn(paid, WHOLE[0])
    await earn(paid, WHOLE[1])
    await give(paid, "returned", part(MUGS, 5_950, 950, 500))
    assert await balances() == {
        "mugs": 4_500, "bowls": 2_700, "platform": 800, "tax": 950, "promotions": -1_000, "card": -7_950,
    }  # fmt: skip
    await give(paid, "returned", part(MUGS, 5_950, 950, 500), WHOLE[1])
    assert await balances() == {}
    assert (await look_up(paid)).status == "refunded"


async def test_a_refund_may_come_before_the_earning_is_heard_of(paid: Payment) -> None:
    await give(paid, "returned", WHOLE[1])
    assert (await balances())["bowls"] == -2_700
    await earn(paid, WHOLE[1])
    assert await balances() == {"funds": 11_900, "card": -11_900}


async def test_money_for_nothing_in_particular_is_given_by_all_sellers(paid: Payment) -> None:
    await earn(paid, WHOLE[0])
    await earn(paid, WHOLE[1])
    await give_back(paid, 1_390)
    assert await balances() == {
        "mugs": 8_100, "bowls": 2_430, "platform": 1_170, "tax": 1_710, "promotions": -900, "card": -12_510,
    }  # fmt: skip
    await give_back(paid)
    assert await balances() == {}


async def test_what_is_left_of_a_sale_is_given_in_its_own_parts(paid: Payment) -> None:
    """A commission is on goods and not on shipping: who has given a piece back gives for the rest what the rest has brought."""
    await earn(paid, WHOLE[0])
    await earn(paid, WHOLE[1])
    await give(paid, "returned", part(MUGS, 5_950, 950, 1_000))
    await give_back(paid)
    assert await balances() == {}


async def test_who_gave_for_what_is_cancelled_later_gets_it_back(paid: Payment) -> None:
    await give_back(paid, 1_390)
    assert (await balances())["mugs"] == -900
    assert (await close(paid)).refunded == euros(13_900)
    assert await balances() == {}


async def test_who_gave_everything_gets_it_back_when_the_order_is_given_up(paid: Payment) -> None:
    await give_back(paid)
    for _ in range(2):
        assert (await close(paid)).refunded == euros(13_900)
        assert await balances() == {}


async def test_nothing_is_let_go_twice(paid: Payment) -> None:
    await close(paid)
    late = await give(paid, "canceled", WHOLE[0])
    assert (late.amount, late.status) == (euros(0), "succeeded")
    assert await balances() == {}


async def test_what_the_platform_alone_paid_for_goes_back_to_it(paid: Payment) -> None:
    """Goods that a coupon of the platform paid in full leave and come back; no buyer has given anything for them."""
    before = await balances()
    free = part(BOWLS, 0, 0, 200, 2_000)
    await earn(paid, free)
    assert (await balances())["bowls"] == 1_800
    money = (free.amount, free.tax, free.commission, free.platform_discount)
    back = ReturnReceived(paid.id, new_id(), BOWLS, None, (), False, *money)
    for _ in range(2):
        await consumers.refund_returned_items((Delivered(back, new_id(), datetime.now(UTC)),))
    assert await balances() == before


async def test_no_more_comes_back_than_is_left(paid: Payment) -> None:
    await earn(paid, WHOLE[0])
    await give_back(paid, 13_000)
    back = await give(paid, "returned", WHOLE[0])
    assert back.amount == euros(900)
    assert (await look_up(paid)).refunded == euros(13_900)
    await check_books()


amounts = st.integers(0, 10_000)


@st.composite
def sales(draw: st.DrawFn) -> SaleShare:
    amount = draw(amounts)
    return SaleShare(draw(st.sampled_from((MUGS, BOWLS, None))), amount, draw(st.integers(0, amount)), draw(amounts), draw(amounts))


@given(st.lists(sales(), max_size=5), amounts)
def test_what_is_shared_out_is_all_of_it(given_by: list[SaleShare], amount: int) -> None:
    assert sum(one.amount for one in share_out(amount, given_by, ())) == amount or amount == 0


@given(st.lists(sales(), max_size=5), amounts, amounts)
def test_what_is_taken_back_is_no_more_than_is_left(given_by: list[SaleShare], left: int, before: int) -> None:
    gave = share_out(before, given_by, ())
    back = take_back(given_by, left, given_by, gave)
    assert sum(one.amount for one in back) == min(left, sum(one.amount for one in given_by))


@given(st.lists(sales(), max_size=5), amounts, st.lists(sales(), max_size=5))
def test_what_is_let_go_goes_to_the_buyer_or_to_those_who_gave_before(
    canceled: list[SaleShare], earlier: int, givers: list[SaleShare]
) -> None:
    captured = sum(one.amount for one in canceled) + earlier
    gave = share_out(min(earlier, captured), givers, ())
    left = captured - sum(one.amount for one in gave)
    shares = let_go(canceled, captured, left, gave)
    assert sum(one.funds for one in shares) == sum(one.amount for one in canceled)
    assert sum(one.amount for one in shares) <= left
    assert all(0 <= one.amount <= one.funds for one in shares)
    everything = let_go((SaleShare(None, captured),), captured, left, gave)
    assert sum(one.amount for one in everything) == left
    for seller_id in {one.seller_id for one in gave}:
        owed = find_owed(seller_id, (*gave, *everything))
        assert owed == SaleShare(seller_id, 0)


@given(st.lists(sales(), max_size=5), amounts, st.lists(sales(), max_size=5), st.lists(st.booleans(), min_size=6, max_size=6))
def test_who_got_back_what_came_to_nothing_gives_it(
    canceled: list[SaleShare], earlier: int, givers: list[SaleShare], stands: list[bool]
) -> None:
    """Between two cancellations some of those refunds are refused for which sellers had got something back."""
    captured = sum(one.amount for one in canceled) + earlier
    gave = share_out(earlier, givers, ())
    first = let_go(canceled, captured, captured - earlier, gave)
    stood = tuple(one for one, stood in zip(gave, stands, strict=False) if stood)
    funds, left = (captured - sum(getattr(one, name) for one in (*stood, *first)) for name in ("funds", "amount"))
    rest = let_go((SaleShare(None, funds),), funds, left, (*stood, *first))
    more = share_out(left - sum(one.amount for one in rest), givers, (*stood, *first, *rest))
    assert sum(one.amount for one in (*rest, *more)) == left
    assert sum(one.funds for one in rest) == funds
    for seller_id in {one.seller_id for one in gave}:
        given_by = (*stood, *first, *rest, *more)
        assert (find_owed(seller_id, given_by).amount, find_gain(seller_id, given_by).amount) == (0, 0)


def test_a_share_scales_with_its_amount() -> None:
    assert RefundShare(MUGS, 100, 19, 10, 5).scaled(50) == SaleShare(MUGS, 50, 10, 5, 3)
