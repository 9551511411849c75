"""The connection of this process to the broker: kept up beside everything else, and waited for by nobody."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from souk.kit.brokers import Broker
from souk.kit.brokers.ears import Ear
from souk.kit.brokers.messages import Message
from souk.kit.errors import Unavailable

log = logging.getLogger(__name__)

START_WITHIN_S = 10.0
PUBLISH_WITHIN_S = 10.0
STOP_WITHIN_S = 5.0
CHECK_S = 1.0
# A broker that answers and brings nothing of what is told (somebody removed an exchange or a topic) is connected to anew after so long.
DEAF_AFTER_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0


class Link:
    """Connects, and connects anew after any trouble; the ears of this process hear over it, and its relays publish."""

    def __init__(self, make: Callable[[], Broker], secrets: Sequence[str]) -> None:
        self._make = make
        self._secrets = secrets
        self._ears: dict[str, Ear] = {}
        self._broker: Broker | None = None
        self._lost = asyncio.Event()

    @property
    def secret(self) -> str:
        """With which messages are signed; none in a shop that is one process."""
        return self._secrets[0] if self._secrets else ""

    def listen(self, source: str) -> Ear:
        """What will be heard of a source."""
        return self._ears.setdefault(source, Ear(source, self._secrets))

    async def publish(self, source: str, messages: Sequence[Message]) -> None:
        """Send messages in this order; raises Unavailable when the broker has not confirmed them in time."""
        broker = self._broker
        if broker is None:
            raise Unavailable("the broker is not reached")
        try:
            async with asyncio.timeout(PUBLISH_WITHIN_S):
                await broker.publish(source, messages)
        except Exception as trouble:
            self._lost.set()
            raise Unavailable(f"the broker has not taken them: {type(trouble).__name__}") from trouble

    async def keep_forever(self) -> None:
        """Be connected whenever the broker is there."""
        pause_s = FIRST_PAUSE_S
        while True:
            broker = self._make()
            try:
                await self._connect(broker)
                pause_s = FIRST_PAUSE_S
                await self._until_lost(broker)
                log.warning("broker_lost")
            except Exception as trouble:
                log.warning("broker_not_reached", extra={"reason": type(trouble).__name__})
            finally:
                self._broker = None
                for ear in self._ears.values():
                    ear.doubt()
                await _stop_quietly(broker)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _connect(self, broker: Broker) -> None:
        for source, ear in self._ears.items():
            ear.doubt()
            broker.listen(source, ear.hear)
        async with asyncio.timeout(START_WITHIN_S):
            await broker.start()
        self._lost.clear()
        self._broker = broker
        log.info("broker_reached")

    async def _until_lost(self, broker: Broker) -> None:
        while not self._lost.is_set():
            if deaf := [source for source, ear in self._ears.items() if ear.deaf_s() > DEAF_AFTER_S]:
                log.warning("broker_brings_nothing", extra={"sources": deaf})
                return
            async with asyncio.timeout(START_WITHIN_S):
                if not await broker.answers():
                    return
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._lost.wait()
            except TimeoutError:
                continue


async def _stop_quietly(broker: Broker) -> None:
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await broker.stop()
    except Exception as trouble:
        log.info("broker_left", extra={"reason": type(trouble).__name__})
