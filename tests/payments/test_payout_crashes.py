"""The shop's process, or the bank's, is killed in the middle of payouts: nobody is paid twice, and nobody is forgotten."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from tests.journeys.processes import Process
from tests.payments.bank import ask_again, assert_in_order, balance_of, make_seller, payouts_of, read_statement, run_jobs
from tests.payments.money import announced, balance
from tests.payments.outside import Outside
from tests.ports import find_free_port
from tests.sandbox.conftest import API_KEY, SECRET, Sandbox
from tests.waiting import until

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.payments import bank_statements, ledger, payouts
from souk.payments.database import db
from souk.payments.events import PayoutSent
from souk.payments.settings import settings

COUNT = "SELECT count(*) FROM payments.payout WHERE status = ANY($1)"
OPEN = ["sending", "accepted"]


@pytest.fixture
async def bank(own_sandbox: Callable[..., Sandbox]) -> AsyncIterator[Outside]:
    """A bank of the test's own, whose webhooks get lost."""
    sandbox = own_sandbox(bank_webhook_url="http://127.0.0.1:1/", timeout_s=3.0)
    settings.replace(sandbox_bank_url=sandbox.url, payout_change_delay_s=0.0)
    async with aiohttp.ClientSession() as session:
        yield Outside(sandbox, session)


@pytest.fixture
def program(dsn: str, tmp_path: Path, bank: Outside) -> Iterator[Process]:
    """The whole shop as a process on this test's database; it pays by the bank of the test."""
    port = find_free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_")} | {
        "DATABASE_URL": dsn,
        "SOUK_HOME": str(tmp_path / "home"),
        "SOUK_PAYMENTS_SANDBOX_BANK_URL": bank.sandbox.url,
        "SOUK_PAYMENTS_SANDBOX_API_KEY": API_KEY,
        "SOUK_PAYMENTS_SANDBOX_WEBHOOK_SECRETS": SECRET,
        "SOUK_PAYMENTS_GATEWAY_CONNECT_S": "0.5",
        "SOUK_PAYMENTS_GATEWAY_TIMEOUT_S": "1",
        "SOUK_PAYMENTS_SETTLE_AFTER_S": "1",
        "SOUK_PAYMENTS_PAYOUT_CHANGE_DELAY_S": "0",
    }
    (tmp_path / "home").mkdir()
    log, arguments = tmp_path / "shop.log", ("serve", "all", "--port", str(port))
    process = Process("shop", log, arguments, environment, f"http://127.0.0.1:{port}")
    yield process
    if process.runs:
        process.kill()


async def sent_by(bank: Outside) -> list[tuple[str, int]]:
    """Every line of the bank's statement: for which payout, and how much."""
    lines = (await bank.ask("GET", "/v1/statement?limit=1000"))["items"]
    assert {line["kind"] for line in lines} <= {"sent"}
    return [(line["reference"], line["amount"]) for line in lines]


async def run_until(program: Process, happened: Callable[[], Awaitable[bool]]) -> None:
    """Let the shop work until something has happened, and pull the plug."""
    program.start()
    await until(happened, 40)
    program.kill()


async def assert_paid_once(bank: Outside, sellers: dict[UUID, int]) -> None:
    """Each seller has one payout of all that they earned, the bank sent it once, and all books say so."""
    paid = {}
    for seller, earned in sellers.items():
        [payout] = await payouts_of(seller)
        assert (payout.status, payout.amount.amount, await balance_of(seller)) == ("paid", earned, 0)
        paid[str(payout.id)] = earned
    sent = await sent_by(bank)
    assert len(sent) == len(paid)
    assert dict(sent) == paid
    assert len(await announced(PayoutSent)) == len(sellers)
    assert await balance(ledger.payouts_due("EUR")) == 0
    assert await balance(ledger.bank("sandbox_bank", "EUR")) == sum(sellers.values())
    await read_statement()
    with asking(Caller(SYSTEM)):
        assert await payments.list_discrepancies(10) == ()
    await assert_in_order()


@pytest.mark.timeout(300)
async def test_the_shop_is_killed_between_row_and_call_and_between_call_and_answer(
    shop: Shop, bank: Outside, program: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_statements, "MARGIN_S", 0.0)
    sellers = {await make_seller(5_000 + number): 5_000 + number for number in range(40)}

    async def all_are_made() -> bool:
        return bool(await db.value(COUNT, OPEN) == 40)

    async def some_are_sent() -> bool:
        return len(await sent_by(bank)) >= 5

    async def all_are_paid() -> bool:
        return bool(await db.value(COUNT, ["paid"]) == 40)

    # Rows without a call that got anywhere: the bank takes no orders.
    await bank.control(down=True)
    await run_until(program, all_are_made)
    await bank.control(down=False, next="timeout_charged", on="transfer", count=30)
    assert await sent_by(bank) == []
    # Calls without an answer: the bank does it and says so later than we are patient.
    await run_until(program, some_are_sent)
    assert await db.value(COUNT, ["paid"]) < len(await sent_by(bank)), "some were sent, and we had not heard of it"
    program.start()
    await until(all_are_paid, 60)
    program.kill()
    await assert_paid_once(bank, sellers)


async def test_a_row_that_nobody_sent_is_sent_by_whoever_comes_next(shop: Shop, bank: Outside, program: Process) -> None:
    """What a crash leaves between the commit and the call is a row and a transfer, and no more."""
    seller = await make_seller(5_000)
    assert await payouts.make_due_payouts() == 1
    assert (await balance_of(seller), await sent_by(bank)) == (0, [])

    async def is_paid() -> bool:
        return bool(await db.value(COUNT, ["paid"]) == 1)

    program.start()
    await until(is_paid, 40)
    program.kill()
    await assert_paid_once(bank, {seller: 5_000})


async def test_the_bank_is_killed_in_the_middle(shop: Shop, bank: Outside) -> None:
    sellers = {await make_seller(5_000 + number): 5_000 + number for number in range(60)}
    paying = asyncio.create_task(run_jobs())

    async def some_are_sent() -> bool:
        return len(await sent_by(bank)) >= 3

    await until(some_are_sent)
    bank.sandbox.end(signal.SIGKILL)
    await paying
    bank.sandbox.start()

    async def all_are_paid() -> bool:
        await ask_again()
        return bool(await db.value(COUNT, ["paid"]) == 60)

    await until(all_are_paid, 40)
    await assert_paid_once(bank, sellers)
