"""Standard Webhooks: whether a webhook comes from whom it says and was sent within the last five minutes."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

TOLERANCE_S = 300


def find_signed_id(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> str | None:
    """The event's id, if one of these secrets (whsec_...) signed it within the last five minutes; None if not."""
    event_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not event_id or not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > TOLERANCE_S:
        return None
    signed = f"{event_id}.{sent_at}.".encode() + body
    given = [text.removeprefix("v1,") for text in headers.get("webhook-signature", "").split() if text.startswith("v1,")]
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(read_key(secret), signed, hashlib.sha256))
        if any(hmac.compare_digest(expected, one.encode()) for one in given):
            return event_id
    return None


def read_key(secret: str) -> bytes:
    """The bytes behind a secret's text."""
    return base64.b64decode(secret.removeprefix("whsec_"))
