"""Questions that are asked in the same moment travel together, and each hears its own answer when that is there."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any

from souk.kit.errors import Unavailable

# So many go together, or as many as have so many bytes: what is larger would only wait for its neighbours.
MOST = 100
MOST_BYTES = 48 * 1024


class Question:
    """What is asked, packed for its way, and where the answer goes."""

    __slots__ = ("answer", "envelope")

    def __init__(self, envelope: Any) -> None:
        self.envelope = envelope
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(self, answer: Any) -> None:
        """Give it its answer, or raise that at who asked. Who has left hears nothing."""
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Trip:
    """Questions that travel together. It ends early when all who asked have left."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.bytes = 0
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """One of those who asked has left."""
        if self.task is not None and all(question.answer.done() for question in self.questions):
            self.task.cancel()


class Gathering:
    """Gathers those who ask within one round of the event loop, for `carry`, which gives each of them its answer.

    Nobody waits for anybody: neither for one who asks later, nor for an answer that is not theirs.
    """

    def __init__(self, carry: Callable[[Sequence[Question]], Awaitable[None]]) -> None:
        self._carry = carry
        self._next: Trip | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, envelope: Any, size: int) -> Any:
        """The answer; raises the refusal, or Unavailable."""
        trip = self._next
        if trip is None:
            trip = self._next = Trip()
            asyncio.get_running_loop().call_soon(self._depart, trip)
        question = Question(envelope)
        trip.questions.append(question)
        trip.bytes += size
        if trip.bytes >= MOST_BYTES or len(trip.questions) >= MOST:
            self._next = None
        try:
            return await question.answer
        except asyncio.CancelledError:
            trip.leave()
            raise

    def _depart(self, trip: Trip) -> None:
        if self._next is trip:
            self._next = None
        if questions := [question for question in trip.questions if not question.answer.done()]:
            # A context of its own: it belongs to all who asked.
            trip.task = asyncio.get_running_loop().create_task(self._travel(questions), context=Context())
            self._tasks.add(trip.task)
            trip.task.add_done_callback(self._tasks.discard)

    async def _travel(self, questions: Sequence[Question]) -> None:
        silence = "the process is stopping"
        try:
            await self._carry(questions)
            silence = "there was no answer"
        except Unavailable as unavailable:
            silence = str(unavailable)
        finally:
            for question in questions:
                # An exception of their own for each: a traceback shared by many tasks grows with every raise.
                question.settle(Unavailable(silence))
