"""Spans of OpenTelemetry, and who is told of them by OTLP; imported by a process that has somebody to tell."""

from collections.abc import Sequence
from typing import Literal
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Role = Literal["server", "client", "consumer", "internal"]

KINDS: dict[Role, SpanKind] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
# How soon spans are told of, and how long a process that stops waits for that.
TELL_EVERY_MS, LAST_TELL_MS = 1000, 2000


class SpanTeller:
    """Begins spans of a part of the shop, and tells of those that have ended, from a thread of its own."""

    def __init__(self, part: str, url: str, share: float) -> None:
        resource = Resource.create({"service.namespace": "souk", "service.name": part, "service.instance.id": str(uuid4())})
        self._provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=url, timeout=LAST_TELL_MS / 1000)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=TELL_EVERY_MS))
        self._tracer = self._provider.get_tracer("souk")

    def begin(self, name: str, role: Role, parents: Sequence[str | None]) -> list[Span]:
        """A span behind each of these; the first is linked to the others, and they to it."""
        contexts = [read_context(parent) for parent in parents]
        first = self._tracer.start_span(name, contexts[0], KINDS[role])
        for context in contexts[1:]:
            first.add_link(get_current_span(context).get_span_context())
        links = [Link(first.get_span_context())]
        return [first, *(self._tracer.start_span(name, context, KINDS[role], links=links) for context in contexts[1:])]

    def close(self) -> None:
        """Tell of what is left; takes a moment."""
        self._provider.force_flush(LAST_TELL_MS)
        self._provider.shutdown()


def read_context(traceparent: str | None) -> Context:
    """Where a span belongs; without a traceparent it begins a trace."""
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {}, Context())
