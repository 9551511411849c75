"""New orders of several processes at once: a cart becomes one of them, whoever asks, and nobody waits for who waits for them."""

import asyncio

import asyncpg
from tests.batches import in_processes
from tests.orders.market import as_buyer, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.waiting import until

from souk.app import Shop
from souk.kit.ids import new_id
from souk.orders import drafting
from souk.orders.database import db
from souk.orders.quoting import price_cart

BUYER = new_id()
TAKE_CART = """
    INSERT INTO orders.placement (order_id, cart_id, subject, fingerprint, step, expires_at, lease_owner, lease_until)
    VALUES (uuidv7(), $1, '', '', 'done', now(), 0, now())
"""
BOTH_WAIT = "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_carts_that_are_ordered_at_two_processes_at_once_become_one_order_each(shop: Shop, dsn: str) -> None:
    await open_market()
    await put_on_sale("MUG", 1200, 10, await make_seller())
    with as_buyer(BUYER):
        requests = [buy(await fill_cart(BUYER, ("MUG", 1))) for _ in range(3)]
        orders = [(one, await price_cart(one)) for one in requests]
        # Each process has ids of its own for them.
        batches = [[drafting.make_draft(*one) for one in orders[::step]] for step in (1, -1)]
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        # Both come as far as this one, each from another side.
        await other.execute(TAKE_CART, requests[1].cart_id)
        writing = asyncio.create_task(in_processes(db, drafting._write_drafts, batches))
        await until(lambda: other.fetchval(BOTH_WAIT))
    await other.close()
    written = [one.order.cart_id for one in await writing if one is not None]
    assert sorted(written) == [requests[0].cart_id, requests[2].cart_id]
