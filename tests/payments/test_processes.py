"""Several processes work on the same rows at once: the database decides, not the batch that gathers callers in one process."""

import asyncio
import random

import aiohttp
import pytest
from tests.batches import in_processes
from tests.payments.conftest import PATIENCE, use_sandbox
from tests.payments.money import announced, balance, check_books, fill_wallet, look_up, open_order, pay
from tests.payments.outside import Outside, until
from tests.sandbox.conftest import Sandbox

from souk import app
from souk.app import Shop
from souk.kit.errors import DomainError
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import calling, ledger, reconciling
from souk.payments.charging import Begin, Begun, begin_attempts
from souk.payments.database import db
from souk.payments.events import PaymentCaptured
from souk.payments.gateways.gateway import AttemptNews, News, Reference
from souk.payments.news import take_news
from souk.payments.records import RefundRow
from souk.payments.refunds import promise_refunds
from souk.payments.settings import settings
from souk.payments.types import AlreadyPaid, ChargeRequest, Payment, RefundPayment


@pytest.mark.usefixtures("test_gateway")
async def test_attempts_of_one_order(shop: Shop) -> None:
    order = await open_order()
    answers = await in_processes(
        db, begin_attempts, [[Begin(ChargeRequest(order.id, "card", "tok_visa", None, new_id())) for _ in range(3)] for _ in range(12)]
    )
    assert sum(isinstance(answer, Begun) for answer in answers) == 1
    assert sum(isinstance(answer, AlreadyPaid) for answer in answers) == 35
    assert len(await announced(PaymentCaptured)) == 1


@pytest.mark.usefixtures("test_gateway")
async def test_the_same_attempt(shop: Shop) -> None:
    order, attempt_id = await open_order(), new_id()
    answers = await in_processes(
        db, begin_attempts, [[Begin(ChargeRequest(order.id, "card", "tok_visa", None, attempt_id))] for _ in range(16)]
    )
    assert not any(isinstance(answer, DomainError) for answer in answers)
    assert await balance(ledger.order_funds("EUR")) == 10_000


@pytest.mark.usefixtures("test_gateway")
async def test_crossing_orders_and_wallets(shop: Shop) -> None:
    users = [new_id() for _ in range(5)]
    for user in users:
        await fill_wallet(user, 25_000)
    dice, batches = random.Random(3), []
    for _ in range(12):
        orders = [await open_order(1_000, user) for user in dice.sample(users, len(users))]
        batches.append([Begin(ChargeRequest(order.id, "wallet", None, None, new_id())) for order in orders])
    await in_processes(db, begin_attempts, [*batches, *(batch[::-1] for batch in batches)])
    assert [await balance(ledger.wallet(user, "EUR")) for user in users] == [13_000] * 5
    assert await balance(ledger.order_funds("EUR")) == 60_000


async def test_orders_that_spend_the_same_wallet(shop: Shop) -> None:
    anna = new_id()
    await fill_wallet(anna, 2_500)
    orders = [await open_order(1_000, anna) for _ in range(8)]
    await in_processes(db, begin_attempts, [[Begin(ChargeRequest(order.id, "wallet", None, None, new_id()))] for order in orders])
    stands = [await look_up(order) for order in orders]
    assert sorted((one.status, one.decline_code) for one in stands) == [("captured", None)] * 2 + [("declined", "insufficient_funds")] * 6
    assert await balance(ledger.wallet(anna, "EUR")) == 500


async def test_one_attempt_that_many_ask_the_gateway_for(outside: Outside) -> None:
    order = await open_order()
    [begun] = await in_processes(db, begin_attempts, [[Begin(ChargeRequest(order.id, "card", "tok_visa", None, new_id()))]])
    assert isinstance(begun, Begun) and begun.attempt and begun.asked
    answers = await asyncio.gather(*(calling.ask_charge(begun.attempt, begun.asked, again=False) for _ in range(8)))
    # Whoever is told that another is at it knows nothing yet.
    assert {answer.status for answer in answers if answer} == {"captured"}
    assert await outside.book_of(order.id) == [("capture", 10_000)]


@pytest.mark.usefixtures("test_gateway")
async def test_refunds_of_one_order(shop: Shop) -> None:
    order = await open_order(10_000)
    await pay(order)
    answers = await in_processes(
        db, promise_refunds, [[RefundPayment(new_id(), order.id, Money(6_000, "EUR"), "a reason")] for _ in range(32)]
    )
    assert sum(isinstance(answer, RefundRow) for answer in answers) == 1
    assert (await look_up(order)).refunded == Money(6_000, "EUR")


async def test_the_same_news(shop: Shop) -> None:
    settings.replace(sandbox_url="http://127.0.0.1:1", **PATIENCE)
    orders = [await open_order() for _ in range(10)]
    for order in orders:
        await db.pool.execute(
            "INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint, check_at)"
            " VALUES ($1, $1, 'sandbox', 'card', 10000, 'EUR', 'pending', '', now())",
            order.id,
        )
    told = [
        News("webhook", "sandbox", f"evt_{number}", attempts=(AttemptNews(Reference(order.id, order.id), "captured", "ch"),))
        for number, order in enumerate(orders)
    ]
    receipts = await in_processes(db, take_news, [told, told[::-1], told[5:] + told[:5], told])
    assert sorted(receipts) == ["applied"] * 10 + ["repeated"] * 30
    assert len(await announced(PaymentCaptured)) == 10


async def test_what_hangs_settles_by_itself(whole_shop: Shop, sandbox: Sandbox) -> None:
    use_sandbox(sandbox)
    async with app.at_work(whole_shop), aiohttp.ClientSession() as session:
        outside = Outside(sandbox, session)
        await outside.control("reset")
        await outside.control(hold_webhooks=True)
        await db.pool.execute(
            "INSERT INTO payments.book_position (gateway, position) VALUES ('sandbox', $1)", await outside.find_end_of_book()
        )
        order = await open_order()
        assert (await pay(order, "tok_timeout_charged")).status == "pending"
        await until(lambda: stands(order, "captured"), 20)
        await outside.control("reset")
        await check_books()


async def stands(order: Payment, status: str) -> bool:
    return (await look_up(order)).status == status


async def ask_silently(order: Payment, owner: int) -> None:
    """An attempt as a process leaves it that has asked its gateway and has no answer yet."""
    await db.pool.execute(
        "INSERT INTO payments.attempt (payment_id, id, gateway, method, amount, currency, status, fingerprint, check_at, updated_at, owner)"
        " VALUES ($1, $1, 'sandbox', 'card', 10000, 'EUR', 'pending', '', now() + interval '1 hour', now() - interval '3 seconds', $2)",
        order.id,
        owner,
    )


async def test_what_a_process_asked_that_is_gone_is_looked_up_before_its_time(whole_shop: Shop, sandbox: Sandbox) -> None:
    use_sandbox(sandbox)
    async with app.at_work(whole_shop):
        orphan, ours = await open_order(), await open_order()
        await ask_silently(orphan, owner=2**31 - 1)
        await ask_silently(ours, owner=db.owner)
        await until(lambda: stands(orphan, "declined"), 20)
        assert await reconciling.settle_open_attempts() == 0
        assert await db.value("SELECT status FROM payments.attempt WHERE payment_id = $1", ours.id) == "pending"
