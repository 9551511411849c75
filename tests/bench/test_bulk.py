"""A shop that was made large in bulk is one that buying could have made: every rule of its books holds."""

from pathlib import Path

import asyncpg
import pytest
import uvloop
from bench.bulk import Growth, grown
from tests.ports import find_free_port

from souk import app, audit
from souk.kit.callers import SYSTEM, Caller, asking

GROWTH = Growth(products=10_000, orders=10_000, buyers=2_000, real_products=500, real_orders=250, real_buyers=200)

COUNT = """
    SELECT (SELECT count(*) FROM catalog.product) AS products, (SELECT count(*) FROM orders.orders) AS orders,
           (SELECT count(*) FROM users.users WHERE email LIKE 'buyer%') AS buyers,
           (SELECT count(DISTINCT tableoid) FROM orders.orders) AS months,
           (SELECT count(*) FROM orders.orders WHERE tableoid = 'orders.orders_rest'::regclass) AS astray,
           (SELECT count(*) FROM orders.order_line AS l JOIN inventory.item AS i USING (sku) WHERE i.product_id = l.product_id) AS lines,
           (SELECT count(*) FROM orders.orders AS o JOIN carts.cart AS c ON c.order_id = o.id AND c.user_id = o.user_id
            JOIN users.users AS u ON u.id = o.user_id) AS carts
"""


async def count(dsn: str) -> asyncpg.Record:
    connection = await asyncpg.connect(dsn)
    row = await connection.fetchrow(COUNT)
    await connection.close()
    return row


async def check(dsn: str) -> audit.Report:
    async with app.opened(app.read_shop(app.CONTEXTS, dsn)):
        with asking(Caller(principal=SYSTEM, request_id="test")):
            return await audit.check_books(settled=True)


@pytest.mark.timeout(300)
def test_the_books_of_a_shop_that_was_made_in_bulk_keep_every_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUK_HOME", str(tmp_path))
    with grown(tmp_path / "shop", GROWTH, find_free_port()) as (dsn, goods):
        there = uvloop.run(count(dsn))
        report = uvloop.run(check(dsn))
    assert (there["products"], there["orders"], there["buyers"]) == (GROWTH.products, GROWTH.orders, GROWTH.buyers)
    assert there["months"] >= 6
    assert there["astray"] == 0
    assert there["lines"] == 2 * GROWTH.orders
    assert there["carts"] == GROWTH.orders
    assert (len(goods.skus), len(goods.tokens)) == (GROWTH.products, GROWTH.buyers)
    assert [rule for rule in report.rules if rule.count] == []
