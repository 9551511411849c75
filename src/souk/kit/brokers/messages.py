"""Facts as messages: batches of CloudEvents, each of which says which fact comes before it, signed by the shop."""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.outbox import Fact, Position

CONTENT_TYPE = "application/cloudevents-batch+json"
SIGNATURE = "souk-signature"

# A message has no more, as far as Kafka takes it without being told to. Facts that are larger by themselves are not sent: whoever
# listens sees that one is missing and reads it from the outbox.
LARGEST_BYTES = 512 * 1024


class Message(msgspec.Struct, frozen=True):
    """What goes over a broker: some facts of one source, which follow each other."""

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


_read = msgspec.json.Decoder(tuple[CloudEvent, ...]).decode


def write_messages(source: str, previous: Position, facts: Sequence[Fact], secret: str) -> list[Message]:
    """Facts that follow `previous` one after the other, in few messages; without those that are too large to be sent."""
    batches: list[list[bytes]] = [[]]
    size = 0
    for fact in facts:
        event = _write_event(source, previous, fact)
        previous = fact.position
        if len(event) > LARGEST_BYTES:
            continue
        if size + len(event) > LARGEST_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(event)
        size += len(event)
    bodies = [b"[" + b",".join(batch) + b"]" for batch in batches if batch]
    return [Message(body, sign(body, secret) if secret else "") for body in bodies]


def _write_event(source: str, previous: Position, fact: Fact) -> bytes:
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
    return msgspec.json.encode(event)


def read_message(source: str, message: Message, secrets: Sequence[str]) -> tuple[Heard, ...]:
    """What a message tells of a source; raises Refused. It must be signed with one of these secrets, if there are any."""
    given = message.signature.encode(errors="replace")
    if secrets and not any(hmac.compare_digest(sign(message.body, secret).encode(), given) for secret in secrets):
        raise Refused("forged")
    try:
        events = _read(message.body)
        heard = tuple(_hear(event) for event in events)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Refused("unreadable") from None
    if any(event.source != f"/souk/{source}" for event in events):
        raise Refused("forged")
    return heard


def _hear(event: CloudEvent) -> Heard:
    position, data = _position(event.position), bytes(event.data).decode()
    fact = Fact(*position, event.id, event.type, event.subject, data, event.requestid or "", event.time, event.traceparent or None)
    return Heard(fact, _position(event.previous))


def sign(body: bytes, secret: str) -> str:
    """The signature of a body. The same secret signs calls between processes: the prefix keeps the two apart."""
    return hmac.digest(secret.encode(), b"souk event\n" + body, "sha256").hex()


def _write(position: Position) -> str:
    return f"{position[0]}.{position[1]}"


def _position(text: str) -> Position:
    xid, _, number = text.partition(".")
    return (int(xid), int(number))
