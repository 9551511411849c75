"""The secrets of webhooks: made, sealed, replaced, and what they sign."""

import base64
import logging
import secrets
from collections.abc import Iterable
from uuid import UUID

from souk.kit.db import Transaction
from souk.kit.ids import new_id
from souk.kit.sealing import seal, unseal
from souk.kit.signatures import sign
from souk.webhooks.settings import shop_secret
from souk.webhooks.types import TooManySecrets

log = logging.getLogger(__name__)

SECRET_BYTES = 32
# How long the secret before the newest signs along.
OLD_SECRET_HOURS = 24
MOST_SECRETS = 5

FORGET = "DELETE FROM webhooks.secret WHERE webhook_id = $1 AND expires_at <= now()"
COUNT = "SELECT count(*) FROM webhooks.secret WHERE webhook_id = $1"
RETIRE = """
    UPDATE webhooks.secret SET expires_at = now() + make_interval(hours => $2), updated_at = now()
    WHERE webhook_id = $1 AND expires_at IS NULL
"""
ADD = "INSERT INTO webhooks.secret (id, webhook_id, sealed) VALUES ($1, $2, $3)"


async def add_secret(tx: Transaction, webhook_id: UUID) -> str:
    """A new secret for a webhook whose row is locked or new, as its sealed text. Raises TooManySecrets.

    None that still signs is dropped for it: the receiver may know only an older one.
    """
    await tx.run(FORGET, webhook_id)
    if await tx.value(COUNT, webhook_id) >= MOST_SECRETS:
        raise TooManySecrets
    await tx.run(RETIRE, webhook_id, OLD_SECRET_HOURS)
    made = f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
    sealed = seal(shop_secret(), made.encode(), webhook_id.bytes)
    await tx.run(ADD, new_id(), webhook_id, sealed)
    return base64.b64encode(sealed).decode()


def open_secret(webhook_id: UUID, sealed: str) -> str:
    """The secret behind its sealed text, for whoever has just made it."""
    made = unseal(shop_secret(), base64.b64decode(sealed), webhook_id.bytes)
    return "" if made is None else made.decode()


def sign_message(webhook_id: UUID, sealed: Iterable[bytes], message_id: str, sent_at: str, body: bytes) -> str:
    """The signatures of a message by every secret that can be opened; empty if none can."""
    opened = [unseal(shop_secret(), one, webhook_id.bytes) for one in sealed]
    if None in opened:
        log.warning("webhook_secret_unreadable", extra={"webhook_id": str(webhook_id)})
    return " ".join(sign(secret.decode(), message_id, sent_at, body) for secret in opened if secret is not None)
