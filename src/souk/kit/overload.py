"""When there is more to do than can be done: how long work waits in this process before it is begun, and who is sent away early.

Requests that are taken in although they will wait too long cost as much as those that succeed, and their clients have given up by
then. As in CoDel (RFC 8289) it is the time in the queue that tells, and that it stays long: a slow card processor makes many
requests wait while the process is idle, and a burst that is worked off in a moment is no overload. What follows from it is how
many requests may be under way: fewer at once when waits are long, slowly more when they are short (AIMD, as in TCP).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Final

# Everything has waited longer than this in a queue, for so long a time: then it is too much. A request passes some eight queues.
MAY_WAIT_S: Final = 0.15
PATIENCE_S: Final = 0.2
FORGOTTEN_AFTER_S: Final = 0.4
LOOK_EVERY_S: Final = 0.02
ADJUST_EVERY_S: Final = 0.1

# How many requests may be under way: as a beginning and at the most, and at the least.
MOST, LEAST = 1000.0, 64.0
FEWER, MORE = 0.85, 1.1
# Reading may be asked again without loss, so that it goes first: it is sent away at this share of the limit.
READING_SHARE: Final = 0.7

READING = frozenset(("GET", "HEAD", "OPTIONS"))
# Who watches the shop has to be answered when it is at its worst.
ALWAYS = ("/health/", "/metrics")


class Queue:
    """How long things wait in one queue: since when everything that was begun had waited too long, and when that was last seen."""

    def __init__(self) -> None:
        self._long_since = inf
        self._seen_at = -inf

    def note(self, waited_s: float, now: float) -> None:
        """Something was begun after so long a wait."""
        if waited_s <= MAY_WAIT_S:
            self._long_since = inf
        elif self._long_since == inf or now - self._seen_at > FORGOTTEN_AFTER_S:
            self._long_since = now
        self._seen_at = now

    def is_too_long(self, now: float) -> bool:
        """Whether everything has waited too long for a while: one stall is none."""
        return now - self._long_since >= PATIENCE_S and now - self._seen_at <= FORGOTTEN_AFTER_S


class Overload:
    """How many requests are under way in this process and may be, by the waits in its two queues.

    These are what the event loop has to run, and the batches that wait for their turn at the database.
    """

    def __init__(self) -> None:
        self.ready = Queue()
        self.turns = Queue()
        self.under_way = 0
        self.limit = MOST

    def sheds(self, method: str, path: str) -> bool:
        """Whether a request that comes now is to be sent away."""
        limit = self.limit * READING_SHARE if method in READING else self.limit
        return self.under_way >= limit and not path.startswith(ALWAYS)

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Inside, what is done for a request that came in is no load: it waits for what others do."""
        self.under_way -= 1
        try:
            yield
        finally:
            self.under_way += 1

    def adjust(self, now: float) -> None:
        """Fewer requests at once if everything waits too long; more if it does not, and they are wanted."""
        if self.ready.is_too_long(now) or self.turns.is_too_long(now):
            self.limit = max(LEAST, min(self.limit, self.under_way) * FEWER)
        elif self.under_way >= self.limit * READING_SHARE:
            self.limit = min(MOST, self.limit * MORE)

    async def watch(self) -> None:
        """Forever: see how late the event loop comes to what is due, and adjust."""
        loop = asyncio.get_running_loop()
        adjust_at = loop.time() + ADJUST_EVERY_S
        while True:
            due = loop.time() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            now = loop.time()
            self.ready.note(now - due, now)
            if now >= adjust_at:
                self.adjust(now)
                adjust_at = now + ADJUST_EVERY_S


# One per process, as there is one event loop.
overload = Overload()
