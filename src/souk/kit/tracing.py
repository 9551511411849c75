"""Traces: which request it is that something is done for, in every process and behind every broker; told by OTLP to who wants to see it.

A trace begins at a request and nowhere else. It travels as W3C traceparent beside the caller, in calls, facts and jobs. Spans carry names
of functions, ids and codes, never what somebody is called. Without SOUK_TRACES_URL nothing of this is there.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal, Protocol
from uuid import uuid4

import msgspec

from souk.kit.callers import asking, caller
from souk.kit.config import Section

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

Role = Literal["server", "client", "consumer", "internal"]

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# How soon spans are told of, and how long a process that stops waits for that.
TELL_EVERY_MS, LAST_TELL_MS = 1000, 2000
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
        self._tracer: Tracer | None = None

    @property
    def is_on(self) -> bool:
        return self._tracer is not None

    @asynccontextmanager
    async def opened(self, part: str) -> AsyncIterator[None]:
        """Inside, spans of this part of the shop are told of, if somebody wants to see them."""
        if not settings.now.traces_url:
            yield
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

        resource = Resource.create({"service.namespace": "souk", "service.name": part, "service.instance.id": str(uuid4())})
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.now.traces_share)), resource=resource, shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=settings.now.traces_url, timeout=LAST_TELL_MS / 1000)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=TELL_EVERY_MS))
        self._tracer = provider.get_tracer("souk")
        try:
            yield
        finally:
            self._tracer = None
            await asyncio.to_thread(provider.force_flush, LAST_TELL_MS)
            await asyncio.to_thread(provider.shutdown)

    def begin(self, name: str, given: str | None) -> Spanning:
        """A request from outside: it goes on with the trace that it names, or begins one."""
        parent = given if given and TRACEPARENT.fullmatch(given) else None
        return NOTHING if self._tracer is None else self._make(name, "server", [parent])

    def span(self, name: str, role: Role, parent: str | None = None) -> Spanning:
        """Something that is done for a trace: the one that is named, or the one that is under way; nothing if there is none."""
        if self._tracer is None or (parent := parent or caller().traceparent) is None:
            return NOTHING
        return self._make(name, role, [parent])

    def join(self, name: str, role: Role, parents: Iterable[str | None]) -> Spanning:
        """Something that is done at once for several traces: a span in each, linked to the others."""
        if self._tracer is None:
            return NOTHING
        traces: dict[str, str | None] = {parent[3:35]: parent for parent in parents if parent is not None}
        return self._make(name, role, list(traces.values())) if traces else NOTHING

    def _make(self, name: str, role: Role, parents: list[str | None]) -> Spanning:
        from opentelemetry.trace import Link, SpanKind, get_current_span  # noqa: PLC0415

        assert self._tracer is not None  # noqa: S101  whoever calls has looked
        kind = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER, "internal": SpanKind.INTERNAL}[role]
        contexts = [_read(parent) for parent in parents]
        first = self._tracer.start_span(name, contexts[0], kind)
        links = [Link(first.get_span_context())]
        rest = [self._tracer.start_span(name, context, kind, links=links) for context in contexts[1:]]
        for context in contexts[1:]:
            first.add_link(get_current_span(context).get_span_context())
        return _Spans([first, *rest])


def _read(traceparent: str | None) -> "Context":
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {}, Context())


def shape_of(path: str) -> str:
    """A path without what may be an id, a token or a name."""
    return "/".join(part if not part or WORD.fullmatch(part) else "{}" for part in path.split("/"))


tracing = _Traces()
