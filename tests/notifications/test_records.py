"""What became of every message, for whom it was and for admins; and what is left when somebody leaves."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.conftest import asked_by
from tests.notifications.feeds import announce, as_reader, as_system, deliver, make_people, make_person, read_feed, serve, tell

from souk import notifications
from souk.kit.errors import Forbidden, Unauthenticated
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.notifications import consumers, in_app
from souk.notifications.database import db
from souk.notifications.people import export_messages
from souk.notifications.records import MessageFilter
from souk.users.events import UserErased

pytestmark = pytest.mark.usefixtures("shop")


async def test_every_message_has_a_state_and_one_that_was_not_sent_a_reason() -> None:
    ada, bob = await make_people(2)
    (sent,) = await tell(ada)
    (broken,) = await announce([ada], content={"number": "1042"})
    await deliver()
    await tell(bob)
    with as_reader(ada):
        page = await notifications.list_own_messages(MessageFilter(), 10, None)
        failed = await notifications.list_own_messages(MessageFilter(user_id=bob, status="failed"), 10, None)
        assert (await notifications.list_own_messages(MessageFilter(kind="welcome"), 10, None)).items == ()
        with pytest.raises(Forbidden):
            await notifications.list_messages(MessageFilter(), 10, None)
    assert {(one.id, one.status, one.reason is None, one.attempts) for one in page.items} == {
        (sent, "sent", True, 1),
        (broken, "failed", False, 0),
    }
    assert [one.id for one in failed.items] == [broken]
    with asked_by("admin"):
        everything = await notifications.list_messages(MessageFilter(), 2, None)
        rest = await notifications.list_messages(MessageFilter(), 2, everything.next)
        assert len({one.id for one in (*everything.items, *rest.items)}) == 3
        assert [one.user_id for one in (await notifications.list_messages(MessageFilter(user_id=bob), 10, None)).items] == [bob]
    with pytest.raises(Unauthenticated):
        await notifications.list_own_messages(MessageFilter(), 10, None)


async def test_the_history_over_http() -> None:
    ada = await make_person()
    await tell(ada)
    async with serve() as web:
        assert (await web.ask("GET", "/notifications/history", ada))[1]["items"][0]["status"] == "sent"
        assert (await web.ask("GET", "/notifications/messages", ada))[0] == 403
        assert (await web.ask("GET", "/notifications/history?status=lost", ada))[0] == 422


async def leave(*user_ids: object) -> None:
    async with db.transaction() as tx:
        await consumers.forget_users(tx, tuple(Delivered(UserErased(one), new_id(), datetime.now(UTC)) for one in user_ids))


async def test_who_leaves_takes_the_feed_along() -> None:
    ada, bob = await make_people(2)
    await tell(ada, 2)
    await tell(bob)
    with as_reader(ada):
        await notifications.issue_stream_ticket()
        kept = await export_messages(ada)
    assert len(kept["feed"]) == 2
    waiting = await announce([ada])
    await leave(ada)
    await deliver()
    assert (await read_feed(ada)).items == ()
    assert len((await read_feed(bob)).items) == 1
    assert await db.value("SELECT count(*) FROM notifications.stream_ticket") == 0
    assert await db.value("SELECT status || ' ' || reason FROM notifications.message WHERE id = $1", waiting[0]) == "suppressed erased"


async def test_who_leaves_while_they_are_told_has_no_feed_afterwards() -> None:
    people = await make_people(30)
    await announce(list(people) * 5)
    with as_system():
        await asyncio.gather(in_app.deliver_in_app(), leave(*people), in_app.deliver_in_app())
    await deliver()
    assert await db.value("SELECT count(*) FROM notifications.feed_item") == 0
