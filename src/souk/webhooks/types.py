"""The vocabulary of webhooks: who is told of what and where, what became of it, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict

WebhookStatus = Literal["active", "paused", "disabled"]
DisabledReason = Literal["gone", "failing"]
DeliveryStatus = Literal["waiting", "delivered", "failed"]

PING = "webhooks.ping"

EXAMPLE = "https://hooks.seller.example/souk"
Address = Annotated[str, Meta(min_length=8, max_length=2000, pattern=r"^https?://[!-~]+(?!\n)$", examples=[EXAMPLE])]
Pattern = Annotated[str, Meta(pattern=r"^(\*|[a-z]{1,30}\.(\*|[a-z_]{1,60}))(?!\n)$", examples=["orders.*"])]
Patterns = Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=100)]
Description = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*$", examples=["our warehouse"])]


class NewWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where somebody wants to be told, and of what: names of events, or `orders.*`, or `*`.

    It is the seller's; an admin who names none makes one for the shop.
    """

    url: Address
    events: Patterns
    description: Description = ""
    seller_id: UUID | None = None


class WebhookChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; fields that are left out stay as they are. `active` goes on with what waits, also after `disabled`."""

    url: Address | UnsetType = UNSET
    events: Patterns | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    status: Literal["active", "paused"] | UnsetType = UNSET


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. `failing_since` is when it failed first since something was delivered; `waiting` is how much is to be sent.

    More than 1000 that wait are shown as 1000.
    """

    id: UUID
    seller_id: UUID | None
    url: str
    events: tuple[str, ...]
    description: str
    status: WebhookStatus
    disabled_reason: DisabledReason | None
    failing_since: datetime | None
    waiting: int
    created_at: datetime
    updated_at: datetime


class OpenedWebhook(msgspec.Struct, frozen=True):
    """A webhook with the secret that signs what it is told; the secret is never shown again."""

    webhook: Webhook
    secret: str


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to a webhook. The id is the event's, and the header `webhook-id` of every attempt."""

    id: UUID
    webhook_id: UUID
    type: str
    status: DeliveryStatus
    attempts: int
    settled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class DeliveryAttempt(msgspec.Struct, frozen=True):
    """What became of one attempt: a status, or why there was none, and how the answer began."""

    number: int
    status: int | None
    error: str | None
    duration_ms: int
    answer: str
    created_at: datetime


class DeliveryDetail(msgspec.Struct, frozen=True):
    """A delivery, the body that is sent, and its attempts."""

    delivery: WebhookDelivery
    body: str
    attempts: tuple[DeliveryAttempt, ...]


class RetryFailed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From when on what failed is to be sent again."""

    since: datetime


class Retried(msgspec.Struct, frozen=True):
    """How many deliveries wait again. Ask again until there are none."""

    count: int


class EventType(msgspec.Struct, frozen=True):
    """An event that a webhook can be told of, and whether a seller's can."""

    name: str
    description: str
    for_sellers: bool


class TooManyWebhooks(Conflict, code="webhooks.too_many"):
    """A seller has at most {most} webhooks, and so has the shop."""

    most: int


class TooManySecrets(Conflict, code="webhooks.too_many_secrets"):
    """So many secrets of this webhook are good at a time; the oldest ends within 24 hours."""


class WebhookInactive(Conflict, code="webhooks.inactive"):
    """This webhook is {found}: nothing is sent to it. Make it active first."""

    found: str
