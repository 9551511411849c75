"""A purchase is one trace, through every process that has to do with it, and through a broker."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.collector import Collector
from tests.engines.brokers import Broker
from tests.journeys.conftest import Shop, run_shop
from tests.journeys.market import fill_cart, open_market, order
from tests.journeys.processes import Processes
from tests.sandbox.conftest import Sandbox
from tests.waiting import until

from souk.kit.ids import new_id
from souk.kit.postgres import EmbeddedPostgres

# Of the processes that a purchase goes through, and of consumers in others.
PARTS = {"edge", "orders", "inventory", "payments", "pricing", "notifications", "catalog"}
HEARD = {"notifications.write_notices"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


@pytest.fixture(scope="module")
def traced_processes(
    collector: Collector, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Processes, Sandbox]]:
    settings = {"SOUK_TRACES_URL": collector.url}
    with run_shop("traced", postgres, tmp_path_factory.mktemp("traced"), wire=True, settings=settings) as running:
        yield running


@pytest.fixture
async def traced(traced_processes: tuple[Processes, Sandbox]) -> AsyncIterator[Shop]:
    async with aiohttp.ClientSession() as session:
        yield Shop(*traced_processes, session)


async def buy(shop: Shop) -> tuple[str, str]:
    """A purchase in a trace that its buyer has begun: the ids of the trace and of their span."""
    goods = await (await open_market(shop)).put_on_sale(3)
    buyer = await shop.buyer()
    cart = await fill_cart(buyer, goods["sku"])
    trace_id, span_id = new_id().hex, new_id().hex[-16:]
    buyer.headers["traceparent"] = f"00-{trace_id}-{span_id}-01"
    assert (await order(buyer, cart)).ok["status"] == "placed"
    return trace_id, span_id


def is_whole(collector: Collector, trace_id: str, root: str) -> bool:
    """Whether all whom it has to do with have told of it, and nothing hangs in the air: each tells at a time of its own."""
    seen = collector.of(trace_id)
    hangs = {span.parent_id for span in seen} - {span.span_id for span in seen} - {root}
    return {span.part for span in seen} >= PARTS and {span.name for span in seen} >= HEARD and not hangs


@pytest.mark.timeout(300)
async def test_a_purchase_is_one_trace_in_every_process_and_names_nobody(traced: Shop, collector: Collector) -> None:
    trace_id, span_id = await buy(traced)

    async def whole() -> bool:
        return is_whole(collector, trace_id, span_id)

    await until(whole, within_s=60)
    seen = collector.of(trace_id)
    assert {span.name for span in seen if span.parent_id == span_id} == {"POST /orders"}
    assert all("@" not in str(span) and "Bearer" not in str(span) for span in collector.spans)
    assert {name for span in collector.spans for name in span.attributes} <= {"http.response.status_code", "error.type"}


@pytest.mark.timeout(300)
async def test_a_trace_goes_through_a_broker(collector: Collector, traced_by_broker: Shop) -> None:
    trace_id, span_id = await buy(traced_by_broker)

    async def whole() -> bool:
        return is_whole(collector, trace_id, span_id)

    await until(whole, within_s=60)


@pytest.fixture
def broker_processes(
    own_broker: Callable[[], Broker], collector: Collector, postgres: EmbeddedPostgres, tmp_path: Path
) -> Iterator[tuple[Processes, Sandbox]]:
    broker = own_broker()
    broker.start()
    name = f"traced_{type(broker).__name__.lower()}"
    settings = {"SOUK_TRACES_URL": collector.url, "SOUK_BROKER_URL": broker.url}
    with run_shop(name, postgres, tmp_path, wire=True, settings=settings) as running:
        yield running


@pytest.fixture
async def traced_by_broker(broker_processes: tuple[Processes, Sandbox]) -> AsyncIterator[Shop]:
    async with aiohttp.ClientSession() as session:
        yield Shop(*broker_processes, session)
