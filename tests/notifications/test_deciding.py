"""Whether, when and with what else: what is decided purely, against a model of it and by virtual time."""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.torture import rounds

from souk.kit.ids import new_id
from souk.notifications.deciding import Limit, channels_for, decide_again, find_objection, fits
from souk.notifications.limits import Limits
from souk.notifications.messages import Draft, OpenLetter, Pace, Planned, Situation, plan_drafts
from souk.notifications.recipients import Recipient
from souk.notifications.topics import KINDS, TOPICS
from souk.notifications.types import CHANNELS, Message, Notice
from souk.users import Contact, QuietHours

USUAL = Limits()
NOW = datetime(2026, 5, 6, 12, 34, tzinfo=UTC)


def person(**more: object) -> Contact:
    known = {
        "user_id": new_id(), "email": "ada@example.com", "email_verified": True, "name": None, "phone_number": None, "language": "en",
        "currency": None, "timezone": "UTC", "notifications": {}, "quiet_hours": None, "digests": {},
    }  # fmt: skip
    return Contact(**(known | more))  # type: ignore[arg-type]


def draft(kind: str, contact: Contact, at: datetime = NOW, channel: str = "email") -> Draft:
    notice = Notice(new_id(), kind, new_id(), "user", contact.user_id, {}, at)
    return Draft(notice, KINDS[kind], Recipient(contact.user_id, contact=contact), channel, {})  # type: ignore[arg-type]


def as_message(row: Planned) -> Message:
    return msgspec.convert(msgspec.structs.asdict(row) | {"attempts": 0}, Message, builtin_types=(UUID, datetime))


CHOICES = st.dictionaries(st.sampled_from(sorted(TOPICS)), st.dictionaries(st.sampled_from(CHANNELS), st.booleans()))


@settings(max_examples=rounds(300, 100_000), deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), choices=CHOICES, verified=st.booleans(), phone=st.booleans())
def test_nobody_is_told_what_they_said_no_to_and_everybody_what_is_mandatory(
    kind: str, choices: dict[str, dict[str, bool]], verified: bool, phone: bool
) -> None:
    topic = KINDS[kind].topic
    contact = person(notifications=choices, email_verified=verified, phone_number="+49 30 1234" if phone else None)
    said = choices.get(topic.name, {})
    planned = {one: plan_drafts([draft(kind, contact, channel=one)], Situation(NOW, Limits()))[0] for one in channels_for(topic, contact)}
    assert set(planned) == set(topic.channels) | {channel for channel, yes in said.items() if yes}
    for channel, row in planned.items():
        wanted = said.get(channel, channel in topic.channels) or (topic.urgency == "mandatory" and channel in topic.channels)
        reachable = channel != "webhook" and (channel != "sms" or phone)
        allowed = topic.urgency != "promotion" or channel != "email" or verified
        assert (row.status == "waiting") == (wanted and reachable and allowed), (channel, row)
        assert (row.reason is None) == (row.status == "waiting")
        assert row.mandatory == (topic.urgency == "mandatory")
        again = decide_again({contact.user_id: contact}, [as_message(row)], NOW)[row.id]
        assert (again.what == "send") == (row.status == "waiting")


@settings(max_examples=rounds(200, 20_000), deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), before=CHOICES, after=CHOICES, hour=st.integers(0, 23))
def test_the_last_look_sees_who_said_no_meanwhile(
    kind: str, before: dict[str, dict[str, bool]], after: dict[str, dict[str, bool]], hour: int
) -> None:
    topic, now = KINDS[kind].topic, NOW.replace(hour=hour)
    contact = person(notifications=before, quiet_hours=QuietHours("20:00", "06:00"))
    rows = [plan_drafts([draft(kind, contact, now, one)], Situation(now, Limits()))[0] for one in channels_for(topic, contact)]
    changed = msgspec.structs.replace(contact, notifications=after)
    looked = decide_again({contact.user_id: changed}, [as_message(row) for row in rows], now)
    for row in rows:
        again = looked[row.id]
        objection = find_objection(topic, row.channel, changed)
        if objection is not None:
            assert (again.what, again.reason) == ("suppress", objection)
            assert topic.urgency != "mandatory" or row.channel not in topic.channels or objection == "no_address"
        elif topic.urgency != "mandatory" and row.channel in ("email", "push", "sms") and (hour >= 20 or hour < 6):
            assert (again.what, again.reason) == ("wait", "quiet_hours")
            assert again.until is not None and again.until > now
        else:
            assert again.what == "send"


def test_who_is_gone_is_told_nothing_and_a_guest_is_told_of_their_order() -> None:
    contact = person()
    (row,) = plan_drafts([draft("sessions_revoked", contact)], Situation(NOW, Limits()))
    assert decide_again({}, [as_message(row)], NOW)[row.id].reason == "erased"
    guest = msgspec.structs.replace(as_message(row), user_id=None, order_id=new_id())
    assert decide_again({}, [guest], NOW)[row.id].what == "send"
    (gone,) = plan_drafts([draft("sessions_revoked", contact)], Situation(NOW, Limits(), gone=[contact.user_id]))
    assert (gone.status, gone.reason) == ("suppressed", "erased")


def test_quiet_hours_put_off_what_is_not_mandatory_and_disturb_no_feed() -> None:
    contact = person(quiet_hours=QuietHours("12:00", "13:00"))
    rows = {
        (kind, channel): plan_drafts([draft(kind, contact, channel=channel)], Situation(NOW, Limits()))[0]
        for kind in ("order_placed", "price_dropped", "sessions_revoked")
        for channel in ("email", "in_app")
    }
    later = {key for key, row in rows.items() if row.due_at > NOW}
    assert later == {("order_placed", "email"), ("price_dropped", "email")}
    assert {rows[key].due_at for key in later} == {NOW.replace(hour=13, minute=0)}
    assert {rows[key].reason for key in later} == {"quiet_hours"}


@settings(max_examples=rounds(300, 20_000), deadline=None)
@given(offsets=st.lists(st.integers(0, 200), max_size=60), count=st.integers(1, 5), within=st.integers(1, 60))
def test_no_stretch_of_time_holds_more_than_the_limit(offsets: list[int], count: int, within: int) -> None:
    limit = Limit(count, timedelta(minutes=within))
    taken: list[datetime] = []
    for moment in (NOW + timedelta(minutes=offset) for offset in offsets):
        near = [one for one in taken if abs(one - moment) < limit.within]
        room = fits(moment, sorted(taken), limit)
        worst = max(sum(start <= one < start + limit.within for one in [*near, moment]) for start in [*near, moment])
        assert room == (worst <= count)
        if room:
            taken.append(moment)


def walk(seed: int) -> tuple[list[Planned], int]:
    """A week of one person's digests by virtual time: two planners take turns, forget what they did not commit, and letters leave."""
    chance = random.Random(seed)
    every = chance.choice(["hourly", "daily", "weekly"])
    zone = chance.choice(["Europe/Berlin", "Asia/Kolkata", "UTC", "America/St_Johns"])
    quiet = chance.choice([None, QuietHours("22:00", "09:30"), QuietHours("07:30", "08:30")])
    contact = person(digests={"reviews": every, "seller_orders": every}, timezone=zone, quiet_hours=quiet)
    now = datetime(2026, chance.choice([3, 10]), 27, chance.randrange(24), tzinfo=UTC)
    kept: dict[UUID, Planned] = {}
    pending: list[Draft] = []
    told = 0
    for _ in range(chance.randrange(5, 40)):
        edge = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        now = chance.choice([
            edge - timedelta(milliseconds=1), edge, edge + timedelta(milliseconds=1), now + timedelta(seconds=chance.randrange(40_000)),
        ])  # fmt: skip
        for row in kept.values():
            if row.status == "waiting" and row.due_at <= now:
                kept[row.id] = msgspec.structs.replace(row, status="sent")
        new = [draft(chance.choice(["seller_review_posted", "seller_order_placed"]), contact, now) for _ in range(chance.randrange(4))]
        told += len(new)
        pending += new
        rows = plan_drafts(pending, look(now, kept))
        if chance.random() < 0.3:
            continue  # it did not commit, and another planner takes the same notices
        kept |= {row.id: row for row in rows}
        if chance.random() < 0.5:
            pending = []  # else they are planned once more, and are what they were: ON CONFLICT DO NOTHING
        else:
            again = plan_drafts(pending, look(now, kept))
            assert {row.id for row in again} <= kept.keys()
            pending = []
    rows = plan_drafts(pending, look(now, kept))
    kept |= {row.id: row for row in rows}
    return list(kept.values()), told


def look(now: datetime, kept: dict[UUID, Planned], limits: Limits = USUAL) -> Situation:
    """What the database would show to a planner."""
    leaders = [row for row in kept.values() if row.letter_id == row.id and row.user_id]
    paces = [Pace(row.user_id, row.channel, row.topic, row.due_at) for row in leaders if row.user_id]
    letters = [
        OpenLetter(row.id, row.user_id, row.channel, row.topic, row.window_ends_at)
        for row in leaders
        if row.user_id and row.status == "waiting" and row.window_ends_at and row.window_ends_at > now
    ]
    return Situation(now, limits, paces, letters)


def test_every_message_is_in_exactly_one_digest_whatever_happens() -> None:
    for seed in range(rounds(300, 10_000)):
        rows, told = walk(seed)
        assert len(rows) == told, f"seed {seed}"
        assert {row.status for row in rows} <= {"waiting", "sent"}, f"seed {seed}"
        letters = defaultdict(list)
        for row in rows:
            letters[row.letter_id].append(row)
        for letter_id, together in letters.items():
            assert letter_id in {row.id for row in together}, f"seed {seed}"
            assert len({(row.topic, row.due_at, row.window_ends_at) for row in together}) == 1, f"seed {seed}"
        windows = [(row.topic, row.window_ends_at) for row in rows if row.id == row.letter_id]
        assert len(windows) == len(set(windows)), f"seed {seed}: two digests of one window"


def test_a_thousand_in_one_second_are_one_digest() -> None:
    contact = person(digests={"reviews": "hourly"})
    rows = plan_drafts([draft("seller_review_posted", contact) for _ in range(1_000)], Situation(NOW, Limits()))
    assert len(rows) == len({row.id for row in rows}) == 1_000
    assert len({row.letter_id for row in rows}) == 1
    assert {(row.due_at, row.reason) for row in rows} == {(NOW.replace(hour=13, minute=0), "digest")}


def test_an_advertisement_too_many_is_none_and_the_rest_gathers() -> None:
    contact = person()
    limits = Limits(service_per_hour=2, promotions_per_day=3)
    ads = plan_drafts([draft("price_dropped", contact) for _ in range(5)], Situation(NOW, limits))
    assert [row.reason for row in ads] == [None] * 3 + ["too_many"] * 2
    assert [row.status for row in ads] == ["waiting"] * 3 + ["suppressed"] * 2
    news = plan_drafts([draft("seller_order_placed", contact) for _ in range(6)], Situation(NOW, limits))
    assert {row.status for row in news} == {"waiting"}
    assert [row.due_at > NOW for row in news] == [False] * 2 + [True] * 4
    assert len({row.letter_id for row in news[2:]}) == 1
    assert len({row.id for row in plan_drafts([draft("sessions_revoked", contact) for _ in range(9)], Situation(NOW, limits))}) == 9


def occasions() -> Iterator[datetime]:
    """Three days in which something is told every seven minutes."""
    return (NOW + timedelta(minutes=7 * number) for number in range(3 * 24 * 60 // 7))


def test_nobody_is_disturbed_more_often_than_they_may_be_in_any_hour() -> None:
    contact, limits = person(quiet_hours=QuietHours("22:00", "07:00")), Limits(service_per_hour=4, promotions_per_day=3)
    kept: dict[UUID, Planned] = {}
    for moment in occasions():
        new = [draft(kind, contact, moment) for kind in ("order_shipped", "price_dropped")]
        kept |= {row.id: row for row in plan_drafts(new, look(moment, kept, limits))}
    for urgency, limit in Situation(NOW, limits).limits.items():
        leaders = [row for row in kept.values() if row.status == "waiting" and row.id == row.letter_id]
        due = sorted(row.due_at for row in leaders if TOPICS[row.topic].urgency == urgency)
        assert due
        for start in due:
            assert sum(start <= one < start + limit.within for one in due) <= limit.count
