"""Who leaves takes their address along; the books keep the order."""

from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.orders.market import as_buyer, as_system, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.waiting import until

from souk import orders, users
from souk.app import Shop
from souk.kit import personal
from souk.kit.ids import new_id
from souk.orders.database import db


@pytest.fixture
async def buyer_id(working_shop: Shop) -> UUID:
    """Somebody with an account."""
    with as_system():
        (user_id,) = await users.register_users((users.NewUser(id=new_id(), email="ada@example.com"),))
    return user_id


async def test_export_and_erasure_reach_the_orders(buyer_id: UUID) -> None:
    await open_market()
    await put_on_sale("MUG", 1200, 10, await make_seller())
    cart_id = await fill_cart(buyer_id, ("MUG", 1))
    with as_buyer(buyer_id):
        order = await orders.place_order(buy(cart_id, note="Ring twice, Ada"))
        exported = await personal.export_user_data(buyer_id)
        assert "Ring twice, Ada" in str(exported["orders"])
        await orders.cancel_order(order.id, orders.CancelOrder("leaving"))
    with asked_by("buyer", user_id=buyer_id):
        await users.erase_user(buyer_id)

    async def is_forgotten() -> bool:
        return bool(await db.value("SELECT shipping_address IS NULL AND note IS NULL FROM orders.orders WHERE id = $1", order.id))

    await until(is_forgotten)
    with as_system():
        (kept,) = await orders.get_orders((order.id,))
    assert (kept.total, kept.user_id) == (order.total, buyer_id)
