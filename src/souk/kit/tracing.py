"""Traces: which request it is that something is done for, in every process and behind every broker; told by OTLP to who wants to see it.

A trace begins at a request and nowhere else. It travels as W3C traceparent beside the caller, in calls, facts and jobs. Spans carry names
of functions, ids and codes, never what somebody is called. Without SOUK_TRACES_URL nothing of this is there.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Protocol

import msgspec

from souk.kit.callers import asking, caller
from souk.kit.config import Section

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from souk.kit.spans import Role, SpanTeller

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# A part of a path that is a word of ours; all else may be an id, or worse.
WORD = re.compile(r"[a-z][a-z_.-]{0,30}")


class Tracing(msgspec.Struct, frozen=True):
    """Where spans are told of (OTLP over HTTP), and of which share of the requests; who sends a traceparent has decided it."""

    traces_url: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?(?!\n)$", max_length=1000)] = ""
    traces_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0


settings = Section(Tracing, "SOUK")


class Spanning(Protocol):
    """Something that is being done: inside, what is asked for belongs to it."""

    def __enter__(self) -> "Spanning": ...

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None: ...

    def note(self, name: str, value: str | int) -> None:
        """Say more of it: an id or a code."""

    @property
    def traceparent(self) -> str | None:
        """What belongs to it is told this."""


class _Nothing:
    """No trace is under way, or nobody wants to see one."""

    __slots__ = ()
    traceparent = None

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def note(self, name: str, value: str | int) -> None:
        return


NOTHING = _Nothing()


class _Spans:
    """One span, or one in each of several traces for which the same is done; what is asked for inside belongs to the first."""

    def __init__(self, spans: "list[Span]") -> None:
        self._spans = spans
        context = spans[0].get_span_context()
        self.traceparent: str | None = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def __enter__(self) -> "_Spans":
        self._asking = asking(msgspec.structs.replace(caller(), traceparent=self.traceparent))
        self._asking.__enter__()
        return self

    def note(self, name: str, value: str | int) -> None:
        for span in self._spans:
            span.set_attribute(name, value)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._asking.__exit__()
        if kind is not None:
            self.note("error.type", kind.__name__)  # what it says may name somebody
        for span in self._spans:
            span.end()


class _Traces:
    """What makes spans; the library is imported by a process that wants them."""

    def __init__(self) -> None:
        self._teller: SpanTeller | None = None

    @property
    def is_on(self) -> bool:
        return self._teller is not None

    @asynccontextmanager
    async def opened(self, part: str) -> AsyncIterator[None]:
        """Inside, spans of this part of the shop are told of, if somebody wants to see them."""
        if not settings.now.traces_url:
            yield
            return
        from souk.kit.spans import SpanTeller  # noqa: PLC0415  who tells nobody does not pay for it

        teller = self._teller = SpanTeller(part, settings.now.traces_url, settings.now.traces_share)
        try:
            yield
        finally:
            self._teller = None
            await asyncio.to_thread(teller.close)

    def begin(self, name: str, given: str | None) -> Spanning:
        """A request from outside: it goes on with the trace that it names, or begins one."""
        if self._teller is None:
            return NOTHING
        parent = given if given and TRACEPARENT.fullmatch(given) else None
        return _Spans(self._teller.begin(name, "server", [parent]))

    def span(self, name: str, role: "Role", parent: str | None = None) -> Spanning:
        """Something that is done for a trace: the one that is named, or the one that is under way; nothing if there is none."""
        if self._teller is None or (parent := parent or caller().traceparent) is None:
            return NOTHING
        return _Spans(self._teller.begin(name, role, [parent]))

    def join(self, name: str, role: "Role", parents: Iterable[str | None]) -> Spanning:
        """Something that is done at once for several traces: a span in each, linked to the others."""
        if self._teller is None:
            return NOTHING
        traces: dict[str, str | None] = {parent[3:35]: parent for parent in parents if parent is not None}
        return _Spans(self._teller.begin(name, role, list(traces.values()))) if traces else NOTHING


def shape_of(path: str) -> str:
    """A path without what may be an id, a token or a name."""
    return "/".join(part if not part or WORD.fullmatch(part) else "{}" for part in path.split("/"))


tracing = _Traces()
