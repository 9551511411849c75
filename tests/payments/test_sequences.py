"""What is promised, refused, taken by banks and won back, in unlucky orders: in the end everybody has what is theirs."""

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.payments.test_earnings import BOWLS, MUGS, euros, part

from souk.kit.ids import new_id
from souk.orders.events import SaleEarned
from souk.payments.booking import book_capture, book_refund_news
from souk.payments.chargeback_booking import book_chargeback, cover_losses
from souk.payments.closing import close
from souk.payments.earnings import transfers_of
from souk.payments.events import ChargebackCovered, PaymentRefunded
from souk.payments.gateways.gateway import ChargebackNews, RefundNews
from souk.payments.records import Attempt, Case, Changes, NewRefund, PaymentRow, sale_of
from souk.payments.refunds import promise
from souk.payments.types import PaymentPart, RefundPayment

NOW = datetime(2030, 1, 1, tzinfo=UTC)
# Two sellers, of whose goods the platform keeps a quarter.
EQUAL = (part(MUGS, 12_000, 0, 3_000), part(BOWLS, 12_000, 0, 3_000))
ALL = (part(MUGS, 10_000, 2_000, 1_000),)


class Told:
    """A payment that is captured, in memory: what is asked and told of it, and whose money it is then."""

    def __init__(self, *parts: PaymentPart) -> None:
        order_id, whole = new_id(), sum(one.amount.amount for one in parts)
        about = {"user_id": None, "guest_token_hash": None, "currency": "EUR", "amount": whole, "expires_at": NOW, "closed_at": None}
        came = {"captured": 0, "refunding": 0, "refunded": 0, "earned": 0, "released": 0, "status": "none", "method": "card"}
        rest = {"decline_code": None, "redirect_url": None, "created_at": NOW, "updated_at": NOW}
        self.case = Case(PaymentRow(id=order_id, kind="order", **about, **came, **rest), sales=tuple(map(sale_of, parts)))
        self.changes = Changes()
        attempt = Attempt(order_id, new_id(), "sandbox", "card", whole, "EUR", "pending", "ch_1", None, None, b"")
        book_capture(self.case, attempt, self.changes)

    def refund(self, amount: int | None = None, cause: str = "goodwill", parts: tuple[PaymentPart, ...] = ()) -> UUID:
        money = None if amount is None else euros(amount)
        made = promise(RefundPayment(new_id(), self.case.payment.id, money, "a reason", cause=cause, parts=parts), self.case, self.changes)
        assert isinstance(made, NewRefund), made
        return made.id

    def cancel(self, *parts: PaymentPart) -> UUID:
        return self.refund(None, "canceled", parts)

    def earn(self, one: PaymentPart) -> None:
        payment, money = self.case.payment, (one.amount, one.tax, one.commission, one.platform_discount)
        self.changes.transfers += transfers_of(SaleEarned(payment.id, new_id(), one.seller_id, *money))
        self.case.payment = msgspec.structs.replace(payment, earned=payment.earned + one.amount.amount)

    def refund_elsewhere(self, amount: int, name: str = "re_1") -> None:
        [attempt] = self.case.attempts
        news = RefundNews(self.case.payment.id, None, "succeeded", name, euros(amount), attempt_id=attempt)
        assert book_refund_news(self.case, news, f"sandbox:{name}", self.changes) is None

    def answer(self, refund_id: UUID, status: str) -> str | None:
        news = RefundNews(self.case.payment.id, refund_id, status, code="charge_disputed" if status == "failed" else None)
        reason = book_refund_news(self.case, news, "", self.changes)
        known = self.case.refunds[refund_id]
        cover_losses(self.case, known if known.status == "failed" else None, self.changes)
        return reason

    def dispute(self, status: str, amount: int, name: str = "dp_1") -> None:
        [attempt] = self.case.attempts.values()
        told = ChargebackNews(self.case.payment.id, attempt.id, name, status, euros(amount))
        assert book_chargeback(self.case, "sandbox", told, self.changes) is None

    def close(self) -> None:
        """The order is given up; the next that is told finds its payment closed."""
        close(self.case, "canceled", self.changes)
        self.case.payment = msgspec.structs.replace(self.case.payment, closed_at=NOW)

    def settle(self, status: str = "succeeded") -> None:
        """The gateway answers whatever it was asked."""
        while pending := [one.id for one in self.case.refunds.values() if one.status == "pending"]:
            for refund_id in pending:
                self.answer(refund_id, status)

    @property
    def balances(self) -> dict[str, int]:
        """What is whose, from all that was moved; and that every refund and the funds are what the movements say."""
        names = {str(MUGS): "mugs", str(BOWLS): "bowls"}
        books: Counter[str] = Counter()
        for one in self.changes.transfers:
            assert one.amount > 0, one
            books[names.get(one.debit.owner, one.debit.kind)] -= one.amount
            books[names.get(one.credit.owner, one.credit.kind)] += one.amount
        assert books["order_funds"] == self.case.funds >= 0
        assert books["refunds_due"] == sum(one.amount for one in self.case.refunds.values() if one.status == "pending")
        for refund in self.case.refunds.values():
            shared = [sum(getattr(share, name) for share in refund.shares) for name in ("amount", "funds")]
            assert shared == [refund.amount, refund.funds]
        [attempt] = self.case.attempts.values()
        assert self.case.left_of(attempt) >= 0
        return {name: amount for name, amount in sorted(books.items()) if amount}


def test_who_got_back_what_a_bank_took_gives_it_when_the_shop_has_won() -> None:
    told = Told(*ALL)
    told.dispute("open", 10_000)
    told.answer(told.cancel(part(MUGS, 5_000)), "succeeded")
    told.dispute("won", 10_000)
    told.close()
    told.settle()
    assert told.balances == {}


def test_who_got_back_what_they_had_given_gives_it_when_that_was_refused() -> None:
    told = Told(*ALL)
    goodwill = told.refund(8_000)
    told.cancel(part(MUGS, 5_000))
    told.answer(goodwill, "failed")
    told.close()
    told.settle()
    assert told.balances == {}


def test_of_several_each_gives_what_they_got() -> None:
    told = Told(part(MUGS, 6_000, 1_000, 600), part(BOWLS, 4_000, 0, 0, 500))
    goodwill = told.refund(8_000)
    told.cancel(part(MUGS, 6_000))
    told.answer(goodwill, "failed")
    assert told.balances["mugs"] > 0
    told.refund(4_000)
    told.settle()
    assert told.balances == {"gateway_clearing": -4_000, "order_funds": 4_000}


@pytest.mark.parametrize("given_up", [True, False])
@pytest.mark.parametrize("amount", [None, 10_000, 4_000])
def test_a_refused_refund_of_cancelled_goods_is_given_again_at_nobodys_cost(given_up: bool, amount: int | None) -> None:
    told = Told(*ALL)
    told.close() if given_up else told.cancel(*ALL)
    told.settle("failed")
    assert told.balances == {"gateway_clearing": -10_000, "order_funds": 10_000}
    told.refund(amount)
    told.settle()
    left = 10_000 - (amount or 10_000)
    assert told.balances == ({"gateway_clearing": -left, "order_funds": left} if left else {})
    if left:
        told.refund()
        told.settle()
        assert told.balances == {}


def test_what_is_refunded_at_the_gateway_after_a_refusal_is_at_nobodys_cost() -> None:
    told = Told(*ALL)
    told.cancel(part(MUGS, 4_000))
    told.settle("failed")
    told.refund_elsewhere(5_000)
    assert told.balances["order_funds"] == 6_000, "4000 were idle"
    assert told.balances["mugs"] == -700, "1000 are for nothing in particular"


def test_of_refused_pieces_only_so_much_is_idle_as_others_will_not_earn() -> None:
    told = Told(*ALL)
    told.cancel(part(MUGS, 4_000))
    told.settle("failed")
    told.earn(part(MUGS, 6_000, 1_200, 600))
    told.refund(5_000)
    told.settle("failed")
    told.refund(4_000)
    told.settle()
    earned = {"gateway_clearing": -6_000, "mugs": 4_200, "platform_revenue": 600, "tax_payable": 1_200}
    assert told.balances == earned
    told.refund(6_000)
    told.settle()
    assert told.balances == {}


@pytest.mark.parametrize("won", [True, False])
def test_what_a_bank_has_left_of_an_order_that_is_given_up_goes_back_once_more(won: bool) -> None:
    told = Told(*ALL)
    told.close()
    told.dispute("open", 4_000)
    told.settle("failed")
    assert told.balances == {"gateway_clearing": -6_000, "order_funds": 6_000}, "refused as long as it is disputed"
    told.dispute("won" if won else "lost", 4_000)
    told.settle()
    assert told.balances == {}


def test_who_gave_before_an_order_was_given_up_gets_it_though_a_bank_takes_the_rest() -> None:
    told = Told(*ALL)
    told.refund(1_000)
    told.settle()
    told.close()
    told.dispute("open", 10_000)
    told.settle("failed")
    assert told.balances == {"chargeback_expense": -1_000, "gateway_clearing": 1_000}


@pytest.mark.parametrize("bank", [False, True])
@pytest.mark.parametrize("steps", [("money", "goods"), ("goods", "money")])
def test_who_gave_for_nothing_in_particular_has_no_more_to_give_for_goods(bank: bool, steps: tuple[str, str]) -> None:
    """Whether money goes back first or goods do: each seller gives what they have had, and none of it to the other."""
    told = Told(*EQUAL)
    for one in EQUAL:
        told.earn(one)
    for step in steps:
        if step == "goods":
            told.refund(None, "returned", EQUAL[:1])
        elif bank:
            told.dispute("open", 12_000)
        else:
            told.refund(12_000)
        told.settle()
    assert told.balances == {}


def test_what_a_seller_has_not_got_any_more_for_what_comes_back_the_others_give() -> None:
    told = Told(*EQUAL)
    for one in EQUAL:
        told.earn(one)
    told.refund(4_000)
    told.refund(None, "returned", (part(MUGS, 6_000, 0, 1_500),))
    told.settle()
    assert told.balances == {"bowls": 7_500, "gateway_clearing": -14_000, "mugs": 3_000, "platform_revenue": 3_500}
    told.refund(None, "returned", (part(MUGS, 6_000, 0, 1_500),))
    told.settle()
    assert told.balances == {"bowls": 6_000, "gateway_clearing": -8_000, "platform_revenue": 2_000}


def test_what_is_won_covers_what_another_bank_has_taken() -> None:
    told = Told(*ALL)
    told.earn(*ALL)
    told.dispute("open", 5_000, "dp_1")
    told.refund(5_000)
    told.settle()
    told.dispute("open", 5_000, "dp_2")
    assert told.balances == {"chargeback_expense": -5_000, "gateway_clearing": 5_000}
    told.dispute("won", 5_000, "dp_1")
    assert (told.case.left, told.balances) == (0, {})
    assert [event.counted.amount for event in told.changes.events if isinstance(event, ChargebackCovered)] == [5_000]


def test_a_return_whose_money_a_bank_has_taken_is_at_its_end() -> None:
    told = Told(*ALL)
    told.earn(*ALL)
    back = told.refund(None, "returned", ALL)
    told.dispute("open", 10_000)
    told.answer(back, "failed")
    assert told.balances == {}
    [event] = [event for event in told.changes.events if isinstance(event, PaymentRefunded)]
    assert (event.refund_id, event.amount) == (back, euros(0))


def test_what_did_not_arrive_after_all_is_told_to_a_person() -> None:
    told = Told(*ALL)
    refund = told.refund(4_000)
    assert told.answer(refund, "succeeded") is None
    reason = "4000 EUR that had gone back did not arrive (charge_disputed) and are at the gateway again"
    assert told.answer(refund, "failed") == f"{reason}: give them to the buyer over there or otherwise"
    assert told.case.refunds[refund].status == "succeeded"
    assert told.answer(refund, "succeeded") is None


KINDS = ("goodwill", "cancel", "elsewhere", "open", "won", "settle", "fail")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 9_000)), max_size=12)


@given(STEPS, st.booleans())
def test_whatever_happens_before_an_order_is_given_up_nobody_keeps_anything(steps: list[tuple[str, int]], refused: bool) -> None:
    told = Told(part(MUGS, 6_000, 1_000, 600), part(BOWLS, 4_000, 0, 0, 500))
    canceled, disputes = Counter[UUID](), dict[str, int]()
    for number, (step, amount) in enumerate(steps):
        taken, left = sum(disputes.values()), told.case.left
        pending = [one.id for one in told.case.refunds.values() if one.status == "pending"]
        if step == "goodwill" and left:
            told.refund(min(amount, left))
        elif step == "elsewhere" and left:
            told.refund_elsewhere(min(amount, left), f"re_{number}")
        elif step == "cancel":
            seller_id, whole = ((MUGS, 6_000), (BOWLS, 4_000))[number % 2]
            if pieces := min(amount, whole - canceled[seller_id]):
                canceled[seller_id] += pieces
                told.cancel(part(seller_id, pieces))
        elif step == "open" and taken < 10_000:
            disputes[f"dp_{number}"] = min(amount, 10_000 - taken)
            told.dispute("open", disputes[f"dp_{number}"], f"dp_{number}")
        elif step == "won" and disputes:
            told.dispute("won", disputes.pop(name := min(disputes)), name)
        elif step in ("settle", "fail") and pending:
            told.answer(pending[amount % len(pending)], "succeeded" if step == "settle" else "failed")
        assert told.balances.get("refunds_due", 0) >= 0
    told.close()
    for name, amount in disputes.items():
        told.dispute("won", amount, name)
    told.settle("failed" if refused else "succeeded")
    if told.case.left:
        told.refund()
        told.settle()
    assert told.balances == {}
