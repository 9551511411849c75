"""Nobody is disturbed more often than they may be, whatever was put off since it was planned and however many send at once (N-06)."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.conftest import asked_by
from tests.notifications.conftest import Post
from tests.notifications.feeds import as_system, make_people
from tests.notifications.mails import count_statuses, hurry, intend, rows
from tests.notifications.tidings import pass_time
from tests.torture import report, rounds

from souk import notifications
from souk.kit.ids import new_id
from souk.notifications import fanning_out, sending
from souk.notifications.campaign_types import NewCampaign, Schedule, Words
from souk.notifications.database import db
from souk.notifications.deciding import Limit
from souk.notifications.limits import limits
from souk.notifications.pacing import Leaving, Left, find_excess
from souk.notifications.settings import settings
from souk.notifications.settling import Settled

pytestmark = pytest.mark.usefixtures("shop")

SENDERS = 64
AN_HOUR = timedelta(hours=1)
LEFT = "SELECT user_id, topic, sent_at FROM notifications.message WHERE status = 'sent' AND channel = 'email' ORDER BY sent_at"


async def claim_and_send() -> None:
    taken = await sending.claim("email", 4711)
    await sending.write_down([Settled(one, "sent") for one in taken], (), 4711, datetime.now(UTC))


async def send() -> None:
    db.owner = db.owner or 4711
    with as_system():
        await sending.send_due("email")


def most_within(moments: list[datetime], within: timedelta) -> int:
    """The most that any stretch of this length holds."""
    return max(sum(start <= one < start + within for one in moments) for start in moments)


async def test_64_senders_let_no_more_leave_in_any_hour_than_may(shop: object) -> None:
    """All of it was put off until now, as by a relay that was away: it is due at one moment."""
    limits.replace(service_per_hour=5, promotions_per_day=2)
    settings.replace(batch=2)
    people = await make_people(3)
    for person in people:
        await intend([person] * rounds(20, 100), "order_shipped")
        await intend([person] * 5, "campaign")
        await intend([person] * 10, "sessions_revoked")
    steps = rounds(20, 200)
    for _ in range(steps):
        await asyncio.gather(*(claim_and_send() for _ in range(SENDERS)))
        await pass_time(timedelta(minutes=7))
    found = await db.pool.fetch(LEFT)
    for person in people:
        left = {topic: [row["sent_at"] for row in found if (row["user_id"], row["topic"]) == (person, topic)] for topic in
                ("order_updates", "promotions", "security")}  # fmt: skip
        assert most_within(left["order_updates"], AN_HOUR) == 5
        assert len(left["order_updates"]) >= 10, "what is too much waits, and leaves"
        assert len(left["promotions"]) == 2
        assert len(left["security"]) == 10, "what is mandatory is not counted"
    reasons = Counter((row.status, row.reason) for row in (await rows()).values() if row.status != "sent")
    assert set(reasons) <= {("suppressed", "too_many"), ("waiting", "too_many")}
    assert reasons["suppressed", "too_many"] == 9
    report("N-06.txt", f"N-06: {SENDERS} senders, {steps} steps of 7 minutes, {len(found)} letters, overshoot 0")


async def test_what_is_tried_again_counts_where_it_leaves_and_not_where_it_was_due(post: Post) -> None:
    post.use()
    limits.replace(service_per_hour=2)
    (person,) = await make_people()
    await post.impose(next="451", count=2)
    await intend([person] * 2)
    await send()
    assert await count_statuses() == {"waiting": 2}
    # An hour later others are planned, for these two were due before; and now the relay takes letters again.
    await pass_time(timedelta(minutes=61))
    await intend([person] * 2)
    await send()
    await hurry()
    await send()
    assert await count_statuses() == {"sent": 2, "waiting": 2}
    assert len(await post.letters()) == 2
    assert {row.reason for row in (await rows()).values() if row.status == "waiting"} == {"too_many"}
    await pass_time(timedelta(minutes=61))
    await send()
    assert await count_statuses() == {"sent": 4}


async def hold(campaign_id: UUID) -> None:
    with asked_by("admin"):
        await notifications.hold_campaign(campaign_id)
    await move()


async def move() -> None:
    with as_system():
        while await fanning_out.move_campaigns():
            continue


async def test_a_campaign_that_was_held_is_not_sent_beside_others(post: Post) -> None:
    post.use()
    limits.replace(promotions_per_day=1)
    (person,) = await make_people()
    begun = []
    for subject in ("Spring", "Summer", "Autumn"):
        with asked_by("admin"):
            campaign = await notifications.create_campaign(NewCampaign(name=subject, words={"en": Words(subject, "Until Sunday.")}))
            await notifications.set_campaign_schedule(campaign.id, Schedule())
        await move()
        await hold(campaign.id)
        begun.append(campaign.id)
    await pass_time(timedelta(days=10))
    for campaign_id in begun:
        with asked_by("admin"):
            await notifications.resume_campaign(campaign_id)
    await move()
    for _ in range(3):
        await send()
    mails = Counter((row.status, row.reason) for row in (await rows()).values())
    assert mails == {("sent", None): 1, ("suppressed", "too_many"): 2}
    (letter,) = await post.letters()
    assert letter["recipient"] == f"{person}@example.com"


NOW = datetime(2030, 1, 1, tzinfo=UTC)


@hypothesis_settings(max_examples=rounds(200, 10_000), deadline=None)
@given(before=st.lists(st.integers(0, 120), max_size=12), new=st.integers(1, 12), count=st.integers(1, 5))
def test_what_leaves_and_what_waits(before: list[int], new: int, count: int) -> None:
    person = new_id()
    left = [Left(person, "order_updates", NOW - timedelta(minutes=minutes)) for minutes in before]
    leaving = [Leaving(new_id(), person, "order_updates", False, NOW + timedelta(days=3), NOW) for _ in range(new)]
    excess = find_excess(leaving, left, {"service": Limit(count, AN_HOUR)})
    near = [one for one in left if one.left_at > NOW - AN_HOUR]
    assert len(leaving) - len(excess) == min(new, max(0, count - len(near)))
    assert [one.letter_id for one in excess] == [one.id for one in leaving[new - len(excess) :]], "who comes first leaves first"
    assert all(one.due_at is not None and one.due_at > NOW for one in excess)
