"""Messages that are due leave once, whatever the other side does and whoever dies meanwhile; what does not leave says why."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from bench.plans import explain, scanned
from tests.conftest import asked_by
from tests.notifications.conftest import Post
from tests.notifications.feeds import as_system, make_people
from tests.notifications.mails import count_statuses, hurry, intend, named, rows, send
from tests.notifications.tidings import waits_for_a_lock
from tests.waiting import until

from souk import app, users
from souk.app import Shop
from souk.kit.background import LOOK_AGAIN_S
from souk.kit.ids import new_id
from souk.notifications import fanning_out, in_app, orphans, sending
from souk.notifications.channels.channel import FRESH_S
from souk.notifications.database import db
from souk.notifications.settings import Settings, settings
from souk.notifications.suppressions import list_suppressions, release_address

OpenPost = Callable[..., Post]

CUT_OFF_WHO_WAITS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What is late is looked for each time, not once a minute."""
    yield
    sending._looked.clear()


@pytest.fixture(autouse=True)
async def hung_up(shop: Shop, post: Post) -> None:
    post.use()


async def test_each_message_leaves_once_and_says_so(post: Post) -> None:
    people = await make_people(300)
    ids = await intend(people)
    assert await send() >= 300, "some have to wait for their turn"
    assert await send() == 0
    assert {row.status for row in (await rows()).values()} == {"sent"}
    assert sorted(str(one) for one in ids) == sorted(str(one["letter_id"]) for one in await post.letters())


async def test_processes_that_send_at_once_send_each_letter_once(post: Post) -> None:
    ids = await intend(await make_people(400))
    settings.replace(batch=20)
    await asyncio.gather(*(send() for _ in range(4)))
    assert await count_statuses() == {"sent": 400}
    assert sorted(str(one["letter_id"]) for one in await post.letters()) == sorted(map(str, ids))


async def test_what_somebody_waits_for_leaves_before_what_only_advertises(post: Post) -> None:
    *many, buyer = await make_people(41)
    await intend(many, "campaign")
    (awaited,) = await intend([buyer], "order_shipped")
    settings.replace(batch=10, batches=1)
    await send()
    assert await count_statuses() == {"sent": 41}
    assert (await post.letters())[0]["letter_id"] == str(awaited)


async def test_what_somebody_waits_for_leaves_while_advertisements_have_all_turns(post: Post) -> None:
    post.use(batch=10, batches=1, smtp_connections=20, smtp_answer_timeout_s=600.0)
    await intend(await named("timeout_lost", 20), "campaign")
    under_way = asyncio.create_task(send())

    async def all_turns_taken() -> bool:
        return (await count_statuses())["sending"] == 10

    await until(all_turns_taken)
    (awaited,) = await intend(await make_people(), "order_shipped")

    async def has_left() -> bool:
        return (await rows())[awaited].status == "sent"

    await until(has_left)
    assert await count_statuses() == {"sending": 10, "waiting": 10, "sent": 1}
    under_way.cancel()
    await asyncio.gather(under_way, return_exceptions=True)


async def test_several_messages_in_one_letter(post: Post) -> None:
    (person,) = await make_people()
    ids = await intend([person] * 3, "price_dropped", letter_id=new_id())
    await send()
    assert await count_statuses() == {"sent": 3}
    (letter,) = await post.letters()
    assert letter["letter_id"] == str(ids[0])
    assert (await post.read(letter["seq"]))["Subject"] == "3 news from Souk"


@pytest.mark.parametrize("channel", ["email", "push"])
async def test_a_thousand_messages_in_one_letter_leave(post: Post, channel: str) -> None:
    (person,) = await make_people()
    with asked_by("buyer", user_id=person):
        await users.change_notifications(person, users.ChangeNotifications(notifications={"price_drops": {channel: True}}))
    await intend([person] * 1_000, "price_dropped", channel, letter_id=new_id())
    await send(channel)
    assert await count_statuses() == {"sent": 1_000}
    (letter,) = await post.letters()
    assert letter["letter_id"] == str(min(await rows()))
    if channel == "email":
        message = await post.read(letter["seq"])
        assert message["Subject"] == "1000 news from Souk"
        assert "And 950 more" in message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert "And 950 more" in message.get_body(("html",)).get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("tag", "status", "reason", "kept"),
    [
        ("421", "waiting", "421 4.3.2", 0), ("451", "waiting", "451 4.7.1", 0), ("550", "failed", "550 5.1.1", 0),
        ("552", "failed", "552 5.3.4", 0), ("554", "failed", "554 5.7.1", 0), ("slow", "sent", None, 1),
        ("timeout_accepted", "sent", None, 1), ("drop_accepted", "sent", None, 1),
        ("timeout_lost", "waiting", "outcome_unknown", 0), ("drop_lost", "waiting", "outcome_unknown", 0),
    ],
)  # fmt: skip
async def test_what_each_habit_comes_to(post: Post, tag: str, status: str, reason: str | None, kept: int) -> None:
    settings.replace(orphan_grace_s=0.001)
    await intend(await named(tag))
    # Of what is unknown the book is asked, it is sent once more, and then with pauses.
    for _ in range(3):
        await send()
    (row,) = (await rows()).values()
    assert (row.status, row.reason, len(await post.letters())) == (status, reason, kept)
    await send()
    assert len(await post.letters()) == kept, "and never twice"


async def test_what_is_refused_for_good_is_never_tried_again_and_what_is_not_is(post: Post) -> None:
    await post.impose(next="451", count=2)
    people = await make_people(1)
    await intend(people)
    for attempts in (1, 2):
        await send()
        (row,) = (await rows()).values()
        assert (row.status, row.attempts, row.later) == ("waiting", attempts, True)
        assert await send() == 0, "not before its time"
        await hurry()
    await send()
    assert await count_statuses() == {"sent": 1}
    (gone,) = await named("550")
    await intend([gone])
    await send()
    await hurry()
    assert await send() == 0


async def test_it_is_given_up_in_the_end(post: Post) -> None:
    await post.impose(next="451", count=10)
    await intend(await make_people(), worth=timedelta(seconds=30))
    await send()
    (row,) = (await rows()).values()
    assert (row.status, row.reason) == ("failed", "given_up: 451 4.7.1")


async def test_an_address_that_does_not_exist_is_not_written_to_again(post: Post) -> None:
    (gone,) = await named("550")
    await intend([gone])
    await send()
    await intend([gone], "reset_password")
    await send()
    statuses = [(row.status, row.reason) for row in (await rows()).values()]
    assert statuses == [("failed", "550 5.1.1"), ("suppressed", "address_bounced")]
    with as_system():
        (contact,) = await users.get_contacts((gone,))
        (known,) = await list_suppressions(contact.email.upper(), 10, None)
        assert known.reason == "bounced"
        await release_address(known.id)
        assert await list_suppressions(None, 10, None) == ()


async def test_what_nobody_wants_any_more_is_not_sent(post: Post) -> None:
    gone, silent, content = await make_people(3)
    await intend([gone, silent, content])
    with asked_by("buyer", user_id=silent):
        await users.change_notifications(silent, users.ChangeNotifications(notifications={"order_updates": {"email": False}}))
    with as_system():
        await users.erase_user(gone)
    await intend([silent], "reset_password")
    await send()
    found = [(row.user_id, row.status, row.reason) for row in (await rows()).values()]
    assert (gone, "suppressed", "erased") in found
    assert (silent, "suppressed", "opted_out") in found
    assert found.count((content, "sent", None)) == 1
    assert (silent, "sent", None) in found, "what somebody has to be told is"


async def test_what_cannot_be_written_is_not_sent_half(post: Post) -> None:
    good, bad, late = await make_people(3)
    await intend([good])
    await intend([bad], content={"order_id": str(new_id())})
    await intend([late], worth=timedelta(seconds=-1))
    await send()
    found = {(row.user_id, row.status, row.reason) for row in (await rows()).values()}
    assert (bad, "failed", "template: missing: number") in found
    assert (late, "failed", "given_up: too late") in found
    assert (good, "sent", None) in found
    assert all(str(bad) not in str(one["recipient"]) for one in await post.letters())


async def test_a_token_is_in_the_letter_and_nowhere_else(post: Post) -> None:
    (person,) = await make_people()
    await intend([person], "reset_password", content={})
    await send()
    (letter,) = await post.letters()
    message = await post.read(letter["seq"])
    text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    token = text.partition("reset-password?token=")[2].split()[0]
    await users.reset_password(users.ResetPassword(token, "a new one, and a good one"))
    stored = await db.pool.fetch("SELECT content::text AS content FROM notifications.message")
    assert all(token not in row["content"] for row in stored)
    assert "List-Unsubscribe" not in message


async def test_a_token_goes_to_the_mailbox_that_it_proves_and_to_no_other(post: Post) -> None:
    (person,) = await make_people()
    await intend([person], "reset_password", content={})
    async with db.pool.acquire() as outside:
        async with outside.transaction():
            await outside.execute("LOCK TABLE notifications.suppression IN ACCESS EXCLUSIVE MODE")
            sending_it = asyncio.create_task(send())
            await until(waits_for_a_lock)
            # Between asking for the address and making the token.
            await outside.execute("UPDATE users.users SET email = 'new@x.test' WHERE id = $1", person)
        await sending_it
    assert await count_statuses() == {"waiting": 1}
    await hurry()
    await send()
    (letter,) = await post.letters()
    assert letter["recipient"] == "new@x.test"


async def test_mail_of_one_has_nothing_of_another(post: Post) -> None:
    people = await make_people(50)
    with as_system():
        for person in people:
            await users.change_user(person, users.ChangeUser(name=f"Canary {person.hex}"))
    for number, person in enumerate(people):
        await intend([person], "order_shipped", content={"order_id": str(new_id()), "number": f"N-{person.hex}-{number}"})
    await send()
    letters = await post.letters()
    assert len(letters) == 50
    by_address = {f"{person}@example.com": person for person in people}
    for letter in letters:
        raw = (await post.read_raw(letter["seq"])).replace(b"=\r\n", b"").decode()
        mine = by_address.pop(str(letter["recipient"]))
        seen = {other for other in people if other.hex in raw or str(other) in raw}
        assert seen == {mine}


async def test_texts_and_pushes(post: Post) -> None:
    (person,) = await make_people()
    with as_system():
        await users.change_user(person, users.ChangeUser(phone_number="+4930123"))
    with asked_by("buyer", user_id=person):
        both = {"order_updates": {"sms": True, "push": True}}
        await users.change_notifications(person, users.ChangeNotifications(notifications=both))
    await intend([person], channel="sms")
    await intend([person], channel="push")
    await send("sms")
    await send("push")
    assert {(one["channel"], one["recipient"]) for one in await post.letters()} == {("sms", "+4930123"), ("push", str(person))}


async def test_without_a_mail_server_messages_wait_and_are_given_up_at_last() -> None:
    settings.replace(smtp_host="", sandbox_url="")
    await intend(await make_people())
    await intend(await make_people(), worth=timedelta(seconds=-1))
    assert await send() == 1
    assert await count_statuses() == {"waiting": 1, "failed": 1}


async def test_a_process_that_is_told_to_stop_finishes_what_is_in_flight(post: Post, whole_shop: Shop) -> None:
    people = await named("slow", 8)
    await intend(people)
    sender = asyncio.create_task(send())

    async def begun() -> bool:
        return await count_statuses() == {"sending": 8}

    await until(begun)
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    assert await count_statuses() == {"sent": 8}


async def test_when_no_more_can_be_claimed_what_is_in_flight_is_finished(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FINISH_WITHIN_S", 0.0)
    await intend(await named("slow", 3))
    sending_it = asyncio.create_task(send())

    async def has_begun() -> bool:
        return await count_statuses() == {"sending": 3}

    await until(has_begun)
    await db.pool.execute("ALTER TABLE notifications.message RENAME TO message_elsewhere")
    await asyncio.sleep(2 * LOOK_AGAIN_S)
    assert not sending_it.done()
    await db.pool.execute("ALTER TABLE notifications.message_elsewhere RENAME TO message")
    with pytest.raises(asyncpg.UndefinedTableError):
        await sending_it
    assert await count_statuses() == {"sent": 3}


async def test_an_outcome_is_written_though_the_database_was_away(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    await intend(await named("slow"))
    sending_it = asyncio.create_task(send())

    async def has_begun() -> bool:
        return await count_statuses() == {"sending": 1}

    async def is_not_written() -> bool:
        await outside.execute(CUT_OFF_WHO_WAITS)
        return "outcomes_not_written" in caplog.text

    await until(has_begun)
    async with db.pool.acquire() as outside:
        async with outside.transaction():
            await outside.execute("SELECT FROM notifications.message FOR UPDATE")
            # Another connection says that we live.
            db.owner = 4712
            await until(is_not_written)
        await sending_it
    assert await count_statuses() == {"sent": 1}


def test_nobody_asks_for_a_letter_while_its_conversation_may_last() -> None:
    known = Settings()
    assert known.grace_s > FRESH_S + 4 * known.smtp_timeout_s + known.smtp_answer_timeout_s
    assert msgspec.structs.replace(known, orphan_grace_s=5.0).grace_s == 5.0


@pytest.mark.parametrize("channel", ["email", "in_app"])
async def test_a_topic_that_only_a_newer_release_knows_stops_nobody_else(post: Post, channel: str) -> None:
    ids = await intend(await make_people(3), channel=channel)
    await db.pool.execute("UPDATE notifications.message SET topic = 'of tomorrow' WHERE id = $1", ids[0])
    if channel == "email":
        await send()
    else:
        with as_system():
            assert (await in_app.deliver_in_app(), await in_app.deliver_in_app()) == (3, 0)
    found = await db.pool.fetch("SELECT status, reason, due_at > now() AS later FROM notifications.message ORDER BY id")
    assert [tuple(row) for row in found] == [("waiting", "unknown_topic", True), ("sent", None, False), ("sent", None, False)]


@pytest.mark.parametrize("channel", ["email", "in_app", "push"])
async def test_a_kind_that_only_a_newer_release_knows_waits_for_it_and_stops_nobody_else(post: Post, channel: str) -> None:
    people = await make_people(3)
    for person in people:
        with asked_by("buyer", user_id=person):
            await users.change_notifications(person, users.ChangeNotifications(notifications={"price_drops": {channel: True}}))
    alone = await intend(people[:2], "price_dropped", channel)
    # In a digest the others leave without it, and it is there for whoever can write it.
    first, *others = await intend([people[2]] * 3, "price_dropped", channel, letter_id=new_id() if channel != "in_app" else None)
    await db.pool.execute("UPDATE notifications.message SET kind = 'of_tomorrow' WHERE id = ANY($1)", [alone[0], others[0]])
    await deliver(channel)
    found = await db.pool.fetch("SELECT id, status, reason, due_at > now() AS later FROM notifications.message ORDER BY id")
    left = {row["id"]: (row["status"], row["reason"], row["later"]) for row in found}
    waits, sent = ("waiting", "unknown_kind", True), ("sent", None, False)
    assert [left[one] for one in alone] == [waits, sent]
    assert [left[one] for one in others] == [waits, sent]
    # The first message of a letter ends last.
    assert left[first] == (sent if channel == "in_app" else waits)
    assert len(await post.letters()) == (0 if channel == "in_app" else 2)


async def deliver(channel: str) -> None:
    if channel != "in_app":
        await send(channel)
        return
    with as_system():
        await in_app.deliver_in_app()


async def test_a_letter_that_cannot_be_written_by_a_fault_of_ours_stops_no_other(post: Post) -> None:
    ids = await intend(await make_people(3))
    # Nobody has thought of goods that are a number.
    await db.pool.execute("UPDATE notifications.message SET content = content || '{\"items\": [5]}' WHERE id = $1", ids[1])
    await send()
    statuses = {one: (row.status, row.reason) for one, row in (await rows()).items()}
    assert statuses == {ids[0]: ("sent", None), ids[1]: ("waiting", "our own trouble"), ids[2]: ("sent", None)}


@pytest.mark.parametrize(
    "sql",
    [
        sending.IS_DUE, sending.LOCK_DUE, sending.LOCK_LATE, sending.FAIL_LATE, orphans.LOCK_ORPHANS,
        fanning_out.LOCK_TO_HOLD, fanning_out.LOCK_TO_RELEASE, fanning_out.LOCK_TO_WITHDRAW,
    ],
)  # fmt: skip
async def test_no_messages_are_looked_for_by_reading_all_of_them(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"})
    plan = await explain(connection, sql)
    await connection.close()
    assert not [table for table in scanned(plan) if "message" in table]


async def test_a_working_shop_sends_by_itself(shop: Shop, post: Post, whole_shop: Shop) -> None:
    (person,) = await make_people()
    await intend([person])
    async with app.at_work(whole_shop):

        async def sent() -> bool:
            return await count_statuses() == {"sent": 1}

        await until(sent)
