"""The feed: what comes into it once, what its reader does with it, what others may not, and what is counted."""

import asyncio
import random
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.notifications.feeds import (
    announce,
    as_reader,
    as_system,
    deliver,
    fill,
    make_people,
    make_person,
    read_feed,
    serve,
    states,
    tell,
)  # fmt: skip
from tests.torture import report, rounds

from souk import notifications
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.notifications import in_app
from souk.notifications.database import db
from souk.notifications.feed_types import FeedChange, ReadAll

pytestmark = pytest.mark.usefixtures("shop")

COUNT = "SELECT count(*) FROM notifications.feed_item WHERE user_id = $1 AND read_at IS NULL AND archived_at IS NULL"


async def test_what_another_process_brings_is_not_looked_for_again_and_again() -> None:
    ada = await make_person()
    await announce([ada] * 3)
    async with db.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM notifications.message FOR UPDATE")
        with as_system():
            assert await in_app.deliver_in_app() == 0, "so that we wait before we look again"
    with as_system():
        assert (await in_app.deliver_in_app(), await in_app.deliver_in_app()) == (3, 0)


async def test_a_message_comes_into_the_feed_in_words_and_is_sent_with_it() -> None:
    ada = await make_person()
    ids = await announce([ada])
    assert (await read_feed(ada)).items == ()
    await deliver()
    (item,) = (await read_feed(ada)).items
    assert (item.id, item.kind, item.topic) == (ids[0], "order_shipped", "order_updates")
    assert item.link == f"/shop/orders/{item.data['order_id']}"
    assert "1042" in item.message
    assert await states(ids) == [("sent", None)]


async def test_what_is_not_due_waits_and_who_is_gone_is_told_nothing() -> None:
    ada = await make_person()
    async with db.transaction() as tx:
        later = await tx.value("SELECT now() + interval '1 hour'")
    waiting, gone = await announce([ada], due_at=later), await announce([new_id()])
    broken = await announce([ada], content={"number": "1042"})
    await deliver()
    assert (await read_feed(ada)).items == ()
    assert await states([*waiting, *gone]) == [("waiting", None), ("suppressed", "erased")]
    ((status, reason),) = await states(broken)
    assert (status, reason) == ("failed", "cannot be written: missing: order_id")


async def test_many_who_deliver_at_once_bring_each_message_once() -> None:
    people = await make_people(40)
    ids = await announce([one for one in people for _ in range(50)])
    with as_system():
        await asyncio.gather(*(in_app.deliver_in_app() for _ in range(16)))
    await deliver()
    assert set(await states(ids)) == {("sent", None)}
    async with db.transaction() as tx:
        found = [row["id"] for row in await tx.connection.fetch("SELECT id FROM notifications.feed_item")]
    assert sorted(found) == sorted(ids)
    async with db.transaction() as tx:
        told = await tx.connection.fetch("SELECT payload FROM notifications.outbox WHERE type = 'notifications.NotificationsSent'")
    assert {UUID(one) for row in told for one in row["payload"]["user_ids"]} == set(people)


async def test_pages_and_filters() -> None:
    ada, bob = await make_people(2)
    ids = await tell(ada, 5)
    await tell(bob)
    first = await read_feed(ada, limit=2)
    assert [one.id for one in first.items] == [ids[4], ids[3]]
    second = await read_feed(ada, limit=2, cursor=first.next)
    last = await read_feed(ada, limit=2, cursor=second.next)
    assert [one.id for one in (*second.items, *last.items)] == [ids[2], ids[1], ids[0]]
    assert (last.next, last.unread) == (None, 5)
    with as_reader(ada):
        await notifications.mark_notification(ids[0], FeedChange(read=True))
        await notifications.mark_notification(ids[1], FeedChange(archived=True))
    assert [one.id for one in (await read_feed(ada, unread=True)).items] == [ids[4], ids[3], ids[2]]
    assert [one.id for one in (await read_feed(ada, unread=False)).items] == [ids[0]]
    assert [one.id for one in (await read_feed(ada, archived=True)).items] == [ids[1]]
    assert [one.id for one in (await read_feed(ada)).items] == [ids[4], ids[3], ids[2], ids[0]]
    assert (await read_feed(ada, topic="returns")).items == ()


async def test_reading_is_repeatable_and_can_be_taken_back() -> None:
    ada = await make_person()
    (one,) = await tell(ada)
    with as_reader(ada):
        first = await notifications.mark_notification(one, FeedChange(read=True))
        again = await notifications.mark_notification(one, FeedChange(read=True))
        assert again.read_at == first.read_at is not None
        await notifications.mark_notification(one, FeedChange(archived=True))
        assert (await notifications.count_unread()).unread == 0
        back = await notifications.mark_notification(one, FeedChange(read=False, archived=False))
        assert (back.read_at, back.archived_at) == (None, None)
        assert (await notifications.count_unread()).unread == 1
        await notifications.remove_notification(one)
        assert (await notifications.count_unread()).unread == 0
        with pytest.raises(NotFound):
            await notifications.remove_notification(one)
    assert await states([one]) == [("sent", None)]


async def test_what_came_after_the_list_was_shown_stays_unread() -> None:
    ada = await make_person()
    await tell(ada, 3)
    shown = await read_feed(ada)
    late = await tell(ada)
    with as_reader(ada):
        marked = await notifications.mark_all_notifications(ReadAll(up_to=shown.position))
        assert (marked.marked, marked.unread) == (3, 1)
        assert (await notifications.mark_all_notifications(ReadAll(up_to=shown.position))).marked == 0
    assert [one.id for one in (await read_feed(ada, unread=True)).items] == late
    with as_reader(ada):
        assert (await notifications.mark_all_notifications(ReadAll(topic="returns"))).marked == 0
        assert (await notifications.mark_all_notifications(ReadAll())).unread == 0


async def test_a_feed_is_its_readers_alone() -> None:
    ada, eve = await make_people(2)
    (one,) = await tell(ada)
    with as_reader(eve):
        for change in (FeedChange(read=True), FeedChange(archived=True)):
            with pytest.raises(NotFound):
                await notifications.mark_notification(one, change)
        with pytest.raises(NotFound):
            await notifications.remove_notification(one)
        with pytest.raises(NotFound):
            await notifications.list_notifications(ada, notifications.FeedFilter(), 10, None)
        with pytest.raises(NotFound):
            await notifications.read_news(notifications.News(ada, 0, 0))
        assert (await notifications.mark_all_notifications(ReadAll())).marked == 0
        assert (await notifications.list_notifications(None, notifications.FeedFilter(), 10, None)).items == ()
    (item,) = (await read_feed(ada)).items
    assert (item.read_at, item.archived_at) == (None, None)
    with asked_by("admin"):
        assert len((await notifications.list_notifications(ada, notifications.FeedFilter(), 10, None)).items) == 1


async def test_counts_do_not_drift_whatever_32_do_at_once() -> None:
    ada = await make_person()
    ids = await fill(ada, 200)
    chance, operations = random.Random(5), rounds(2_000, 100_000)
    todo = iter(range(operations))

    async def work() -> None:
        for _ in todo:
            one = chance.choice(ids)
            match chance.randrange(6):
                case 0:
                    marked = await notifications.mark_all_notifications(ReadAll())
                    assert marked.unread >= 0
                case 1 | 2:
                    await notifications.mark_notification(one, FeedChange(read=False, archived=False))
                case 3:
                    await notifications.mark_notification(one, FeedChange(archived=True))
                case 4:
                    await notifications.mark_notification(one, FeedChange(read=True))
                case _:
                    shown = await notifications.list_notifications(None, notifications.FeedFilter(unread=True), 100, None)
                    if shown.next is None:
                        assert len(shown.items) == shown.unread

    with as_reader(ada):
        await asyncio.gather(*(work() for _ in range(32)))
        counted = (await notifications.count_unread()).unread
    feed = await read_feed(ada, limit=100)
    unread = sum(one.read_at is None for one in feed.items)
    cursor = feed.next
    while cursor is not None:
        page = await read_feed(ada, limit=100, cursor=cursor)
        unread += sum(one.read_at is None for one in page.items)
        cursor = page.next
    assert counted == unread == await db.value(COUNT, ada)
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    report("N-10.txt", f"N-10: {operations} operations by 32, drift 0")


async def test_counting_ten_thousand_costs_a_look_at_the_index() -> None:
    ada = await make_person()
    for _ in range(20):
        await fill(ada, 500)
    async with db.transaction() as tx:
        await tx.run("SET LOCAL plan_cache_mode = force_custom_plan")
        plan = "\n".join(row[0] for row in await tx.connection.fetch(f"EXPLAIN (ANALYZE) {COUNT.replace('$1', repr(str(ada)))}"))
    assert "Index Only Scan" in plan and "Seq Scan" not in plan, plan
    report("N-10-count.txt", plan)
    with as_reader(ada):
        assert (await notifications.count_unread()).unread == 10_000


async def test_the_feed_over_http(shop: Shop) -> None:
    ada, eve = await make_people(2)
    one, two = await tell(ada, 2)
    async with serve() as web:
        status, feed = await web.ask("GET", "/notifications?limit=1", ada)
        assert (status, feed["unread"], [item["id"] for item in feed["items"]]) == (200, 2, [str(two)])
        assert {"message", "sent_at", "read_at", "created_at", "updated_at"} <= feed["items"][0].keys()
        assert (await web.ask("GET", "/notifications"))[0] == 401
        assert (await web.ask("GET", f"/users/{ada}/notifications", eve))[0] == 404
        assert (await web.ask("GET", f"/notification/{ada}", ada))[1]["unread"] == 2
        assert (await web.ask("GET", "/notifications/unread-count", ada))[1] == {"unread": 2}
        for path in ("read", "unread", "archive", "unarchive"):
            assert (await web.ask("POST", f"/notifications/{one}/{path}", eve))[0] == 404
            assert (await web.ask("POST", f"/notifications/{one}/{path}", ada))[0] == 200
        assert (await web.ask("PATCH", f"/notifications/{one}", ada, {"read": True}))[1]["read_at"] is not None
        assert (await web.ask("PATCH", f"/notifications/{one}", ada, {"seen": True}))[0] == 422
        assert (await web.ask("POST", "/notifications/read-all", ada, {"up_to": "1.1x"}))[0] == 422
        assert (await web.ask("POST", "/notifications/read-all", ada, {"up_to": feed["position"]}))[1] == {"marked": 1, "unread": 0}
        assert (await web.ask("DELETE", f"/notifications/{one}", eve))[0] == 404
        assert (await web.ask("DELETE", f"/notifications/{one}", ada))[0] == 204
        assert (await web.ask("GET", "/notifications?cursor=nonsense", ada))[0] == 422
