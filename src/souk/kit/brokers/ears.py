"""What a process hears of a source over the broker, put in order, until its feed takes it."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence

from souk.kit.brokers.messages import Heard, Message, Refused, read_message
from souk.kit.outbox import Fact, Position
from souk.kit.telemetry import MESSAGES_REFUSED


def chain_after(end: Position, heard: Iterable[Heard]) -> tuple[tuple[Fact, ...], bool]:
    """Those of the heard that follow `end` one after the other, and whether there is one beyond a gap. What is known is left out."""
    found: list[Fact] = []
    for one in sorted(heard, key=lambda one: one.fact.position):
        if one.fact.position <= end:
            continue
        if one.previous != end:
            return tuple(found), True
        found.append(one.fact)
        end = one.fact.position
    return tuple(found), False


class Ear:
    """Listens for the facts of one source. It is never needed: whatever it misses lies in the outbox.

    `trusted` while messages come in: a feed then waits for them instead of asking the source.
    """

    KEEP = 2_000

    def __init__(self, source: str, secrets: Sequence[str]) -> None:
        self.source = source
        self.trusted = False
        self._secrets = secrets
        self._heard: deque[Heard] = deque(maxlen=self.KEEP)
        self._gap = False
        self._deaf_since: float | None = None
        self._news = asyncio.Event()

    def hear(self, messages: Iterable[Message]) -> None:
        """Take what the broker brings; what is not believed may have taken the place of what is missing."""
        for message in messages:
            try:
                self._heard.extend(read_message(self.source, message, self._secrets))
                self.trusted, self._deaf_since = True, None
            except Refused as refused:
                MESSAGES_REFUSED.labels(self.source, str(refused)).inc()
                self._gap = True
        self._news.set()

    async def take_after(self, end: Position, wait_s: float) -> tuple[Fact, ...]:
        """What follows a position. Nothing after `wait_s` of silence, and nothing when something is missing: then ask the outbox.

        What lies beyond a gap is forgotten, for the outbox has had it since before it was heard.
        """
        try:
            async with asyncio.timeout(wait_s):
                while not self._gap:
                    self._news.clear()
                    heard = tuple(self._heard)
                    self._heard.clear()
                    found, self._gap = chain_after(end, heard)
                    if not self._gap and len(found) < len(heard):
                        MESSAGES_REFUSED.labels(self.source, "duplicate").inc(len(heard) - len(found))
                    if found:
                        return found
                    if not self._gap:
                        await self._news.wait()
        except TimeoutError:
            return ()
        self._gap = False
        return ()

    def doubt(self) -> None:
        """Something was there that should have been heard, or nothing can be heard: trusted again with the next message."""
        self.trusted, self._deaf_since = False, None

    def miss(self) -> None:
        """The outbox had what was not heard, and nothing has been heard since it was last doubted."""
        self._deaf_since = self._deaf_since or time.monotonic()

    def deaf_s(self) -> float:
        """For how long it has heard nothing while there was something to hear."""
        return 0.0 if self._deaf_since is None else time.monotonic() - self._deaf_since
