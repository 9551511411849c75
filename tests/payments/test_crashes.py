"""The card processor's process is killed while orders are paid, and ours stops listening: nothing is lost, nothing is paid twice."""

import asyncio
import signal
from collections.abc import Callable
from uuid import UUID

import aiohttp
from tests.payments.money import balance, close, look_up, open_order, pay
from tests.payments.outside import Outside, until
from tests.sandbox.conftest import Sandbox

from souk.kit.ids import new_id
from souk.payments import ledger, reconciling
from souk.payments.database import db
from souk.payments.types import Payment


async def settle() -> None:
    await db.pool.execute("UPDATE payments.attempt SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.settle_open_attempts()
    await db.pool.execute("UPDATE payments.refund SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.retry_refunds()
    await reconciling.reconcile_books()


async def test_the_processor_is_killed_in_the_middle(own_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = own_sandbox(webhook_delay_s=60.0)
    attempts = [(await open_order(), new_id()) for _ in range(200)]

    turns = asyncio.Semaphore(20)

    async def some_are_paid() -> bool:
        return int(await db.value("SELECT count(*) FROM payments.attempt WHERE status = 'captured'")) >= 40

    async def kill() -> None:
        await until(some_are_paid)
        sandbox.end(signal.SIGKILL)

    async def buy(order: Payment, attempt_id: UUID) -> Payment:
        async with turns:
            return await pay(order, attempt_id=attempt_id)

    answers = await asyncio.gather(kill(), *(buy(order, attempt_id) for order, attempt_id in attempts))
    stands = [one.status for one in answers[1:]]
    assert {"captured", "declined"} <= set(stands), "some were through, some never got there"

    sandbox.start()
    await settle()
    async with aiohttp.ClientSession() as session:
        outside = Outside(sandbox, session)
        for order, attempt_id in attempts:
            ours = await look_up(order)
            assert ours.status in ("captured", "declined")
            book = await outside.book_of(order.id)
            assert book == ([("capture", 10_000)] if ours.status == "captured" else []), (ours, attempt_id)
        paid = [order for order, _ in attempts if (await look_up(order)).status == "captured"]
        assert await balance(ledger.clearing("sandbox", "EUR")) == -10_000 * len(paid)

        sandbox.end(signal.SIGKILL)
        closed = await asyncio.gather(*(close(order) for order in paid[:20]))
        assert {one.status for one in closed} == {"captured"}, "the money could not go back yet"
        sandbox.start()
        await settle()
        assert {(await look_up(order)).status for order in paid[:20]} == {"refunded"}
        for order in paid[:20]:
            assert await outside.book_of(order.id) == [("capture", 10_000), ("refund", 10_000)]


async def test_nobody_is_there(own_sandbox: Callable[..., Sandbox]) -> None:
    own_sandbox().end(signal.SIGKILL)
    order = await open_order()
    declined = await pay(order)
    assert (declined.status, declined.decline_code) == ("declined", "gateway_unavailable")
