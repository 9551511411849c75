"""Feeds: what is new in a source, read once for all consumers of this process, from its outbox or as a broker brings it."""

import asyncio
import logging
import time
from bisect import bisect_right

from souk.kit.brokers.ears import Ear
from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW
from souk.kit.errors import Unavailable
from souk.kit.outbox import START, Fact, Position, read_outbox
from souk.kit.telemetry import FACTS_READ

log = logging.getLogger(__name__)

# How long a feed waits at its source for news: no longer than that process may take to stop.
WAIT_S = 2.0
# What comes shortly after other news waits for more: consumers then apply it in fewer and larger batches.
REST_S = 0.2


class Feed:
    """One reader of a source for all consumers of this process: the newest facts are read once and kept for a while.

    With an ear it waits for the broker while that brings everything, and asks the outbox for whatever is missing.
    """

    KEEP = 2_000
    BATCH = 500

    def __init__(self, source: str, ear: Ear | None = None) -> None:
        self.source = source
        self._ear = ear
        self._facts: list[Fact] = []
        self._start: Position | None = None
        self._end: Position = START
        self._behind = False
        self._blind_since: float | None = None
        self._begun = asyncio.Event()
        self._more = asyncio.Condition()

    async def after(self, position: Position, wait_s: float) -> tuple[Fact, ...]:
        """Facts after a position, at most a batch of them; none if nothing came within `wait_s`."""
        start = self._start
        if start is None or position < start:
            # Far behind the others, or the first to ask: a read of one's own.
            if facts := await read_outbox(self.source, position, self.BATCH, 0):
                return facts
            if self._start is None:
                start = self._start = self._end = position
                self._begun.set()
        try:
            async with asyncio.timeout(wait_s), self._more:
                await self._more.wait_for(lambda: bool(self._facts) and self._facts[-1].position > position)
        except TimeoutError:
            return ()
        if self._start is not None and self._start != start and self._start > position:
            # What is kept begins later by now, and between may lie what became final after our read: to be asked again.
            return ()
        return self._kept_after(position)

    def blind_s(self) -> float:
        """For how long the source could not be asked: what lies there may be as old as that."""
        return 0.0 if self._blind_since is None else time.monotonic() - self._blind_since

    def _kept_after(self, position: Position) -> tuple[Fact, ...]:
        first = bisect_right(self._facts, position, key=lambda fact: fact.position)
        return tuple(self._facts[first : first + self.BATCH])

    async def follow_forever(self) -> None:
        """Read on at the end; after trouble begin again where it was."""
        set_caller(Caller(principal=SYSTEM, request_id=f"feed:{self.source}"))
        while True:
            try:
                await self._follow()
            except (Unavailable, *NOT_NOW) as silence:
                self._blind_since = self._blind_since or time.monotonic()
                log.warning("feed_interrupted", extra={"source": self.source, "reason": str(silence)})
                await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        await self._begun.wait()
        loop = asyncio.get_running_loop()
        while True:
            facts = await self._read_on()
            if not facts:
                continue
            read_at = loop.time()
            async with self._more:
                self._facts.extend(facts)
                self._end = facts[-1].position
                if len(self._facts) > self.KEEP:
                    dropped = self._facts[: -self.KEEP]
                    self._facts = self._facts[-self.KEEP :]
                    self._start = dropped[-1].position
                self._more.notify_all()
            if not self._behind:
                await asyncio.sleep(read_at + REST_S - loop.time())

    async def _read_on(self) -> tuple[Fact, ...]:
        """What comes next: as it was heard, if nothing is missing there; else what the outbox has."""
        ear = self._ear if self._ear is not None and self._ear.trusted and not self._behind else None
        if ear is not None and (heard := await ear.take_after(self._end, WAIT_S)):
            self._blind_since = None
            FACTS_READ.labels(self.source, "broker").inc(len(heard))
            return heard
        # After trouble it is seen at once whether that is over.
        at_once = ear is not None or self._behind or self._blind_since is not None
        facts = await read_outbox(self.source, self._end, self.BATCH, 0 if at_once else WAIT_S)
        self._blind_since = None
        self._behind = len(facts) == self.BATCH
        FACTS_READ.labels(self.source, "outbox").inc(len(facts))
        if facts and self._ear is not None and not self._ear.trusted:
            self._ear.miss()
        if ear is not None:
            if facts:
                ear.doubt()
            else:
                # Nothing is missing, whatever it was that came in: more of it may not cost the source more than this.
                await asyncio.sleep(REST_S)
        return facts
