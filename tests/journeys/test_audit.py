"""The audit of a shop that runs, in one process and in many: for admins over HTTP, for programs at the command line."""

from typing import Any

import msgspec
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order


async def test_a_running_shop_keeps_its_rules(shop: Shop) -> None:
    market = await open_market(shop)
    mug = await market.put_on_sale(10)
    buyer = await shop.buyer()
    placed = (await order(buyer, await fill_cart(buyer, mug["sku"], 2))).ok
    (await buyer.delete(f"/orders/{placed['id']}")).ok  # noqa: B018
    report: dict[str, Any] = (await (await shop.admin()).get("/audit")).ok
    assert [rule for rule in report["rules"] if not rule["holds"]] == []
    assert {"I1.levels", "I3.pieces", "I5.balances", "I8.positions", "I11.uses"} <= {rule["id"] for rule in report["rules"]}
    assert (await buyer.get("/audit")).status == 403
    assert (await shop.visitor().get("/audit")).status == 401


async def test_the_command_says_the_same(shop: Shop) -> None:
    told = msgspec.json.decode(shop.processes.souk("audit", "--json"))
    assert told["broken"] == 0
    assert "rules hold, 0 are broken" in shop.processes.souk("audit")
