"""Whether, when and with what else somebody is told on a channel: decided purely from what they want and what they are told anyway."""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from souk.notifications.hours import end_of_quiet, end_of_window
from souk.notifications.topics import KINDS, TOPICS, Topic, Urgency
from souk.notifications.types import CHANNELS, DISTURBING, Channel, Message, Reason
from souk.users import Contact

# For how long after it was due it is worth sending.
WORTH_SENDING: dict[Urgency, timedelta] = {"mandatory": timedelta(days=3), "service": timedelta(days=3), "promotion": timedelta(days=1)}
# For whom knows a topic or a kind that this process does not.
NEWER_RELEASE = timedelta(minutes=1)
# How many windows of an hour are tried for what is too much now.
LATEST_WINDOW = 48


# By topic and channel, what somebody has said yes or no to.
Choices = Mapping[str, Mapping[str, bool]]


class Timing(msgspec.Struct, frozen=True):
    """When a message is due, why not now, and the end of the window in which others may join it."""

    due_at: datetime
    reason: Reason | None = None
    window_ends_at: datetime | None = None


class Limit(msgspec.Struct, frozen=True):
    """So many letters at the most in any stretch of time of this length, wherever it begins."""

    count: int
    within: timedelta


class Again(msgspec.Struct, frozen=True):
    """What becomes of a message that was to be sent now: send it, wait until then, or never send it; and why."""

    what: Literal["send", "wait", "suppress"] = "send"
    reason: Reason | None = None
    until: datetime | None = None


def channels_for(topic: Topic, contact: Contact | None) -> tuple[Channel, ...]:
    """On which channels it is decided whether to tell somebody: those of the topic, and those they asked for. A guest has an address."""
    if contact is None:
        return tuple(channel for channel in topic.channels if channel == "email")
    asked_for = contact.notifications.get(topic.name, {})
    return tuple(channel for channel in CHANNELS if channel in topic.channels or asked_for.get(channel))


def wants(topic: Topic, channel: Channel, choices: Choices) -> bool:
    """Whether somebody who has chosen so is told of a topic on a channel, or has to be."""
    if topic.urgency == "mandatory" and channel in topic.channels:
        return True
    return choices.get(topic.name, {}).get(channel, channel in topic.channels)


def is_reachable(channel: Channel, contact: Contact) -> bool:
    """Whether there is somewhere to send it: devices and feeds are known by their user, and nobody has a machine that listens."""
    return {"sms": contact.phone_number is not None, "webhook": False}.get(channel, True)


def find_objection(topic: Topic, channel: Channel, contact: Contact | None) -> Reason | None:
    """Why somebody is not told on this channel, whenever it were. Nothing stands against telling a guest of their order."""
    if contact is None:
        return None
    if not wants(topic, channel, contact.notifications):
        return "opted_out"
    if not is_reachable(channel, contact):
        return "no_address"
    if topic.advertises and channel == "email" and not contact.email_verified:
        return "address_unverified"
    return None


def find_timing(topic: Topic, channel: Channel, contact: Contact | None, now: datetime) -> Timing:
    """When somebody may be told on this channel: now, when their quiet hours are over, or when the window of their digest ends."""
    if contact is None or topic.urgency == "mandatory" or channel not in DISTURBING:
        return Timing(now)
    every = contact.digests.get(topic.name) if topic.digestible else None
    if every is not None:
        window = end_of_window(now, contact.timezone, every)
        return Timing(end_of_quiet(window, contact.timezone, contact.quiet_hours), "digest", window)
    quiet_until = end_of_quiet(now, contact.timezone, contact.quiet_hours)
    return Timing(now) if quiet_until == now else Timing(quiet_until, "quiet_hours")


class Around(msgspec.Struct, frozen=True):
    """What else disturbs somebody: when letters leave for them (in order), and the ends of the windows in which one gathers already."""

    leaving: Sequence[datetime]
    gathering: Collection[datetime]
    limit: Limit


def find_room(topic: Topic, contact: Contact, timing: Timing, around: Around) -> Timing | None:
    """When a message fits beside what somebody is told anyway; None if it does not.

    An advertisement that is too much is none. What somebody is to know gathers with others in the first hour that has room for one more.
    """
    if timing.window_ends_at in around.gathering or fits(timing.due_at, around.leaving, around.limit):
        return timing
    if topic.advertises:
        return None
    window = timing.due_at
    for _ in range(LATEST_WINDOW):
        window = end_of_window(window, contact.timezone, "hourly")
        due_at = end_of_quiet(window, contact.timezone, contact.quiet_hours)
        if window in around.gathering or fits(due_at, around.leaving, around.limit):
            return Timing(due_at, "too_many", window)
        window = max(window, due_at)
    return None


def fits(moment: datetime, taken: Sequence[datetime], limit: Limit) -> bool:
    """Whether with one more at this moment no stretch of the limit's length holds more than it allows."""
    near = list(taken[bisect_left(taken, moment - limit.within) : bisect_left(taken, moment + limit.within)])
    insort(near, moment)
    return all(near[place + limit.count] - near[place] >= limit.within for place in range(len(near) - limit.count))


def decide_again(contacts: Mapping[UUID, Contact], messages: Iterable[Message], now: datetime) -> dict[UUID, Again]:
    """What becomes of messages that are about to be sent, by their ids, as their recipients are now; who is not among them is gone.

    To be asked with contacts no older than a second, so that nothing is sent long after somebody said no.
    """
    return {message.id: _decide_again(message, contacts.get(message.user_id) if message.user_id else None, now) for message in messages}


def _decide_again(message: Message, contact: Contact | None, now: datetime) -> Again:
    if contact is None and message.user_id is not None:
        return Again("suppress", "erased")
    topic = TOPICS.get(message.topic)
    if topic is None or message.kind not in KINDS:
        # Planned by a newer release, which is there beside this one, or will be.
        return Again("wait", "unknown_topic" if topic is None else "unknown_kind", now + NEWER_RELEASE)
    if contact is None:
        return Again()
    if (objection := find_objection(topic, message.channel, contact)) is not None:
        return Again("suppress", objection)
    if topic.urgency != "mandatory" and message.channel in DISTURBING:
        until = end_of_quiet(now, contact.timezone, contact.quiet_hours)
        if until > now:
            return Again("wait", "quiet_hours", until)
    return Again()
