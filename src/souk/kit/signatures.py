"""Standard Webhooks: signing what we tell, and whether what we are told comes from whom it says and was sent within five minutes."""

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
    given = [one.encode() for one in headers.get("webhook-signature", "").split()]
    for secret in secrets:
        expected = sign(secret, event_id, sent_at, body).encode()
        if any(hmac.compare_digest(expected, one) for one in given):
            return event_id
    return None


def sign(secret: str, message_id: str, sent_at: str, body: bytes) -> str:
    """The signature of a message by this secret (whsec_...), with its version: `v1,...`."""
    digest = hmac.digest(read_key(secret), f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def read_key(secret: str) -> bytes:
    """The bytes behind a secret's text."""
    return base64.b64decode(secret.removeprefix("whsec_"))
