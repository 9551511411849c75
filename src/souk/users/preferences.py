"""What somebody likes, in which language and currency they shop, and of what they want to be told on which channel."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from babel.core import get_global
from msgspec import UNSET

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import Delivered, publish, remembers
from souk.kit.memory import Memory
from souk.kit.money import known_currencies
from souk.kit.sharing import Shared
from souk.users import sessions
from souk.users.database import db
from souk.users.events import PreferencesChanged, UserErased
from souk.users.profiles import find_user, require_self
from souk.users.types import MOST_TOPICS, ChangeNotifications, Preferences, SetNotifications, SetPreferences

# Who has set nothing has the defaults of SetPreferences, since they registered.
FIND = """
    SELECT u.id AS user_id, coalesce(p.categories, '{}') AS categories, coalesce(p.brands, '{}') AS brands,
           coalesce(p.language, 'en') AS language, p.currency, coalesce(p.timezone, 'UTC') AS timezone,
           coalesce(p.notifications, '{}') AS notifications,
           coalesce(p.created_at, u.created_at) AS created_at, coalesce(p.updated_at, u.created_at) AS updated_at,
           p.quiet_hours, coalesce(p.digests, '{}') AS digests
    FROM users.users AS u LEFT JOIN users.user_preferences AS p ON p.user_id = u.id
    WHERE u.id = ANY($1) ORDER BY u.id
"""
SET = """
    INSERT INTO users.user_preferences (user_id, categories, brands, language, currency, timezone, notifications, quiet_hours, digests)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (user_id) DO UPDATE SET
        categories = excluded.categories, brands = excluded.brands, language = excluded.language, currency = excluded.currency,
        timezone = excluded.timezone, notifications = excluded.notifications, quiet_hours = excluded.quiet_hours,
        digests = excluded.digests, updated_at = now()
"""


# Half a kilobyte each; whoever tells users of things asks for those of many, again and again.
PREFERENCES_KEPT = 20_000
# Long enough for a campaign, and no longer than somebody who has left may expect.
SHARED_FOR_S = 600.0


async def load_preferences(user_ids: Sequence[UUID]) -> Mapping[UUID, Preferences]:
    """Those of these users who exist, as the tables have them."""
    return {found.user_id: found for found in await db.all(Preferences, FIND, list(user_ids))}


shared = Shared[UUID, Preferences](
    "preferences", msgspec.json.encode, msgspec.json.Decoder(Preferences).decode, like=Preferences, kept_s=SHARED_FOR_S
)
preferences = Memory(load_preferences, PREFERENCES_KEPT, shared=shared)


@remembers(preferences, PreferencesChanged, UserErased)
def forget_preferences(news: tuple[Delivered[PreferencesChanged | UserErased], ...]) -> None:
    """What has changed is read again when somebody asks for it."""
    preferences.forget({one.event.user_id for one in news})
    if gone := {one.event.user_id for one in news if isinstance(one.event, UserErased)}:
        shared.drop(gone)


@exposed()
async def get_preferences(user_ids: tuple[UUID, ...]) -> tuple[Preferences, ...]:
    """The preferences of those of these users that the caller may see: their own; anybody's for an admin. Changes nothing.

    Whoever asks for others' sees within a quarter of a second what has changed.
    """
    who = caller().principal
    if not who.is_admin:
        return await db.all(Preferences, FIND, [user_id for user_id in user_ids if who.owns(user_id)])
    found = await preferences.get_many(sorted(set(user_ids)))
    return tuple(found.values())


@exposed()
async def set_preferences(user_id: UUID, wanted: SetPreferences) -> Preferences:
    """Replace all of a user's preferences. Raises NotFound, InvalidField. Again changes nothing more."""
    require_self(user_id)
    require_known(wanted)
    async with db.transaction() as tx:
        await sessions.lock_users(tx, [user_id])
        await find_user(tx, user_id)
        return await keep(tx, user_id, wanted)


@exposed()
async def change_notifications(user_id: UUID, change: ChangeNotifications) -> Preferences:
    """Change of what a user wants to be told, and when; nothing else of their preferences. Raises NotFound, InvalidField.

    Whatever is decided after the answer is decided by it. Again changes nothing more.
    """
    require_self(user_id)
    async with db.transaction() as tx:
        await sessions.lock_users(tx, [user_id])
        await find_user(tx, user_id)
        changed = apply_change(await tx.one(Preferences, FIND, [user_id]), change)
        require_known(changed)
        return await keep(tx, user_id, changed)


@exposed()
async def set_notifications(user_id: UUID, wanted: SetNotifications) -> Preferences:
    """Replace of what a user wants to be told, and when; nothing else of their preferences. Raises NotFound, InvalidField.

    Whatever is decided after the answer is decided by it. Again changes nothing more.
    """
    require_self(user_id)
    async with db.transaction() as tx:
        await sessions.lock_users(tx, [user_id])
        await find_user(tx, user_id)
        changed = replace_notifications(await tx.one(Preferences, FIND, [user_id]), wanted)
        require_known(changed)
        return await keep(tx, user_id, changed)


async def keep(tx: Transaction, user_id: UUID, wanted: SetPreferences) -> Preferences:
    """Write down all of the preferences of a user whose row is locked."""
    likings = (wanted.categories, wanted.brands, wanted.language, wanted.currency, wanted.timezone)
    await tx.run(SET, user_id, *likings, wanted.notifications, wanted.quiet_hours, wanted.digests)
    await publish(tx, PreferencesChanged(user_id))
    return await tx.one(Preferences, FIND, [user_id])


async def show_preferences(user_id: UUID) -> Preferences:
    """A user's preferences, through the front door; raises NotFound."""
    found = await get_preferences((user_id,))
    if not found:
        raise NotFound
    return found[0]


def require_known(wanted: SetPreferences) -> None:
    """Raises InvalidField for a currency or a time zone that does not exist."""
    if wanted.currency is not None and wanted.currency not in known_currencies():
        raise InvalidField("currency", "is no currency that we know")
    if wanted.timezone not in get_global("zone_territories") and wanted.timezone not in get_global("zone_aliases"):
        raise InvalidField("timezone", "is no time zone that we know")
    if wanted.quiet_hours is not None and wanted.quiet_hours.begins == wanted.quiet_hours.ends:
        raise InvalidField("quiet_hours", "begin and end at the same time: leave them out if there are none")


def apply_change(present: Preferences, change: ChangeNotifications) -> SetPreferences:
    """All preferences as they are with this change. Raises InvalidField if that is more than somebody can have."""
    topics = dict(present.notifications)
    for topic, channels in change.notifications.items():
        topics[topic] = topics.get(topic, {}) | channels
    digests = {topic: often for topic, often in (present.digests | change.digests).items() if often is not None}
    if max(len(topics), len(digests)) > MOST_TOPICS:
        raise InvalidField("notifications", f"has more than {MOST_TOPICS} topics")
    quiet_hours = present.quiet_hours if change.quiet_hours is UNSET else change.quiet_hours
    return replace_notifications(present, SetNotifications(notifications=topics, quiet_hours=quiet_hours, digests=digests))


def replace_notifications(present: Preferences, wanted: SetNotifications) -> SetPreferences:
    """All preferences as they are, with these of what somebody is told."""
    return SetPreferences(
        categories=present.categories,
        brands=present.brands,
        language=present.language,
        currency=present.currency,
        timezone=present.timezone,
        notifications=wanted.notifications,
        quiet_hours=wanted.quiet_hours,
        digests=wanted.digests,
    )
