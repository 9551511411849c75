"""The vocabulary of alerts: symptoms that processes tell of, and the alerts that they become."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

AlertFilter = Literal["open", "ended", "all"]


class Symptom(msgspec.Struct, frozen=True):
    """What a process sees of an alert: which one, what it is about, and in a sentence what is wrong."""

    alert: Annotated[str, Meta(max_length=60)]
    subject: Annotated[str, Meta(max_length=200)]
    text: Annotated[str, Meta(max_length=1000)]


class RaisedAlert(msgspec.Struct, frozen=True):
    """Something that is wrong, or was: since when, what was last seen of it, and since when it is over."""

    id: UUID
    alert: str
    subject: str
    text: str
    raised_at: datetime
    seen_at: datetime
    ended_at: datetime | None


class RuleCount(msgspec.Struct, frozen=True):
    """How many rows break a rule of the books."""

    rule: str
    broken: int
