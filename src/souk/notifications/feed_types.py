"""The vocabulary of the feed: what somebody finds in it, and what they do with it."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Unauthenticated

PlaceText = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,19}\.[0-9]{1,19}(?!\n)$",
        description="A place in a feed: `position` of a list, or the id of an event of the stream",
        examples=["8241.17"],
    ),
]


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A message in somebody's feed."""

    id: UUID
    kind: str
    topic: str
    message: str
    link: Annotated[str | None, Meta(description="Where it leads, from the root of the shop")]
    data: Annotated[dict[str, object], Meta(description="The ids, amounts and names of goods that it speaks of")]
    sent_at: datetime
    read_at: datetime | None
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime


class FeedEvent(msgspec.Struct, frozen=True):
    """A message as a server-sent event."""

    id: Annotated[str, Meta(description="Where to go on after it: Last-Event-ID", examples=["4711.3"])]
    event: Literal["notification"]
    data: Annotated[str, Meta(description="A Notification, as JSON")]


class FeedRow(Notification, frozen=True, kw_only=True):
    """A message and where it lies in its feed."""

    user_id: UUID
    xid: int
    place: int

    def show(self) -> Notification:
        """The message as its reader sees it."""
        return Notification(**{name: getattr(self, name) for name in Notification.__struct_fields__})


class Feed(msgspec.Struct, frozen=True):
    """A page of a feed, the newest first, and how many of all were neither read nor archived.

    Whoever opens the stream at `position` hears of everything that came after this answer.
    """

    items: tuple[Notification, ...]
    next: str | None
    unread: int
    position: PlaceText


class FeedFilter(msgspec.Struct, frozen=True):
    """Which messages of a feed."""

    unread: bool | None = None
    archived: bool = False
    topic: str | None = None


class Unread(msgspec.Struct, frozen=True):
    """How many messages were neither read nor archived."""

    unread: int


class FeedChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is different about a message; what is left out stays."""

    read: bool | UnsetType = UNSET
    archived: bool | UnsetType = UNSET


class ReadAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which messages are read: all that there are, or those up to a place, for what came later nobody has seen; of one topic or of any."""

    up_to: PlaceText | None = None
    topic: Annotated[str, Meta(pattern=r"^[a-z_]{1,40}(?!\n)$")] | None = None


class MarkedAll(msgspec.Struct, frozen=True):
    """How many were marked, and how many are left."""

    marked: int
    unread: int


class News(msgspec.Struct, frozen=True):
    """What somebody wants to know: what came into their feed after a place."""

    user_id: UUID
    xid: int
    place: int


class StreamTicket(msgspec.Struct, frozen=True):
    """What opens one stream: `GET /notifications/stream?ticket=`. It is good once, and for half a minute."""

    ticket: str
    expires_in: Annotated[int, Meta(description="seconds", examples=[30])]


class TicketHolder(msgspec.Struct, frozen=True):
    """Whose a ticket was."""

    user_id: UUID
    session_id: UUID | None
    created_at: datetime


class BadTicket(Unauthenticated, code="notifications.bad_ticket"):
    """This ticket was used, or is too old: ask for another."""
