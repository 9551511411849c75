"""Pages of campaigns that whoever sends takes: planned and sent in one go, to each recipient once, and left to others when nobody sends."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import asked_by
from tests.notifications.campaigns import begin, breaking_off, check_books, go_on, in_feeds, look, schedule, step, told, write
from tests.notifications.conftest import Post
from tests.notifications.feeds import as_system, make_people
from tests.notifications.mails import count_statuses, intend, leave_behind, rows, send
from tests.notifications.relays import open_relay
from tests.notifications.tidings import waits_for_a_lock
from tests.waiting import until

from souk import notifications
from souk.notifications import fanning_out, pages, sending
from souk.notifications.database import db
from souk.notifications.limits import limits
from souk.notifications.pages import Taker, take_page

pytestmark = pytest.mark.usefixtures("shop")

WAITED = "SELECT count(*) FROM notifications.message WHERE channel = 'email' AND attempts <> 1"


@pytest.fixture(autouse=True)
def senders_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanning_out, "TAKEN_WITHIN_S", 60.0)


async def take(owner: int = 4711, most: int = 10) -> pages.Taken:
    with as_system():
        return await take_page(Taker("email", owner, most))


async def test_who_sends_takes_page_after_page_and_everybody_has_it_once(post: Post) -> None:
    post.use(batch=7)
    people = await make_people(40)
    campaign = await begin()
    await step()
    assert await step() == 0, "it is left to whoever sends"
    assert await send() == 40
    seen = await look(campaign)
    assert {(one.channel, one.status, one.count) for one in seen.counts} == {("email", "sent", 40), ("in_app", "sent", 40)}
    assert seen.campaign.recipients == 40
    assert sorted(str(one["recipient"]) for one in await post.letters()) == sorted(f"{one}@example.com" for one in people)
    assert await told(campaign) == await told(campaign, "in_app") == await in_feeds() == sorted(people)
    assert await db.value(WAITED) == 0
    await go_on()
    assert (await look(campaign)).campaign.status == "sent"
    await check_books()


async def test_what_nobody_takes_for_a_while_is_planned_for_whoever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    people = await make_people(12)
    campaign = await begin()
    await step()
    assert await step() == 0
    assert len((await take(most=5)).messages) == 5
    assert await step() == 0, "somebody has just taken one"
    monkeypatch.setattr(fanning_out, "TAKEN_WITHIN_S", 0.0)
    assert await step() == 1
    assert {(one.channel, one.status, one.count) for one in (await look(campaign)).counts} == {
        ("email", "sending", 5), ("email", "waiting", 7), ("in_app", "sent", 12),
    }  # fmt: skip
    assert await told(campaign) == sorted(people)


async def test_where_letters_wait_for_long_feeds_do_not() -> None:
    people = await make_people(12)
    await begin()
    await step()
    assert await step() == 0
    await intend(people[:1], "campaign")
    assert await step() == 0, "it is due just now"
    await db.pool.execute("UPDATE notifications.message SET due_at = now() - interval '61 seconds'")
    assert await step() == 1
    assert await in_feeds() == sorted(people)


async def test_those_who_take_at_once_take_different_pages() -> None:
    people = await make_people(60)
    campaign = await begin()
    await step()
    taken = await asyncio.gather(*(take(owner, 4) for owner in range(1, 16)))
    assert sorted(one.user_id for some in taken for one in some.messages if one.user_id) == sorted(people)
    assert all(len(some.messages) == 4 for some in taken)
    assert await told(campaign) == await in_feeds() == sorted(people)
    assert (await take()).messages == ()


async def test_what_a_page_was_killed_with_is_sent_by_others(post: Post) -> None:
    post.use()
    people = await make_people(5)
    await begin()
    await step()
    taken = await take(owner=1)
    # Nobody has the lease of this owner.
    await leave_behind([one.id for one in taken.messages])
    await send()
    assert await count_statuses() == {"sent": 5}
    assert sorted(str(one["recipient"]) for one in await post.letters()) == sorted(f"{one}@example.com" for one in people)


async def test_what_is_due_leaves_before_a_page_is_taken(post: Post) -> None:
    post.use(batches=1, batch=10, smtp_connections=1)
    people = await make_people(10)
    await begin()
    await step()
    await intend(people, "reset_password")
    await send()
    subjects = [(await post.read(one["seq"]))["Subject"] for one in await post.letters()]
    assert len(subjects) == 20
    assert subjects[10:] == ["Spring sale"] * 10


@pytest.mark.parametrize(("late_s", "pages"), [(5, 0), (15, 1)])
async def test_letters_that_are_a_little_late_are_no_reason_to_write_others(late_s: int, pages: int) -> None:
    """Who died has left so many that it takes some seconds; a relay that is gone is another thing."""
    await make_people(40)
    await begin()
    await step()
    await leave_behind([one.id for one in (await take()).messages])
    orphans_are_due = "UPDATE notifications.message SET status = 'waiting', owner = NULL, due_at = now() - make_interval(secs => $1)"
    await db.pool.execute(f"{orphans_are_due} WHERE status = 'sending'", late_s)
    assert await step() == pages


async def test_a_campaign_that_is_not_told_by_mail_is_no_work_of_who_sends_mail() -> None:
    people = await make_people(600)
    await begin(channels=("in_app",))
    await step()
    assert (await take()).messages == ()
    # Nobody is waited for.
    await go_on()
    assert await in_feeds() == sorted(people)


async def test_a_campaign_by_the_clocks_of_its_readers_is_left_to_the_planner() -> None:
    await make_people(3)
    await schedule(await write(), local=f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    await step()
    assert (await take()).messages == ()


async def test_a_campaign_that_is_held_is_not_taken() -> None:
    await make_people(3)
    campaign = await begin()
    await step()
    with asked_by("admin"):
        await notifications.hold_campaign(campaign.id)
    assert (await take()).messages == ()


async def test_of_a_page_nothing_leaves_that_is_too_much(post: Post) -> None:
    """What left late counts where it left: the planner sees when it was due, two days ago."""
    post.use()
    limits.replace(promotions_per_day=1)
    (ada, bob) = await make_people(2)
    (late,) = await intend([ada], "price_dropped")
    await db.pool.execute("UPDATE notifications.message SET due_at = now() - interval '2 days', status = 'sent', sent_at = now()")
    await begin()
    await step()
    taken = await take()
    assert [one.user_id for one in taken.messages] == [bob]
    await send()
    found = {(row.user_id, row.status, row.reason) for row in (await rows()).values() if row.id != late}
    assert found == {(ada, "suppressed", "too_many"), (bob, "sending", None)}


async def test_what_somebody_has_written_before_is_not_sent_again() -> None:
    await make_people(6)
    campaign = await begin()
    await step()
    first = await take()
    assert len(first.messages) == 6
    await db.pool.execute("UPDATE notifications.campaign SET after_user_id = NULL, planned_at = NULL")
    await db.pool.execute("DELETE FROM notifications.feed_item")
    with as_system():
        (seen,) = await db.all(notifications.Campaign, pages.FIND_TO_TAKE, ["campaign"])
        again = await pages.plan_page(seen, Taker("email", 4712, 10))
    assert again is not None
    assert again.messages == ()
    assert len(await told(campaign)) == 6


async def test_a_page_that_cannot_be_taken_keeps_nothing_else_back(post: Post) -> None:
    post.use(batch=5)
    people = await make_people(20)
    campaign = await begin()
    await step()
    await intend(people)
    async with breaking_off("AFTER UPDATE ON notifications.campaign", 1.0):
        assert await send() == 20
    assert await count_statuses() == {"sent": 20}
    assert await send() == 20
    assert len(await told(campaign)) == 20


async def test_who_stops_takes_no_other_page(post: Post) -> None:
    """Two pages are to be under way: the second is not taken when the first is."""
    post.use(batch=5, batches=2)
    await make_people(50)
    await begin()
    await step()
    async with db.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM notifications.campaign FOR UPDATE")
        sender = asyncio.create_task(send())
        await until(waits_for_a_lock)
        sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    assert await count_statuses() == {"sent": 10}


async def test_what_of_pages_nobody_was_offered_is_sent_by_others_at_once(monkeypatch: pytest.MonkeyPatch, post: Post) -> None:
    monkeypatch.setattr(sending, "FINISH_WITHIN_S", 0.2)
    await make_people(50)
    campaign = await begin()
    await step()
    async with open_relay("MAIL") as relay:
        post.use(smtp_port=relay.port, smtp_is_sandbox=False, smtp_connections=2, smtp_timeout_s=30.0, batch=5, batches=2)
        sender = asyncio.create_task(send())

        async def is_under_way() -> bool:
            return relay.stalled == 2 and len(await told(campaign)) == 20

        await until(is_under_way)
        sender.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sender
    found = Counter((row.status, row.reason, row.attempts) for row in (await rows()).values())
    assert found == {("waiting", sending.STOPPED, 0): 20}
