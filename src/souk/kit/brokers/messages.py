"""A fact as a message: a CloudEvent that says which fact comes before it, signed by the shop."""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.outbox import Fact, Position

CONTENT_TYPE = "application/cloudevents+json"
SIGNATURE = "souk-signature"

# Larger ones are not sent: whoever listens sees that one is missing and reads it from the outbox.
LARGEST_BYTES = 512 * 1024


class Message(msgspec.Struct, frozen=True):
    """What goes over a broker: key and type are for whoever routes it, the rest is in the body."""

    key: str
    type: str
    body: bytes
    signature: str


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0 as JSON. Of the extensions, position and previous give the order of the source's outbox."""

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: str
    type: str
    subject: UUID
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    position: str
    previous: str
    requestid: str | msgspec.UnsetType = msgspec.UNSET
    traceparent: str | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw


class Heard(msgspec.Struct, frozen=True):
    """A fact that a message told of, and the position of the one before it in the same outbox."""

    fact: Fact
    previous: Position


class Refused(Exception):
    """A message is not believed; the text is the reason, in one word."""


_read = msgspec.json.Decoder(CloudEvent).decode


def write_messages(source: str, previous: Position, facts: Sequence[Fact], secret: str) -> list[Message]:
    """Facts that follow `previous` one after the other, as messages; without those that are too large to be sent."""
    messages: list[Message] = []
    for fact in facts:
        event = CloudEvent(
            id=fact.event_id,
            source=f"/souk/{source}",
            type=fact.type,
            subject=fact.aggregate_id,
            time=fact.occurred_at,
            position=_write(fact.position),
            previous=_write(previous),
            requestid=fact.request_id or msgspec.UNSET,
            traceparent=fact.traceparent or msgspec.UNSET,
            data=msgspec.Raw(fact.payload.encode()),
        )
        previous = fact.position
        body = msgspec.json.encode(event)
        if len(body) <= LARGEST_BYTES:
            messages.append(Message(str(fact.aggregate_id), fact.type, body, sign(body, secret) if secret else ""))
    return messages


def read_message(source: str, message: Message, secrets: Sequence[str]) -> Heard:
    """What a message tells of a source; raises Refused. It must be signed with one of these secrets, if there are any."""
    given = message.signature.encode(errors="replace")
    if secrets and not any(hmac.compare_digest(sign(message.body, secret).encode(), given) for secret in secrets):
        raise Refused("forged")
    try:
        event = _read(message.body)
        position, previous = _position(event.position), _position(event.previous)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Refused("unreadable") from None
    if event.source != f"/souk/{source}":
        raise Refused("forged")
    payload, trace = bytes(event.data).decode(), event.traceparent or None
    fact = Fact(*position, event.id, event.type, event.subject, payload, event.requestid or "", event.time, trace)
    return Heard(fact, previous)


def sign(body: bytes, secret: str) -> str:
    """The signature of a body. The same secret signs calls between processes: the prefix keeps the two apart."""
    return hmac.digest(secret.encode(), b"souk event\n" + body, "sha256").hex()


def _write(position: Position) -> str:
    return f"{position[0]}.{position[1]}"


def _position(text: str) -> Position:
    xid, _, number = text.partition(".")
    return (int(xid), int(number))
