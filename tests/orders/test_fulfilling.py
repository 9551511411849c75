"""What needs no shipping is delivered, and earned, as soon as it is paid."""

from uuid import UUID

import pytest
from tests.audit.history import is_settled
from tests.orders.market import as_buyer, as_system, available, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.orders.test_cancelling_items import balance
from tests.waiting import until

from souk import catalog, inventory, orders, reviews, shipping
from souk.app import Shop
from souk.inventory.database import db as inventory_db
from souk.kit.ids import new_id
from souk.orders.database import db
from souk.orders.fulfilling import fulfill_digital_parts
from souk.orders.types import CancelOrder, NotCancellable

BUYER = new_id()


@pytest.fixture
async def authors(working_shop: Shop) -> UUID:
    return await sell_novels()


async def sell_novels() -> UUID:
    """A seller of a novel for 9.00 that is read on a screen."""
    await open_market()
    seller_id = await make_seller("Authors")
    price = (catalog.Price(900, "USD"),)
    with as_system():
        await catalog.create_products(
            (
                catalog.NewProduct(
                    name="A novel", seller_id=seller_id, status="published", requires_shipping=False,
                    variants=(catalog.NewVariant("NOVEL", price),),
                ),
            )
        )  # fmt: skip
        store = await inventory.create_store(inventory.NewStore("Licences", "DE", seller_id=seller_id))
        await inventory.set_stock_levels((inventory.StockCount(store.id, "NOVEL", 100),))
    return seller_id


async def order(*lines: tuple[str, int]) -> orders.Order:
    cart_id = await fill_cart(BUYER, *lines)
    with as_buyer(BUYER):
        return await orders.place_order(buy(cart_id))


async def has_come_to(placed: orders.Order, status: str) -> None:
    async def is_so() -> bool:
        with as_buyer(BUYER):
            return (await orders.get_order(placed.id)).fulfillment_status == status

    await until(is_so)


async def test_a_novel_is_there_when_it_is_paid(authors: UUID) -> None:
    placed = await order(("NOVEL", 2))
    assert placed.total.amount == 1800
    await has_come_to(placed, "delivered")
    with as_buyer(BUYER), pytest.raises(NotCancellable):
        await orders.cancel_order(placed.id, CancelOrder())
    with as_system():
        await fulfill_digital_parts(placed.id)
    await until(is_settled)
    assert await available("NOVEL") == 98
    # 18.00 with 19 % of tax in them: 15.13 without, of which the platform keeps 1.51.
    assert await balance(authors) == 1513 - 151


async def test_who_has_read_a_novel_reviews_it(authors: UUID) -> None:
    placed = await order(("NOVEL", 1))
    novel = placed.items[0].product_id
    await has_come_to(placed, "delivered")

    async def is_known() -> bool:
        with as_buyer(BUYER):
            try:
                return (await reviews.create_review(novel, reviews.NewReview(4))).verified
            except reviews.NotPurchased:
                return False

    await until(is_known)
    with as_system():
        await fulfill_digital_parts(placed.id)
    assert await db.value("SELECT count(*) FROM orders.outbox WHERE type = 'orders.DigitalGoodsDelivered'") == 1
    with as_buyer(new_id()), pytest.raises(reviews.NotPurchased):
        await reviews.create_review(novel, reviews.NewReview(1))


async def test_what_needs_no_shipping_is_packed_by_nobody_and_leaves_with_its_parcel_only(shop: Shop) -> None:
    authors = await sell_novels()
    placed = await order(("NOVEL", 2))
    with as_system():
        with pytest.raises(orders.NotPackable):
            await orders.pack_parcel(orders.NewParcel(placed.id, authors))
        await db.pool.execute("UPDATE orders.order_line SET packed = quantity WHERE order_id = $1", placed.id)
        await fulfill_digital_parts(placed.id)
        assert await inventory_db.value("SELECT on_hand FROM inventory.stock") == 100
        await db.pool.execute("UPDATE orders.order_line SET packed = 0 WHERE order_id = $1", placed.id)
        for _ in range(2):
            await fulfill_digital_parts(placed.id)
        assert await inventory_db.value("SELECT on_hand FROM inventory.stock") == 98


async def test_a_mug_beside_it_is_still_to_be_sent(authors: UUID) -> None:
    await put_on_sale("MUG", 1200, 10, await make_seller("Mugs"))
    placed = await order(("NOVEL", 1), ("MUG", 1))
    await has_come_to(placed, "partial")
    with as_buyer(BUYER):
        shown = await orders.get_order(placed.id)
    assert {part.seller_id == authors: part.status for part in shown.parts} == {True: "delivered", False: "unfulfilled"}
    await until(is_settled)


async def test_a_packed_mug_stays_packed_if_the_order_cannot_be_cancelled_for_the_novel(authors: UUID) -> None:
    mugs = await make_seller("Mugs")
    await put_on_sale("MUG", 1200, 10, mugs)
    placed = await order(("NOVEL", 1), ("MUG", 1))
    await has_come_to(placed, "partial")
    with as_system():
        packed = await orders.pack_parcel(orders.NewParcel(placed.id, mugs))
    with as_buyer(BUYER), pytest.raises(NotCancellable):
        await orders.cancel_order(placed.id, CancelOrder())
    with as_system():
        assert (await shipping.get_shipment(packed.id)).status == "packed"
    await until(is_settled)
