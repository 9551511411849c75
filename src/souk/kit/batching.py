"""Natural batching: concurrent callers of one function share a batch; a lone caller never waits."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

from souk.kit.callers import NO_DEADLINE, Caller
from souk.kit.db import BAD_DATA, TRY_AGAIN
from souk.kit.errors import DomainError, Unavailable

Q = TypeVar("Q")
A = TypeVar("A")


class Asked(Generic[Q]):
    """One item of a batch: the request, and who asked for it."""

    __slots__ = ("answer", "caller", "request")

    def __init__(self, request: Q, caller: Caller, answer: "asyncio.Future[object]") -> None:
        self.request = request
        self.caller = caller
        self.answer = answer


Answers = tuple[A | DomainError, ...]
Work = Callable[[tuple[Asked[Q], ...]], Awaitable[Answers[A]]]


class Batcher(Generic[Q, A]):
    """Gathers callers of `work`: while `lanes` batches are under way the next one fills, up to `size` items.

    Each item gets its own answer or refusal. An item whose deadline has passed, or whose caller has left, is not worked on.
    Data that PostgreSQL refuses (SQLSTATE 22, 23) is searched for by halving the batch; a serialization failure or deadlock
    repeats the batch once; when the database cannot answer, every item gets Unavailable.
    """

    def __init__(self, work: Work[Q, A], size: int = 500, lanes: int = 2) -> None:
        self._work = work
        self._size = size
        self._lanes = lanes
        self._waiting: deque[Asked[Q]] = deque()
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Q, caller: Caller) -> A:
        """The answer to this request; raises its refusal, or Unavailable, which it also is when the caller's deadline passes."""
        loop = asyncio.get_running_loop()
        asked = Asked(request, caller, loop.create_future())
        self._waiting.append(asked)
        if self._busy < self._lanes:
            self._busy += 1
            # A context of its own: the batch belongs to all of its callers, not to the one that happened to start it.
            task = loop.create_task(self._drain(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if caller.deadline == NO_DEADLINE:
            return await asked.answer  # type: ignore[return-value]
        alarm = loop.call_at(caller.deadline, _give, asked, Unavailable("the deadline passed before there was an answer"))
        try:
            return await asked.answer  # type: ignore[return-value]
        finally:
            alarm.cancel()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                if batch:
                    await self._answer(batch, first_try=True)
        finally:
            # Nothing is awaited between the last look at the queue and this, so no caller can fall in between.
            self._busy -= 1

    def _next_batch(self) -> tuple[Asked[Q], ...]:
        batch: list[Asked[Q]] = []
        now = asyncio.get_running_loop().time()
        while self._waiting and len(batch) < self._size:
            asked = self._waiting.popleft()
            if asked.answer.done():
                continue
            if asked.caller.deadline <= now:
                _give(asked, Unavailable("the deadline passed before the work began"))
                continue
            batch.append(asked)
        return tuple(batch)

    async def _answer(self, batch: tuple[Asked[Q], ...], first_try: bool) -> None:
        try:
            answers = await self._work(batch)
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(batch)} items were asked, {len(answers)} answered")
        except TRY_AGAIN as conflict:
            if first_try:
                await self._answer(batch, first_try=False)
            else:
                _give_all(batch, Unavailable(f"two batches met twice: {type(conflict).__name__}"))
        except BAD_DATA as culprit:
            if len(batch) == 1:
                _give(batch[0], culprit)
                return
            half = len(batch) // 2
            await self._answer(batch[:half], first_try)
            await self._answer(batch[half:], first_try)
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
