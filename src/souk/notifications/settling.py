"""What becomes of a message when something is known of its letter: decided purely."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import uniform

import msgspec
from msgspec.structs import replace

from souk.notifications.channels.channel import Accepted, Later, Outcome, Refused
from souk.notifications.topics import TOPICS
from souk.notifications.types import Message, MessageStatus

LONGEST_PAUSE_S = 6 * 3600.0
# Of a lease that nobody holds: whoever looks after what was left takes it.
NOBODYS = 0
UNKNOWN = "outcome_unknown"


class Settled(msgspec.Struct, frozen=True):
    """What is written about a message. `owner` is of the lease that it keeps; without one it is in nobody's hands."""

    message: Message
    status: MessageStatus
    reason: str | None = None
    due_at: datetime | None = None
    owner: int | None = None
    untried: bool = False


def settle(message: Message, outcome: Outcome, now: datetime, first_pause_s: float) -> Settled:
    """After an attempt. Of what nobody knows the message stays as it is, for whoever asks later."""
    match outcome:
        case Accepted():
            return Settled(message, "sent")
        case Refused(reason):
            return Settled(message, "failed", reason)
        case Later(reason, after_s, tried):
            pause_s = find_pause(message.attempts, first_pause_s) if after_s is None else after_s
            return try_later(message, reason, now + timedelta(seconds=pause_s), untried=not tried)
    return Settled(message, "sending", f"{UNKNOWN}: {outcome.reason}", owner=NOBODYS)


class Patience(msgspec.Struct, frozen=True):
    """How long to wait before a message of which nobody knew is sent again: not at all if it was we who died, else as after a failure."""

    first_pause_s: float
    we_died: bool


def settle_orphan(message: Message, accepted: bool | None, now: datetime, patience: Patience) -> Settled:
    """After nobody knew whether it was taken, and the other side's book says so; or there is no book.

    Then what somebody has to know is sent once more, as the same letter, and what only advertises is not.
    """
    if accepted:
        return Settled(message, "sent")
    topic = TOPICS.get(message.topic)
    if accepted is None and topic is not None and topic.advertises:
        return Settled(message, "failed", UNKNOWN)
    pause_s = 0.0 if accepted is False and patience.we_died else find_pause(message.attempts, patience.first_pause_s)
    return try_later(message, UNKNOWN, now + timedelta(seconds=pause_s))


def keep_together(settled: Sequence[Settled]) -> list[Settled]:
    """The first message of a letter ends last: a letter is found by it, so that the others would wait for ever without it."""
    open_letters = {one.message.letter_id: one for one in settled if one.status in ("waiting", "sending")}
    return [
        replace(open_letters[one.message.letter_id], message=one.message)
        if one.message.id == one.message.letter_id and one.message.letter_id in open_letters and one.status not in ("waiting", "sending")
        else one
        for one in settled
    ]


def try_later(message: Message, reason: str, due_at: datetime, *, untried: bool = False) -> Settled:
    """Wait until then, unless that is too late."""
    if due_at > message.give_up_at:
        return Settled(message, "failed", f"given_up: {reason}")
    return Settled(message, "waiting", reason, due_at, untried=untried)


def find_pause(attempts: int, first_pause_s: float) -> float:
    """How long to wait after so many attempts: twice as long each time, and never for all at the same moment."""
    pause_s: float = min(first_pause_s * 2 ** min(max(attempts - 1, 0), 30), LONGEST_PAUSE_S)
    return pause_s * uniform(0.8, 1.2)  # noqa: S311 - it spreads retries, and guards nothing
