"""What webhooks announces."""

from uuid import UUID

from souk.kit.events import Event
from souk.webhooks.types import DisabledReason


class WebhookDisabled(Event, frozen=True):
    """A webhook is told of nothing any more: its address is gone for good, or has failed for days.

    Without a seller it is the shop's own.
    """

    webhook_id: UUID
    seller_id: UUID | None
    reason: DisabledReason
