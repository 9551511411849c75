"""A user finds their carts again, page by page; an admin finds everybody's."""

import pytest
from tests.carts.shelf import as_buyer, as_guest, as_system, dollars, fill_cart, put_on_shelf
from tests.conftest import asked_by

from souk import carts
from souk.app import Shop
from souk.kit.errors import NotFound, Unauthenticated
from souk.kit.ids import new_id


async def test_a_user_leafs_through_their_carts(shop: Shop) -> None:
    await put_on_shelf("MUG", 700)
    anna = new_id()
    with as_buyer(new_id()):
        await fill_cart(("MUG", 1))
    with as_buyer(anna):
        made = [await fill_cart(("MUG", number)) for number in (1, 2, 3)]
        first = await carts.list_carts(None, None, 2)
        rest = await carts.list_carts(anna, first[-1].id, 2)
        assert [cart.id for cart in (*first, *rest)] == [cart.id for cart in reversed(made)]
        assert [cart.total for cart in first] == [dollars(2100), dollars(1400)]
        assert first[0] == await carts.get_cart(made[2].id)


async def test_nobody_lists_anothers(shop: Shop) -> None:
    anna = new_id()
    with as_buyer(anna):
        await fill_cart()
    with as_buyer(new_id()):
        assert await carts.list_carts(None, None, 10) == ()
        with pytest.raises(NotFound):
            await carts.list_carts(anna, None, 10)
    for user_id, refusal in ((None, Unauthenticated), (anna, NotFound)):
        with as_guest(), pytest.raises(refusal):
            await carts.list_carts(user_id, None, 10)


async def test_an_admin_lists_all_or_a_users(shop: Shop) -> None:
    anna = new_id()
    with as_buyer(anna):
        annas = await fill_cart()
    with as_guest():
        guests = await fill_cart()
    with asked_by("admin"):
        assert [cart.id for cart in await carts.list_carts(None, None, 10)] == [guests.id, annas.id]
        assert [cart.id for cart in await carts.list_carts(None, guests.id, 10)] == [annas.id]
        assert [cart.id for cart in await carts.list_carts(anna, None, 10)] == [annas.id]
    with as_system():
        assert [cart.id for cart in await carts.list_carts(anna, None, 10)] == [annas.id]
