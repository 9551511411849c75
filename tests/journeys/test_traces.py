"""A purchase is one trace, through every process that has to do with it, and through a broker."""

import pytest
from tests.collector import Collector
from tests.engines.brokers import KINDS
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order
from tests.waiting import until

from souk.kit.ids import new_id

# Of the processes that a purchase goes through, and of consumers in others.
PARTS = {"edge", "orders", "inventory", "payments", "pricing", "notifications", "catalog"}
HEARD = {"notifications.write_notices"}


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
@pytest.mark.parametrize("running_shop", ["traced"], indirect=True)
async def test_a_purchase_is_one_trace_in_every_process_and_names_nobody(shop: Shop, collector: Collector) -> None:
    trace_id, span_id = await buy(shop)

    async def whole() -> bool:
        return is_whole(collector, trace_id, span_id)

    await until(whole, within_s=60)
    seen = collector.of(trace_id)
    assert {span.name for span in seen if span.parent_id == span_id} == {"POST /orders"}
    assert all("@" not in str(span) and "Bearer" not in str(span) for span in collector.spans)
    assert {name for span in collector.spans for name in span.attributes} <= {"http.response.status_code", "error.type"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("running_shop", KINDS, indirect=True)
async def test_a_trace_goes_through_a_broker(shop: Shop, collector: Collector) -> None:
    trace_id, span_id = await buy(shop)

    async def whole() -> bool:
        return is_whole(collector, trace_id, span_id)

    await until(whole, within_s=60)
