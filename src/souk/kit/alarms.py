"""Alarms that are nearly always cancelled before they ring: every call has a deadline, and a timer of the event loop is dear."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

# Alarms of the same moment share a timer; so much later than asked for may one ring.
EVERY_S: Final = 0.02


class Alarm:
    """Something that is to be called at its time unless it is cancelled."""

    __slots__ = ("_others", "ring")

    def __init__(self, ring: Callable[[], None], others: "set[Alarm]") -> None:
        self.ring = ring
        self._others = others
        others.add(self)

    def cancel(self) -> None:
        """Forget it; nothing happens if it has rung."""
        self._others.discard(self)


class Alarms:
    """The alarms of an event loop."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self._moments: dict[int, set[Alarm]] = {}

    def set(self, when: float, ring: Callable[[], None]) -> Alarm:
        """Call `ring` at this time (time.monotonic, which is the loop's clock), or up to EVERY_S later."""
        moment = int(when / EVERY_S) + 1
        alarms = self._moments.get(moment)
        if alarms is None:
            alarms = self._moments[moment] = set()
            self.loop.call_at(moment * EVERY_S, self._ring, moment)
        return Alarm(ring, alarms)

    def _ring(self, moment: int) -> None:
        alarms = self._moments.pop(moment)
        while alarms:
            alarms.pop().ring()


_last: list[Alarms] = []


def alarms_of(loop: AbstractEventLoop) -> Alarms:
    """The alarms of the loop that runs: a process has one loop, tests have one after the other."""
    if not _last or _last[0].loop is not loop:
        _last[:] = [Alarms(loop)]
    return _last[0]
