"""Turns at the database: how many batches of a process work at a time, and which is next."""

import asyncio
from asyncio import AbstractEventLoop
from collections import deque
from weakref import WeakKeyDictionary

# How many batches a process works on at a time. The fewer they are, the larger grow those that wait, and a batch costs nearly
# the same whatever its size: two keep both the process and the database busy.
TURNS = 2
# A batch that takes longer than this waits for something, and lets others go on meanwhile.
TURN_S = 0.2
# Rounds of the event loop between a batch's answers and the next turn: who got one is to ask for their next step by then.
ROUNDS = 3


class Turn:
    """The right to work on a batch now. It ends once: when the batch is done, or when it has taken too long."""

    def __init__(self, turns: "Turns") -> None:
        self._turns = turns
        self._over = False
        self._alarm = asyncio.get_running_loop().call_later(TURN_S, self.end)

    def end(self) -> None:
        if not self._over:
            self._over = True
            self._alarm.cancel()
            self._turns.pass_on(ROUNDS)


class Turns:
    """Who works next. What has been begun is finished before anything new: the items of a batch stay together from step to step.

    If steps were served in the order in which they ask, the requests under way would spread over all steps, and a batch would be
    as much smaller as there are steps.
    """

    def __init__(self) -> None:
        self._free = TURNS
        self._begun: deque[asyncio.Future[None]] = deque()
        self._new: deque[asyncio.Future[None]] = deque()

    async def take(self, *, begun: bool) -> Turn:
        """Wait for our turn."""
        if self._free:
            self._free -= 1
            return Turn(self)
        waiting = asyncio.get_running_loop().create_future()
        (self._begun if begun else self._new).append(waiting)
        try:
            await waiting
        except BaseException:
            if waiting.done() and not waiting.cancelled():
                self.pass_on()
            raise
        return Turn(self)

    def pass_on(self, rounds: int = 0) -> None:
        """A turn is over, so many rounds of the event loop from now."""
        if rounds:
            asyncio.get_running_loop().call_soon(self.pass_on, rounds - 1)
            return
        for queue in (self._begun, self._new):
            while queue:
                waiting = queue.popleft()
                if not waiting.done():
                    waiting.set_result(None)
                    return
        self._free += 1


_turns: WeakKeyDictionary[AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: AbstractEventLoop) -> Turns:
    """The turns of an event loop, of which a process has one."""
    if loop not in _turns:
        _turns[loop] = Turns()
    return _turns[loop]
