"""Who may send to a webhook now: one at a time, whoever asks, and nothing that comes meanwhile is slept through."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tests.waiting import until
from tests.webhooks.telling import announced, as_seller, check_books, payout, subscribe

from souk import webhooks
from souk.app import Shop
from souk.kit.db import Transaction
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.kit.locks import SessionLocks
from souk.payments.events import PayoutSent
from souk.webhooks import forgetting, queueing, sending, turns
from souk.webhooks.database import db
from souk.webhooks.posting import Outcome, open_post
from souk.webhooks.settings import settings
from souk.webhooks.turns import Done, Message, Step, Turn, go_on, take_turns
from souk.webhooks.types import WebhookChange
from souk.webhooks.verdicts import judge

URL = "https://hooks.seller.example/souk"


def own(owner: int) -> None:
    db.owner = owner


@pytest.fixture
async def living(shop: Shop, dsn: str) -> AsyncIterator[SessionLocks]:
    """This process owns what it leases, until its session ends."""
    locks = SessionLocks(dsn, own)
    await locks.open()
    yield locks
    await locks.close()
    own(0)


def told(*events: PayoutSent) -> tuple[Delivered, ...]:
    return tuple(Delivered(event, new_id(), datetime.now(UTC)) for event in events)


async def hear(*events: PayoutSent) -> None:
    async with db.transaction() as tx:
        await queueing.queue_deliveries(tx, told(*events))


async def take() -> tuple[Turn, ...]:
    return (*await take_turns(steady=True, most=100), *await take_turns(steady=False, most=100))


def done(message: Message, status: int) -> Done:
    outcome = Outcome(status, None, 5)
    return Done(message, outcome, judge(outcome, message.tries, message.failing_since, datetime.now(UTC), settings.now))


async def test_each_turn_is_taken_once(living: SessionLocks) -> None:
    for _ in range(20):
        await subscribe(URL, seller_id=new_id())
    await subscribe(URL, seller_id=None)
    async with db.transaction() as tx:
        await tx.run("UPDATE webhooks.webhook SET due_at = now()")
    taken = [turn.id for turns in await asyncio.gather(*(take() for _ in range(8))) for turn in turns]
    assert len(taken) == len(set(taken)) == 21
    assert await take() == ()


async def test_the_turn_of_who_is_gone_is_free_at_once(living: SessionLocks) -> None:
    await subscribe(URL)
    await hear(payout(1))
    (first,) = await take()
    assert await take() == ()
    await living.close()
    await living.open()
    (second,) = await take()
    assert (second.id, second.turn) == (first.id, first.turn + 1)


async def test_of_a_turn_that_is_lost_nothing_is_written(living: SessionLocks) -> None:
    await subscribe(URL)
    await hear(payout(1), payout(2))
    (slow,) = await take()
    message = await go_on(Step(slow))
    assert message is not None
    async with db.transaction() as tx:
        await tx.run("UPDATE webhooks.webhook SET lease_until = now() - interval '1 second'")
    (quick,) = await take()
    again = await go_on(Step(quick))
    assert again is not None and again.event_id == message.event_id
    assert await go_on(Step(slow, done(message, 410))) is None
    following = await go_on(Step(quick, done(again, 200)))
    assert following is not None and following.event_id != message.event_id
    assert await db.value("SELECT array_agg(status) FROM webhooks.attempt") == [200]
    assert await announced() == []
    await check_books()


@pytest.mark.parametrize("status", [410, 500])
@pytest.mark.parametrize("changes", [(WebhookChange(status="paused"), WebhookChange(status="active")), (WebhookChange(url=f"{URL}/new"),)])
async def test_an_attempt_from_before_a_change_disables_nothing(
    living: SessionLocks, status: int, changes: tuple[WebhookChange, ...]
) -> None:
    opened = await subscribe(URL)
    await hear(payout(1))
    async with db.transaction() as tx:
        await tx.run("UPDATE webhooks.webhook SET failing_since = now() - interval '30 days'")
    (turn,) = await take()
    message = await go_on(Step(turn))
    assert message is not None
    attempted = done(message, status)
    assert attempted.verdict.disabled is not None
    with as_seller():
        for change in changes:
            await webhooks.change_webhook(opened.webhook.id, change)
    assert await go_on(Step(turn, attempted)) is None
    with as_seller():
        shown = await webhooks.get_webhook(opened.webhook.id)
    assert (shown.status, shown.disabled_reason, shown.waiting) == ("active", None, 1)
    assert await announced() == []
    (again,) = await take()
    message = await go_on(Step(again))
    assert message is not None and message.attempts == 1
    assert not done(message, 500).verdict.disabled
    assert await go_on(Step(again, done(message, 410))) is None
    assert [one["reason"] for one in await announced()] == ["gone"]
    await check_books()


async def test_what_cannot_even_be_attempted_is_tried_again_later(living: SessionLocks) -> None:
    await subscribe(URL)
    await hear(payout(1), payout(2))
    (turn,) = await take()
    async with open_post(settings.now) as post:
        pass  # as when a process is stopped while it sends
    await sending.serve(post, turn)
    assert await take() == ()
    assert await db.value("SELECT array_agg(error) FROM webhooks.attempt") == ["broken_off"]
    assert await db.value("SELECT array_agg(status || ' ' || tries ORDER BY place) FROM webhooks.delivery") == ["waiting 1", "waiting 0"]
    assert await db.value("SELECT due_at > now() + interval '1 second' AND lease_until < now() FROM webhooks.webhook")
    await check_books()


async def test_a_long_backlog_is_counted_up_to_a_thousand(living: SessionLocks) -> None:
    opened = await subscribe(URL)
    for shown in (600, 1000):
        await hear(*(payout(amount) for amount in range(600)))
        with as_seller():
            assert (await webhooks.get_webhook(opened.webhook.id)).waiting == shown


async def test_a_turn_that_is_let_go_is_anybodys_and_no_other_is(living: SessionLocks) -> None:
    await subscribe(URL)
    await hear(payout(1))
    (first,) = await take()
    await turns.let_go(first)
    (second,) = await take()
    await turns.let_go(first)
    assert await take() == ()
    await turns.let_go(second)
    assert len(await take()) == 1


async def test_what_comes_while_a_webhook_is_about_to_sleep_wakes_it(living: SessionLocks) -> None:
    await subscribe(URL)
    await hear(payout(1))
    (turn,) = await take()
    message = await go_on(Step(turn))
    assert message is not None
    async with db.transaction() as tx:
        await queueing.queue_deliveries(tx, told(payout(2)))
        sleeping = asyncio.create_task(go_on(Step(turn, done(message, 200))))
        await until_blocked(tx)
    following = await sleeping
    assert following is not None
    assert await go_on(Step(turn, done(following, 200))) is None
    assert await db.value("SELECT due_at FROM webhooks.webhook") is None
    await check_books()


async def test_what_comes_while_nothing_is_found_wakes_it(living: SessionLocks) -> None:
    await subscribe(URL)
    async with db.transaction() as tx:
        await tx.run("UPDATE webhooks.webhook SET due_at = now()")
    (turn,) = await take()
    async with db.transaction() as tx:
        await queueing.queue_deliveries(tx, told(payout(1)))
        sleeping = asyncio.create_task(go_on(Step(turn)))
        await until_blocked(tx)
    assert await sleeping is not None
    await check_books()


async def until_blocked(tx: Transaction) -> None:
    """Return when somebody waits for a lock that we hold."""

    async def waits() -> bool:
        return bool(await tx.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

    await until(waits)


async def test_events_of_two_sources_that_come_at_once_have_places_of_their_own(living: SessionLocks) -> None:
    opened = await subscribe(URL)
    await subscribe(URL)
    await asyncio.gather(*(hear(*(payout(amount) for amount in range(5))) for _ in range(16)))
    assert await db.value("SELECT array_agg(place ORDER BY place) FROM webhooks.delivery WHERE webhook_id = $1", opened.webhook.id) == list(
        range(1, 81)
    )
    await check_books()


async def test_many_take_their_step_together(living: SessionLocks) -> None:
    opened = [await subscribe(URL, seller_id=new_id()) for _ in range(4)] + [await subscribe(URL)]
    await hear(*(payout(amount, one.webhook.seller_id) for one in opened for amount in range(3)))
    taken = await take()
    messages = await asyncio.gather(*(go_on(Step(turn)) for turn in taken))
    for statuses in ((200, 200, 500, 410, 404), (204, 200)):
        going = [(turn, message, status) for turn, message, status in zip(taken, messages, statuses, strict=False) if message is not None]
        messages = await asyncio.gather(*(go_on(Step(turn, done(message, status))) for turn, message, status in going))
    assert await db.value("SELECT array_agg(status ORDER BY status) FROM webhooks.attempt") == [200, 200, 200, 204, 404, 410, 500]
    assert len(await announced()) == 1
    assert await take() == ()
    await check_books()


async def test_an_event_that_comes_twice_is_refused_by_the_database(living: SessionLocks) -> None:
    await subscribe(URL)
    twice = told(payout(1))
    async with db.transaction() as tx:
        await queueing.queue_deliveries(tx, twice)
    with pytest.raises(Exception, match=r"delivery_.*_pkey"):
        async with db.transaction() as tx:
            await queueing.queue_deliveries(tx, twice)
    assert await db.value("SELECT count(*) FROM webhooks.delivery") == 1


async def test_old_months_go_and_this_one_stays(living: SessionLocks, dsn: str) -> None:
    opened = await subscribe(URL)
    await hear(payout(1))
    async with db.transaction() as tx:
        for table in forgetting.TABLES:
            low, high = "01700000-0000-7000-8000-000000000000", "01710000-0000-7000-8000-000000000000"
            await tx.run(f"CREATE TABLE {table}_2020_01 PARTITION OF {table} FOR VALUES FROM ('{low}') TO ('{high}')")
    assert await forgetting.forget_old_deliveries() == 2
    assert await forgetting.forget_old_deliveries() == 0
    with as_seller():
        assert (await webhooks.get_webhook(opened.webhook.id)).waiting == 1


async def test_a_lease_outlasts_an_attempt() -> None:
    longest = type(settings.now).__annotations__["timeout_s"].__metadata__[0].le
    assert longest * 2 < turns.LEASE_S
