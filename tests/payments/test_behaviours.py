"""The twelve habits of a card processor, and the kill of its process: whatever it does, our books end up as its book."""

import asyncio

import pytest
from tests.payments.conftest import use_sandbox
from tests.payments.money import announced, balance, check_books, close, give_back, look_up, open_order, pay
from tests.payments.outside import Outside, until

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger, reconciling
from souk.payments.database import db
from souk.payments.events import PaymentCaptured, PaymentRefunded
from souk.payments.settings import settings
from souk.payments.types import Discrepancy, Payment

CAPTURED, GIVEN_BACK = ("capture", 10_000), ("refund", 10_000)


async def settle() -> None:
    """What the jobs do by the clock, done now."""
    await db.pool.execute("UPDATE payments.attempt SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.settle_open_attempts()
    await db.pool.execute("UPDATE payments.refund SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.retry_refunds()
    await reconciling.reconcile_books()


async def status_of(order: Payment) -> str:
    return (await look_up(order)).status


async def heard(order: Payment, at_least: int = 1, status: str = "applied") -> None:
    """Wait until so many webhooks of a payment were taken."""

    async def came() -> bool:
        sql = "SELECT count(*) FROM payments.gateway_event WHERE payment_id = $1 AND status = $2"
        return int(await db.value(sql, order.id, status)) >= at_least

    await until(came)


async def discrepancies(order: Payment) -> list[Discrepancy]:
    with asking(Caller(SYSTEM)):
        return [one for one in await payments.list_discrepancies(100) if one.payment_id == order.id]


async def agree(outside: Outside, order: Payment) -> None:
    """Our books and theirs say the same of this payment, and say so after everything has been compared again."""
    for _ in range(2):
        ours = await look_up(order)
        theirs = await outside.book_of(order.id)
        came = sum(amount for kind, amount in theirs if kind == "capture")
        went = sum(amount for kind, amount in theirs if kind == "refund")
        surplus = int(
            await db.value("SELECT coalesce(sum(amount), 0) FROM payments.attempt WHERE payment_id = $1 AND status = 'surplus'", order.id)
        )
        assert (ours.captured.amount + surplus, ours.refunded.amount + surplus) == (came, went)
        await settle()
    await check_books()


async def test_ok(outside: Outside) -> None:
    order = await open_order()
    assert (await pay(order)).status == "captured"
    await heard(order)
    assert await outside.book_of(order.id) == [CAPTURED]
    assert len(await announced(PaymentCaptured)) == 1
    assert await balance(ledger.clearing("sandbox", "EUR")) == -10_000
    await agree(outside, order)


async def test_declined(outside: Outside) -> None:
    order = await open_order()
    declined = await pay(order, "tok_declined")
    assert declined.status == "declined"
    assert declined.decline_code in ("insufficient_funds", "card_declined", "expired_card", "do_not_honor")
    assert (await pay(order, "tok_nonsense")).decline_code == "token_unknown"
    assert (await pay(order)).status == "captured"
    await agree(outside, order)


@pytest.mark.parametrize("token", ["tok_500_charged", "tok_timeout_charged"])
async def test_charged_although_it_did_not_say_so(outside: Outside, token: str) -> None:
    order, attempt_id = await open_order(), new_id()
    await outside.control(hold_webhooks=True)
    assert (await pay(order, token, attempt_id=attempt_id)).status == "pending"
    assert (await pay(order, token, attempt_id=attempt_id)).status == "captured", "asked again it says what it did"
    assert await outside.book_of(order.id) == [CAPTURED]
    await agree(outside, order)


@pytest.mark.parametrize("token", ["tok_500_charged", "tok_timeout_charged"])
async def test_an_unknown_outcome_is_settled_by_the_webhook(outside: Outside, token: str) -> None:
    order = await open_order()
    assert (await pay(order, token)).status in ("pending", "captured")
    await heard(order)
    assert await status_of(order) == "captured"
    assert len(await announced(PaymentCaptured)) == 1
    await agree(outside, order)


@pytest.mark.parametrize("token", ["tok_500_charged", "tok_timeout_charged"])
@pytest.mark.parametrize("by", ["job", "book"])
async def test_an_unknown_outcome_is_settled_without_a_webhook(outside: Outside, token: str, by: str) -> None:
    order = await open_order()
    await outside.control(hold_webhooks=True)
    assert (await pay(order, token)).status == "pending"
    if by == "job":
        await db.pool.execute("UPDATE payments.attempt SET check_at = now()")
        assert await reconciling.settle_open_attempts() == 1
    else:
        await reconciling.reconcile_books()
    assert await status_of(order) == "captured"
    await agree(outside, order)


async def test_nothing_was_charged_although_nobody_said_so(outside: Outside) -> None:
    order = await open_order()
    assert (await pay(order, "tok_timeout_not_charged")).status == "pending"
    with pytest.raises(payments.AttemptPending):
        await pay(order)
    await settle()
    assert ((await look_up(order)).status, (await look_up(order)).decline_code) == ("declined", "not_charged")
    assert (await pay(order)).status == "captured"
    assert await outside.book_of(order.id) == [CAPTURED]
    await agree(outside, order)


async def test_an_attempt_that_never_reached_the_gateway_is_made_when_it_is_asked_for_again(outside: Outside) -> None:
    order, attempt_id = await open_order(), new_id()
    await outside.control(next="timeout_not_charged", on="charge")
    assert (await pay(order, attempt_id=attempt_id)).status == "pending"
    await settle()
    assert (await look_up(order)).decline_code == "not_charged"
    assert (await pay(order, attempt_id=attempt_id)).status == "captured"
    assert await outside.book_of(order.id) == [CAPTURED]
    await agree(outside, order)


async def test_an_attempt_that_never_reached_the_gateway_is_not_made_for_a_closed_order(outside: Outside) -> None:
    order, attempt_id = await open_order(), new_id()
    await outside.control(next="timeout_not_charged", on="charge")
    await pay(order, attempt_id=attempt_id)
    await settle()
    await close(order)
    assert (await pay(order, attempt_id=attempt_id)).status == "voided"
    assert await outside.book_of(order.id) == []


async def test_the_same_webhook_twice(outside: Outside) -> None:
    order = await open_order()
    await pay(order, "tok_duplicate_webhook")

    async def delivered_twice() -> bool:
        after, found = 0, []
        while after is not None:
            page = await outside.ask("GET", f"/v1/deliveries?after={after}&limit=1000")
            found += [one for one in page["items"] if one["status"] == "delivered"]
            after = page["next"]
        [sale] = await db.pool.fetch("SELECT gateway_id FROM payments.attempt")
        return len([one for one in found if one["payment_id"] == sale["gateway_id"]]) == 2

    await until(delivered_twice)
    assert await db.value("SELECT count(*) FROM payments.gateway_event WHERE payment_id = $1", order.id) == 1
    assert len(await announced(PaymentCaptured)) == 1
    await agree(outside, order)


async def test_the_webhook_before_the_answer(outside: Outside) -> None:
    order = await open_order()
    assert (await pay(order, "tok_webhook_before_response")).status == "captured"
    await heard(order)
    assert len(await announced(PaymentCaptured)) == 1
    await agree(outside, order)


async def test_a_late_webhook_of_a_closed_order(outside: Outside) -> None:
    order = await open_order()
    await outside.control(next="timeout_charged", on="charge", hold_webhooks=True)
    assert (await pay(order)).status == "pending"
    assert (await close(order)).status == "pending", "nobody knows yet whether there is money to give back"
    await outside.control(hold_webhooks=False)
    await heard(order)
    await until(lambda: refunded(order))
    assert await outside.book_of(order.id) == [CAPTURED, GIVEN_BACK]
    assert await announced(PaymentCaptured) == []
    assert len(await announced(PaymentRefunded)) == 1
    assert await balance(ledger.clearing("sandbox", "EUR")) == 0
    await agree(outside, order)


async def refunded(order: Payment) -> bool:
    return await status_of(order) == "refunded"


async def test_the_refund_is_told_before_the_capture(outside: Outside) -> None:
    order = await open_order()
    await outside.control(next="timeout_charged", on="charge", hold_webhooks=True)
    await pay(order, "tok_out_of_order")
    await reconciling.reconcile_books()
    assert (await give_back(order, 4_000)).status == "succeeded"
    await outside.control(hold_webhooks=False)
    await heard(order, at_least=2)
    assert await status_of(order) == "partially_refunded"
    assert len(await announced(PaymentCaptured)) == len(await announced(PaymentRefunded)) == 1
    await agree(outside, order)


@pytest.mark.parametrize("token", ["tok_wrong_amount", "tok_wrong_currency"])
async def test_a_webhook_with_another_amount_or_currency(outside: Outside, token: str) -> None:
    order = await open_order()
    await outside.control(next="timeout_charged", on="charge")
    await outside.control(hold_webhooks=True)
    assert (await pay(order)).status == "pending"
    lied = await open_order()
    await pay(lied, token)
    await outside.control(hold_webhooks=False)
    await heard(lied, status="refused")
    [kept] = await discrepancies(lied)
    assert (kept.source, kept.gateway) == ("webhook", "sandbox")
    assert "10000 EUR were asked for" in kept.reason
    assert (await look_up(lied)).captured == Money(10_000, "EUR")
    await agree(outside, lied)
    await agree(outside, order)


async def test_a_wrong_webhook_alone_captures_nothing(outside: Outside) -> None:
    order = await open_order()
    await outside.control(down=True)
    attempt = await pay(order)
    assert attempt.status == "pending"
    await outside.control(down=False)
    [row] = await db.pool.fetch("SELECT id FROM payments.attempt")
    sale = {"amount": 1, "currency": "EUR", "token": "tok_visa", "reference": f"{order.id}.{row['id']}"}
    await outside.ask("POST", "/v1/charges", sale)
    await heard(order, status="refused")
    assert await status_of(order) == "pending"
    assert await announced(PaymentCaptured) == []


async def test_a_forged_webhook(outside: Outside) -> None:
    order = await open_order()
    await pay(order, "tok_forged_signature")
    await heard(order)

    async def given_up() -> bool:
        page = await outside.ask("GET", "/v1/deliveries?limit=1000")
        [sale] = await db.pool.fetch("SELECT gateway_id FROM payments.attempt")
        told = [one for one in page["items"] if one["payment_id"] == sale["gateway_id"] and one["event_type"].endswith("refunded")]
        return [(one["status"], one["last_answer"]) for one in told] == [("given_up", "401")]

    await until(given_up)
    assert await status_of(order) == "captured"
    await agree(outside, order)


async def test_two_attempts_that_both_take_money(outside: Outside) -> None:
    order = await open_order()
    asked = await pay(order, "tok_requires_action")
    assert (asked.status, asked.next_action is not None) == ("requires_action", True)
    assert (await pay(order)).status == "captured"
    # The question is withdrawn; this buyer was quicker than that.
    await db.pool.execute("UPDATE payments.attempt SET status = 'pending', check_at = now() WHERE status = 'declined'")
    [first, _] = await db.pool.fetch("SELECT id FROM payments.attempt ORDER BY created_at")
    sale = {"amount": 10_000, "currency": "EUR", "token": "tok_visa", "reference": f"{order.id}.{first['id']}"}
    await outside.ask("POST", "/v1/charges", sale)
    await reconciling.reconcile_books()

    async def gone() -> bool:
        return await outside.book_of(order.id) == [CAPTURED, CAPTURED, GIVEN_BACK]

    await until(gone)
    await settle()
    ours = await look_up(order)
    assert (ours.status, ours.captured.amount, ours.refunded.amount) == ("captured", 10_000, 0)
    assert len(await announced(PaymentCaptured)) == 1
    await agree(outside, order)


async def test_a_refund_whose_answer_is_lost_is_made_once(outside: Outside) -> None:
    order = await open_order()
    await pay(order)
    await outside.control(next="timeout_charged", on="refund", hold_webhooks=True)
    hanging = await give_back(order, 6_000)
    assert hanging.status == "pending"
    assert (await look_up(order)).refunded.amount == 0
    with pytest.raises(payments.RefundTooLarge):
        await give_back(order, 6_000)
    await settle()
    assert (await look_up(order)).refunded.amount == 6_000
    assert await outside.book_of(order.id) == [CAPTURED, ("refund", 6_000)]
    await agree(outside, order)


async def test_a_refund_that_the_bank_refuses(outside: Outside) -> None:
    order = await open_order(user_id=new_id())
    await pay(order)
    await outside.control(next="declined", on="refund")
    failed = await give_back(order, 6_000)
    assert (failed.status, failed.failure_code) == ("failed", "refund_declined")
    assert [one.reason for one in await discrepancies(order)] == ["the gateway refuses to give 6000 EUR back: refund_declined"]
    assert (await give_back(order, 10_000, to="wallet")).status == "succeeded"
    assert (await status_of(order)) == "refunded"


async def test_a_refund_that_somebody_made_over_there(outside: Outside) -> None:
    order = await open_order()
    await pay(order)
    [sale] = await db.pool.fetch("SELECT gateway_id FROM payments.attempt")
    await outside.ask("POST", f"/v1/charges/{sale['gateway_id']}/refunds", {"amount": 2_500})
    await reconciling.reconcile_books()
    ours = await look_up(order)
    assert (ours.status, ours.refunded.amount) == ("partially_refunded", 2_500)
    await agree(outside, order)
    await db.pool.execute("UPDATE payments.book_position SET position = (position::bigint - 3)::text")
    assert await reconciling.reconcile_books() > 0
    assert len(await announced(PaymentRefunded)) == 1, "read once more, after a crash, it is the same refund"
    await agree(outside, order)


async def test_an_entry_of_the_book_that_is_nobodys(outside: Outside) -> None:
    stranger = f"{new_id()}.{new_id()}"
    await outside.ask("POST", "/v1/charges", {"amount": 700, "currency": "EUR", "token": "tok_visa", "reference": stranger})
    await outside.ask("POST", "/v1/charges", {"amount": 800, "currency": "EUR", "token": "tok_visa", "reference": "till 4"})
    await reconciling.reconcile_books()
    await reconciling.reconcile_books()
    with asking(Caller(SYSTEM)):
        listed = [one for one in await payments.list_discrepancies(100) if one.source == "book"]
    assert sorted(one.reason for one in listed) == ["no attempt of ours", "no payment of ours"]
    assert await balance(ledger.clearing("sandbox", "EUR")) == 0


async def test_thirty_two_twins_are_one_charge(outside: Outside) -> None:
    order, attempt_id = await open_order(), new_id()
    twins = await asyncio.gather(*(pay(order, attempt_id=attempt_id) for _ in range(32)))
    assert {one.status for one in twins} == {"captured"}
    assert await outside.book_of(order.id) == [CAPTURED]
    await agree(outside, order)


async def test_many_orders_with_every_habit_at_once(outside: Outside) -> None:
    # So many at once take their time, and only those whose habit it is are to take too long.
    settings.replace(gateway_connect_s=10.0, gateway_timeout_s=0.55)
    habits = ("visa", "declined", "500_charged", "timeout_charged", "timeout_not_charged", "duplicate_webhook", "webhook_before_response")
    orders = await asyncio.gather(*(open_order() for _ in range(70)))
    await asyncio.gather(*(pay(order, f"tok_{habits[number % 7]}") for number, order in enumerate(orders)))
    await settle()
    stands = [await status_of(order) for order in orders]
    assert stands == [("declined" if number % 7 in (1, 4) else "captured") for number in range(70)]
    for order in orders[:7]:
        await agree(outside, order)
    came = sum(stand == "captured" for stand in stands) * 10_000
    assert await balance(ledger.clearing("sandbox", "EUR")) == -came


async def test_a_shop_without_the_sandbox_does_not_offer_it(shop: Shop) -> None:
    assert [one.method for one in await payments.list_payment_methods()] == ["wallet"]


async def test_a_refund_is_asked_for_again_once_the_key_is_right(outside: Outside) -> None:
    order = await open_order()
    await pay(order)
    settings.replace(sandbox_api_key="of last year")
    assert (await give_back(order, 4_000)).status == "pending"
    use_sandbox(outside.sandbox)
    await settle()
    assert (await look_up(order)).refunded.amount == 4_000
    assert await outside.book_of(order.id) == [("capture", 10_000), ("refund", 4_000)]
