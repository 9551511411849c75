"""What the bench says of plans: a statement that reads a table from end to end is seen, in whichever part of its plan it does."""

import asyncpg
import pytest
from bench.plans import explain, find_statements, scanned

WHOLE = {
    "a filter without an index": "SELECT id FROM orders.orders WHERE note = $1",
    "a change": "UPDATE orders.orders SET note = $2 WHERE note = $1",
    "a part of a statement": "SELECT sku FROM orders.order_line WHERE order_id IN (SELECT id FROM orders.orders WHERE note = $1)",
}


@pytest.mark.parametrize("sql", WHOLE.values(), ids=WHOLE.keys())
async def test_a_table_that_is_read_from_end_to_end_is_seen(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": "force_generic_plan"})
    assert "orders.orders_rest" in scanned(await explain(connection, sql))
    await connection.close()


async def test_a_row_that_is_found_by_its_index_is_no_scan(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"})
    assert scanned(await explain(connection, "SELECT note FROM orders.orders WHERE id = $1")) == set()
    await connection.close()


def test_the_statements_of_all_contexts_are_looked_at() -> None:
    statements = find_statements()
    assert len(statements) > 300
    assert {name.split(".")[1] for name in statements} >= {"carts", "catalog", "inventory", "kit", "orders", "payments", "pricing", "users"}
