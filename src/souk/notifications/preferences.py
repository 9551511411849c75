"""Of what somebody can be told, on which channels, and what of it they want: a view of their preferences, which users keeps."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk import users
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import InvalidField, NotFound
from souk.notifications.deciding import wants
from souk.notifications.topics import TOPICS, Topic, Urgency
from souk.notifications.types import CHANNELS, Channel
from souk.users import DigestEvery, Preferences, QuietHours, SetNotifications


class TopicChoice(msgspec.Struct, frozen=True):
    """A topic, and on which channels it is told now. What is `fixed` is told whatever somebody prefers."""

    topic: str
    urgency: Urgency
    fixed: tuple[Channel, ...]
    channels: dict[Channel, bool]
    digestible: bool
    digest: Annotated[Literal["hourly", "daily", "weekly"] | None, Meta(description="null: each as it comes")]


class NotificationPreferences(msgspec.Struct, frozen=True):
    """What somebody wants to be told: as they have set it, and what follows from that for every topic."""

    notifications: dict[str, dict[str, bool]]
    quiet_hours: QuietHours | None
    digests: dict[str, DigestEvery]
    timezone: str
    topics: tuple[TopicChoice, ...]


@exposed()
async def get_notification_preferences(user_id: UUID) -> NotificationPreferences:
    """What a user is told on which channel: the caller's own, or anybody's for an admin. Raises NotFound."""
    found = await users.get_preferences((user_id,))
    if not found:
        raise NotFound
    return show(found[0])


@exposed()
async def set_notification_preferences(user_id: UUID, wanted: SetNotifications) -> NotificationPreferences:
    """Replace what a user is told on which channel, and when. Raises NotFound, and InvalidField for what there is not or is fixed.

    Whatever is decided after the answer is decided by it. Again changes nothing more.
    """
    who = caller().principal
    if not (who.owns(user_id) or who.is_admin):
        raise NotFound
    require_known(wanted)
    return show(await users.set_notifications(user_id, wanted))


def require_known(wanted: SetNotifications) -> None:
    """Raises InvalidField for a topic or a channel that there is not, for what cannot be switched off, and for what cannot gather."""
    for name, channels in wanted.notifications.items():
        topic = TOPICS.get(name)
        if topic is None:
            raise InvalidField(f"notifications.{name}", "is no topic that we know")
        for channel, on in channels.items():
            if channel not in CHANNELS:
                raise InvalidField(f"notifications.{name}.{channel}", "is no channel that we know")
            if not on and topic.urgency == "mandatory" and channel in topic.channels:
                raise InvalidField(f"notifications.{name}.{channel}", "cannot be switched off")
    for name in wanted.digests:
        if name not in TOPICS or not TOPICS[name].digestible:
            raise InvalidField(f"digests.{name}", "is no topic that gathers")


def show(preferences: Preferences) -> NotificationPreferences:
    """What follows from preferences for every topic."""
    topics = tuple(show_topic(topic, preferences) for topic in TOPICS.values())
    return NotificationPreferences(preferences.notifications, preferences.quiet_hours, preferences.digests, preferences.timezone, topics)


def show_topic(topic: Topic, preferences: Preferences) -> TopicChoice:
    """A topic as somebody has chosen it."""
    channels = {channel: wants(topic, channel, preferences.notifications) for channel in CHANNELS}
    fixed = topic.channels if topic.urgency == "mandatory" else ()
    digest = preferences.digests.get(topic.name) if topic.digestible else None
    return TopicChoice(topic.name, topic.urgency, fixed, channels, topic.digestible, digest)
