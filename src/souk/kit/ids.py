"""Identifiers: UUIDv7, so that new rows lie side by side in an index and can be made by the caller."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562) of this moment."""
    return uuid7()
