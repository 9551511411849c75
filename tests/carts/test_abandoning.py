"""Carts that their users leave are told of once each time, and those of guests never."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.carts.shelf import as_buyer, as_guest, fill_cart, put_on_shelf
from tests.carts.test_closing import hear_placed, placed

from souk import carts
from souk.app import Shop
from souk.carts import abandoning
from souk.carts.database import db
from souk.carts.settings import settings
from souk.kit.ids import new_id

LEAVE = """
    UPDATE carts.cart SET updated_at = updated_at - make_interval(hours => $2), abandoned_at = abandoned_at - make_interval(hours => $2)
"""

CHANGED_ROWS_ALONE = r"""
    SELECT array[sum(n_tup_upd), sum(n_tup_hot_upd)]::int[]
    FROM pg_stat_xact_user_tables WHERE schemaname = 'carts' AND relname LIKE 'cart\_2%'
"""


async def leave(cart: carts.Cart, hours: int) -> None:
    """So many hours go by in which nobody touches the cart."""
    await db.pool.execute(f"{LEAVE} WHERE id = $1", cart.id, hours)


async def told() -> list[tuple[UUID, UUID]]:
    rows = await db.pool.fetch("SELECT payload FROM carts.outbox WHERE type = 'carts.CartAbandoned' ORDER BY xid, id")
    return [(UUID(row["payload"]["cart_id"]), UUID(row["payload"]["user_id"])) for row in rows]


async def test_a_cart_that_is_left_is_told_of_once_until_it_is_left_again(shop: Shop) -> None:
    await put_on_shelf("MUG")
    ada = new_id()
    with as_buyer(ada):
        cart = await fill_cart(("MUG", 2))
    assert await abandoning.tell_abandoned() == 0
    await leave(cart, 5)
    assert sum(await asyncio.gather(*(abandoning.tell_abandoned() for _ in range(8)))) == 1
    assert await abandoning.tell_abandoned() == 0
    with as_buyer(ada):
        await carts.set_item_quantity(cart.id, cart.items[0].id, 3)
    assert await abandoning.tell_abandoned() == 0
    await leave(cart, 5)
    assert await abandoning.tell_abandoned() == 1
    assert await told() == [(cart.id, ada)] * 2
    payload = await db.value("SELECT payload FROM carts.outbox WHERE type = 'carts.CartAbandoned' ORDER BY xid DESC, id DESC LIMIT 1")
    assert payload["lines"] == [{"sku": "MUG", "quantity": 3}]


async def test_what_is_ordered_empty_old_or_a_guests_is_not_told_of(shop: Shop) -> None:
    await put_on_shelf("MUG")
    ada, ben = new_id(), new_id()
    with as_buyer(ada):
        put_aside, ordered = await fill_cart(("MUG", 1)), await fill_cart(("MUG", 1))
        await hear_placed(placed(ordered.id))
    with as_buyer(ben):
        empty = await fill_cart()
    with as_buyer(new_id()):
        old = await fill_cart(("MUG", 1))
    with as_guest(None):
        guests = await carts.create_cart(carts.NewCart((carts.NewItem("MUG"),), email="guest@example.com"))
    for cart in (put_aside, ordered, empty, guests):
        await leave(cart, 5)
    await leave(old, 30)
    assert await abandoning.tell_abandoned() == 0


async def test_changing_a_cart_stays_a_change_of_its_row_alone(shop: Shop) -> None:
    """Though the sweep finds by an index when carts were touched."""
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 1))
    async with db.transaction() as tx:
        await tx.run("UPDATE carts.cart SET updated_at = now(), abandoned_at = now() WHERE id = $1", cart.id)
        assert await tx.value(CHANGED_ROWS_ALONE) == [1, 1]


@pytest.fixture
def never() -> Iterator[None]:
    before = settings.now.abandoned_hours
    settings.replace(abandoned_hours=0)
    yield
    settings.replace(abandoned_hours=before)


async def test_a_shop_may_tell_of_none(shop: Shop, never: None) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 2))
    await leave(cart, 5)
    assert await abandoning.tell_abandoned() == 0
