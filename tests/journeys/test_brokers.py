"""A shop of a process for each context sells over a real broker, which loses all it has in the middle: nobody notices."""

import asyncio
import re

import pytest
from tests.engines.brokers import KINDS
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order
from tests.waiting import until

ORDERS = 30


async def sum_metric(shop: Shop, pattern: str) -> float:
    """Of all processes."""
    admin, total = await shop.admin(), 0.0
    for process in shop.processes.processes.values():
        async with shop.session.get(f"{process.url}/metrics", headers=admin.headers) as answer:
            told = await answer.text()
        assert "souk_http_requests_total" in told
        total += sum(float(value) for value in re.findall(rf"^{pattern} ([\d.e+-]+)$", told, re.MULTILINE))
    return total


@pytest.mark.parametrize("running_shop", KINDS, indirect=True)
async def test_orders_go_on_while_the_broker_is_wiped(shop: Shop) -> None:
    broker = shop.processes.broker
    assert broker is not None
    goods = await (await open_market(shop)).put_on_sale(ORDERS)
    for number in range(ORDERS):
        if number == ORDERS // 2:
            assert await sum_metric(shop, r'souk_facts_read_total\{[^}]*way="broker"\}') > 0
            broker.wipe()
            broker.begin()
        buyer = await shop.buyer()
        assert (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok["status"] == "placed"
    await asyncio.to_thread(broker.wait_until_ready)
    admin = await shop.admin()

    async def all_applied() -> bool:
        return all(rule["holds"] for rule in (await admin.get("/audit")).ok["rules"])

    async def no_lag() -> bool:
        return await sum_metric(shop, r"souk_(?:event|relay)_lag_seconds\{[^}]*\}") == 0

    await until(no_lag, within_s=40)
    await until(all_applied, within_s=40)
    assert await sum_metric(shop, r"souk_events_parked_total\{[^}]*\}") == 0
