"""The vocabulary of notifications: notices, messages, letters, and what becomes of them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

Channel = Literal["email", "in_app", "push", "sms", "webhook"]
RecipientKind = Literal["user", "seller", "order", "admins"]
MessageStatus = Literal["waiting", "sending", "sent", "suppressed", "failed"]
Content = dict[str, object]

CHANNELS: tuple[Channel, ...] = ("email", "in_app", "push", "sms", "webhook")
# Those by which somebody is woken: quiet hours, digests and limits are about them. A feed and a machine wait for who looks.
DISTURBING: tuple[Channel, ...] = ("email", "push", "sms")

# Why a message is not sent, or not yet; a channel may have other reasons.
Reason = Literal[
    "opted_out", "no_address", "address_unverified", "too_many", "erased", "ordered", "nothing_to_say", "quiet_hours", "digest",
    "unknown_topic", "unknown_kind",
]  # fmt: skip

NOBODY = UUID(int=0)


class Notice(msgspec.Struct, frozen=True):
    """What somebody is to be told, and who: a user, a seller's team, the buyer of an order, all admins."""

    id: UUID
    kind: str
    fact_id: UUID
    recipient_kind: RecipientKind
    recipient_id: UUID
    content: Content
    occurred_at: datetime


class Message(msgspec.Struct, frozen=True):
    """One notice to one person on one channel."""

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
    content: Content
    due_at: datetime
    give_up_at: datetime
    attempts: int
    window_ends_at: datetime | None = None
