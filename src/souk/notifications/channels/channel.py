"""The seam behind which every channel stands: what it is given, what it says, and how it fails."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec


class Letter(msgspec.Struct, frozen=True):
    """Something ready to leave. The id is the key by which whoever takes it can know it again: the same for every attempt."""

    id: UUID
    to: str
    subject: str
    text: str
    # Its page in pieces, of which every second is this reader's own; the others are the same in many letters.
    page: tuple[str, ...] | None = None
    # For what may be unsubscribed from with one click (RFC 8058).
    unsubscribe_url: str | None = None
    # Nobody waits for it: all others go first.
    advertises: bool = False


class Accepted(msgspec.Struct, frozen=True):
    """It is theirs now."""


class Refused(msgspec.Struct, frozen=True):
    """They will never take it. An address that does not exist is not written to again."""

    reason: str
    bad_address: bool = False


class Later(msgspec.Struct, frozen=True):
    """They did not take it, and may later; not before so many seconds if they said so. Perhaps nobody asked them for it yet."""

    reason: str
    after_s: float | None = None
    tried: bool = True


class Unknown(msgspec.Struct, frozen=True):
    """Nobody can tell whether they have taken it."""

    reason: str


Outcome = Accepted | Refused | Later | Unknown


# A letter that has not had its turn by then goes back: whether it is still wanted has to be looked at once more.
FRESH_S = 1.0
NOT_YET = Later("not their turn yet", 0.0, tried=False)


class Carrier(Protocol):
    """Who brings letters to people on a channel."""

    async def deliver(self, letters: Sequence[Letter], offered: set[UUID]) -> Sequence[Outcome]:
        """What became of each, in their order. Never raises for one of them.

        Before they can have taken one, its id is in `offered`: of the others it is known that they have not, even if this is broken off.
        """

    async def find_accepted(self, ids: Sequence[UUID]) -> frozenset[UUID] | None:
        """Which of these they have taken, from their own book; None if they keep none that we can read. Raises Silent or Unreachable."""

    async def close(self) -> None:
        """Hang up."""
