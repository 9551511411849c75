"""Standard Webhooks: whether a webhook comes from the gateway that it says."""

from collections.abc import Mapping, Sequence

from souk.kit.signatures import find_signed_id
from souk.payments.types import WebhookForged


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> str:
    """The event's id, if one of these secrets (whsec_...) signed it; raises WebhookForged."""
    event_id = find_signed_id(headers, body, secrets)
    if event_id is None:
        raise WebhookForged
    return event_id
