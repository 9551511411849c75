"""Campaigns: written, scheduled, told to each recipient once whatever happens on the way, held, resumed, withdrawn, counted."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tests.conftest import asked_by
from tests.notifications.campaigns import WORDS, begin, breaking_off, check_books, go_on, in_feeds, look, schedule, step, told, write
from tests.notifications.feeds import as_system, make_people, serve
from tests.notifications.mails import hurry
from tests.notifications.tidings import live_in, waits_for_a_lock
from tests.ports import find_free_port
from tests.torture import report, rounds
from tests.waiting import until

from souk import notifications, users
from souk.kit.errors import Forbidden, InvalidField, NotFound
from souk.kit.ids import new_id
from souk.notifications import fanning_out, in_app, pages, sending
from souk.notifications.campaign_types import CampaignChange, CampaignHasBegun, NewCampaign, Schedule, Words, choose_words
from souk.notifications.database import db
from souk.notifications.settings import settings
from souk.notifications.settling import try_later
from souk.users import Segment

pytestmark = pytest.mark.usefixtures("shop")


async def finish_messages(campaign: notifications.Campaign) -> None:
    """Everything that waits has left."""
    sql = "UPDATE notifications.message SET status = 'sent', sent_at = now() WHERE notice_id = $1 AND status = 'waiting'"
    await db.pool.execute(sql, campaign.id)


async def test_a_campaign_from_the_first_word_to_the_last_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 7)
    people = await make_people(20)
    campaign = await begin()
    await go_on()
    seen = await look(campaign)
    assert (seen.campaign.status, seen.campaign.recipients) == ("sending", 20)
    assert {(one.channel, one.status, one.count) for one in seen.counts} == {("email", "waiting", 20), ("in_app", "sent", 20)}
    assert await told(campaign) == await told(campaign, "in_app") == sorted(people)
    assert await db.value("SELECT bool_and(advertises) FROM notifications.message"), "nobody waits for it"
    await finish_messages(campaign)
    await go_on()
    assert (await look(campaign)).campaign.status == "sent"
    await check_books()


async def test_who_does_not_want_it_is_not_left_out_of_the_books() -> None:
    ada, bob = await make_people(2)
    with asked_by("buyer", user_id=ada):
        await users.set_preferences(ada, users.SetPreferences(notifications={"promotions": {"email": False}}, language="de-AT"))
    campaign = await begin()
    await go_on()
    assert {(one.channel, one.status, one.reason) for one in (await look(campaign)).counts} == {
        ("email", "waiting", None),
        ("email", "suppressed", "opted_out"),
        ("in_app", "sent", None),
    }
    async with db.transaction() as tx:
        rows = await tx.connection.fetch("SELECT user_id, content FROM notifications.message WHERE channel = 'in_app'")
    assert {row["user_id"]: row["content"]["subject"] for row in rows} == {ada: "Frühling", bob: "Spring sale"}
    await check_books()


@pytest.mark.parametrize("channel", ["email", "in_app"])
async def test_a_campaign_on_one_channel_is_told_on_no_other(channel: str) -> None:
    people = await make_people(600)
    campaign = await begin(channels=(channel,))
    await go_on()
    (counted,) = (await look(campaign)).counts
    assert (counted.channel, counted.count) == (channel, 600)
    assert await told(campaign, channel) == sorted(people)
    assert await in_feeds() == (sorted(people) if channel == "in_app" else [])
    await check_books()


async def test_who_does_not_want_it_on_the_one_channel_has_it_on_none() -> None:
    ada, bob = await make_people(2)
    with asked_by("buyer", user_id=ada):
        await users.set_preferences(ada, users.SetPreferences(notifications={"promotions": {"email": False, "sms": True}}))
    campaign = await begin(channels=("email", "push"))
    await go_on()
    counts = {(one.channel, one.status, one.reason, one.count) for one in (await look(campaign)).counts}
    assert counts == {("email", "waiting", None, 1), ("email", "suppressed", "opted_out", 1)}
    assert await told(campaign) == sorted([ada, bob])


async def test_a_segment_is_told_and_nobody_else() -> None:
    people = await make_people(6)
    await make_people(3, verified=False)
    campaign = await begin(segment=Segment(user_ids=people[:2]))
    await go_on()
    assert await told(campaign) == sorted(people[:2])


@pytest.mark.parametrize("where", ["AFTER INSERT ON notifications.message", "AFTER UPDATE ON notifications.campaign"])
async def test_a_fan_out_that_breaks_off_anywhere_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(pages, "PAGE", 10)
    people = await make_people(rounds(95, 995))
    campaign = await begin()
    breaks = 0
    async with breaking_off(where):
        for _ in range(1_000):
            try:
                if not await step():
                    break
            except asyncpg.RaiseError:
                breaks += 1
    await go_on()
    assert breaks > 0
    assert await told(campaign) == await in_feeds() == sorted(people)
    assert (await look(campaign)).campaign.recipients == len(people)
    await check_books()


async def test_two_who_fan_out_at_once_tell_everybody_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 5)
    people = await make_people(60)
    campaign = await begin()
    for _ in range(20):
        await asyncio.gather(*(step() for _ in range(4)))
    await go_on()
    assert await told(campaign) == await in_feeds() == sorted(people)
    assert (await look(campaign)).campaign.recipients == 60
    await check_books()


async def test_a_campaign_waits_for_its_time_and_is_late_only_if_the_shop_was_away() -> None:
    await make_people(2)
    campaign = await schedule(await write(), at=datetime.now(UTC) + timedelta(hours=1))
    await go_on()
    assert ((await look(campaign)).campaign.status, await told(campaign)) == ("scheduled", [])
    await schedule(campaign, at=datetime.now(UTC) - timedelta(hours=5))
    await go_on()
    assert len(await told(campaign)) == 2


async def test_each_has_it_when_their_own_clock_shows_the_time() -> None:
    east, west, home = await make_people(3)
    for one, zone in ((east, "Pacific/Kiritimati"), (west, "Pacific/Pago_Pago"), (home, "Europe/Berlin")):
        with asked_by("buyer", user_id=one):
            await users.set_preferences(one, users.SetPreferences(timezone=zone))
    # Fourteen hours ahead of us it is nine o'clock in a quarter of an hour.
    clock = (datetime.now(UTC) + timedelta(hours=14, minutes=-15)).replace(second=0, microsecond=0, tzinfo=None)
    campaign = await schedule(await write(), local=clock.isoformat(timespec="minutes"))
    await go_on()
    async with db.transaction() as tx:
        rows = await tx.connection.fetch("SELECT user_id, due_at FROM notifications.message WHERE channel = 'email'")
    due = {row["user_id"]: row["due_at"] for row in rows}
    assert abs(due[east] - datetime.now(UTC)) < timedelta(minutes=1)
    assert due[west] == clock.replace(tzinfo=UTC) + timedelta(hours=11)
    assert due[home] - clock.replace(tzinfo=UTC) in (timedelta(hours=-1), timedelta(hours=-2))
    assert (await look(campaign)).campaign.status == "sending"
    assert await in_feeds() == [east], "what lies in a feed is told, too"
    with asked_by("admin"), pytest.raises(InvalidField):
        await notifications.set_campaign_schedule((await write()).id, Schedule(local="2030-02-30T09:00"))


async def test_what_is_held_is_not_sent_and_goes_on_when_it_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 10)
    monkeypatch.setattr(fanning_out, "CHANGED_AT_ONCE", 7)
    people = await make_people(30)
    campaign = await begin()
    await step()
    with asked_by("admin"):
        await notifications.hold_campaign(campaign.id)
        assert (await notifications.hold_campaign(campaign.id)).status == "paused"
    await go_on()
    held = "SELECT count(*) FROM notifications.message WHERE due_at < now() + interval '1 year' AND status = 'waiting'"
    assert (await db.value(held), len(await told(campaign))) == (0, 10)
    assert {(one.channel, one.reason) for one in (await look(campaign)).counts} == {("email", "paused"), ("in_app", None)}
    with asked_by("admin"):
        assert (await notifications.resume_campaign(campaign.id)).status == "sending"
        await notifications.resume_campaign(campaign.id)
    await go_on()
    assert (await db.value(held), await told(campaign)) == (30, sorted(people))
    late = "SELECT count(*) FROM notifications.message WHERE give_up_at < now() OR give_up_at > now() + interval '2 days'"
    assert await db.value(late) == 0
    await finish_messages(campaign)
    await go_on()
    assert (await look(campaign)).campaign.status == "sent"


async def test_what_is_cancelled_is_withdrawn_where_nobody_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 10)
    monkeypatch.setattr(fanning_out, "CHANGED_AT_ONCE", 3)
    await make_people(30)
    campaign = await begin()
    await step()
    one = (await told(campaign))[0]
    sent = "UPDATE notifications.message SET status = 'sent', sent_at = now() WHERE user_id = $1 AND channel = 'email'"
    await db.pool.execute(sent, one)
    with asked_by("admin"):
        await notifications.cancel_campaign(campaign.id)
        assert (await notifications.cancel_campaign(campaign.id)).status == "cancelled"
        with pytest.raises(CampaignHasBegun):
            await notifications.resume_campaign(campaign.id)
        with pytest.raises(CampaignHasBegun):
            await notifications.remove_campaign(campaign.id)
    await go_on()
    counts = {(one.channel, one.status, one.reason): one.count for one in (await look(campaign)).counts}
    assert counts == {
        ("email", "sent", None): 1,
        ("email", "suppressed", "campaign_cancelled"): 9,
        ("in_app", "sent", None): 10,
    }
    await check_books()


@pytest.mark.parametrize("stands", ["paused", "cancelled"])
async def test_what_comes_back_from_an_attempt_after_its_campaign_was_stopped_stops_too(stands: str) -> None:
    settings.replace(smtp_host="127.0.0.1", smtp_port=find_free_port(), smtp_timeout_s=0.5)
    await make_people(3)
    campaign = await begin()
    await go_on()
    db.owner = db.owner or 4711
    with as_system():
        taken = await sending.claim("email", db.owner)
    assert len(taken) == 3
    with asked_by("admin"):
        await (notifications.hold_campaign if stands == "paused" else notifications.cancel_campaign)(campaign.id)
    await go_on()
    # The relay was busy: they are to be tried again.
    await sending.write_down([try_later(one, "451", datetime.now(UTC)) for one in taken], (), db.owner)
    with as_system():
        await sending.send_due("email")
    await go_on()
    reason = "paused" if stands == "paused" else "campaign_cancelled"
    assert {one.reason for one in (await look(campaign)).counts if one.channel == "email"} == {reason}
    if stands == "paused":
        with asked_by("admin"):
            await notifications.resume_campaign(campaign.id)
        await go_on()
        assert await db.value("SELECT count(*) FROM notifications.message WHERE due_at < now() + interval '1 hour'") == 6


async def begin_for_later() -> notifications.Campaign:
    """A campaign that was planned for an hour which has come by now."""
    await make_people(3)
    campaign = await schedule(await write(), local=f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    await step()
    await hurry()
    return campaign


@pytest.mark.parametrize("stands", ["paused", "cancelled"])
@pytest.mark.parametrize("settled", [False, True])
async def test_what_was_found_to_be_due_before_a_campaign_was_stopped_comes_into_no_feed(stands: str, settled: bool) -> None:
    campaign = await begin_for_later()
    async with db.pool.acquire() as outside, outside.transaction():
        # Between finding what is due and asking who reads it.
        await outside.execute("LOCK TABLE users.users")
        delivering = asyncio.create_task(deliver_in_app())
        await until(waits_for_a_lock)
        with asked_by("admin"):
            await (notifications.hold_campaign if stands == "paused" else notifications.cancel_campaign)(campaign.id)
        while settled and await fanning_out.move_campaigns():
            continue
    await delivering
    assert await db.value("SELECT count(*) FROM notifications.feed_item") == 0
    await go_on()
    assert {one.reason for one in (await look(campaign)).counts} == {"paused" if stands == "paused" else "campaign_cancelled"}
    await check_books()


async def test_a_campaign_is_stopped_when_what_just_comes_into_feeds_is_there() -> None:
    campaign = await begin_for_later()
    async with db.pool.acquire() as outside, outside.transaction():
        await outside.execute("LOCK TABLE notifications.feed_item IN SHARE MODE")
        delivering = asyncio.create_task(deliver_in_app())
        await until(waits_for_a_lock)
        # Nobody is told that it is stopped while some of it is still on its way, and the fan-out does not wait for that.
        stopping = asyncio.create_task(hold(campaign))
        await until(lambda: waits_for_a_lock(2))
    await delivering
    await stopping
    assert await db.value("SELECT count(*) FROM notifications.feed_item") == 3
    await go_on()
    assert {(one.channel, one.status) for one in (await look(campaign)).counts} == {("in_app", "sent"), ("email", "waiting")}


async def hold(campaign: notifications.Campaign) -> None:
    with asked_by("admin"):
        await notifications.hold_campaign(campaign.id)


async def deliver_in_app() -> None:
    with as_system():
        await in_app.deliver_in_app()


@pytest.mark.parametrize(
    "when",
    [
        {"local": "0001-01-01T00:00"}, {"local": "9999-12-31T23:59"}, {"at": datetime(1, 1, 1, tzinfo=UTC)}, {"local": "2020-01-01T00:00"},
    ],
)  # fmt: skip
async def test_a_time_that_nobody_means_is_refused(when: dict[str, object]) -> None:
    with pytest.raises(InvalidField):
        await schedule(await write(), **when)


async def test_a_campaign_that_cannot_go_on_does_not_stop_the_others() -> None:
    people = await make_people(3)
    for person in people:
        await live_in(person, "Asia/Tokyo")
    broken = await begin()
    await db.pool.execute("UPDATE notifications.campaign SET scheduled_at = '0001-01-01', local_time = true WHERE id = $1", broken.id)
    whole = await begin()
    for _ in range(3):
        with pytest.raises(OverflowError):
            await step()
    assert (len(await told(broken)), len(await told(whole))) == (0, 3)


async def test_a_campaign_of_a_kind_that_only_a_newer_release_knows_waits_for_it_and_stops_nobody_else() -> None:
    await make_people(3)
    newer, older = await begin(), await begin()
    # What its migration would say.
    await db.pool.execute("ALTER TABLE notifications.campaign DROP CONSTRAINT campaign_is_of_a_kind")
    await db.pool.execute("UPDATE notifications.campaign SET kind = 'hologram' WHERE id = $1", newer.id)
    await go_on()
    assert (len(await told(newer)), len(await told(older))) == (0, 3)
    assert await db.value("SELECT status FROM notifications.campaign WHERE id = $1", newer.id) == "sending"
    await db.pool.execute("UPDATE notifications.campaign SET kind = 'campaign' WHERE id = $1", newer.id)
    await db.pool.execute(
        "ALTER TABLE notifications.campaign ADD CONSTRAINT campaign_is_of_a_kind CHECK (kind IN ('campaign', 'recommendations'))"
    )


async def test_what_has_begun_is_not_changed() -> None:
    await make_people(1)
    campaign = await write()
    with asked_by("admin"):
        changed = await notifications.change_campaign(campaign.id, CampaignChange(name="Summer", channels=("email",)))
        assert (changed.name, changed.words, changed.channels) == ("Summer", WORDS, ("email",))
        assert (await notifications.change_campaign(campaign.id, CampaignChange(name="Summer"))).channels == ("email",)
        assert (await notifications.change_campaign(campaign.id, CampaignChange(channels=None))).channels is None
    await schedule(campaign)
    await go_on()
    with asked_by("admin"):
        for attempt in (notifications.change_campaign(campaign.id, CampaignChange(name="X")), notifications.remove_campaign(campaign.id)):
            with pytest.raises(CampaignHasBegun):
                await attempt
    draft = await write()
    with asked_by("admin"):
        await notifications.remove_campaign(draft.id)
        with pytest.raises(NotFound):
            await notifications.get_campaign(draft.id)


async def test_campaigns_are_for_admins(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = await write()
    with asked_by("seller"):
        for attempt in (
            notifications.create_campaign(NewCampaign(name="X", words=WORDS)),
            notifications.list_campaigns(None, 10, None),
            notifications.get_campaign(campaign.id),
            notifications.change_campaign(campaign.id, CampaignChange()),
            notifications.remove_campaign(campaign.id),
            notifications.set_campaign_schedule(campaign.id, Schedule()),
            notifications.hold_campaign(campaign.id),
            notifications.resume_campaign(campaign.id),
            notifications.cancel_campaign(campaign.id),
            notifications.describe_campaign(campaign.id, "en"),
            notifications.send_campaign_test(campaign.id, None),
        ):
            with pytest.raises(Forbidden):
                await attempt


async def test_what_a_campaign_says_is_text_wherever_it_is_read() -> None:
    campaign = await write(words={"en": Words("<script>alert(1)</script>", 'A <b>"sale"</b>')}, path="/shop/sale")
    with asked_by("admin"):
        preview = await notifications.describe_campaign(campaign.id, "fr")
    assert "<script>alert" not in preview.html
    assert "&lt;b&gt;" in preview.html
    assert preview.subject == "<script>alert(1)</script>"


def test_words_in_the_language_that_is_nearest() -> None:
    assert choose_words(WORDS, "de-AT") == WORDS["de"]
    assert choose_words(WORDS, "fr") == WORDS["en"]
    assert choose_words({"it": WORDS["de"]}, "fr") == WORDS["de"]


async def test_a_trial_goes_to_who_asked_for_it_alone() -> None:
    admin, _ = await make_people(2)
    campaign = await write()
    with asked_by("admin", user_id=admin):
        notice_id = await notifications.send_campaign_test(campaign.id, "de")
    async with db.transaction() as tx:
        (row,) = await tx.connection.fetch("SELECT * FROM notifications.notice")
    assert (row["id"], row["kind"], row["recipient_id"], row["content"]["subject"]) == (notice_id, "campaign", admin, "Frühling")


async def test_campaigns_over_http() -> None:
    async with serve() as web:
        path = f"/campaigns/{new_id()}"
        assert (await web.ask("GET", path, new_id()))[0] == 403
        assert (await web.ask("GET", path))[0] == 401
        bad = {"name": "X", "words": {"en": {"subject": "a\nb", "text": "c"}}}
        assert (await web.ask("POST", "/campaigns", new_id(), bad, roles="admin"))[0] == 403


@pytest.mark.timeout(600)
async def test_how_fast_many_are_told() -> None:
    count = rounds(2_000, 100_000)
    for _ in range(count // 1_000):
        await make_people(1_000)
    campaign = await begin()
    began = time.monotonic()
    await go_on()
    lasted_s = time.monotonic() - began
    assert (await look(campaign)).campaign.recipients == count
    assert len(set(await told(campaign))) == count
    report("campaign.txt", f"A campaign to {count} people on two channels is planned in {lasted_s:.1f} s, {count / lasted_s:.0f} a second")
