"""What a PATCH makes of a row: the fields that were given, and the others as they are."""

from collections.abc import Iterable

import msgspec


def given(change: msgspec.Struct, fields: Iterable[str], row: msgspec.Struct) -> dict[str, object]:
    """The new values of these fields: the change's, or the row's where the change leaves them out."""
    values: dict[str, object] = {}
    for field in fields:
        new: object = getattr(change, field)
        values[field] = getattr(row, field) if new is msgspec.UNSET else new
    return values
