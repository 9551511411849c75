"""Carts that were ordered are closed, and people who leave leave no cart."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

from tests.carts.shelf import as_buyer, contents, dollars, fill_cart, put_on_shelf

from souk import carts
from souk.app import Shop
from souk.carts import consumers
from souk.carts.database import db
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.kit.personal import export_user_data
from souk.orders.events import OrderPlaced
from souk.users.events import UserErased


def placed(cart_id: UUID | None) -> OrderPlaced:
    return OrderPlaced(new_id(), 1001, new_id(), cart_id, dollars(1000), (), datetime.now(UTC))


async def hear_placed(*events: OrderPlaced) -> None:
    async with db.transaction() as tx:
        await consumers.close_ordered_carts(tx, tuple(Delivered(event, new_id(), event.placed_at) for event in events))


async def hear_erased(*user_ids: UUID) -> None:
    async with db.transaction() as tx:
        news = tuple(Delivered(UserErased(user_id), new_id(), datetime.now(UTC)) for user_id in user_ids)
        await consumers.forget_users(tx, news)


async def test_orders_close_their_carts(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        first, second, third = [await fill_cart(("MUG", number)) for number in (1, 2, 3)]
        await hear_placed(placed(first.id), placed(None), placed(second.id), placed(new_id()))
        assert [(await carts.get_cart_lines(cart.id)).status for cart in (first, second, third)] == ["ordered", "ordered", "active"]
        closed = await carts.get_cart(first.id)
        await hear_placed(placed(first.id))
        assert await carts.get_cart(first.id) == closed
        assert (await carts.get_current_cart()).id == third.id


async def test_carts_that_change_at_the_same_moment_are_closed_too(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        made = [await fill_cart(("MUG", 1)) for _ in range(5)]
        changes = [carts.set_item_quantity(cart.id, cart.items[0].id, 2) for cart in made for _ in range(4)]
        await asyncio.gather(hear_placed(*(placed(cart.id) for cart in made)), *changes, return_exceptions=True)
        assert {(await carts.get_cart_lines(cart.id)).status for cart in made} == {"ordered"}


async def test_who_leaves_leaves_no_cart(shop: Shop) -> None:
    await put_on_shelf("MUG")
    leaving, staying = new_id(), new_id()
    for user_id in (leaving, staying):
        with as_buyer(user_id):
            await fill_cart()
            kept = await fill_cart(("MUG", 1))
    await hear_erased(leaving)
    await hear_erased(leaving)
    for table in ("cart", "current_cart"):
        assert await db.value(f"SELECT count(*) FROM carts.{table} WHERE user_id = $1", leaving) == 0
    assert await db.value("SELECT count(*) FROM carts.cart_item") == 1
    with as_buyer(staying):
        assert contents(await carts.get_cart(kept.id)) == {"MUG": 1}


async def test_a_user_is_given_what_is_kept_of_them(shop: Shop) -> None:
    await put_on_shelf("MUG")
    user_id = new_id()
    with as_buyer(new_id()):
        await fill_cart(("MUG", 9))
    with as_buyer(user_id):
        cart = await fill_cart(("MUG", 2))
        exported = json.loads(json.dumps((await export_user_data(user_id))["carts"]))
    assert [(one["id"], [item["sku"] for item in one["items"]]) for one in exported["carts"]] == [(str(cart.id), ["MUG"])]
