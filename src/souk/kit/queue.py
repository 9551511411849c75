"""Jobs: work for later, put into the database's queue by the transaction that wants it and run by a process that hosts its context."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Generic, TypeVar, get_type_hints, overload

import msgspec

from souk.kit.callers import caller
from souk.kit.db import Transaction

P = TypeVar("P")

# A waiting or running job of the same key is this one. The library finds its index by these very words.
ENQUEUE = """
    INSERT INTO jobs.pgqueuer (entrypoint, payload, execute_after, dedupe_key, priority, headers, status)
    VALUES ($1, $2, COALESCE($3, now()), $4, $5, $6, 'queued')
    ON CONFLICT (dedupe_key) WHERE status IN ('queued', 'picked') AND dedupe_key IS NOT NULL DO NOTHING
"""

LONGEST_PAUSE_S = 600.0

JOBS: dict[str, "Job[Any]"] = {}

# The workers of this process, who look at once when one of these is set.
NEWS: set[asyncio.Event] = set()


class Terms(msgspec.Struct, frozen=True):
    """How often a job is tried, how long it may take, and what goes before what."""

    tries: int
    back_off_s: float
    timeout_s: float
    priority: int
    at_once: int

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures: twice as long each time, ten minutes at the most."""
        return min(self.back_off_s * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE_S)


class Job(Generic[P]):
    """A function that is run at least once for each time that it was put into the queue."""

    def __init__(self, function: Callable[..., Awaitable[object]], terms: Terms, context: str | None = None) -> None:
        self.function = function
        self.terms = terms
        self.context = context or function.__module__.split(".")[1]
        self.path = f"{self.context}.{function.__name__}"
        self.__doc__ = function.__doc__
        names = [name for name in get_type_hints(function) if name != "return"]
        self.takes_tx = names[:1] == ["tx"]
        payloads = names[self.takes_tx :]
        if len(payloads) > 1:
            raise TypeError(f"The job {self.path} takes more than one payload")
        self.payload: Any = get_type_hints(function)[payloads[0]] if payloads else None
        if self.path in JOBS:
            raise TypeError(f"Two jobs are called {self.path}")
        JOBS[self.path] = self

    async def __call__(self, *arguments: Any) -> Any:
        """Run the function here and now, without the queue."""
        return await self.function(*arguments)

    def arguments(self, payload: bytes | None) -> tuple[Any, ...]:
        """What the function is given beside its transaction; raises msgspec.DecodeError for what it cannot read."""
        return () if self.payload is None else (msgspec.json.decode(payload or b"null", type=self.payload),)


class _Declare:
    """What makes a job of a function: of a payload, of a transaction, of both or of nothing."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    @overload
    def __call__(self, function: Callable[[], Awaitable[object]]) -> Job[None]: ...
    @overload
    def __call__(self, function: Callable[[Transaction], Awaitable[object]]) -> Job[None]: ...
    @overload
    def __call__(self, function: Callable[[P], Awaitable[object]]) -> Job[P]: ...
    @overload
    def __call__(self, function: Callable[[Transaction, P], Awaitable[object]]) -> Job[P]: ...
    def __call__(self, function: Callable[..., Awaitable[object]]) -> Job[Any]:
        return Job(function, self.terms)


def job(*, tries: int = 8, back_off_s: float = 2.0, timeout_s: float = 60.0, priority: int = 0, at_once: int = 0) -> _Declare:
    """Declare a job: an async function of at most one payload, a frozen Struct, which is kept as JSON.

    It is run at least once: again after a failure, an ever longer pause later, and again if its process died in the middle. After so many
    tries it has failed, is shown with its reason, and can be run again by hand. One whose first parameter is `tx` has its effect exactly
    once: it gets a transaction of its context, with which the job commits as done. Any other has to be repeatable.
    The highest priority goes first. `at_once` is how many of it may run at the same time in all processes; 0 is as many as there are.
    """
    return _Declare(Terms(tries, back_off_s, timeout_s, priority, at_once))


async def enqueue(
    tx: Transaction, wanted: Job[P], payload: P, *, at: datetime | None = None, key: str | None = None, priority: int | None = None
) -> bool:
    """Have this job of the transaction's context run, at once or from a moment on: it is there exactly if the transaction commits.

    With a key there is one waiting or running job of the name and this key; whether this one was put into the queue. What another context
    is to do it hears by an event: its queue may lie in another database.
    """
    if wanted.context != tx.database.context:
        raise TypeError(f"{tx.database.context} puts the job {wanted.path} into its own queue, where nobody may look for it")
    return await put(tx, wanted, payload, at=at, key=key, priority=priority)


async def put(
    tx: Transaction, wanted: Job[P], payload: P, *, at: datetime | None = None, key: str | None = None, priority: int | None = None
) -> bool:
    """Put a job into the queue of this transaction's database, whichever of its contexts it is of."""
    written = None if wanted.payload is None else msgspec.json.encode(payload)
    unique = None if key is None else f"{wanted.path}:{key}"
    who = caller()
    headers = {"request_id": who.request_id} | ({"traceparent": who.traceparent} if who.traceparent else {})
    first = wanted.terms.priority if priority is None else priority
    added = await tx.run(ENQUEUE, wanted.path, written, at, unique, first, headers)
    if added and ring not in tx.after_commit:
        tx.after_commit.append(ring)
    return bool(added)


def ring() -> None:
    """Tell the workers of this process that there is something to do."""
    for news in NEWS:
        news.set()
