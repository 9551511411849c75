"""What tests of notices share: people who are told, facts as the real consumers hear them, and a look at what became of them."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.orders.market import as_system
from tests.users.people import as_user

from souk import users
from souk.kit.events import Delivered, Event
from souk.kit.ids import new_id
from souk.notifications import consumers, planning, rules
from souk.notifications.database import db

FIND_NEW = """
    SELECT id, kind, fact_id, recipient_kind, recipient_id, content, occurred_at FROM notifications.notice WHERE status = 'new' ORDER BY id
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
# What has become of it moves into the past; what waits for a moment waits for less.
PASS_TIME = """
    UPDATE notifications.message
    SET sent_at = sent_at - $1::interval, due_at = due_at - $1::interval, give_up_at = give_up_at - $1::interval,
        decided_at = decided_at - $1::interval
"""
FIND = "SELECT * FROM notifications.message WHERE ($1::uuid IS NULL OR user_id = $1) ORDER BY id"


def told(event: Event, at: datetime | None = None) -> Delivered[Event]:
    """A fact on its way."""
    return Delivered(event, new_id(), at or datetime.now(UTC))


async def hear(*news: Event | Delivered[Event], at: datetime | None = None) -> list[Delivered[Event]]:
    """Tell notifications of facts, as the consumer of its table hears them."""
    heard = [one if isinstance(one, Delivered) else told(one, at) for one in news]
    async with db.transaction() as tx:
        await consumers.write_notices(tx, tuple(heard))
    return heard


async def hear_again(news: Sequence[Delivered[Event]], seed: int) -> None:
    """Each of these facts once more, up to nine times, in any order."""
    chance = random.Random(seed)
    again = [one for one in news for _ in range(chance.randrange(10))]
    chance.shuffle(again)
    for start in range(0, len(again), 5):
        await hear(*again[start : start + 5])


async def plan() -> int:
    """Plan all that is new."""
    with as_system():
        return await planning.plan_all()


async def add_person(name: str | None = None, *, verified: bool = True, roles: tuple[users.Role, ...] = ("buyer",)) -> UUID:
    """Somebody with an account."""
    user_id = new_id()
    new = users.NewUser(id=user_id, email=f"{name or user_id}@example.com", roles=roles, email_verified=verified)
    with as_system():
        await users.register_users((new,))
    return user_id


async def choose(user_id: UUID, **wanted: Any) -> None:
    """Somebody sets what they want to be told."""
    with as_user(user_id):
        await users.change_notifications(user_id, users.ChangeNotifications(**wanted))


async def live_in(user_id: UUID, zone: str, currency: str | None = None) -> None:
    with as_user(user_id):
        await users.set_preferences(user_id, users.SetPreferences(timezone=zone, currency=currency))


async def messages_of(user_id: UUID | None = None) -> list[dict[str, Any]]:
    """The messages that were planned, for somebody or at all."""
    return [dict(row) for row in await db.pool.fetch(FIND, user_id)]


async def kinds_of(user_id: UUID) -> list[tuple[str, str, str]]:
    """What somebody is told: kind, channel and status."""
    return sorted((row["kind"], row["channel"], row["status"]) for row in await messages_of(user_id))


async def notices() -> dict[str, tuple[str, str | None]]:
    """Every notice: its kind, and what became of it."""
    return {row["kind"]: (row["status"], row["reason"]) for row in await db.pool.fetch("SELECT * FROM notifications.notice ORDER BY id")}


async def check_books(*, settled: bool = True) -> None:
    """Every rule of the books holds."""
    for rule in rules.RULES:
        if settled or not rule.settled:
            found = await db.value(f"SELECT jsonb_agg(to_jsonb(broken)) FROM ({rule.sql}) AS broken")
            assert found is None, (rule.statement, found)


async def waits_for_a_lock(count: int = 1) -> bool:
    """Whether so many stand before a lock of another transaction."""
    return bool(await db.value(WAITING) >= count)


async def pass_time(how_long: timedelta) -> None:
    """Put the clock of all messages forward."""
    await db.pool.execute(PASS_TIME, how_long)
