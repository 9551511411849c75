"""Messages as they are planned: one of each notice to each person on each channel, with when it is due or why it is not sent."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from souk.kit.ids import derive_id
from souk.notifications.deciding import WORTH_SENDING, Around, Limit, Timing, find_objection, find_room, find_timing
from souk.notifications.limits import Limits
from souk.notifications.recipients import Recipient
from souk.notifications.topics import TOPICS, Kind, Urgency
from souk.notifications.types import DISTURBING, Channel, Content, MessageStatus, Notice, Reason

# Whose, on which channel, under which topic: messages that have this and the end of their window in common leave as one letter.
Whose = tuple[UUID, Channel, str]


class Draft(msgspec.Struct, frozen=True):
    """What somebody may be told on a channel."""

    notice: Notice
    kind: Kind
    recipient: Recipient
    channel: Channel
    content: Content | None  # None: there is nothing to say to them


class Planned(msgspec.Struct, frozen=True):
    """A row of message as it is written."""

    id: UUID
    letter_id: UUID
    notice_id: UUID
    user_id: UUID | None
    order_id: UUID | None
    seller_id: UUID | None
    channel: Channel
    kind: str
    topic: str
    mandatory: bool
    advertises: bool
    content: Content
    status: MessageStatus
    reason: Reason | None
    due_at: datetime
    give_up_at: datetime
    decided_at: datetime
    window_ends_at: datetime | None
    owner: int | None = None  # who sends it just now


class Pace(msgspec.Struct, frozen=True):
    """A letter that disturbs somebody, or did of late."""

    user_id: UUID
    channel: Channel
    topic: str
    due_at: datetime


class OpenLetter(msgspec.Struct, frozen=True):
    """A letter that gathers messages until its window ends."""

    id: UUID
    user_id: UUID
    channel: Channel
    topic: str
    window_ends_at: datetime


class Situation:
    """What people are told anyway, and with it what is decided now: of two messages that are planned together the second sees the first."""

    def __init__(
        self, now: datetime, limits: Limits, paces: Iterable[Pace] = (), letters: Iterable[OpenLetter] = (), gone: Iterable[UUID] = ()
    ) -> None:
        self.now = now
        self.gone = frozenset(gone)
        self.limits = find_limits(limits)
        self._leaving: defaultdict[tuple[UUID, Channel, Urgency], list[datetime]] = defaultdict(list)
        for pace in (one for one in paces if one.topic in TOPICS):
            self._leaving[pace.user_id, pace.channel, TOPICS[pace.topic].urgency].append(pace.due_at)
        self._gathering: defaultdict[Whose, dict[datetime, UUID]] = defaultdict(dict)
        for one in sorted(letters, key=lambda one: one.id, reverse=True):
            self._gathering[one.user_id, one.channel, one.topic][one.window_ends_at] = one.id

    def plan(self, message_id: UUID, draft: Draft) -> Planned:
        """What becomes of a draft, as the message of this id."""
        topic, contact = draft.kind.topic, draft.recipient.contact
        if draft.recipient.user_id in self.gone:
            unsaid = msgspec.structs.replace(draft, content=None)
            return planned(unsaid, message_id, Timing(self.now, "erased"), None, self.now)
        if (objection := find_objection(topic, draft.channel, contact)) is not None:
            return planned(draft, message_id, Timing(self.now, objection), None, self.now)
        if draft.content is None:
            return planned(draft, message_id, Timing(self.now, "nothing_to_say"), None, self.now)
        timing = find_timing(topic, draft.channel, contact, self.now)
        if contact is None or topic.urgency == "mandatory" or draft.channel not in DISTURBING:
            return planned(draft, message_id, timing, message_id, self.now)
        leaving = self._leaving[contact.user_id, draft.channel, topic.urgency]
        gathering = self._gathering[contact.user_id, draft.channel, topic.name]
        room = find_room(topic, contact, timing, Around(sorted(leaving), gathering, self.limits[topic.urgency]))
        if room is None:
            return planned(draft, message_id, Timing(self.now, "too_many"), None, self.now)
        letter_id = message_id
        if room.window_ends_at is not None:
            letter_id = gathering.setdefault(room.window_ends_at, message_id)
        if letter_id == message_id:
            leaving.append(room.due_at)
        return planned(draft, message_id, room, letter_id, self.now)


def find_limits(limits: Limits) -> Mapping[Urgency, Limit]:
    """How much somebody is told at the most on a channel; of what is mandatory any number."""
    return {
        "service": Limit(limits.service_per_hour, timedelta(hours=1)),
        "promotion": Limit(limits.promotions_per_day, timedelta(days=1)),
    }


def message_id_of(draft: Draft) -> UUID:
    """The same whenever the notice is planned, and of the time of its fact."""
    whom = draft.recipient.user_id or draft.recipient.order_id
    return derive_id(draft.notice.occurred_at, f"{draft.notice.id}/{whom}/{draft.channel}")


def planned(draft: Draft, message_id: UUID, timing: Timing, letter_id: UUID | None, now: datetime) -> Planned:
    """The row of a draft; one without a letter is not sent."""
    topic, recipient = draft.kind.topic, draft.recipient
    return Planned(
        id=message_id,
        letter_id=letter_id or message_id,
        notice_id=draft.notice.id,
        user_id=recipient.user_id,
        order_id=recipient.order_id,
        seller_id=recipient.seller_id,
        channel=draft.channel,
        kind=draft.kind.name,
        topic=topic.name,
        mandatory=topic.urgency == "mandatory",
        advertises=topic.advertises,
        content=draft.content or {},
        status="suppressed" if letter_id is None else "waiting",
        reason=timing.reason,
        due_at=timing.due_at,
        give_up_at=timing.due_at + WORTH_SENDING[topic.urgency],
        decided_at=now,
        window_ends_at=timing.window_ends_at if letter_id else None,
    )


def plan_drafts(drafts: Sequence[Draft], situation: Situation) -> tuple[Planned, ...]:
    """What becomes of drafts, in the order of their facts; of two of the same message one."""
    ordered = sorted({message_id_of(draft): draft for draft in drafts}.items())
    return tuple(situation.plan(message_id, draft) for message_id, draft in ordered)
