"""A relay brings what is new in a context's outbox to the broker, in order, and remembers how far it has come."""

import asyncio
import logging
import math
import time

import msgspec

from souk.kit.brokers.links import Link
from souk.kit.brokers.messages import write_messages
from souk.kit.callers import SYSTEM, Caller, set_caller
from souk.kit.db import NOT_NOW, Database
from souk.kit.delivery import FIND_POSITION, MOVE_POSITION, LostPosition
from souk.kit.errors import Unavailable
from souk.kit.outbox import START, Fact, Position, find_horizon, read_outbox
from souk.kit.telemetry import RELAY_LAG

log = logging.getLogger(__name__)

BEGIN_AT = "INSERT INTO {schema}.consumer_position (consumer, source, xid, id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"

CONSUMER = "relay"
BATCH = 500
WAIT_S = 2.0
# News that come one shortly after the other go out together.
REST_S = 0.02
# What was sent and not saved is sent again after a crash, and those who listen know it already.
SAVE_EVERY_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
# For so long the broker may take nothing from a relay: then it is another process's turn, which may be able to reach it. Until somebody
# has had the time to take over, what waits is told of here.
PATIENCE_S = 15.0
TOLD_FOR_S = 3.0


class _Place(msgspec.Struct, frozen=True):
    xid: int
    id: int


class Relay:
    """Publishes the facts of one context from the position where the last relay was; in a shop that had none, from now on."""

    def __init__(self, database: Database, link: Link) -> None:
        self.source = database.context
        self._database = database
        self._link = link
        self._sent: Position = START
        self._saved: Position = START
        self._oldest: Fact | None = None
        self._trying_since: float | None = None
        self._told_until = math.inf
        self._names = (CONSUMER, self.source)
        RELAY_LAG.labels(self.source).set_function(self.lag_s)

    def lag_s(self) -> float:
        """The age of the oldest fact that this relay has seen and the broker has not confirmed."""
        return time.time() - self._oldest.occurred_at.timestamp() if self._oldest and time.monotonic() < self._told_until else 0.0

    async def run(self) -> None:
        """Relay, and begin again where it was after trouble; to be run where no other process does. Ends when the broker takes nothing."""
        set_caller(Caller(principal=SYSTEM, request_id=f"relay:{self.source}"))
        self._trying_since, self._told_until = None, math.inf
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._run()
                except (LostPosition, Unavailable, *NOT_NOW) as trouble:
                    log.warning("relay_interrupted", extra={"source": self.source, "reason": str(trouble)})
                if self._is_refused():
                    log.warning("relay_given_up", extra={"source": self.source})
                    self._told_until = time.monotonic() + TOLD_FOR_S
                    return
                pause_s = FIRST_PAUSE_S if time.monotonic() - began > LONGEST_PAUSE_S else min(pause_s * 2, LONGEST_PAUSE_S)
                await asyncio.sleep(pause_s)
        except BaseException:
            self._oldest = None
            raise

    def _is_refused(self) -> bool:
        return self._trying_since is not None and time.monotonic() - self._trying_since > PATIENCE_S

    async def _run(self) -> None:
        self._sent = self._saved = await self._find_position()
        save_at = time.monotonic() + SAVE_EVERY_S
        while True:
            facts = await read_outbox(self.source, self._sent, BATCH, WAIT_S)
            if facts:
                self._oldest, self._trying_since = facts[0], self._trying_since or time.monotonic()
                await self._link.publish(self.source, write_messages(self.source, self._sent, facts, self._link.secret))
                self._sent, self._oldest, self._trying_since = facts[-1].position, None, None
            if self._sent != self._saved and time.monotonic() >= save_at:
                await self._save()
                save_at = time.monotonic() + SAVE_EVERY_S
            if 0 < len(facts) < BATCH:
                await asyncio.sleep(REST_S)

    async def _find_position(self) -> Position:
        schema = self._database.context
        horizon = await find_horizon(self.source)
        async with self._database.transaction() as tx:
            await tx.run(BEGIN_AT.format(schema=schema), *self._names, *horizon)
            place = await tx.one(_Place, FIND_POSITION.format(schema=schema), *self._names)
        return (place.xid, place.id)

    async def _save(self) -> None:
        async with self._database.transaction() as tx:
            if not await tx.run(MOVE_POSITION.format(schema=self._database.context), *self._names, *self._saved, *self._sent):
                raise LostPosition(f"relay of {self.source}")
        self._saved = self._sent
