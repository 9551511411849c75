"""What a bank says becomes true in our books once, in whatever order it says it; what cannot be true is kept for a person."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Literal
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.payments.bank import SHORT, ask_again, assert_in_order, balance_of, euros, make_seller, payouts_of, read_statement, run_jobs
from tests.payments.money import announced, balance
from tests.payments.outside import Outside, until

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Forbidden
from souk.kit.ids import new_id
from souk.kit.rules import check_rules
from souk.payments import ledger, paying_out, payouts
from souk.payments.banks import find_bank
from souk.payments.banks.bank import TransferNews
from souk.payments.database import db
from souk.payments.events import PayoutFailed, PayoutSent
from souk.payments.payout_types import Payout, PayoutEnded, PayoutNotFound, PayoutOutcome, SettlePayout
from souk.payments.settings import settings

Status = Literal["accepted", "paid", "refused", "returned", "unknown"]


@pytest.fixture(autouse=True)
async def books_in_order(shop: Shop) -> AsyncIterator[None]:
    """Whatever a test did, every rule of payments holds after it."""
    yield
    await assert_in_order()


async def discrepancies_of(payout_id: UUID) -> list[tuple[str, str]]:
    rows = await db.pool.fetch(
        "SELECT source, reason FROM payments.discrepancy WHERE payment_id = $1 AND closed_at IS NULL ORDER BY id", payout_id
    )
    return [(row["source"], row["reason"]) for row in rows]


@pytest.mark.parametrize("habit", ["duplicate_webhook", "webhook_before_response", "forged_signature"])
async def test_whatever_its_webhooks_do_a_payout_is_booked_once(bank: Outside, habit: str) -> None:
    await bank.control(next=habit, on="transfer")
    seller = await make_seller(5_000)
    await run_jobs()
    await asyncio.sleep(0.3)
    [payout] = await payouts_of(seller)
    assert (payout.status, await balance_of(seller)) == ("paid", 0)
    assert (len(await announced(PayoutSent)), await discrepancies_of(payout.id)) == (1, [])


async def test_a_webhook_that_names_another_currency_is_for_a_person_to_look_at(bank: Outside) -> None:
    await bank.control(next="wrong_currency", on="transfer")
    seller = await make_seller(5_000)
    await run_jobs()
    [payout] = await payouts_of(seller)
    assert (payout.status, await balance_of(seller)) == ("paid", 0)

    async def is_kept() -> bool:
        return await discrepancies_of(payout.id) == [("webhook", "5000 EUR were to be sent, 5000 USD told of")]

    await until(is_kept)
    assert await balance(ledger.bank("sandbox_bank", "EUR")) == 5_000


async def test_news_of_its_return_may_come_before_those_of_its_payment(bank: Outside) -> None:
    await bank.control(next="out_of_order", on="transfer")
    seller = await make_seller(5_000)
    await run_jobs()

    async def is_back() -> bool:
        return await balance_of(seller) == 5_000

    await until(is_back)
    await asyncio.sleep(0.3)
    [payout] = await payouts_of(seller)
    assert (payout.status, payout.reason, await discrepancies_of(payout.id)) == ("failed", "account_not_found", [])


TOLD = ("accepted", "paid", "returned")
ORDERS = [*((*one, one[0]) for one in itertools.permutations(TOLD)), ("paid", "accepted", "paid")]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_news_come_twice_and_in_any_order(shop: Shop, order: tuple[Literal["accepted", "paid", "returned"], ...]) -> None:
    settings.replace(sandbox_bank_url="http://127.0.0.1:1", payout_change_delay_s=0.0)
    seller = await make_seller(5_000)
    await payouts.make_due_payouts()
    [payout] = await payouts_of(seller)
    bank = find_bank()
    assert bank is not None
    for place, status in enumerate(order):
        news = TransferNews(payout.id, status, "tr_1", euros(5_000), None, "webhook", f"evt_{place}")
        assert await paying_out.take_news(bank, (news,)) == 0
        assert (await payouts_of(seller))[0].status == stands_after(order[: place + 1])
    assert await balance_of(seller) == (5_000 if "returned" in order else 0)
    assert await balance(ledger.payouts_due("EUR")) == 0
    assert len(await announced(PayoutSent)) == 1
    assert len(await announced(PayoutFailed)) == ("returned" in order)


def stands_after(told: tuple[str, ...]) -> str:
    """Whatever was told last, the furthest of it is true."""
    furthest = max(told, key=TOLD.index)
    return {"returned": "failed"}.get(furthest, furthest)


@pytest.mark.parametrize(
    ("before", "told", "reason"),
    [
        ("paid", "refused", "refused at the bank, and paid as far as we know"),
        ("refused", "paid", "paid at the bank, and refused as far as we know"),
        ("refused", "returned", "returned at the bank, and refused as far as we know"),
        ("accepted", "unknown", "the bank does not know of a transfer that it had accepted"),
    ],
)
async def test_what_cannot_be_is_kept_for_a_person(shop: Shop, before: Status, told: Status, reason: str) -> None:
    settings.replace(sandbox_bank_url="http://127.0.0.1:1", payout_change_delay_s=0.0)
    seller = await make_seller(5_000)
    await payouts.make_due_payouts()
    [payout], bank = await payouts_of(seller), find_bank()
    assert bank is not None
    await paying_out.take_news(bank, (TransferNews(payout.id, before, "tr_1", euros(5_000)),))
    was = await payouts_of(seller), await balance_of(seller)
    for _ in range(2):
        assert await paying_out.take_news(bank, (TransferNews(payout.id, told, "tr_1", euros(5_000)),)) == 1
    assert (await payouts_of(seller), await balance_of(seller)) == was
    assert await discrepancies_of(payout.id) == [("answer", reason)]


async def test_another_amount_is_for_a_person_to_look_at(bank: Outside) -> None:
    await bank.control(hold_webhooks=True)
    seller = await make_seller(5_000, SHORT)
    await run_jobs()
    await read_statement()
    [payout] = await payouts_of(seller)
    reason = "5000 EUR were to be sent, 4999 EUR told of"
    assert payout.status == "sending"
    assert await discrepancies_of(payout.id) == [("answer", reason), ("book", reason)]


async def settle(payout: Payout, outcome: PayoutOutcome, key: str | None = None) -> Payout:
    with asking(Caller(SYSTEM, idempotency_key=key)):
        return await payments.settle_payout(payout.seller_id, payout.id, SettlePayout(outcome, "looked at the bank"))


async def test_what_the_bank_contradicts_is_ended_by_an_admin(bank: Outside) -> None:
    await bank.control(hold_webhooks=True)
    seller = await make_seller(5_000, SHORT)
    await run_jobs()
    await read_statement()
    [payout] = await payouts_of(seller)
    with asked_by("seller", sells_for=(seller,)), pytest.raises(Forbidden):
        await payments.settle_payout(seller, payout.id, SettlePayout("paid", "mine"))
    first, again = [await settle(payout, "paid", "the same") for _ in range(2)]
    assert first == again == (await payouts_of(seller))[0]
    assert (first.status, first.settle_reason) == ("paid", "looked at the bank")
    assert (await balance(ledger.payouts_due("EUR")), await balance_of(seller)) == (0, 0)
    assert len(await announced(PayoutSent)) == 1
    with pytest.raises(PayoutEnded):
        await settle(payout, "failed")
    await ask_again()
    await read_statement()
    with asking(Caller(SYSTEM)):
        for one in await payments.list_discrepancies(10):
            await payments.close_discrepancy(one.id, "a cent of fees")
        assert [verdict for verdict in await check_rules("payments", settled=True) if verdict.broken] == []


@pytest.mark.parametrize(("outcome", "status", "left"), [("failed", "failed", 5_000), ("returned", "failed", 5_000), ("paid", "paid", 0)])
async def test_an_admin_says_what_became_of_the_money(shop: Shop, outcome: PayoutOutcome, status: str, left: int) -> None:
    settings.replace(sandbox_bank_url="http://127.0.0.1:1", payout_change_delay_s=0.0)
    seller = await make_seller(5_000)
    await payouts.make_due_payouts()
    [payout] = await payouts_of(seller)
    settled = await settle(payout, outcome)
    assert (settled.status, await balance_of(seller)) == (status, left)
    assert (await balance(ledger.payouts_due("EUR")), await balance(ledger.bank("sandbox_bank", "EUR"))) == (0, 5_000 - left)
    with asking(Caller(SYSTEM)), pytest.raises(PayoutNotFound):
        await payments.settle_payout(new_id(), payout.id, SettlePayout("paid", "of another seller"))
