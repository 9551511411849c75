"""The vocabulary of those who tell people things: how somebody is reached, and which users are meant."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.users.types import DigestEvery, Language, QuietHours, Role


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody is reached, and what they want to hear of on which channel and when. It is personal: neither cached nor logged."""

    user_id: UUID
    email: str
    email_verified: bool
    name: str | None
    phone_number: str | None
    language: str
    currency: str | None
    timezone: str
    notifications: dict[str, dict[str, bool]]
    quiet_hours: QuietHours | None
    digests: dict[str, DigestEvery]


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which users: those to whom all that is given applies."""

    role: Role | None = None
    language: Annotated[Language | None, Meta(description="With all that begins with it: de is de-AT, too")] = None
    registered_from: datetime | None = None
    registered_before: datetime | None = None
    has_likings: Annotated[bool | None, Meta(description="Who say which categories or brands they like")] = None
    user_ids: Annotated[tuple[UUID, ...], Meta(max_length=10_000)] | None = None
