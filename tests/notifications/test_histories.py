"""Whatever becomes of what was intended: each message has an end and, if it was not sent, a reason, and none is missing (N-15)."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.notifications.conftest import Post
from tests.notifications.feeds import as_system, make_people
from tests.notifications.tidings import check_books, choose, hear, pass_time, plan
from tests.torture import report, rounds

from souk import notifications, users
from souk.kit.events import Event
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.notifications import in_app, orphans, sending
from souk.notifications.database import db
from souk.notifications.records import MessageFilter
from souk.notifications.suppressions import suspend_address
from souk.notifications.topics import KINDS
from souk.orders.events import OrderRejected
from souk.payments.events import WalletCredited
from souk.users.events import PasswordResetRequested, SessionsRevoked, UserRegistered

pytestmark = pytest.mark.usefixtures("shop")

# What the post does with letters to addresses that ask for it.
HABITS = ("421", "451", "550", "552", "554", "slow", "timeout_accepted", "timeout_lost", "drop_accepted", "drop_lost", "")
EACH = rounds(1, 20)
TOLD = {UserRegistered: "welcome", SessionsRevoked: "sessions_revoked", WalletCredited: "wallet_credited", PasswordResetRequested:
        "reset_password"}  # fmt: skip


def events_for(person: UUID) -> list[Event]:
    return [UserRegistered(person), SessionsRevoked(person), WalletCredited(person, Money(5, "USD")), PasswordResetRequested(person)]


async def make_world() -> list[UUID]:
    """People at addresses with habits, and people who are hard to reach for reasons of their own."""
    made = [users.NewUser(id=(one := new_id()), email=f"{one}+{habit}@example.com", email_verified=True) for habit in HABITS
            for _ in range(EACH)]  # fmt: skip
    with as_system():
        people = list(await users.register_users(tuple(made)))
    others = await make_people(5 * EACH)
    for number, person in enumerate(others):
        match number % 5:
            case 0:
                await choose(person, notifications={"welcome": {"email": False, "in_app": False}, "wallet": {"sms": True, "push": True}})
            case 1:
                await choose(person, quiet_hours=users.QuietHours("00:00", "23:59"))
            case 2:
                with asked_by("admin"):
                    await suspend_address(f"{person}@example.com")
            case 3:
                await choose(person, notifications={"wallet": {"webhook": True}})
    return [*people, *others]


def count_intended(person: UUID, extra: Sequence[str]) -> Counter[tuple[UUID, str, str]]:
    """Every message to somebody that there must be, by kind and channel: from what topics say, not from what was written."""
    kinds = [(kind, channel) for kind in TOLD.values() for channel in KINDS[kind].topic.channels]
    return Counter((person, kind, channel) for kind, channel in [*kinds, *(("wallet_credited", one) for one in extra)])


async def deliver_everything() -> None:
    db.owner = db.owner or 4711
    with as_system():
        while await in_app.deliver_in_app():
            continue
        for channel in ("email", "sms", "push"):
            while await orphans.settle_orphans(channel) + await sending.send_due(channel):  # type: ignore[arg-type]
                continue


async def read_history(**wanted: object) -> list[notifications.MessageRecord]:
    """All of it, page by page, as an admin reads it."""
    found: list[notifications.MessageRecord] = []
    cursor = None
    with asked_by("admin"):
        while True:
            page = await notifications.list_messages(MessageFilter(**wanted), 50, cursor)  # type: ignore[arg-type]
            found += page.items
            cursor = page.next
            if cursor is None:
                return found


async def test_every_message_that_was_intended_has_an_end_and_a_reason(post: Post) -> None:
    post.use(orphan_grace_s=0.001, smtp_timeout_s=0.4, smtp_answer_timeout_s=0.4, smtp_connections=30)
    people = await make_world()
    leaver = people[-1]
    await hear(*(event for person in people for event in events_for(person)), OrderRejected(new_id(), leaver, "its order is not there"))
    await plan()
    with as_system():
        await users.erase_user(leaver)
    extra = {person: ("sms", "push") if number % 5 == 0 else ("webhook",) if number % 5 == 3 else ()
             for number, person in enumerate(people[len(HABITS) * EACH :])}  # fmt: skip
    intended = sum((count_intended(person, extra.get(person, ())) for person in people), Counter[tuple[UUID, str, str]]())
    for _ in range(12):
        await deliver_everything()
        await pass_time(timedelta(hours=8))
    await deliver_everything()
    history = await read_history()
    assert Counter((one.user_id, one.kind, one.channel) for one in history) == intended, "none is missing, and none is there twice"
    by_state = Counter(one.status for one in history)
    assert set(by_state) == {"sent", "suppressed", "failed"}
    assert sum(by_state.values()) == sum(intended.values())
    for status, count in by_state.items():
        assert len(await read_history(status=status)) == count, "as its filter counts it"
    assert [one for one in history if (one.status == "sent") != (one.reason is None)] == []
    assert [one for one in history if (one.status == "sent") != (one.sent_at is not None)] == []
    reasons = {one.reason for one in history if one.reason is not None}
    assert {"opted_out", "address_blocked", "erased", "550 5.1.1", "552 5.3.4", "554 5.7.1", "given_up: too late"} <= reasons, reasons
    # What cannot be told at all is a notice with its reason.
    assert await db.value("SELECT array_agg(DISTINCT reason) FROM notifications.notice WHERE status = 'dropped'") is not None
    assert await db.value("SELECT count(*) FROM notifications.notice WHERE status = 'new'") == 0
    sent = {str(one.letter_id) for one in history if one.status == "sent" and one.channel != "in_app"}
    assert {str(one["letter_id"]) for one in await post.letters()} == sent
    await check_books()
    report("N-15.txt", f"N-15: {sum(intended.values())} intended, {dict(by_state)}, unexplained 0, reasons: {sorted(reasons)}")
