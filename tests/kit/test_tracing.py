"""Traces: what belongs to a request knows it; without somebody who wants to see them there is nothing of them."""

import subprocess
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.collector import Collector
from tests.kit.notebook import Note

from souk.kit.batching import Asked, Batcher
from souk.kit.callers import SYSTEM, Caller, asking, caller
from souk.kit.ids import new_id
from souk.kit.tracing import NOTHING, settings, shape_of, tracing
from souk.kit.wire import Envelope, answer_all

TRACE, OTHER, SPAN = "1" * 32, "2" * 32, "3" * 16
PARENT, SECOND = f"00-{TRACE}-{SPAN}-01", f"00-{OTHER}-{SPAN}-01"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Somebody who sees the spans of this process when it has ended to tell of them."""
    one = Collector()
    settings.replace(traces_url=one.url)
    yield one
    settings.replace(traces_url="", traces_share=1.0)
    one.close()


async def test_a_request_goes_on_with_the_trace_that_it_names_and_what_is_done_for_it_hangs_below(collector: Collector) -> None:
    async with tracing.opened("orders"):
        with tracing.begin("POST /orders", PARENT), tracing.span("payments/charge", "client") as inner:
            assert caller().traceparent == inner.traceparent
    told = {span.name: span for span in collector.spans}
    assert (told["POST /orders"].trace_id, told["POST /orders"].parent_id) == (TRACE, SPAN)
    assert told["payments/charge"].parent_id == told["POST /orders"].span_id
    assert {span.part for span in collector.spans} == {"orders"}


async def test_what_is_no_traceparent_begins_a_trace_of_its_own(collector: Collector) -> None:
    async with tracing.opened("edge"):
        for given in ("", "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-x"):
            with tracing.begin("GET /orders", given) as span:
                assert span.traceparent is not None and TRACE not in span.traceparent
    assert {span.parent_id for span in collector.spans} == {""}


async def test_a_failure_is_told_by_its_type_alone(collector: Collector) -> None:
    async with tracing.opened("edge"):
        with pytest.raises(ValueError, match="ada"), tracing.begin("GET /orders", PARENT):
            raise ValueError("ada@example.com")
    (span,) = collector.spans
    assert span.attributes == {"error.type": "ValueError"}


async def test_what_nobody_asked_for_has_no_trace_and_a_share_of_none_is_none(collector: Collector) -> None:
    settings.replace(traces_share=0.0)
    async with tracing.opened("edge"):
        assert tracing.span("orders/sweep", "internal") is NOTHING
        assert tracing.join("a batch", "internal", [None, None]) is NOTHING
        with tracing.begin("GET /orders", None) as span:
            assert int(str(span.traceparent)[-2:], 16) & 1 == 0, "who is asked is told that nobody wants to see it"
    assert collector.spans == []


async def test_a_batch_has_a_span_in_each_trace_of_its_callers(collector: Collector) -> None:
    async def work(batch: tuple[Asked[int], ...]) -> tuple[str | None, ...]:
        return (caller().traceparent,) * len(batch)

    async with tracing.opened("orders"):
        batcher: Batcher[int, str | None] = Batcher(work)
        seen = await batcher.ask(1, Caller(traceparent=PARENT))
        with tracing.join("several", "consumer", [PARENT, SECOND, PARENT, None]) as both:
            assert TRACE in str(both.traceparent)
    assert seen is not None and TRACE in seen
    assert sorted(span.trace_id for span in collector.spans if span.name == "several") == [TRACE, OTHER]


async def test_without_somebody_who_wants_to_see_them_there_are_none() -> None:
    async with tracing.opened("orders"):
        with asking(Caller(traceparent=PARENT)):
            assert tracing.begin("GET /", PARENT) is tracing.span("x", "client") is tracing.join("x", "internal", [PARENT]) is NOTHING


def test_the_library_is_not_even_loaded() -> None:
    code = "import sys; from souk import app; app.import_contexts(); sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_path_is_told_without_what_may_be_an_id_or_a_token() -> None:
    assert shape_of("/orders/0197a3b0-0000-7000-8000-000000000002/cancel") == "/orders/{}/cancel"
    assert shape_of("/notifications/unsubscribe/eyJhbGciOiJIUzI1NiJ9") == "/notifications/unsubscribe/{}"
    assert shape_of("/users/ada@example.com") == "/users/{}"


async def test_a_batch_from_another_process_is_seen_in_each_of_its_traces(collector: Collector, here: str) -> None:
    async with tracing.opened("kit"):
        notes = [msgspec.Raw(msgspec.msgpack.encode(Note(new_id(), number))) for number in range(2)]
        envelopes = tuple(Envelope(SYSTEM, "", 5.0, note, traceparent=trace) for note, trace in zip(notes, (PARENT, SECOND), strict=True))
        await answer_all("kit/count_note", envelopes)
    assert {(span.trace_id, span.parent_id) for span in collector.spans if span.name == "kit/count_note"} == {(TRACE, SPAN), (OTHER, SPAN)}
