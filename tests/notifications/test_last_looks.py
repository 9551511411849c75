"""What people want when a letter leaves is what counts: a no that was answered (N-04), and where they are by then (N-05)."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.notifications.conftest import Post
from tests.notifications.feeds import make_people
from tests.notifications.mails import hurry, intend, rows, send
from tests.torture import report, rounds

from souk import notifications, users
from souk.notifications import unsubscribing
from souk.notifications.database import db
from souk.notifications.hours import end_of_quiet, is_quiet, zone_of
from souk.notifications.sealing import Wish, write_unsubscribe_token
from souk.notifications.settings import settings

pytestmark = pytest.mark.usefixtures("shop")

SENDERS, LETTERS = 3, 6
DECIDED = "SELECT user_id, status, reason, topic, decided_at, letter_id FROM notifications.message ORDER BY id"


async def keep_sending(until_done: asyncio.Event) -> None:
    while not until_done.is_set():
        await send()
        await asyncio.sleep(0)


async def refuse(user_id: UUID, by_link: bool, after_s: float) -> datetime:
    """Somebody says no in the middle of it, signed in or by the link of a letter; when they had the answer."""
    await asyncio.sleep(after_s)
    if by_link:
        await unsubscribing.unsubscribe_from_topic(write_unsubscribe_token(Wish(user_id, "order_updates", "email")))
    else:
        wanted = users.SetNotifications(notifications={"order_updates": {"email": False}}, quiet_hours=None, digests={})
        with asked_by("buyer", user_id=user_id):
            await notifications.set_notification_preferences(user_id, wanted)
    return datetime.now(UTC)


async def test_after_the_answer_to_a_no_nothing_begins_to_leave(post: Post) -> None:
    """People say no while processes send to them; what leaves at all was looked at before they had their answer."""
    post.use(batch=7, smtp_connections=2)
    chance, left, kept_back = random.Random(4), 0, 0
    for _ in range(rounds(4, 100)):
        people = await make_people(25)
        await intend([person for _ in range(LETTERS) for person in people], "order_shipped")
        await intend(people, "sessions_revoked")
        done = asyncio.Event()
        senders = [asyncio.create_task(keep_sending(done)) for _ in range(SENDERS)]
        answered = await asyncio.gather(*(refuse(one, number % 2 == 0, chance.random() * 0.4) for number, one in enumerate(people)))
        no = dict(zip(people, answered, strict=True))
        # Whatever comes afterwards, too.
        await intend(people, "order_shipped")
        done.set()
        await asyncio.gather(*senders)
        while await send():
            continue
        for row in await db.pool.fetch(DECIDED):
            if row["user_id"] not in no:
                continue
            if row["topic"] == "order_updates":
                assert (row["status"], row["reason"]) in {("sent", None), ("suppressed", "opted_out")}
                assert row["status"] != "sent" or row["decided_at"] <= no[row["user_id"]]
                left, kept_back = left + (row["status"] == "sent"), kept_back + (row["status"] != "sent")
            else:
                assert row["status"] == "sent", "what they have to be told is told"
        taken = {str(one["letter_id"]) for one in await post.letters()}
        assert taken == {str(one.letter_id) for one in (await rows()).values() if one.status == "sent"}
    assert min(left, kept_back) > 0, "some were quicker than others"
    report("N-04.txt", f"N-04: {left} letters left before the answer, {kept_back} were kept back after it, violations 0")


async def live_in(user_id: UUID, zone: str, quiet: users.QuietHours) -> None:
    with asked_by("buyer", user_id=user_id):
        await users.set_preferences(user_id, users.SetPreferences(timezone=zone, quiet_hours=quiet))


def find_zone_in_quiet(quiet: users.QuietHours, now: datetime, *, is_in: bool) -> str:
    """A zone whose clocks show quiet hours now, or not."""
    zones = [f"Etc/GMT{hours:+d}" for hours in range(-12, 13)]
    return next(zone for zone in zones if is_quiet(now, zone, quiet) == is_in)


@pytest.mark.parametrize("kind", ["order_shipped", "campaign"])
async def test_who_has_moved_meanwhile_is_not_woken_where_they_are_now(post: Post, kind: str) -> None:
    post.use()
    (person,) = await make_people()
    now = datetime.now(UTC)
    quiet = users.QuietHours(f"{(now.hour + 5) % 24:02}:00", f"{(now.hour + 8) % 24:02}:00")
    await live_in(person, find_zone_in_quiet(quiet, now, is_in=False), quiet)
    await intend([person], kind)
    await intend([person], "sessions_revoked")
    # They land where it is the middle of the night.
    night = find_zone_in_quiet(quiet, now, is_in=True)
    await live_in(person, night, quiet)
    await send()
    found = {row["topic"]: row for row in await db.pool.fetch("SELECT topic, status, reason, due_at FROM notifications.message")}
    assert found.pop("security")["status"] == "sent", "what they have to be told does not wait"
    (waits,) = found.values()
    assert (waits["status"], waits["reason"]) == ("waiting", "quiet_hours")
    assert waits["due_at"] == end_of_quiet(waits["due_at"] - timedelta(minutes=1), night, quiet)
    assert f"{waits['due_at'].astimezone(zone_of(night)):%H:%M}" == quiet.ends
    # And they go on to where it is day, and it is their morning.
    await live_in(person, find_zone_in_quiet(quiet, now, is_in=False), quiet)
    await hurry()
    await send()
    assert {row.status for row in (await rows()).values()} == {"sent"}


async def test_quiet_hours_of_any_zone_are_kept_where_it_leaves(post: Post) -> None:
    """Whatever was planned: here all of it is due now, as after a day without a relay."""
    post.use()
    settings.replace(batch=50)
    people = await make_people(25)
    now = datetime.now(UTC)
    quiet = users.QuietHours("22:00", "07:00")
    zones = dict(zip(people, [f"Etc/GMT{hours:+d}" for hours in range(-12, 13)], strict=True))
    for person, zone in zones.items():
        await live_in(person, zone, quiet)
    await intend(people, "order_shipped")
    while await send():
        continue
    for row in (await rows()).values():
        assert row.user_id is not None
        # The hour may change while we look.
        asleep = {is_quiet(moment, zones[row.user_id], quiet) for moment in (now, datetime.now(UTC))}
        assert (row.status == "waiting") in asleep
        assert row.reason == ("quiet_hours" if row.status == "waiting" else None)
    assert {row.status for row in (await rows()).values()} == {"sent", "waiting"}
