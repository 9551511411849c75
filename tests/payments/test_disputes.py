"""Disputes of a real processor over HTTP, by webhooks in every order, by its book, and by Stripe: our books end up as theirs."""

import asyncio
from functools import partial
from uuid import UUID

import pytest
from tests.payments.money import announced, balance, check_books, close, give_back, look_up, open_order, pay
from tests.payments.outside import Outside, until
from tests.payments.test_behaviours import discrepancies, heard, settle
from tests.payments.test_chargebacks import expense, listed
from tests.payments.test_earnings import give
from tests.payments.test_reconciling import no_margin

from souk import payments
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.money import Money
from souk.payments import ledger, reconciling
from souk.payments.database import db
from souk.payments.events import ChargebackClosed, ChargebackCovered, ChargebackOpened
from souk.payments.types import Payment, PaymentPart, Refund, RefundTooLarge

__all__ = ["no_margin"]
A_MONTH_S, FEE = 30 * 86_400, 1_500
TAKEN, COST = ("dispute", 10_000), ("dispute_fee", FEE)


async def charge_of(order: Payment) -> str:
    return str(await db.value("SELECT gateway_id FROM payments.attempt WHERE payment_id = $1", order.id))


async def dispute(outside: Outside, order: Payment, **how: object) -> str:
    """The buyer complains to their bank."""
    return str((await outside.ask("POST", f"/control/charges/{await charge_of(order)}/disputes", how))["id"])


async def decide(outside: Outside, dispute_id: str, won: bool) -> None:
    await outside.ask("POST", f"/control/disputes/{dispute_id}/close", {"won": won})


async def statuses(order: Payment) -> list[str]:
    return [one.status for one in await listed(order)]


async def becomes(order: Payment, *wanted: str) -> None:
    async def has() -> bool:
        return await statuses(order) == list(wanted)

    await until(has)


async def agree(outside: Outside, order: Payment) -> None:
    """What the ledger moved over the gateway's account for this payment is what stands in its book, and stays so."""
    sign = {"capture": -1, "refund": 1, "dispute": 1, "dispute_fee": 1, "dispute_won": -1}
    for _ in range(2):
        entries = [one for one in await outside.read_book() if one["payment_reference"].startswith(str(order.id))]
        ours = await db.value(
            "SELECT sum(CASE WHEN credit_id = $2 THEN amount ELSE -amount END) FROM payments.transfer"
            " WHERE cause_id = $1 AND $2 IN (debit_id, credit_id)",
            order.id,
            ledger.clearing("sandbox", "EUR").id,
        )
        assert ours == sum(sign.get(one["kind"], 0) * one["amount"] for one in entries)
        await settle()
    await check_books()
    assert await discrepancies(order) == []


async def paid(outside: Outside, token: str = "tok_visa") -> Payment:
    order = await open_order()
    assert (await pay(order, token)).status == "captured"
    await heard(order)
    return order


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("won", [True, False])
async def test_a_month_later_a_bank_takes_the_money_and_decides_another_month_later(outside: Outside, won: bool) -> None:
    order = await paid(outside)
    outcome = "won" if won else "lost"
    await dispute(outside, order, opens_in_s=A_MONTH_S, outcome=outcome, closes_in_s=A_MONTH_S, reason="product_not_received")
    assert await statuses(order) == []
    await outside.control("time", pass_s=A_MONTH_S)
    await becomes(order, "open")
    [found] = await listed(order)
    assert (found.reason, found.amount.amount, found.fee.amount, found.loss.amount) == ("product_not_received", 10_000, FEE, 0)
    assert ((await look_up(order)).status, await balance(ledger.clearing("sandbox", "EUR"))) == ("refunded", FEE)
    await agree(outside, order)
    await outside.control("time", pass_s=A_MONTH_S)
    await becomes(order, outcome)
    assert (await look_up(order)).status == ("captured" if won else "refunded")
    assert await balance(ledger.clearing("sandbox", "EUR")) == FEE - 10_000 * won
    assert await expense() == -FEE
    await agree(outside, order)


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("won", [True, False])
@pytest.mark.parametrize("habit", ["ok", "duplicate_webhook", "out_of_order", "forged_signature"])
async def test_webhooks_in_every_order_and_number(outside: Outside, habit: str, won: bool) -> None:
    order = await paid(outside)
    dispute_id = await dispute(outside, order, behaviour=habit)
    if habit != "out_of_order":
        await becomes(order, "open")
    await decide(outside, dispute_id, won)
    await becomes(order, "won" if won else "lost")
    await heard(order, 3)
    assert (len(await announced(ChargebackOpened)), len(await announced(ChargebackClosed))) == (1, 1)
    assert await statuses(order) == ["won" if won else "lost"]
    await agree(outside, order)


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("end", ["", "won", "lost"])
async def test_without_webhooks_the_book_tells(outside: Outside, end: str) -> None:
    order = await paid(outside)
    await outside.control(hold_webhooks=True)
    dispute_id = await dispute(outside, order)
    if end != "":
        await decide(outside, dispute_id, end == "won")
    await reconciling.reconcile_books()
    assert await statuses(order) == [end or "open"]
    await agree(outside, order)
    await outside.control(hold_webhooks=False)
    await heard(order, 2 if end == "" else 3)
    assert await statuses(order) == [end or "open"]
    await agree(outside, order)


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("token", ["tok_disputed", "tok_disputed_won", "tok_disputed_lost"])
async def test_a_charge_whose_token_asks_for_it(outside: Outside, token: str) -> None:
    order = await paid(outside, token)
    await outside.control("time", pass_s=60)
    await becomes(order, {"tok_disputed": "open", "tok_disputed_won": "won", "tok_disputed_lost": "lost"}[token])
    await agree(outside, order)


async def test_a_wrong_amount_is_kept_and_the_book_tells_the_right_one(outside: Outside) -> None:
    order = await paid(outside)
    dispute_id = await dispute(outside, order, behaviour="wrong_amount", amount=5_000)
    await becomes(order, "open")
    assert (await listed(order))[0].amount.amount == 4_999, "it might have been so"
    await reconciling.reconcile_books()
    assert [one.reason for one in await discrepancies(order)] == ["4999 EUR were taken back, 5000 EUR told of"]
    await decide(outside, dispute_id, True)


@pytest.mark.usefixtures("no_margin")
async def test_a_refund_under_way_that_the_gateway_refuses_then(outside: Outside) -> None:
    """It was promised first, so that the shop bears the chargeback, until the refund has failed: then the sellers do."""
    order = await paid(outside)
    await outside.control(next="timeout_not_charged", on="refund")
    assert (await give_back(order, 4_000)).status == "pending"
    await dispute(outside, order)
    await becomes(order, "open")
    assert ((await listed(order))[0].loss.amount, await expense()) == (4_000, -4_000 - FEE)
    await settle()
    assert ((await listed(order))[0].loss.amount, await expense()) == (0, -FEE)
    assert (await look_up(order)).refunded.amount == 10_000
    assert [event["counted"]["amount"] for event in await announced(ChargebackCovered)] == [4_000]
    [refused] = await discrepancies(order)
    assert refused.reason == "the gateway refuses to give 4000 EUR back: charge_disputed"
    assert await outside.book_of(order.id) == [("capture", 10_000)]
    assert await balance(ledger.seller_balance(await seller_of(order), "EUR")) == -9_000


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("given_up", [True, False])
@pytest.mark.parametrize(("taken", "won"), [(10_000, True), (10_000, False), (4_000, True), (4_000, False)])
async def test_a_refund_of_cancelled_goods_that_the_gateway_refuses_then(outside: Outside, given_up: bool, taken: int, won: bool) -> None:
    """The money of goods that nobody will earn goes to the bank in place of the buyer, and no seller gives anything.

    What the bank has left of an order that is given up goes back at once.
    """
    order = await paid(outside)
    seller_id = await seller_of(order)
    await outside.control(next="timeout_not_charged", on="refund")
    if given_up:
        assert (await close(order)).status == "captured"
    else:
        everything = PaymentPart(seller_id, *(Money(amount, "EUR") for amount in (10_000, 0, 1_000, 0)))
        assert (await give(order, "canceled", everything)).status == "pending"
    dispute_id = await dispute(outside, order, amount=taken)
    await becomes(order, "open")
    await settle()
    if given_up:
        await until(partial(is_back, order))
    back = 10_000 if given_up else taken
    assert ((await listed(order))[0].loss.amount, (await look_up(order)).refunded.amount) == (0, back)
    assert await balance(ledger.order_funds("EUR")) == 10_000 - back
    assert await balance(ledger.seller_balance(seller_id, "EUR")) == 0
    await decide(outside, dispute_id, won)
    await becomes(order, "won" if won else "lost")
    if given_up and won:
        await until(partial(is_back, order))
        assert await balance(ledger.order_funds("EUR")) == await balance(ledger.seller_balance(seller_id, "EUR")) == 0
    await check_books()


async def is_back(order: Payment) -> bool:
    return (await look_up(order)).refunded.amount == 10_000


async def seller_of(order: Payment) -> UUID:
    return UUID(str(await db.value("SELECT parts -> 0 ->> 'seller_id' FROM payments.payment WHERE id = $1", order.id)))


@pytest.mark.usefixtures("no_margin")
@pytest.mark.parametrize("won", [True, False])
async def test_the_classic_double_loss(outside: Outside, won: bool) -> None:
    order = await paid(outside)
    assert (await give_back(order)).status == "succeeded"
    dispute_id = await dispute(outside, order)
    await becomes(order, "open")
    assert ((await listed(order))[0].loss.amount, await expense()) == (10_000, -10_000 - FEE)
    assert (await look_up(order)).refunded.amount == 10_000
    await agree(outside, order)
    await decide(outside, dispute_id, won)
    await becomes(order, "won" if won else "lost")
    assert await expense() == -FEE - (0 if won else 10_000)
    await agree(outside, order)


async def test_refunds_and_disputes_at_once(outside: Outside) -> None:
    """Whoever comes first: the buyer gets no more of us than came, and what a bank took besides is a loss that stands somewhere."""
    orders = [await paid(outside) for _ in range(32)]
    for order in orders:
        refund, _ = await asyncio.gather(give_back(order, 6_000), dispute(outside, order, amount=7_000), return_exceptions=True)
        assert isinstance(refund, (Refund, RefundTooLarge))
    for order in orders:
        await becomes(order, "open")
    await settle()
    for order in orders:
        [found], now = await listed(order), await look_up(order)
        went = sum(amount for kind, amount in await outside.book_of(order.id) if kind == "refund")
        assert went in (0, 6_000)
        assert now.refunded.amount + found.loss.amount == went + 7_000
        assert now.refunded.amount <= 10_000
        assert [one.reason for one in await discrepancies(order)] in ([], ["the gateway refuses to give 6000 EUR back: charge_disputed"])
    await check_books()


@pytest.mark.usefixtures("no_margin")
async def test_what_was_written_down_by_hand_is_the_same_when_the_gateway_tells(outside: Outside) -> None:
    order = await paid(outside)
    await outside.control(hold_webhooks=True)
    dispute_id = await dispute(outside, order)
    with asking(Caller(SYSTEM)):
        about = payments.RecordChargeback(order.id, order.amount, "fraudulent", external_id=dispute_id)
        await payments.record_chargeback(about)
    await outside.control(hold_webhooks=False)
    await heard(order, 2)
    assert await statuses(order) == ["open"]
    await agree(outside, order)


@pytest.mark.usefixtures("no_margin")
async def test_what_the_gateway_knows_nothing_of_is_missing_in_its_book(outside: Outside) -> None:
    order = await paid(outside)
    with asking(Caller(SYSTEM)):
        made = await payments.record_chargeback(payments.RecordChargeback(order.id, order.amount, "fraudulent"))
        await reconciling.reconcile_books()
        await payments.close_chargeback(made.id, True)
    # A book that is read in the same millisecond says nothing of it.
    await asyncio.sleep(0.01)
    await reconciling.reconcile_books()
    found = {(one.external_id, one.reason) for one in await discrepancies(order)}
    missing = "not in the gateway's book"
    assert found == {(f"chargeback:{made.id}", missing), (f"chargeback:{made.id}:undone", missing)}
