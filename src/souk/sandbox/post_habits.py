"""The bad habits of mail servers and of those who bring texts to phones, asked for by an address or imposed by a test."""

from collections import deque
from enum import StrEnum
from random import Random
from typing import Annotated

from msgspec import Meta, Struct


class Habit(StrEnum):
    OK = "ok"
    BUSY = "421"  # they end the conversation
    LATER = "451"
    UNKNOWN_ADDRESS = "550"
    TOO_LARGE = "552"
    REFUSED = "554"
    SLOW = "slow"
    TIMEOUT_ACCEPTED = "timeout_accepted"  # taken, and nobody is told
    TIMEOUT_LOST = "timeout_lost"  # not taken, and nobody is told
    DROP_ACCEPTED = "drop_accepted"  # taken, and the connection is gone before the answer
    DROP_LOST = "drop_lost"
    BOUNCES = "bounces"  # taken, and sent back later
    COMPLAINS = "complains"  # taken, and somebody calls it spam
    TOO_MANY = "429"  # of texts: come back in a second
    NO_TLS = "no_tls"  # of connections: encryption does not begin


class PostMoodRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What the next letters meet; with a share, that part of all letters by chance. Down: nobody gets in."""

    next: Habit | None = None
    count: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    share: Annotated[float, Meta(ge=0, le=1)] | None = None
    down: bool | None = None


class PostMoodShown(Struct, frozen=True):
    next: tuple[Habit, ...]
    down: bool


class Imposed(Struct):
    habit: Habit
    left: int


class PostMoods:
    """What was imposed on the letters to come; used within the server's thread alone."""

    def __init__(self, seed: int) -> None:
        self._imposed: deque[Imposed] = deque()
        self._shares: dict[Habit, float] = {}
        self._random = Random(seed or None)  # noqa: S311 - it plays a role, and guards nothing
        self.down = False

    def change(self, asked: PostMoodRequest) -> None:
        if asked.next is not None and asked.share is not None:
            self._shares[asked.next] = asked.share
        elif asked.next is not None:
            self._imposed.append(Imposed(asked.next, asked.count))
        self.down = self.down if asked.down is None else asked.down

    def reset(self) -> None:
        self._imposed.clear()
        self._shares.clear()
        self.down = False

    def show(self) -> PostMoodShown:
        return PostMoodShown((*(one.habit for one in self._imposed), *self._shares), self.down)

    def take(self, address: str) -> Habit:
        """What a letter to this address meets: ada+451@example.com asks for it; otherwise what is imposed."""
        if (asked := habit_of(address)) is not Habit.OK:
            return asked
        if self._imposed and self._imposed[0].habit is not Habit.NO_TLS:
            first = self._imposed[0]
            first.left -= 1
            if first.left == 0:
                self._imposed.popleft()
            return first.habit
        return next((habit for habit, share in self._shares.items() if self._random.random() < share), Habit.OK)

    def take_connection(self) -> bool:
        """Whether encryption begins on this connection."""
        if not self._imposed or self._imposed[0].habit is not Habit.NO_TLS:
            return True
        self._imposed[0].left -= 1
        if self._imposed[0].left == 0:
            self._imposed.popleft()
        return False


def habit_of(address: str) -> Habit:
    """The habit that an address asks for by what stands after its plus sign; a phone number by its last three digits."""
    local = address.partition("@")[0]
    tag = local.partition("+")[2] if "@" in address else local[-3:]
    return Habit(tag) if tag in Habit._value2member_map_ else Habit.OK
