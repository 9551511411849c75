"""What carts announces."""

from uuid import UUID

from souk.carts.types import CartLine
from souk.kit.events import Event


class CartAbandoned(Event, frozen=True):
    """A user has left their cart with something in it. Told once, until they change it and leave it again."""

    cart_id: UUID
    user_id: UUID
    lines: tuple[CartLine, ...]
