"""Attempts at one order come one after the other, and what one has decided the next one keeps to."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.orders.market import as_buyer, as_system, available, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.waiting import until

from souk import inventory, orders, payments, pricing
from souk.app import Shop
from souk.inventory import reservations
from souk.inventory.database import db as inventory_db
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Unavailable
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.kit.locks import SessionLocks
from souk.orders import consumers, jobs, placements, placing, reading, settling
from souk.orders.database import db
from souk.orders.drafting import Written
from souk.orders.placements import LetGo, LostLease, Placement
from souk.orders.settling import Settled
from souk.payments.database import db as payments_db
from souk.payments.events import PaymentCaptured

BUYER = new_id()


@pytest.fixture
async def living(shop: Shop, dsn: str) -> AsyncIterator[None]:
    """This process has the session by which it is known to live, so that its leases count."""
    locks = SessionLocks(dsn)
    await locks.open()
    db.owner = locks.owner
    yield
    db.owner = 0
    await locks.close()


@pytest.fixture
async def waiting(living: None) -> orders.Order:
    """The last mug is set aside for an order that uses the only coupon and waits for its payment."""
    await open_market()
    await put_on_sale("MUG", 1200, 1, await make_seller())
    with as_system():
        await pricing.create_coupon(pricing.NewCoupon(name="Ten", kind="percentage", rate_ppm=100_000, code="TEN", usage_limit=1))
    with as_buyer(BUYER):
        return await orders.place_order(buy(await fill_cart(BUYER, ("MUG", 1)), None, coupon="TEN"))


async def pay(order: orders.Order) -> payments.Payment:
    with as_buyer(BUYER):
        return await payments.charge(payments.ChargeRequest(order.id, "card", "tok_visa", None, new_id()))


async def go_on() -> int:
    with as_system():
        return await jobs.resume_stuck_orders()


async def status_of(order: orders.Order) -> tuple[str, str]:
    with as_buyer(BUYER):
        found = await orders.get_order(order.id)
    return found.status, found.payment_status


async def take(order: orders.Order) -> Placement:
    placement = await placements.take_lease(order.id)
    assert placement is not None
    return placement


async def lapse() -> None:
    """The time of every order is over."""
    async with db.transaction() as tx:
        await tx.run("UPDATE orders.orders SET expires_at = now() - interval '1 second'")
        await tx.run("UPDATE orders.placement SET expires_at = now() - interval '1 second'")


async def lose_stock() -> int:
    """The time of every reservation is over; how many were given back."""
    async with inventory_db.transaction() as tx:
        await tx.run("UPDATE inventory.reservation SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
    return await reservations.release_expired()


async def test_one_attempt_at_a_time(waiting: orders.Order) -> None:
    taken = await asyncio.gather(*(placements.take_lease(waiting.id) for _ in range(16)))
    (mine,) = (placement for placement in taken if placement is not None)
    with as_system():
        assert not await orders.resume_order(waiting.id)
    with as_buyer(BUYER), pytest.raises(Unavailable):
        await orders.cancel_order(waiting.id, orders.CancelOrder())
    await placements.give_up_attempt(mine)
    assert (await take(waiting)).attempt == mine.attempt + 1


async def test_an_attempt_that_was_taken_over_writes_nothing_more(waiting: orders.Order) -> None:
    slow = await take(waiting)
    async with db.transaction() as tx:
        await tx.run("UPDATE orders.placement SET lease_until = now() - interval '1 second'")
    quick = await take(waiting)
    with pytest.raises(LostLease):
        await placements.remember_undoing(slow, None)
    await placements.give_up_attempt(slow)
    assert await placements.take_lease(waiting.id) is None
    await placements.remember_undoing(quick, None)


async def test_news_that_come_while_somebody_is_at_work_are_not_slept_through(waiting: orders.Order) -> None:
    looked_too_early = await take(waiting)
    await pay(waiting)
    async with db.transaction() as tx:
        await placements.nudge(tx, [waiting.id])
    await placements.wait_for_payment(looked_too_early)
    assert await go_on() == 1
    assert await status_of(waiting) == ("placed", "paid")


async def test_only_a_capture_that_an_attempt_may_have_missed_wakes_the_order(waiting: orders.Order) -> None:
    for at_once, step in ((True, "waiting"), (False, "completing")):
        await placements.wait_for_payment(await take(waiting))
        event = PaymentCaptured(waiting.id, waiting.id, waiting.total, at_once=at_once)
        async with db.transaction() as tx:
            await consumers.nudge_paid_orders(tx, (Delivered(event, new_id(), datetime.now(UTC)),))
        assert await db.value("SELECT step FROM orders.placement WHERE order_id = $1", waiting.id) == step


async def test_whose_answer_of_a_capture_is_lost_leaves_the_order_to_the_sweeper(living: None) -> None:
    """The payment is captured at once, so that nobody is nudged, and whoever asked for it never hears of it."""
    await open_market()
    await put_on_sale("MUG", 1200, 1, await make_seller())
    with as_buyer(BUYER):
        begun = await placing.begin(buy(await fill_cart(BUYER, ("MUG", 1))))
        assert isinstance(begun, Written)
        await payments.pay_order(payments.PayOrder(placing.payment_of(begun.order), "card", "tok_visa"))
        await placements.give_up_attempt(begun.placement)
    assert await payments_db.value("SELECT payload ->> 'at_once' FROM payments.outbox WHERE type = 'payments.PaymentCaptured'") == "true"
    assert await go_on() == 1
    assert await db.value("SELECT status || ' ' || payment_status FROM orders.orders") == "placed paid"


async def test_attempts_that_end_together_all_end_though_one_has_to_wait(waiting: orders.Order) -> None:
    with as_system():
        await put_on_sale("CUP", 700, 10, await make_seller("Other"))
    with as_buyer(BUYER):
        drafts = [waiting, *[await orders.place_order(buy(await fill_cart(BUYER, ("CUP", 1)), None)) for _ in range(7)]]
    ended = tuple([LetGo((await take(order)).order_id, 2, "waiting") for order in drafts])
    async with db.pool.acquire() as other, other.transaction():
        await other.execute("UPDATE orders.placement SET updated_at = now() WHERE order_id = $1", drafts[3].id)
        ending = asyncio.create_task(end(ended))
        await until(somebody_waits)
    assert await ending == {order.id for order in drafts}


@pytest.mark.parametrize("row", ["orders.placement WHERE order_id", "orders.orders WHERE id"])
async def test_orders_that_are_placed_together_are_all_placed_though_one_has_to_wait(waiting: orders.Order, row: str) -> None:
    with as_system():
        await put_on_sale("CUP", 700, 10, await make_seller("Other"))
    with as_buyer(BUYER):
        drafts = [waiting, *[await orders.place_order(buy(await fill_cart(BUYER, ("CUP", 1)), None)) for _ in range(7)]]
    settled = {order.id: Settled(await take(order), await reading.find_order(order.id)) for order in drafts}
    async with db.pool.acquire() as other, other.transaction():
        await other.execute(f"UPDATE {row.replace(' WHERE', ' SET updated_at = now() WHERE')} = $1", drafts[3].id)
        ending = asyncio.create_task(settling.write_placed(settled, {}))
        await until(somebody_waits)
    placed = await ending
    assert {order_id: one.status for order_id, one in placed.items()} == {order.id: "placed" for order in drafts}
    assert await db.value("SELECT count(*) FROM orders.outbox WHERE type = 'orders.OrderPlaced'") == len(drafts)


async def test_an_attempt_that_was_overtaken_places_nothing(waiting: orders.Order) -> None:
    await pay(waiting)
    slow = await take(waiting)
    order = await reading.find_order(waiting.id)
    await placements.give_up_attempt(slow)
    quick = await take(waiting)
    with pytest.raises(LostLease):
        await settling.settle_placed(slow, order)
    assert (await reading.find_order(waiting.id)).status == "draft"
    assert await db.value("SELECT count(*) FROM orders.outbox WHERE type = 'orders.OrderPlaced'") == 0
    assert (await settling.settle_placed(quick, order)).status == "placed"


async def end(ended: tuple[LetGo, ...]) -> frozenset[UUID]:
    async with db.transaction() as tx:
        return await placements.let_go(tx, ended)


async def somebody_waits() -> bool:
    return bool(await db.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))


async def test_the_stock_of_a_paid_order_does_not_expire(waiting: orders.Order) -> None:
    await pay(waiting)
    with as_system():
        await orders.resume_order(waiting.id)
    assert await lose_stock() == 0
    assert await available("MUG") == 0


async def test_who_pays_in_the_last_moment_gets_the_order(waiting: orders.Order) -> None:
    await pay(waiting)
    await lapse()
    assert await lose_stock() == 1
    assert await go_on() == 1
    assert await status_of(waiting) == ("placed", "paid")
    assert await available("MUG") == 0


async def test_who_pays_when_the_stock_is_gone_gets_the_money_back(waiting: orders.Order) -> None:
    await pay(waiting)
    await lose_stock()
    quick = new_id()
    with as_buyer(quick):
        assert (await orders.place_order(buy(await fill_cart(quick, ("MUG", 1))))).status == "placed"
    with as_system():
        assert await orders.resume_order(waiting.id)
    assert await status_of(waiting) == ("rejected", "refunded")
    with as_system():
        assert (await payments.get_payment(waiting.id)).status == "refunded"


@pytest.mark.parametrize("because", ["its time is over", "its buyer cancels it"])
async def test_what_began_to_be_undone_is_undone_whatever_comes_in_between(waiting: orders.Order, because: str) -> None:
    """Payments cannot be reached in the middle of it, and then the buyer pays after all."""
    who = Caller(SYSTEM, request_id="test", deadline=asyncio.get_running_loop().time() + 1.0)
    async with payments_db.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM payments.payment FOR UPDATE")
        if because == "its time is over":
            await lapse()
        with asking(who), pytest.raises(Unavailable):
            await (
                orders.resume_order(waiting.id) if because == "its time is over" else orders.cancel_order(waiting.id, orders.CancelOrder())
            )
    await pay(waiting)
    assert await go_on() == 1
    assert await status_of(waiting) == ("rejected" if because == "its time is over" else "canceled", "refunded")
    assert await available("MUG") == 1
    with as_system():
        assert (await inventory.release_stock(inventory.ReleaseStock(waiting.id))).status == "released"
