"""Natural batching: concurrent callers of one function share a batch; a lone caller never waits."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, ContextVar
from time import monotonic
from typing import Generic, Protocol, TypeVar

from souk.kit.alarms import alarms_of
from souk.kit.callers import NO_DEADLINE, Caller
from souk.kit.db import BAD_DATA, TRY_AGAIN
from souk.kit.errors import DomainError, Unavailable
from souk.kit.overload import overload
from souk.kit.tracing import tracing
from souk.kit.turns import Turn, turns_of

Q = TypeVar("Q")
A = TypeVar("A")


# Before a batch that met another one is repeated. The pause lets the other one go first: PostgreSQL gives a row whose holder
# has rolled back to whoever comes next, which may be that holder again, and the two would meet once more.
PAUSES_S = (0.02, 0.2)

_in_batch: ContextVar[bool] = ContextVar("souk_in_batch", default=False)
_begun: ContextVar[bool] = ContextVar("souk_begun", default=False)


class Answer(Protocol):
    """Where the answer to an item goes: a future, or a place among those that are awaited together."""

    def done(self) -> bool: ...

    def set_result(self, answer: object, /) -> None: ...

    def set_exception(self, refusal: Exception, /) -> None: ...


class Asked(Generic[Q]):
    """One item of a batch: the request, and who asked for it."""

    __slots__ = ("answer", "asked_at", "begun", "caller", "request", "urgent")

    def __init__(
        self,
        request: Q,
        caller: Caller,
        answer: Answer,
        asked_at: float = 0.0,
        *,
        urgent: bool = False,
        begun: bool = False,
    ) -> None:
        self.request = request
        self.asked_at = asked_at
        self.caller = caller
        self.answer = answer
        self.urgent = urgent  # asked by another batch, which has its turn and waits for us
        self.begun = begun  # a step of a request that has had its turn in an earlier step

    def give_up(self) -> None:
        """The deadline has passed: if it has no answer yet it gets none."""
        if not self.answer.done():
            self.answer.set_exception(Unavailable("the deadline passed before there was an answer"))


class Place:
    """The place of one answer among many."""

    __slots__ = ("_answers", "_index", "_taken")

    def __init__(self, answers: "ManyAnswers", index: int) -> None:
        self._answers = answers
        self._index = index
        self._taken = False

    def done(self) -> bool:
        return self._taken or self._answers.all_there.done()

    def set_result(self, answer: object, /) -> None:
        self._taken = True
        self._answers.put(self._index, answer)

    def set_exception(self, refusal: Exception, /) -> None:
        self.set_result(refusal)


class ManyAnswers:
    """Answers and refusals that one caller awaits together, in the order of what they asked."""

    def __init__(self, count: int) -> None:
        self.all_there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers: list[object] = [None] * count
        self.places = [Place(self, index) for index in range(count)]
        self._missing = count

    def put(self, index: int, answer: object) -> None:
        self.answers[index] = answer
        self._missing -= 1
        if not self._missing and not self.all_there.done():
            self.all_there.set_result(None)

    def give_up(self) -> None:
        """The deadline has passed: what has no answer yet gets none."""
        for place in self.places:
            if not place.done():
                place.set_result(Unavailable("the deadline passed before there was an answer"))


# An answer that is another exception than a refusal says that nobody can tell: it is raised at who asked, and nowhere else.
Answers = tuple[A | DomainError | Exception, ...]
Work = Callable[[tuple[Asked[Q], ...]], Awaitable[Answers[A]]]


class Batcher(Generic[Q, A]):
    """Gathers callers of `work`: while `lanes` batches are under way, or all turns are taken, the next one fills, up to `size` items.

    What asks the database waits for its turn; what asks somewhere else need not (`turns=False`).
    Each item gets its own answer or refusal. An item whose deadline has passed, or whose caller has left, is not worked on.
    Data that PostgreSQL refuses (SQLSTATE 22, 23) is searched for by halving the batch; a serialization failure or deadlock
    repeats the batch after a pause, up to `len(PAUSES_S)` times; when the database cannot answer, every item gets Unavailable.
    """

    def __init__(self, work: Work[Q, A], size: int = 500, lanes: int = 2, *, turns: bool = True) -> None:
        self._work = work
        self._name = f"batch {getattr(work, '__qualname__', '')}"
        self._turns = turns
        self._size = size
        self._lanes = lanes
        self._waiting: deque[Asked[Q]] = deque()
        self._urgent = 0  # how many of those that wait are
        self._busy = 0
        self._queued = False
        self._starting = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Q, caller: Caller) -> A:
        """The answer to this request; raises its refusal, or Unavailable, which it also is when the caller's deadline passes."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        asked = Asked(request, caller, answer, monotonic(), urgent=_in_batch.get(), begun=_begun.get())  # type: ignore[arg-type]
        if self._turns:
            _begun.set(True)
        self._put(asked)
        if caller.deadline == NO_DEADLINE:
            return await answer
        alarm = alarms_of(loop).set(caller.deadline, asked.give_up)
        try:
            return await answer
        finally:
            alarm.cancel()

    async def ask_many(self, requests: Sequence[tuple[Q, Caller]], deadline: float) -> tuple[A | Exception, ...]:
        """The answer or the refusal to each of these requests, in their order; Unavailable for those that have none at the deadline."""
        if not requests:
            return ()
        loop = asyncio.get_running_loop()
        now, urgent, begun = monotonic(), _in_batch.get(), _begun.get()
        many = ManyAnswers(len(requests))
        for (request, who), place in zip(requests, many.places, strict=True):
            self._put(Asked(request, who, place, now, urgent=urgent, begun=begun))
        alarm = alarms_of(loop).set(deadline, many.give_up)
        try:
            await many.all_there
        finally:
            alarm.cancel()
            many.places = []  # they know it: a ring that only the garbage collector would open, with all answers in it
        return tuple(many.answers)  # type: ignore[arg-type]

    def _put(self, asked: Asked[Q]) -> None:
        self._waiting.append(asked)
        self._urgent += asked.urgent
        self._start()

    def _start(self) -> None:
        if self._waiting and self._busy < self._lanes and not self._starting and (self._urgent or not self._queued):
            self._starting = True
            # A context of its own: the batch belongs to all of its callers, not to the one that happened to start it.
            task = asyncio.get_running_loop().create_task(self._drain(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        self._starting = False
        _in_batch.set(True)
        # Nothing is awaited between a look at the queue and what follows from it, so no caller can fall in between.
        while self._waiting and self._busy < self._lanes:
            if self._urgent or not self._turns:
                await self._work_on_next()
            elif self._queued:
                return
            else:
                turn = await self._queue(begun=self._waiting[0].begun)
                try:
                    if self._busy < self._lanes:
                        await self._work_on_next()
                finally:
                    turn.end()

    async def _queue(self, *, begun: bool) -> Turn:
        self._queued = True
        try:
            return await turns_of(asyncio.get_running_loop()).take(begun=begun)
        finally:
            self._queued = False

    async def _work_on_next(self) -> None:
        if batch := self._next_batch():
            self._busy += 1
            self._start()
            try:
                await self._answer(batch, tries=1)
            finally:
                self._busy -= 1

    def _next_batch(self) -> tuple[Asked[Q], ...]:
        batch: list[Asked[Q]] = []
        now = monotonic()
        if self._turns and self._waiting and not (self._waiting[0].urgent or self._waiting[0].begun):
            overload.turns.note(now - self._waiting[0].asked_at, now)
        while self._waiting and len(batch) < self._size:
            asked = self._waiting.popleft()
            self._urgent -= asked.urgent
            if asked.answer.done():
                continue
            if asked.caller.deadline <= now:
                _give(asked, Unavailable("the deadline passed before the work began"))
                continue
            batch.append(asked)
        return tuple(batch)

    async def _answer(self, batch: tuple[Asked[Q], ...], tries: int) -> None:
        try:
            with tracing.join(self._name, "internal", (asked.caller.traceparent for asked in batch)):
                answers = await self._work(batch)
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(batch)} items were asked, {len(answers)} answered")
        except TRY_AGAIN as conflict:
            if tries <= len(PAUSES_S):
                await asyncio.sleep(PAUSES_S[tries - 1])
                await self._answer(batch, tries + 1)
            else:
                _give_all(batch, Unavailable(f"two batches met {tries} times: {type(conflict).__name__}"))
        except BAD_DATA as culprit:
            if len(batch) == 1:
                _give(batch[0], culprit)
                return
            half = len(batch) // 2
            await self._answer(batch[:half], tries)
            await self._answer(batch[half:], tries)
        except Exception as failure:
            _give_all(batch, failure)
        except BaseException:
            _give_all(batch, Unavailable("the server is stopping"))
            raise
        else:
            for asked, answer in zip(batch, answers, strict=True):
                _give(asked, answer)


def _give_all(batch: tuple[Asked[Q], ...], failure: Exception) -> None:
    for asked in batch:
        # Each caller gets an exception object of its own: a traceback shared by many tasks grows with every raise.
        _give(asked, Unavailable(str(failure)) if isinstance(failure, Unavailable) else failure)


def _give(asked: Asked[Q], answer: object) -> None:
    if asked.answer.done():
        return
    if isinstance(answer, Exception):
        asked.answer.set_exception(answer)
    else:
        asked.answer.set_result(answer)
