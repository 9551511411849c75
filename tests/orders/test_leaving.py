"""Who leaves takes their address along; the books keep the order."""

from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.orders.market import as_buyer, as_system, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.waiting import until

from souk import orders, shipping, users
from souk.app import Shop
from souk.kit import personal
from souk.kit.callers import Caller, Principal, asking
from souk.kit.ids import new_id
from souk.orders.database import db

CANARY = "canary words"
TABLES = """
    SELECT schemaname || '.' || tablename AS name FROM pg_tables
    WHERE (schemaname = 'orders' OR tablename = 'outbox') AND schemaname || '.' || tablename NOT IN (
        SELECT inhrelid::regclass::text FROM pg_inherits)
"""


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


async def test_what_somebody_wrote_about_a_return_or_a_cancellation_goes_with_them(buyer_id: UUID) -> None:
    await open_market()
    seller_id = await make_seller()
    await put_on_sale("MUG", 1200, 10, seller_id)
    whole, some = [await buy_mugs(buyer_id) for _ in range(2)]
    lines = tuple(orders.LinePieces(item.id, 1) for item in some.items)
    with as_buyer(buyer_id, "cancel-all"):
        await orders.cancel_order(whole.id, orders.CancelOrder(f"{CANARY} all"))
    with as_buyer(buyer_id, "cancel-one"):
        await orders.cancel_order(some.id, orders.CancelOrder(f"{CANARY} one", lines))
    with asking(Caller(Principal("user", new_id(), ("seller",), (seller_id,)), request_id="test", idempotency_key="pack")):
        parcel = await orders.pack_parcel(orders.NewParcel(some.id))
        assert parcel.address is not None
        assert await orders.pack_parcel(orders.NewParcel(some.id)) == parcel
        await shipping.dispatch_shipment(parcel.id, shipping.Consignment())
    await until(lambda: has_left(some))
    returned = orders.NewReturn((orders.ReturnedLine(lines[0].line_id, 1),), note=f"{CANARY} note")
    with as_buyer(buyer_id, "return"):
        (back,) = await orders.request_return(some.id, returned)
        await orders.change_return(back.id, orders.ChangeReturn("canceled", f"{CANARY} kept"))
        exported = await personal.export_user_data(buyer_id)
    assert all(f"{CANARY} {words}" in str(exported["orders"]) for words in ("all", "one", "note", "kept"))
    assert [name for name in await find_everywhere(CANARY) if name.endswith(".outbox")] == []
    with asked_by("buyer", user_id=buyer_id):
        await users.erase_user(buyer_id)

    async def is_forgotten() -> bool:
        return await find_everywhere(CANARY) == []

    await until(is_forgotten)
    assert "orders.idempotency_key" not in await find_everywhere("Main St")


async def buy_mugs(buyer_id: UUID) -> orders.Order:
    cart_id = await fill_cart(buyer_id, ("MUG", 2))
    with as_buyer(buyer_id):
        return await orders.place_order(buy(cart_id))


async def has_left(order: orders.Order) -> bool:
    with as_system():
        (now,) = await orders.get_orders((order.id,))
    return now.fulfillment_status == "fulfilled"


async def find_everywhere(words: str) -> list[str]:
    """The tables of orders, and the outboxes of all, in which these words stand, also in what was kept as bytes."""
    names = [row["name"] for row in await db.pool.fetch(TABLES)]
    found = "SELECT EXISTS (SELECT FROM {name} AS t WHERE t::text LIKE '%{words}%' OR t::text LIKE '%{hex}%')"
    return [name for name in names if await db.value(found.format(name=name, words=words, hex=words.encode().hex()))]
