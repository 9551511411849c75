"""How far the books of gateways and banks are read and compared with ours."""

from uuid import UUID

import msgspec

FIND_PLACE = "SELECT position, compared FROM payments.book_position WHERE gateway = $1"
MOVE_POSITION = """
    INSERT INTO payments.book_position (gateway, position, compared) VALUES ($1, $2, $3)
    ON CONFLICT (gateway) DO UPDATE SET position = excluded.position, updated_at = now()
"""
MOVE_COMPARED = """
    INSERT INTO payments.book_position AS p (gateway, position, compared) VALUES ($1, $2, $3)
    ON CONFLICT (gateway) DO UPDATE SET compared = greatest(p.compared, excluded.compared), updated_at = now()
"""


class Place(msgspec.Struct, frozen=True):
    """Up to where a book is read, and after which transfer of ours it is to be compared."""

    position: str
    compared: UUID
