"""The vocabulary of campaigns: what is told, to whom, when, and what became of it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict, InvalidField
from souk.notifications.types import CHANNELS, Channel, MessageStatus
from souk.users import Segment

# What is told: words that somebody wrote, or what is recommended to each of the recipients. Messages of a campaign are of its kind.
CampaignKind = Literal["campaign", "recommendations"]
CampaignStatus = Literal["draft", "scheduled", "sending", "paused", "sent", "cancelled"]

# The last clock of the world shows a time of today half a day after UTC does.
LONGEST_PAST, LONGEST_AHEAD = timedelta(days=1), timedelta(days=3_652)

ONE_LINE = r"^[^\x00-\x1f\x7f]+(?!\n)$"
PLAIN_TEXT = r"^[^\x00-\x09\x0b-\x1f\x7f]+(?!\n)$"
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=ONE_LINE, examples=["Spring sale"])]
Subject = Annotated[str, Meta(min_length=1, max_length=200, pattern=ONE_LINE, examples=["Everything made of linen is a fifth cheaper"])]
PlainText = Annotated[
    str,
    Meta(min_length=1, max_length=10_000, pattern=PLAIN_TEXT, description="A blank line between paragraphs", examples=["Until Sunday."]),
]
Path = Annotated[
    str,
    Meta(pattern=r"^/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,499}(?!\n)$", description="From the root of the shop", examples=["/shop/sale"]),
]
LanguageTag = Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}(?!\n)$", examples=["en"])]
Channels = Annotated[
    tuple[Channel, ...],
    Meta(min_length=1, max_length=len(CHANNELS), description="On these alone; null: wherever its readers want it", examples=[["email"]]),
]
WallClock = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?!\n)$", examples=["2030-03-01T09:00"])]


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is told, in one language."""

    subject: Subject
    text: PlainText


AllWords = Annotated[
    dict[LanguageTag, Words],
    Meta(
        min_length=1,
        max_length=50,
        description="By language; who reads none of them gets English, or else the first",
        examples=[{"en": {"subject": "Spring sale", "text": "Until Sunday."}}],
    ),
]


class NewCampaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be told to many at once. Without a segment it is for everybody whose address is theirs."""

    name: Name
    words: AllWords
    path: Path | None = None
    channels: Channels | None = None
    segment: Segment = msgspec.field(default_factory=Segment)


class CampaignChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is different about a campaign that has not begun; what is left out stays."""

    name: Name | UnsetType = UNSET
    words: AllWords | UnsetType = UNSET
    path: Path | UnsetType | None = UNSET
    channels: Channels | UnsetType | None = UNSET
    segment: Segment | UnsetType = UNSET


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a campaign is sent: at a moment, or when the clock of each recipient shows a time; now, if neither is given."""

    at: datetime | None = None
    local: WallClock | None = None


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What is told to many at once. With `local_time`, `scheduled_at` is what the clock of each recipient shows then."""

    id: UUID
    name: str
    words: dict[str, Words]
    path: str | None
    segment: Segment
    status: CampaignStatus
    scheduled_at: datetime | None
    local_time: bool
    begun_at: datetime | None
    after_user_id: UUID | None
    recipients: int
    planned_at: datetime | None
    finished_at: datetime | None
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    kind: CampaignKind = "campaign"
    channels: tuple[Channel, ...] | None = None


class MessageCount(msgspec.Struct, frozen=True):
    """How many messages of a campaign stand so on a channel, and why if they were not sent."""

    channel: Channel
    status: MessageStatus
    reason: str | None
    count: int


class CampaignReport(msgspec.Struct, frozen=True):
    """A campaign and how far it has come: all messages that there are of it, by channel, state and reason."""

    campaign: Campaign
    counts: tuple[MessageCount, ...]


class CampaignPreview(msgspec.Struct, frozen=True):
    """A campaign as somebody who reads this language gets it."""

    language: str
    subject: str
    text: str
    html: str
    short: str


class AskTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which language a campaign is to be tried."""

    language: LanguageTag | None = None


class CampaignHasBegun(Conflict, code="notifications.campaign_has_begun"):
    """This campaign is {stands}: that cannot be done any more, or not yet."""

    stands: str


Said = TypeVar("Said")


def choose_words(words: Mapping[str, Said], language: str) -> Said:
    """What somebody who reads this language is told: the language itself, the one that it is a kind of, English, or the first."""
    primary = language.partition("-")[0]
    return next((words[one] for one in (language, primary, "en") if one in words), next(iter(words.values())))


def refuse_far_away(field: str, moment: datetime | None, now: datetime) -> None:
    """Raises InvalidField for a time of yesterday or before, or of years to come: nobody means that, and clocks end."""
    if moment is not None and not -LONGEST_PAST <= moment - now <= LONGEST_AHEAD:
        raise InvalidField(field, "is more than a day ago, or more than ten years ahead")


def read_clock(text: str) -> datetime:
    """What a clock shows, as if it were in UTC; raises ValueError."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
