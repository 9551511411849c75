"""Calls between contexts: a typed function that runs here if its context is hosted here, and over HTTP if it is not."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, get_args, get_type_hints

import msgspec

from souk.kit.alarms import alarms_of
from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import Caller, asking, caller
from souk.kit.db import TRY_AGAIN, refuse_open_transaction
from souk.kit.errors import DomainError, Unavailable
from souk.kit.tolerance import Reader

P = ParamSpec("P")
R = TypeVar("R")
Q = TypeVar("Q")
A = TypeVar("A")

EXPOSED: dict[str, "Exposed"] = {}

DEFAULT_TIMEOUT_S = 5.0


class Peer(Protocol):
    """A process that hosts a context."""

    async def ask(self, function: "Exposed", arguments: Any, who: Caller) -> Any:
        """The function's answer from over there; raises its refusal, or Unavailable."""

    async def ask_many(self, function: "Exposed", asked: Sequence[tuple[Any, Caller]], deadline: float) -> tuple[Any, ...]:
        """The answers and refusals of a batched function; Unavailable for what has no answer at the deadline."""


class Topology:
    """Which contexts this process hosts and where the others are; filled once, by app.py."""

    def __init__(self) -> None:
        self.hosted: set[str] = set()
        self.peers: dict[str, Peer] = {}

    def peer_of(self, context: str) -> Peer | None:
        """None if the context is hosted here."""
        if context in self.hosted:
            return None
        peer = self.peers.get(context)
        if peer is None:
            raise RuntimeError(f"{context} is neither hosted here nor has a peer: set SOUK_PEER_{context.upper()}")
        return peer


topology = Topology()


class Exposed:
    """A function of a front door: what it is called, what it takes and gives, and how it runs here or there."""

    def __init__(self, function: Callable[..., Any], timeout_s: float, context: str = "") -> None:
        self.function = function
        self.name = function.__name__
        self.context = context or function.__module__.split(".")[1]
        self.path = f"{self.context}/{self.name}"
        self.timeout_s = timeout_s
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        hints = get_type_hints(function)
        self.answer_type, self.argument_type = self.read_types(hints)
        self.answer_decoder = Reader(self.answer_type)
        self.argument_decoder = Reader(self.argument_type)
        if self.path in EXPOSED:
            raise TypeError(f"Two exposed functions are called {self.path}")
        EXPOSED[self.path] = self

    def read_types(self, hints: dict[str, Any]) -> tuple[Any, Any]:
        """The type of the answer and the type of the arguments as one value."""
        raise NotImplementedError

    async def run_here(self, arguments: Any, who: Caller) -> Any:
        """Run the function in this process."""
        raise NotImplementedError

    async def ask(self, arguments: Any) -> Any:
        """Run the function wherever its context lives, within its time-out and the caller's deadline."""
        who = self.admit()
        peer = topology.peer_of(self.context)
        if peer is None:
            return await self.run_here(arguments, who)
        try:
            return await by(who.deadline, peer.ask(self, arguments, who))
        except TimeoutError as silence:
            raise self.silent() from silence

    def silent(self) -> Unavailable:
        """What is told when the deadline has passed without an answer."""
        return Unavailable(f"{self.path} did not answer in time")

    def admit(self) -> Caller:
        """Who asks, as the function sees them; raises Unavailable if it is too late to begin."""
        refuse_open_transaction(self.path)
        now = monotonic()
        who = caller()
        if who.deadline <= now:
            raise Unavailable(f"{self.path} was not begun: the deadline has passed")
        return who.entering(self.path, min(who.deadline, now + self.timeout_s))


class until:
    """What is awaited inside ends with TimeoutError at the deadline (time.monotonic): asyncio.timeout_at at a fraction of its cost."""

    __slots__ = ("_alarm", "_cancelled_before", "_deadline", "_late", "_task")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._late = False

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101  a coroutine runs in one
        self._task = task
        self._cancelled_before = task.cancelling()
        self._alarm = alarms_of(loop).set(self._deadline, self._ring)

    def _ring(self) -> None:
        self._late = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._alarm.cancel()
        del self._alarm  # it knows us: a ring that only the garbage collector would open, with the task and its request in it
        if self._late and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from None


async def by(deadline: float, work: Awaitable[R]) -> R:
    """The answer, or TimeoutError at the deadline."""
    with until(deadline):
        return await work


class ExposedFunction(Exposed, Generic[P, R]):
    """An exposed function that takes one request at a time."""

    def read_types(self, hints: dict[str, Any]) -> tuple[Any, Any]:
        parameters = inspect.signature(self.function).parameters
        self.parameters = tuple(parameters)
        # An older caller does not send what has been added since; what has a default may be missing, if all after it has one, too.
        last_required = max((place for place, one in enumerate(parameters.values()) if one.default is one.empty), default=-1)
        fields = [
            (name, hints[name], one.default) if place > last_required else (name, hints[name])
            for place, (name, one) in enumerate(parameters.items())
        ]
        return hints["return"], msgspec.defstruct(f"{self.name}_arguments", fields, array_like=True, frozen=True)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        bound = inspect.signature(self.function).bind(*args, **kwargs) if kwargs or len(args) != len(self.parameters) else None
        if bound is not None:
            bound.apply_defaults()
            args = bound.args  # type: ignore[assignment]
        if topology.peer_of(self.context) is not None:
            return cast(R, await self.ask(self.argument_type(*args)))
        return cast(R, await self.run(args, self.admit()))

    async def run_here(self, arguments: Any, who: Caller) -> Any:
        return await self.run(msgspec.structs.astuple(arguments), who)

    async def run(self, values: tuple[Any, ...], who: Caller) -> Any:
        """Run the function with these arguments until the caller's deadline."""
        try:
            with asking(who), until(who.deadline):
                try:
                    return await self.function(*values)
                except TRY_AGAIN:
                    # A deadlock or a serialization failure has rolled back: once more is safe, twice would hide a design fault.
                    return await self.function(*values)
        except TRY_AGAIN as again:
            raise Unavailable(f"{self.path}: {type(again).__name__}") from again
        except TimeoutError as silence:
            raise self.silent() from silence


class BatchedFunction(Exposed, Generic[Q, A]):
    """An exposed function that takes many requests; callers ask for one and are gathered."""

    def __init__(self, function: Callable[..., Any], timeout_s: float, size: int, lanes: int, *, turns: bool) -> None:
        super().__init__(function, timeout_s)
        self.batcher: Batcher[Q, A] = Batcher(function, size, lanes, turns=turns)

    def read_types(self, hints: dict[str, Any]) -> tuple[Any, Any]:
        (asked,) = (hint for name, hint in hints.items() if name != "return")
        request = get_args(get_args(asked)[0])[0]
        answer = get_args(hints["return"])[0]
        kinds = tuple(kind for kind in get_args(answer) or (answer,) if not _is_refusal(kind))
        joined: Any = kinds[0]
        for kind in kinds[1:]:
            joined = joined | kind
        return joined, request

    async def __call__(self, request: Q) -> A:
        if topology.peer_of(self.context) is None:
            # A batch keeps the deadline of each of its items.
            return await self.batcher.ask(request, self.admit())
        return cast(A, await self.ask(request))

    async def many(self, requests: Sequence[tuple[Q, Caller]]) -> tuple[A | Exception, ...]:
        """The answer or the refusal to each request of these callers, in their order: for a batch that asks on for all of its items."""
        refuse_open_transaction(self.path)
        deadline = monotonic() + self.timeout_s
        asked = [(request, who.entering(self.path, min(who.deadline, deadline))) for request, who in requests]
        peer = topology.peer_of(self.context)
        if peer is None:
            return await self.batcher.ask_many(asked, deadline)
        return await peer.ask_many(self, asked, deadline)

    async def run_here(self, arguments: Any, who: Caller) -> Any:
        return await self.batcher.ask(arguments, who)


def _is_refusal(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, DomainError)


class _Expose:
    """The decorator: `@exposed`, `@exposed(timeout=2.0)` and `@exposed.batched(...)`."""

    def __call__(self, timeout: float = DEFAULT_TIMEOUT_S) -> Callable[[Callable[P, Awaitable[R]]], ExposedFunction[P, R]]:
        return lambda function: ExposedFunction(function, timeout)

    def batched(
        self, timeout: float = DEFAULT_TIMEOUT_S, size: int = 500, lanes: int = 1, *, turns: bool = True
    ) -> Callable[[Callable[[tuple[Asked[Q], ...]], Awaitable[Answers[A]]]], BatchedFunction[Q, A]]:
        return lambda function: BatchedFunction(function, timeout, size, lanes, turns=turns)


exposed = _Expose()
