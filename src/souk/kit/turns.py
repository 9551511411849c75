"""Turns at the database: how many batches of a process work at a time, and which is next."""

import asyncio
from asyncio import AbstractEventLoop
from collections import deque
from weakref import WeakKeyDictionary

# One batch at a time: the others grow meanwhile, and a batch costs nearly the same whatever its size. A second one joins when the
# first takes longer than this, for then it waits for the database more than it works; a third when one waits for something else.
LONG_S = 0.02
MOST = 2
STUCK_S = 0.2
# Rounds of the event loop between a batch's answers and the next turn: who got one is to ask for their next step by then.
ROUNDS = 3


class Turn:
    """The right to work on a batch now. It is passed on once: when the batch is done, or when it has taken too long."""

    def __init__(self, turns: "Turns") -> None:
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._begun_at = self._loop.time()
        self._passed_on = False
        self._alarm = self._loop.call_later(LONG_S, self._take_long)
        turns.at_work += 1

    def end(self) -> None:
        """The batch is done."""
        self._alarm.cancel()
        self._turns.at_work -= 1
        if not self._passed_on:
            self._turns.pass_on(ROUNDS)

    def _take_long(self) -> None:
        if self._turns.at_work < MOST or self._loop.time() - self._begun_at >= STUCK_S:
            self._passed_on = True
            self._turns.pass_on()
        else:
            self._alarm = self._loop.call_later(LONG_S, self._take_long)


class Turns:
    """Who works next. What has been begun is finished before anything new: the items of a batch stay together from step to step.

    If steps were served in the order in which they ask, the requests under way would spread over all steps, and a batch would be
    as much smaller as there are steps.
    """

    def __init__(self) -> None:
        self.at_work = 0
        self._is_free = True
        self._begun: deque[asyncio.Future[None]] = deque()
        self._new: deque[asyncio.Future[None]] = deque()

    async def take(self, *, begun: bool) -> Turn:
        """Wait for our turn."""
        if self._is_free:
            self._is_free = False
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
        self._is_free = True


_turns: WeakKeyDictionary[AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: AbstractEventLoop) -> Turns:
    """The turns of an event loop, of which a process has one."""
    if loop not in _turns:
        _turns[loop] = Turns()
    return _turns[loop]
