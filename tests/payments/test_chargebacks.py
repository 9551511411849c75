"""A buyer's bank takes money back: its sellers give it, nobody gives it twice, and what is won is theirs again."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.conftest import asked_by
from tests.payments.money import announced, balance, check_books, close, fill_wallet, give_back, look_up, open_order, pay
from tests.payments.test_earnings import BOWLS, MUGS, WHOLE, balances, earn, euros, give

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.chargeback_types import Chargeback, RecordChargeback, SellerChargeback
from souk.payments.database import db
from souk.payments.events import ChargebackClosed, ChargebackOpened, PaymentRefunded
from souk.payments.gateways.gateway import AttemptNews, ChargebackNews, News, Reference, RefundNews
from souk.payments.news import tell
from souk.payments.types import OpenPayment, Payment, Refund, RefundTooLarge

pytestmark = pytest.mark.usefixtures("test_gateway")
EARNED = {"mugs": 9_000, "bowls": 2_700, "platform": 1_300, "tax": 1_900, "promotions": -1_000, "card": -13_900}
DUE = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
async def earned(shop: Shop) -> Payment:
    """119.00 for mugs and 20.00 for bowls, all of it earned."""
    order = await open_shared()
    await pay(order)
    await earn(order, WHOLE[0])
    await earn(order, WHOLE[1])
    assert await balances() == EARNED
    return order


async def open_shared() -> Payment:
    until = await db.value("SELECT now() + interval '1 hour'")
    with asking(Caller(SYSTEM)):
        return await payments.open_payment(OpenPayment(new_id(), None, None, euros(13_900), WHOLE, until))


async def attempt_of(order: Payment) -> UUID:
    return UUID(str(await db.value("SELECT id FROM payments.attempt WHERE payment_id = $1 ORDER BY created_at", order.id)))


async def hear(
    order: Payment, status: str = "open", amount: int = 13_900, event_id: str = "", dispute: str = "dp_1", **more: object
) -> str:
    """The gateway says how a dispute stands."""
    about = {"reason": "fraudulent", "evidence_due_at": DUE, **more}
    told = ChargebackNews(order.id, await attempt_of(order), dispute, status, euros(amount), **about)
    return await tell(News("webhook", "test", event_id or f"{dispute}:{status}", f"dispute.{status}", chargebacks=(told,)))


async def listed(order: Payment) -> tuple[Chargeback, ...]:
    with asking(Caller(SYSTEM)):
        return await payments.list_chargebacks(order.id)


async def expense() -> int:
    return await balance(ledger.chargeback_expense("EUR"))


async def why_not() -> list[str]:
    with asking(Caller(SYSTEM)):
        return [one.reason for one in await payments.list_discrepancies(100)]


async def record(order: Payment, amount: int, **more: object) -> Chargeback:
    with asking(Caller(SYSTEM)):
        return await payments.record_chargeback(RecordChargeback(order.id, euros(amount), "fraudulent", **more))


async def decide(chargeback: Chargeback, won: bool) -> Chargeback:
    with asking(Caller(SYSTEM)):
        return await payments.close_chargeback(chargeback.id, won)


async def test_what_a_bank_takes_its_sellers_give(earned: Payment) -> None:
    assert await hear(earned) == "applied"
    assert await balances() == {}
    [found] = await listed(earned)
    assert (found.status, found.amount, found.loss, found.fee) == ("open", euros(13_900), euros(0), euros(0))
    assert (found.reason, found.evidence_due_at, found.external_id) == ("fraudulent", DUE, "dp_1")
    assert ((await look_up(earned)).status, (await look_up(earned)).refunded) == ("refunded", euros(13_900))
    [told] = await announced(ChargebackOpened)
    assert told["amount"] == told["counted"] == {"amount": 13_900, "currency": "EUR"}
    assert await announced(PaymentRefunded) == [], "the shop has not refunded anything"


async def test_a_seller_who_has_been_paid_owes_it(earned: Payment) -> None:
    async with db.transaction() as tx:
        paid_out = ledger.Transfer(
            new_id(), "paid out", "paid_out", ledger.seller_balance(MUGS, "EUR"), ledger.clearing("test", "EUR"), 9_000
        )
        await ledger.post(tx, (paid_out,))
    await hear(earned)
    assert await balance(ledger.seller_balance(MUGS, "EUR")) == -9_000


async def test_a_chargeback_that_is_won_was_none(earned: Payment) -> None:
    await hear(earned)
    assert await hear(earned, "won") == "applied"
    assert await balances() == EARNED
    [found] = await listed(earned)
    assert (found.status, found.loss, found.closed_at is not None) == ("won", euros(0), True)
    assert ((await look_up(earned)).status, (await look_up(earned)).refunded) == ("captured", euros(0))
    assert [(one["won"], one["counted"]["amount"]) for one in await announced(ChargebackClosed)] == [(True, 13_900)]
    await give_back(earned)
    assert await balances() == {}, "as much can be refunded as if nothing had been"


async def test_a_chargeback_that_is_lost_stays(earned: Payment) -> None:
    await hear(earned)
    await hear(earned, "lost")
    assert await balances() == {}
    assert ((await listed(earned))[0].status, (await look_up(earned)).refunded) == ("lost", euros(13_900))
    assert [one["won"] for one in await announced(ChargebackClosed)] == [False]
    with pytest.raises(RefundTooLarge):
        await give_back(earned, 1)


@pytest.mark.parametrize("end", ["won", "lost"])
@pytest.mark.parametrize("steps", [("open", "end"), ("end", "open"), ("open", "open", "end", "end", "open"), ("end", "end"), ("end",)])
async def test_each_step_counts_once_in_whatever_order(earned: Payment, end: str, steps: tuple[str, ...]) -> None:
    for number, step in enumerate(steps):
        assert await hear(earned, end if step == "end" else "open", event_id=f"evt_{number}", fee=euros(1_500)) == "applied"
        await check_books()
    assert await expense() == -1_500
    assert await balances() == ({} if end == "lost" else EARNED) | {"card": (0 if end == "lost" else -13_900) + 1_500}
    assert (len(await announced(ChargebackOpened)), len(await announced(ChargebackClosed))) == (1, 1)
    assert [one.status for one in await listed(earned)] == [end]


async def test_told_by_32_at_once_it_is_one(earned: Payment) -> None:
    told = [hear(earned, ("open", "won")[number % 2], event_id=f"evt_{number}", fee=euros(1_500)) for number in range(32)]
    assert set(await asyncio.gather(*told)) == {"applied"}
    assert await balances() == EARNED | {"card": -12_400}
    assert len(await listed(earned)) == 1


async def test_two_sellers_give_in_proportion(earned: Payment) -> None:
    await hear(earned, amount=1_390)
    assert await balances() == {
        "mugs": 8_100, "bowls": 2_430, "platform": 1_170, "tax": 1_710, "promotions": -900, "card": -12_510,
    }  # fmt: skip
    shares = [(await list_of(MUGS))[0], (await list_of(BOWLS))[0]]
    assert [(one.amount, one.debited, one.order_id) for one in shares] == [
        (euros(1_190), euros(900), earned.id),
        (euros(200), euros(270), earned.id),
    ]
    await hear(earned, amount=12_510, dispute="dp_2")
    assert await balances() == {}
    await hear(earned, "won", amount=1_390)
    assert await balance(ledger.seller_balance(MUGS, "EUR")) == 900
    assert [one.status for one in await list_of(MUGS)] == ["open", "won"]


async def list_of(seller_id: UUID) -> tuple[SellerChargeback, ...]:
    with asked_by("seller", sells_for=(seller_id,)):
        return await payments.list_seller_chargebacks(seller_id, 50)


async def test_fees_are_the_shops(earned: Payment) -> None:
    await hear(earned, event_id="1")
    await hear(earned, event_id="2", fee=euros(1_500))
    await hear(earned, event_id="3")
    assert await expense() == -1_500
    await hear(earned, "won", event_id="4", fee=euros(1_500), fee_returned=euros(1_500))
    await hear(earned, "won", event_id="5", fee=euros(1_500))
    assert (await expense(), await balances()) == (0, EARNED)
    assert (await listed(earned))[0].fee == euros(0)


async def test_a_fee_has_its_own_currency(earned: Payment) -> None:
    await hear(earned, event_id="1", fee=Money(2_000, "USD"))
    assert await balance(ledger.chargeback_expense("USD")) == await balance(ledger.clearing("test", "USD")) * -1 == -2_000
    assert await hear(earned, event_id="2", fee=euros(2_000)) == "refused"
    assert await why_not() == ["a chargeback whose fee was in USD"]


async def test_what_had_gone_back_before_is_the_shops_loss(earned: Payment) -> None:
    await give_back(earned)
    assert await balances() == {}
    await hear(earned)
    [found] = await listed(earned)
    assert found.loss == euros(13_900)
    assert (await expense(), await balances()) == (-13_900, {"card": 13_900})
    assert (await look_up(earned)).refunded == euros(13_900), "never more than was captured"
    assert await announced(ChargebackOpened) != []
    await hear(earned, "won")
    assert (await expense(), await balances()) == (0, {})


async def test_of_what_had_gone_back_in_part_the_sellers_give_the_rest(earned: Payment) -> None:
    await give_back(earned, 1_390)
    await hear(earned)
    assert (await expense(), (await listed(earned))[0].loss) == (-1_390, euros(1_390))
    assert (await look_up(earned)).refunded == euros(13_900)
    assert await balances() == {"card": 1_390}
    await hear(earned, "won")
    assert (await look_up(earned)).refunded == euros(1_390)


async def test_a_refund_and_a_chargeback_at_once_never_give_more_than_came(shop: Shop) -> None:
    for number in range(32):
        order = await open_order(10_000)
        await pay(order)
        refund, taken = await asyncio.gather(
            give_back(order, 7_000), hear(order, amount=6_000, dispute=f"dp_{number}"), return_exceptions=True
        )
        now, [found] = await look_up(order), await listed(order)
        refused = isinstance(refund, RefundTooLarge)
        assert (taken, refused or now.refunded == euros(10_000)) == ("applied", True)
        assert (now.refunded, found.loss) == ((euros(6_000), euros(0)) if refused else (euros(10_000), euros(3_000)))
    await check_books()


@pytest.mark.parametrize("won", [True, False])
async def test_an_order_that_is_given_up_keeps_no_money(shop: Shop, won: bool) -> None:
    order = await open_shared()
    await pay(order)
    await hear(order, amount=10_000)
    closed = await close(order)
    assert (closed.refunded, await balances()) == (euros(13_900), {}), "the bank gave the most of it, the shop the rest"
    await hear(order, "won" if won else "lost", amount=10_000)
    assert ((await look_up(order)).refunded, await balances()) == (euros(13_900), {})
    assert [event["amount"]["amount"] for event in await announced(PaymentRefunded)] == [3_900] + [10_000] * won


async def test_who_gave_for_what_is_cancelled_gets_it_back(shop: Shop) -> None:
    order = await open_shared()
    await pay(order)
    await hear(order)
    await give(order, "canceled", *WHOLE)
    assert await balances() == {}


LIES = {
    "more was taken back than was paid": {"amount": 13_901},
    "a chargeback of what was never paid": {"attempt_id": new_id()},
}


@pytest.mark.parametrize("why", LIES)
async def test_what_cannot_be_true_is_kept_for_a_person(earned: Payment, why: str) -> None:
    lie = {"attempt_id": await attempt_of(earned), "amount": 13_900} | LIES[why]
    told = ChargebackNews(earned.id, lie["attempt_id"], "dp_1", "open", euros(lie["amount"]), "fraudulent")
    assert await tell(News("webhook", "test", "evt_1", "dispute.opened", chargebacks=(told,))) == "refused"
    assert (await why_not(), await listed(earned), await balances()) == ([why], (), EARNED)


async def test_what_contradicts_what_we_know_is_kept_for_a_person(earned: Payment) -> None:
    await hear(earned, amount=10_000)
    assert await hear(earned, amount=9_999, event_id="1") == "refused"
    assert await hear(earned, amount=3_901, dispute="dp_2") == "refused"
    assert await hear(earned, "won", amount=10_000) == "applied"
    assert await hear(earned, "lost", amount=10_000) == "refused"
    stranger = ChargebackNews(new_id(), new_id(), "dp_9", "open", euros(1))
    assert await tell(News("webhook", "test", "2", chargebacks=(stranger,))) == "refused"
    usd = ChargebackNews(earned.id, await attempt_of(earned), "dp_8", "open", Money(1, "USD"))
    assert await tell(News("webhook", "test", "3", chargebacks=(usd,))) == "refused"
    assert sorted(await why_not()) == [
        "10000 EUR were taken back, 9999 EUR told of", "a chargeback that we believe is won",
        "more was taken back than was paid", "more was taken back than was paid", "no payment of ours",
    ]  # fmt: skip
    assert await balances() == EARNED


async def begin_twice(order: Payment, attempt_id: UUID, gateway: str) -> None:
    """The buyer is about to pay an order that is paid."""
    row = "INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint, check_at)"
    await db.pool.execute(f"{row} VALUES ($1, $2, $3, 'card', 13900, 'EUR', 'pending', '', now())", order.id, attempt_id, gateway)


async def test_of_money_that_paid_an_order_twice_the_shop_bears_it(shop: Shop) -> None:
    order = await open_shared()
    await pay(order)
    first, second = await attempt_of(order), new_id()
    await begin_twice(order, second, "test")
    captured = AttemptNews(Reference(order.id, second), "captured", "ch_2")
    assert await tell(News("webhook", "test", "evt_1", attempts=(captured,))) == "applied"
    assert await balances() == {"funds": 13_900, "card": -13_900}, "the second one went back"
    told = ChargebackNews(order.id, second, "dp_1", "open", euros(13_900))
    assert await tell(News("webhook", "test", "evt_2", chargebacks=(told,))) == "applied"
    assert (await expense(), (await look_up(order)).status) == (-13_900, "captured")
    assert await attempt_of(order) == first
    assert await hear(order, dispute="dp_2") == "applied", "the first one may be taken back, too"
    assert (await expense(), (await look_up(order)).status) == (-13_900, "refunded")


@pytest.mark.parametrize("won", [True, False])
async def test_a_surplus_that_cannot_go_back_any_more_stands_for_what_the_bank_took(shop: Shop, won: bool) -> None:
    order = await open_shared()
    await pay(order)
    second = new_id()
    await begin_twice(order, second, "silent")
    await tell(News("webhook", "silent", "1", attempts=(AttemptNews(Reference(order.id, second), "captured", "ch_2"),)))
    [surplus] = await payments_refunds(order)
    taken = ChargebackNews(order.id, second, "dp_1", "open", euros(13_900))
    await tell(News("webhook", "silent", "2", chargebacks=(taken,)))
    assert (await expense(), await balance(ledger.refunds_due("EUR"))) == (-13_900, 13_900)
    await check_books()
    await tell(News("webhook", "silent", "3", refunds=(RefundNews(order.id, surplus.id, "failed", code="charge_disputed"),)))
    assert (await expense(), await balance(ledger.refunds_due("EUR"))) == (0, 0)
    assert ((await listed(order))[0].loss, (await look_up(order)).status) == (euros(0), "captured")
    await tell(News("webhook", "silent", "4", chargebacks=(msgspec.structs.replace(taken, status="won" if won else "lost"),)))
    assert (await expense(), await balance(ledger.refunds_due("EUR"))) == (0, 13_900 * won)
    assert [event["counted"]["amount"] for event in await announced(ChargebackClosed)] == [0]
    assert (await look_up(order)).refunded == euros(0)
    await check_books()


async def payments_refunds(order: Payment) -> tuple[Refund, ...]:
    with asking(Caller(SYSTEM)):
        return await payments.list_refunds(order.id)


async def test_of_a_deposit_the_shop_bears_it(shop: Shop) -> None:
    anna = new_id()
    with asked_by(user_id=anna):
        deposit = await payments.deposit_money(payments.DepositMoney(euros(5_000), "card", "tok_visa"))
    await hear(deposit, amount=5_000)
    assert (await expense(), await balance(ledger.wallet(anna, "EUR"))) == (-5_000, 5_000)
    assert await announced(ChargebackOpened) == []
    await hear(deposit, "won", amount=5_000)
    assert await expense() == 0


async def test_written_down_by_hand(earned: Payment) -> None:
    first = await record(earned, 13_900, external_id="case-7", evidence_due_at=DUE, fee=euros(500))
    assert (first.status, first.amount, first.fee, first.gateway, first.external_id) == (
        "open",
        euros(13_900),
        euros(500),
        "test",
        "case-7",
    )
    assert await record(earned, 13_900, external_id="case-7", evidence_due_at=DUE, fee=euros(500)) == first
    assert (await hear(earned, dispute="case-7"), len(await listed(earned))) == ("applied", 1), "the gateway tells of it after all"
    with pytest.raises(payments.ChargebackTooLarge) as refused:
        await record(earned, 1)
    assert refused.value.left == euros(0)
    won = await asyncio.gather(*(decide(first, True) for _ in range(8)))
    assert {one.status for one in won} == {"won"}
    assert await balances() == EARNED | {"card": -13_400}
    with pytest.raises(payments.ChargebackDecided) as decided:
        await decide(first, False)
    assert decided.value.outcome == "won"
    again = await record(earned, 13_900)
    assert (await decide(again, False)).status == "lost"
    assert await balances() == {"card": 500}


async def test_what_no_bank_can_take_back(shop: Shop) -> None:
    anna, unpaid = new_id(), await open_order()
    await fill_wallet(anna, 10_000)
    by_wallet = await open_order(user_id=anna)
    await pay(by_wallet, method="wallet")
    for order in (unpaid, by_wallet):
        with pytest.raises(payments.NotChargeable):
            await record(order, 1)
    assert await hear(by_wallet, amount=10_000) == "refused"
    paid = await open_order()
    await pay(paid)
    with asking(Caller(SYSTEM)):
        with pytest.raises(payments.CurrencyMismatch):
            await payments.record_chargeback(RecordChargeback(paid.id, Money(1, "USD"), "fraudulent"))
        with pytest.raises(payments.PaymentNotFound):
            await payments.record_chargeback(RecordChargeback(new_id(), euros(1), "fraudulent"))
        with pytest.raises(payments.ChargebackNotFound):
            await payments.close_chargeback(new_id(), True)
        with pytest.raises(payments.PaymentNotFound):
            await payments.list_chargebacks(new_id())
    with pytest.raises(InvalidField, match="fee"):
        await record(paid, 1, fee=euros(-1))


async def test_who_may_see_and_write_chargebacks(earned: Payment) -> None:
    await hear(earned)
    [found] = await listed(earned)
    for who in (asked_by("seller", sells_for=(MUGS,)), asked_by("buyer")):
        with who:
            for forbidden in (
                payments.list_chargebacks(earned.id),
                payments.record_chargeback(RecordChargeback(earned.id, euros(1), "fraudulent")),
                payments.close_chargeback(found.id, True),
            ):
                with pytest.raises(Forbidden):
                    await forbidden
            with pytest.raises(NotFound):
                await payments.list_seller_chargebacks(BOWLS, 50)
    with pytest.raises(Unauthenticated):
        await payments.list_chargebacks(earned.id)
    with asking(Caller(SYSTEM)):
        assert [one.id for one in await payments.list_seller_chargebacks(BOWLS, 50)] == [found.id]


async def test_a_seller_reads_them_page_by_page(shop: Shop) -> None:
    orders = [await open_shared() for _ in range(5)]
    for number, order in enumerate(orders):
        await pay(order)
        await hear(order, dispute=f"dp_{number}")
    with asked_by("seller", sells_for=(MUGS,)):
        first = await payments.list_seller_chargebacks(MUGS, 3)
        rest = await payments.list_seller_chargebacks(MUGS, 3, first[-1].id)
    assert [one.order_id for one in (*first, *rest)] == [order.id for order in reversed(orders)]


async def test_a_decision_is_final_in_sql(earned: Payment) -> None:
    await hear(earned)
    await hear(earned, "lost")
    for change in ("UPDATE payments.chargeback SET status = 'won', loss = 0", "DELETE FROM payments.chargeback"):
        with pytest.raises(asyncpg.RestrictViolationError, match="decided once"):
            await db.pool.execute(change)
