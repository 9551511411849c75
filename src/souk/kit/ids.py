"""Identifiers: UUIDv7, so that new rows lie side by side in an index and can be made by the caller."""

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as FastUUID
from uuid_utils import uuid7


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562) of this moment, as the driver makes them: equal to any other UUID, and quicker to write."""
    made: UUID = FastUUID(uuid7().bytes)
    return made


def read_id(text: str) -> UUID:
    """The id that is written so; raises ValueError."""
    read: UUID = FastUUID(text)
    return read


def derive_id(moment: datetime, name: str) -> UUID:
    """A UUIDv7 of another moment whose random bits are a hash of a name: the same moment and name give the same id."""
    raw = bytearray(int(moment.timestamp() * 1000).to_bytes(6) + hashlib.sha256(name.encode()).digest()[:10])
    raw[6] = raw[6] & 0x0F | 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    derived: UUID = FastUUID(bytes(raw))
    return derived


def first_id(second: float) -> UUID:
    """The smallest id of a moment in Unix seconds: what was made before it is below, what is made from then on is not."""
    # No id is of a time before 1970.
    return UUID(int=max(0, int(second * 1000)) << 80)


def moment_of(one: UUID) -> datetime:
    """When a UUIDv7 was made."""
    return datetime.fromtimestamp((one.int >> 80) / 1000, UTC)
