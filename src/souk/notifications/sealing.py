"""What only this shop can write: envelopes' senders, links that end a topic, and addresses that are known again without being kept."""

import base64
import binascii
import hashlib
import hmac
import re
from uuid import UUID

import msgspec

from souk.notifications.settings import find_key, settings

ENVELOPE = re.compile(r"bounce\+([0-9a-f]{32})([0-9a-f]{20})@", re.IGNORECASE)
SEAL_BYTES = 16


class Envelope(msgspec.Struct, frozen=True):
    """What the sender of an envelope says: of which letter it is, and a seal that only we can have written, for one address."""

    letter_id: UUID
    seal: str


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """Somebody wants to hear no more of a topic on a channel."""

    user_id: UUID
    topic: str
    channel: str


def write_envelope_sender(letter_id: UUID, to: str) -> str:
    """Where a letter to this address is sent back to if it cannot be brought: it names the letter, and nobody else can write it."""
    domain = settings.now.bounce_domain or settings.now.from_domain
    return f"bounce+{letter_id.hex}{_seal_envelope(letter_id, to)}@{domain}"


def find_envelope(text: str) -> Envelope | None:
    """The first envelope's sender that stands in a text, whoever wrote it; None if there is none."""
    found = ENVELOPE.search(text)
    return Envelope(UUID(hex=found[1]), found[2].lower()) if found else None


def is_sealed(envelope: Envelope, to: str) -> bool:
    """Whether we have sent that letter to this address: who got one cannot have another address blamed for it."""
    return hmac.compare_digest(envelope.seal, _seal_envelope(envelope.letter_id, to))


def _seal_envelope(letter_id: UUID, to: str) -> str:
    return _seal("envelope", letter_id.bytes + hide_address(to)).hex()[:20]


def write_unsubscribe_token(wish: Wish) -> str:
    """What proves that we sent somebody a message on a topic. It is good for as long as the mail may lie in their mailbox: for ever."""
    told = msgspec.msgpack.encode(wish)
    return base64.urlsafe_b64encode(_seal("unsubscribe", told) + told).decode().rstrip("=")


def read_unsubscribe_token(token: str) -> Wish | None:
    """Who wants to hear no more of what; None if the token is none of ours."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    seal, told = raw[:SEAL_BYTES], raw[SEAL_BYTES:]
    if not hmac.compare_digest(seal, _seal("unsubscribe", told)):
        return None
    return msgspec.msgpack.decode(told, type=Wish)


def hide_address(address: str) -> bytes:
    """An address as it is kept where it must be known again and not be read: mailboxes are the same in large and small letters."""
    return hmac.digest(find_key(), b"address:" + address.strip().lower().encode(), hashlib.sha256)


def _seal(purpose: str, told: bytes) -> bytes:
    return hmac.digest(find_key(), f"{purpose}:".encode() + told, hashlib.sha256)[:SEAL_BYTES]
