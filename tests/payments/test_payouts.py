"""Sellers are paid what they earned, once, whatever the bank does with it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.conftest import asked_by
from tests.payments.bank import (
    ACCEPTED,
    BROKEN_PAID,
    CLOSED,
    RETURNED,
    SILENT_LOST,
    SILENT_PAID,
    ask_again,
    assert_in_order,
    balance_of,
    earn,
    euros,
    make_due,
    make_seller,
    open_connections,
    pay_now,
    payouts_of,
    read_statement,
    run_jobs,
    set_account,
    standing,
    statement_of,
)
from tests.payments.money import announced, balance
from tests.payments.outside import Outside, until

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Forbidden, NotFound
from souk.kit.ids import new_id
from souk.kit.rules import check_rules
from souk.payments import ledger, paying_out, payouts
from souk.payments.database import db
from souk.payments.events import PayoutFailed, PayoutSent
from souk.payments.payout_types import NoBank, NoPayoutAccount, NothingToPayOut, PayOut, Payout, PayoutNotFound
from souk.payments.settings import settings


@pytest.fixture(autouse=True)
async def books_in_order(shop: Shop) -> AsyncIterator[None]:
    """Whatever a test did, every rule of payments holds after it."""
    yield
    await assert_in_order()


async def settle() -> None:
    """Let the clock run until the bank owes no answer."""

    async def is_settled() -> bool:
        await ask_again()
        return not await db.value("SELECT EXISTS (SELECT FROM payments.payout WHERE check_at IS NOT NULL)")

    await until(is_settled, 20)


async def test_a_seller_is_paid_what_they_earned(bank: Outside) -> None:
    seller = await make_seller(5_000)
    await run_jobs()
    [payout] = await payouts_of(seller)
    assert (payout.status, payout.amount, payout.number) == ("paid", euros(5_000), "****3000")
    assert payout.paid_at is not None
    assert await statement_of(bank, payout) == [("sent", 5_000)]
    assert await balance_of(seller) == 0
    assert await balance(ledger.bank("sandbox_bank", "EUR")) == 5_000
    told = [event for event in await announced(PayoutSent) if event["payout_id"] == str(payout.id)]
    assert told == [{"payout_id": str(payout.id), "seller_id": str(seller), "amount": {"amount": 5_000, "currency": "EUR"}}]
    assert await db.value("SELECT destination FROM payments.payout WHERE id = $1", payout.id) is None


async def test_once_a_day_and_from_the_minimum_on(bank: Outside) -> None:
    rich, poor = await make_seller(5_000), await make_seller(999)
    await run_jobs()
    await earn(rich, 7_000)
    await earn(poor, 1)
    await run_jobs()
    assert (await standing(rich), await standing(poor)) == ([("paid", 5_000, None)], [])
    await make_due()
    await run_jobs()
    assert await standing(rich) == [("paid", 5_000, None), ("paid", 7_000, None)]
    assert await standing(poor) == [("paid", 1_000, None)]


async def test_times_that_were_slept_through_are_made_up_for_once(bank: Outside) -> None:
    seller = await make_seller(5_000)
    await db.pool.execute(
        "UPDATE payments.payout_account SET payable_from = payable_from - interval '9 days', due_at = now() - interval '75 hours'"
    )
    await run_jobs()
    assert await standing(seller) == [("paid", 5_000, None)]
    hours = await db.value("SELECT extract(epoch FROM due_at - now()) / 3600 FROM payments.payout_account WHERE seller_id = $1", seller)
    assert 20.9 < float(hours) <= 21.0, "at the same time of the day as ever"


async def test_each_currency_goes_to_its_own_account(bank: Outside) -> None:
    seller = await make_seller(5_000)
    await earn(seller, 8_000, "USD")
    await earn(seller, 9_000, "GBP")
    await set_account(seller, "000123456789", "USD", "US")
    await run_jobs()
    assert {(one.amount.currency, one.amount.amount, one.number) for one in await payouts_of(seller)} == {
        ("EUR", 5_000, "****3000"),
        ("USD", 8_000, "****6789"),
    }
    assert await balance_of(seller, "GBP") == 9_000


async def test_what_a_seller_owes_is_kept_from_what_they_earn_next(bank: Outside) -> None:
    seller = await make_seller(5_000)
    await run_jobs()
    await earn(seller, -3_000)
    await make_due()
    await run_jobs()
    await earn(seller, 3_500)
    await make_due()
    await run_jobs()
    assert (await balance_of(seller), len(await payouts_of(seller))) == (500, 1)
    await earn(seller, 600)
    await make_due()
    await run_jobs()
    assert await standing(seller) == [("paid", 5_000, None), ("paid", 1_100, None)]


async def test_what_is_too_young_waits(bank: Outside) -> None:
    seller = await make_seller(5_000)
    settings.replace(payout_delay_s=3_600.0)
    await run_jobs()
    assert await payouts_of(seller) == []
    settings.replace(payout_delay_s=0.05)
    await asyncio.sleep(0.1)
    await make_due()
    await run_jobs()
    assert await standing(seller) == [("paid", 5_000, None)]


async def test_a_closed_account_gives_the_money_back_and_the_next_day_tries_again(bank: Outside) -> None:
    seller = await make_seller(5_000, CLOSED)
    await run_jobs()
    assert (await standing(seller), await balance_of(seller)) == ([("failed", 5_000, "account_closed")], 5_000)
    [failed] = await announced(PayoutFailed)
    assert (failed["seller_id"], failed["reason"]) == (str(seller), "account_closed")
    await set_account(seller)
    await make_due()
    settings.replace(payout_delay_s=3_600.0)  # what was earned long ago is not young because it came back
    await db.pool.execute("ALTER TABLE payments.transfer DISABLE TRIGGER append_only")
    await db.pool.execute("UPDATE payments.transfer SET id = '01900000-0000-7000-8000-000000000000' WHERE kind = 'earned'")
    await db.pool.execute("ALTER TABLE payments.transfer ENABLE TRIGGER append_only")
    await run_jobs()
    assert await standing(seller) == [("failed", 5_000, "account_closed"), ("paid", 5_000, None)]
    first, second = reversed(await payouts_of(seller))
    assert (await statement_of(bank, first), await statement_of(bank, second)) == ([], [("sent", 5_000)])


async def test_a_transfer_that_takes_its_time(bank: Outside) -> None:
    await bank.control(hold_webhooks=True)
    seller = await make_seller(5_000, ACCEPTED)
    await run_jobs()
    assert (await standing(seller), await balance_of(seller)) == ([("accepted", 5_000, None)], 0)
    assert await balance(ledger.payouts_due("EUR")) == 5_000
    assert await announced(PayoutSent) == []
    await settle()
    assert await standing(seller) == [("paid", 5_000, None)]


@pytest.mark.parametrize(("number", "first"), [(SILENT_PAID, "sending"), (SILENT_LOST, "sending"), (BROKEN_PAID, "sending")])
async def test_a_bank_that_says_nothing_is_asked_again_and_pays_once(bank: Outside, number: str, first: str) -> None:
    await bank.control(hold_webhooks=True)
    seller = await make_seller(5_000, number)
    await run_jobs()
    assert (await standing(seller), await balance_of(seller)) == ([(first, 5_000, None)], 0)
    await make_due()
    await payouts.make_due_payouts()
    assert len(await payouts_of(seller)) == 1, "what is on its way is in the balance no more"
    await settle()
    [payout] = await payouts_of(seller)
    assert (payout.status, await statement_of(bank, payout)) == ("paid", [("sent", 5_000)])


async def test_a_bank_that_is_not_there_is_asked_again(bank: Outside) -> None:
    seller = await make_seller(5_000)
    await bank.control(down=True)
    await run_jobs()
    settings.replace(sandbox_bank_url="http://127.0.0.1:1")
    await ask_again()
    assert await standing(seller) == [("sending", 5_000, None)]
    with asking(Caller(SYSTEM)):
        [owed] = [verdict for verdict in await check_rules("payments", settled=True) if verdict.id == "I6.open"]
    assert [finding.found["payout"] for finding in owed.findings] == [5_000]
    settings.replace(sandbox_bank_url=bank.sandbox.url)
    await bank.control(down=False)
    await settle()
    assert await standing(seller) == [("paid", 5_000, None)]


async def test_a_key_that_the_bank_does_not_take_fails_no_payout(bank: Outside) -> None:
    seller = await make_seller(5_000)
    key = settings.now.sandbox_api_key
    settings.replace(sandbox_api_key="of somebody else")
    await run_jobs()
    assert await standing(seller) == [("sending", 5_000, None)]
    settings.replace(sandbox_api_key=key)
    await settle()
    assert await standing(seller) == [("paid", 5_000, None)]


@pytest.mark.parametrize("told_by", ["webhook", "statement"])
async def test_money_that_comes_back_days_later(bank: Outside, told_by: str) -> None:
    if told_by == "statement":
        await bank.control(hold_webhooks=True)
    seller = await make_seller(5_000, RETURNED)
    await run_jobs()
    assert await standing(seller) == [("paid", 5_000, None)]

    async def is_back() -> bool:
        if told_by == "statement":
            await read_statement()
        return await balance_of(seller) == 5_000

    await until(is_back)
    [payout] = await payouts_of(seller)
    assert payout.status == "failed"
    assert payout.reason == ("account_not_found" if told_by == "webhook" else "returned")
    assert payout.paid_at is not None
    assert await balance(ledger.bank("sandbox_bank", "EUR")) == 0
    assert [event["seller_id"] for event in await announced(PayoutFailed)] == [str(seller)]


async def test_two_schedulers_and_two_senders_at_once_pay_each_once(bank: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts, "PAGE", 5)
    monkeypatch.setattr(paying_out, "PAGE", 5)
    sellers = [await make_seller(0) for _ in range(24)]
    await open_connections()
    for turn in range(1, 4):
        for number, seller in enumerate(sellers):
            await earn(seller, 5_000 + number)
        await make_due()
        made = await asyncio.gather(*(payouts.make_due_payouts() for _ in range(6)))
        asked = await asyncio.gather(*(paying_out.send_due_payouts() for _ in range(6)))
        assert (sum(made), sum(asked)) == (24, 24)
        for number, seller in enumerate(sellers):
            assert await standing(seller) == [("paid", 5_000 + number, None)] * turn
    for seller in sellers[:3]:
        for payout in await payouts_of(seller):
            assert await statement_of(bank, payout) == [("sent", payout.amount.amount)]


async def test_32_admins_and_the_clock_pay_a_seller_once(bank: Outside) -> None:
    seller = await make_seller(0)
    await open_connections()

    async def pay() -> Payout | NothingToPayOut:
        try:
            return await pay_now(seller)
        except NothingToPayOut as nothing:
            return nothing

    # Again and again: who asks for the first time waits for its connection to learn the statements, and comes too late to race.
    for turn in range(1, 7):
        await earn(seller, 5_000)
        await make_due()
        answers = await asyncio.gather(*(pay() for _ in range(16)), payouts.make_due_payouts(), *(pay() for _ in range(16)))
        made = sum(one if isinstance(one, int) else isinstance(one, Payout) for one in answers)
        assert (made, await balance_of(seller), len(await payouts_of(seller))) == (1, 0, turn)


async def test_an_admin_pays_now_below_the_minimum(bank: Outside) -> None:
    seller = new_id()
    with asked_by("seller", sells_for=(seller,)), pytest.raises(Forbidden):
        await payments.pay_seller_out(seller, PayOut("EUR"))
    with pytest.raises(NoPayoutAccount):
        await pay_now(seller)
    await set_account(seller)
    with pytest.raises(NothingToPayOut):
        await pay_now(seller)
    await earn(seller, 7)
    once = Caller(SYSTEM, idempotency_key="pay the seven")
    with asking(once):
        first = await payments.pay_seller_out(seller, PayOut("EUR"))
        await earn(seller, 9)
        again = await payments.pay_seller_out(seller, PayOut("EUR"))
    assert (again.id, again.amount, await balance_of(seller)) == (first.id, euros(7), 9)
    await paying_out.send_due_payouts()
    assert await standing(seller) == [("paid", 7, None)]


async def test_a_shop_without_a_bank_pays_nobody(shop: Shop) -> None:
    settings.replace(payout_change_delay_s=0.0)
    seller = await make_seller(5_000)
    await run_jobs()
    with pytest.raises(NoBank):
        await pay_now(seller)
    assert (await payouts_of(seller), await balance_of(seller)) == ([], 5_000)
    with asked_by("seller", sells_for=(seller,)):
        balances = await payments.get_seller_balances(seller)
    assert (balances.payouts, balances.items[0].next_payout_at) == (False, None)


async def test_the_balance_says_what_is_under_way_and_when_more_comes(bank: Outside) -> None:
    await bank.control(hold_webhooks=True)
    seller = await make_seller(5_000, ACCEPTED)
    await run_jobs()
    await earn(seller, 700)
    with asked_by("seller", sells_for=(seller,)):
        balances = await payments.get_seller_balances(seller)
    [one] = balances.items
    assert (balances.payouts, one.balance, one.under_way) == (True, euros(700), euros(5_000))
    assert one.next_payout_at is not None


async def test_only_the_team_and_admins_see_it(bank: Outside) -> None:
    seller, stranger = await make_seller(5_000), new_id()
    await run_jobs()
    [payout] = await payouts_of(seller)
    for who in (asked_by("seller", sells_for=(stranger,)), asked_by("buyer")):
        with who:
            for refused in (
                payments.get_payout(seller, payout.id),
                payments.list_payouts(seller, 10),
                payments.get_seller_balances(seller),
            ):
                with pytest.raises(NotFound):
                    await refused
    with asked_by("seller", sells_for=(stranger,)), pytest.raises(PayoutNotFound):
        await payments.get_payout(stranger, payout.id)
    with asked_by("admin"):
        assert await payments.get_payout(seller, payout.id) == payout
