"""No piece of an order is packed twice or after it was cancelled, and what becomes of parcels shows on the order and in the stores."""

import asyncio
from collections import Counter
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from tests.conftest import asked_by
from tests.orders.market import ADDRESS, as_buyer, as_guest, as_system, available, buy, fill_cart, make_seller, open_market, put_on_sale
from tests.waiting import until

from souk import inventory, orders, shipping
from souk.app import Shop
from souk.inventory.consumers import ship_dispatched_stock
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import InvalidField, NotFound
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.orders import parcels
from souk.orders.database import db
from souk.orders.parcels import Step, count_step
from souk.orders.types import NotCancellable, NotChangeable
from souk.shipping import Consignment
from souk.shipping.events import ShipmentDispatched, ShippedLine

BUYER = new_id()
FOLLOWED = "SELECT packed, shipped, delivered, canceled FROM orders.order_line WHERE order_id = $1 ORDER BY id"


class Sale:
    """An order of three mugs of one seller and two bowls of another."""

    def __init__(self, order: orders.Order, mugs: UUID, bowls: UUID) -> None:
        self.order = order
        self.mugs = mugs
        self.bowls = bowls

    def line(self, seller_id: UUID) -> UUID:
        return next(item.id for item in self.order.items if item.seller_id == seller_id)

    async def pack(self, seller_id: UUID, quantity: int | None = None) -> shipping.Shipment:
        items = None if quantity is None else (orders.LinePieces(self.line(seller_id), quantity),)
        with as_seller(seller_id):
            return await orders.pack_parcel(orders.NewParcel(self.order.id, items=items))

    async def dispatch(self, parcel: shipping.Shipment) -> shipping.Shipment:
        with as_seller(parcel.seller_id):
            return await shipping.dispatch_shipment(parcel.id, Consignment())

    async def deliver(self, parcel: shipping.Shipment) -> shipping.Shipment:
        with as_seller(parcel.seller_id):
            return await shipping.deliver_shipment(parcel.id)

    async def shipment(self, parcel: shipping.Shipment) -> shipping.Shipment:
        return await shipping.get_shipment(parcel.id)

    async def look(self) -> orders.Order:
        with as_buyer(BUYER):
            return await orders.get_order(self.order.id)

    async def is_seen_as(self, whole: str, mugs: str, bowls: str) -> None:
        """Wait until the order and its parts have come so far."""

        async def is_so() -> bool:
            order = await self.look()
            return (order.fulfillment_status, {part.seller_id: part.status for part in order.parts}) == (
                whole,
                {self.mugs: mugs, self.bowls: bowls},
            )

        await until(is_so)

    async def counted(self) -> list[tuple[int, ...]]:
        return [tuple(row) for row in await db.pool.fetch(FOLLOWED, self.order.id)]


def as_seller(*seller_ids: UUID) -> AbstractContextManager[None]:
    return asked_by("buyer", sells_for=seller_ids)


async def sell() -> Sale:
    await open_market()
    mugs, bowls = await make_seller("Mugs"), await make_seller("Bowls")
    await put_on_sale("MUG", 1200, 10, mugs)
    await put_on_sale("BOWL", 800, 10, bowls)
    cart_id = await fill_cart(BUYER, ("MUG", 3), ("BOWL", 2))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    assert order.status == "placed"
    return Sale(order, mugs, bowls)


@pytest.fixture
async def sale(shop: Shop) -> Sale:
    return await sell()


async def test_two_sellers_send_three_parcels_and_the_order_shows_how_far_they_are(working_shop: Shop) -> None:
    sale = await sell()
    first, second = await sale.pack(sale.mugs, 2), await sale.pack(sale.mugs)
    third = await sale.pack(sale.bowls)
    assert [line.quantity for one in (first, second, third) for line in one.lines] == [2, 1, 2]
    assert (await sale.look()).fulfillment_status == "unfulfilled"
    await sale.dispatch(first)
    await sale.is_seen_as("partial", "partial", "unfulfilled")
    await sale.dispatch(third)
    await sale.is_seen_as("partial", "partial", "fulfilled")
    await sale.dispatch(second)
    await sale.is_seen_as("fulfilled", "fulfilled", "fulfilled")
    for parcel in (first, second, third):
        await sale.deliver(parcel)
    await sale.is_seen_as("delivered", "delivered", "delivered")
    assert [(item.shipped, item.delivered) for item in (await sale.look()).items] == [(3, 3), (2, 2)]
    with as_buyer(BUYER):
        told = [entry.type for entry in await orders.get_timeline(sale.order.id)]
    assert told[0] == "placed"
    assert sorted(told[1:]) == ["parcel_delivered"] * 3 + ["parcel_dispatched"] * 3


async def test_pieces_leave_their_store_when_their_parcel_does(working_shop: Shop) -> None:
    sale = await sell()
    parcel = await sale.pack(sale.mugs, 2)
    store = (await stores_of(sale.mugs))[0]
    assert await in_store(store, "MUG") == (10, 3)
    await asyncio.gather(*(sale.dispatch(parcel) for _ in range(5)))

    async def has_left() -> bool:
        return await in_store(store, "MUG") == (8, 1)

    await until(has_left)
    assert await available("MUG") == 7


async def test_each_parcel_leaves_its_store_once_however_often_it_is_told(working_shop: Shop) -> None:
    sale = await sell()
    store = (await stores_of(sale.mugs))[0]
    parcels_sent = [await sale.dispatch(await sale.pack(sale.mugs, pieces)) for pieces in (1, 2)]

    async def have_left() -> bool:
        return await in_store(store, "MUG") == (7, 0)

    await until(have_left)
    again = tuple(
        Delivered(
            ShipmentDispatched(
                one.id, one.order_id, one.seller_id, tuple(ShippedLine(line.line_id, line.sku, line.quantity) for line in one.lines), now()
            ),
            new_id(),
            now(),
        )
        for one in parcels_sent
    )
    with as_system():
        await ship_dispatched_stock(again)
    assert await in_store(store, "MUG") == (7, 0)


def now() -> datetime:
    return datetime.now(UTC)


async def stores_of(seller_id: UUID) -> tuple[UUID, ...]:
    with as_seller(seller_id):
        return tuple(store.id for store in (await inventory.list_stores(seller_id, 10, None)).items)


async def in_store(store_id: UUID, sku: str) -> tuple[int, int]:
    with as_system():
        stock = await inventory.get_stock(store_id, sku)
    return stock.on_hand, stock.reserved


async def test_32_packers_at_once_pack_each_piece_once(sale: Sale) -> None:
    packed = await asyncio.gather(*(sale.pack(sale.mugs, 1) for _ in range(32)), return_exceptions=True)
    assert Counter(map(type, packed)) == {shipping.Shipment: 3, orders.NotPackable: 29}
    assert await sale.counted() == [(3, 0, 0, 0), (0, 0, 0, 0)]


async def test_the_same_key_packs_once(sale: Sale) -> None:
    with as_seller_with_key(sale.mugs, "box-1"):
        answers = await asyncio.gather(*(orders.pack_parcel(orders.NewParcel(sale.order.id)) for _ in range(5)))
    assert len({one.id for one in answers}) == 1
    assert (await sale.counted())[0] == (3, 0, 0, 0)


def as_seller_with_key(seller_id: UUID, key: str) -> AbstractContextManager[None]:
    return asking(Caller(Principal("user", new_id(), ("buyer",), (seller_id,)), request_id="test", idempotency_key=key))


async def test_more_than_was_ordered_or_anothers_line_cannot_be_packed(sale: Sale) -> None:
    with pytest.raises(orders.TooMuchPacked):
        await sale.pack(sale.mugs, 4)
    twice = (orders.LinePieces(sale.line(sale.mugs), 2), orders.LinePieces(sale.line(sale.mugs), 2))
    with as_seller(sale.mugs), pytest.raises(orders.TooMuchPacked):
        await orders.pack_parcel(orders.NewParcel(sale.order.id, items=twice))
    with as_seller(sale.mugs), pytest.raises(InvalidField):
        await orders.pack_parcel(orders.NewParcel(sale.order.id, items=(orders.LinePieces(sale.line(sale.bowls), 1),)))
    for stranger in (as_seller(new_id()), as_buyer(BUYER), as_guest()):
        with stranger, pytest.raises(NotFound):
            await orders.pack_parcel(orders.NewParcel(sale.order.id))
    with as_system(), pytest.raises(InvalidField):
        await orders.pack_parcel(orders.NewParcel(sale.order.id))
    assert await sale.counted() == [(0, 0, 0, 0), (0, 0, 0, 0)]


async def test_an_unpaid_order_cannot_be_packed(sale: Sale) -> None:
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_buyer(BUYER):
        waiting = await orders.place_order(buy(cart_id, None))
    # What is a draft is not even seen by its seller; an admin is told why not.
    with as_seller(sale.mugs), pytest.raises(NotFound):
        await orders.pack_parcel(orders.NewParcel(waiting.id))
    with as_system(), pytest.raises(orders.NotPackable):
        await orders.pack_parcel(orders.NewParcel(waiting.id))


async def test_what_was_unpacked_can_be_packed_again(working_shop: Shop) -> None:
    sale = await sell()
    parcel = await sale.pack(sale.mugs)
    with as_seller(sale.mugs):
        assert (await shipping.cancel_shipment(parcel.id)).status == "canceled"
        assert (await shipping.cancel_shipment(parcel.id)).version == 2
        with pytest.raises(shipping.WrongShipmentStatus):
            await shipping.dispatch_shipment(parcel.id, Consignment())

    async def is_unpacked() -> bool:
        return (await sale.counted())[0] == (0, 0, 0, 0)

    await until(is_unpacked)
    await sale.dispatch(await sale.pack(sale.mugs))
    await sale.is_seen_as("partial", "fulfilled", "unfulfilled")


async def test_a_cancelled_order_takes_its_packed_parcels_back(working_shop: Shop) -> None:
    sale = await sell()
    parcel = await sale.pack(sale.mugs)
    with as_buyer(BUYER):
        canceled = await orders.cancel_order(sale.order.id, orders.CancelOrder("changed my mind"))
    assert (canceled.status, canceled.fulfillment_status, canceled.payment_status) == ("canceled", "canceled", "refunded")
    assert {part.status for part in canceled.parts} == {"canceled"}
    with as_seller(sale.mugs):
        assert (await shipping.get_shipment(parcel.id)).status == "canceled"
        with pytest.raises(orders.NotPackable):
            await orders.pack_parcel(orders.NewParcel(sale.order.id))
    assert await available("MUG") == 10
    assert await sale.counted() == [(0, 0, 0, 3), (0, 0, 0, 2)]


async def test_an_order_of_which_a_parcel_has_left_is_not_cancelled(sale: Sale) -> None:
    await sale.dispatch(await sale.pack(sale.mugs, 1))
    with as_buyer(BUYER), pytest.raises(NotCancellable):
        await orders.cancel_order(sale.order.id, orders.CancelOrder("too late"))
    assert (await sale.look()).status == "placed"


async def test_a_refused_cancellation_leaves_packed_parcels_alone(sale: Sale) -> None:
    await sale.dispatch(await sale.pack(sale.mugs, 1))
    packed = await sale.pack(sale.bowls)
    with as_buyer(BUYER), pytest.raises(NotCancellable):
        await orders.cancel_order(sale.order.id, orders.CancelOrder("too late"))
    with as_seller(sale.bowls):
        assert (await shipping.get_shipment(packed.id)).status == "packed"


async def test_a_packed_parcel_keeps_its_address(sale: Sale) -> None:
    elsewhere = orders.ChangeOrder(shipping_address=msgspec.structs.replace(ADDRESS, city="Bonn", postal_code="53111"))
    with as_buyer(BUYER):
        await orders.change_order(sale.order.id, elsewhere)
    parcel = await sale.pack(sale.mugs)
    assert parcel.address is not None
    assert parcel.address.city == "Bonn"
    with as_buyer(BUYER), pytest.raises(NotChangeable):
        await orders.change_order(sale.order.id, orders.ChangeOrder(shipping_address=ADDRESS))


async def test_cancelling_and_packing_at_once_never_send_what_was_cancelled(working_shop: Shop) -> None:
    for _ in range(10):
        sale = await sell_again()

        async def send(sale: Sale = sale) -> object:
            return await sale.dispatch(await sale.pack(sale.mugs))

        async def cancel(sale: Sale = sale) -> object:
            with as_buyer(BUYER):
                return await orders.cancel_order(sale.order.id, orders.CancelOrder("changed my mind"))

        sent, canceled = await asyncio.gather(send(), cancel(), return_exceptions=True)
        assert isinstance(sent, shipping.Shipment) != isinstance(canceled, orders.Order) or isinstance(canceled, NotCancellable)
        after = await sale.look()
        assert (after.status == "canceled") == isinstance(canceled, orders.Order)
        if after.status == "canceled":
            with as_system():
                assert {one.status for one in await shipping.get_shipments_of(sale.order.id)} <= {"canceled"}


async def sell_again() -> Sale:
    """Another order of one mug, in the market that is open, or in a new one."""
    found = await db.pool.fetchrow("SELECT seller_id FROM orders.order_line WHERE sku = 'MUG' LIMIT 1")
    if found is None:
        return await sell()
    cart_id = await fill_cart(BUYER, ("MUG", 1))
    with as_system():
        store = (await inventory.list_stores(found["seller_id"], 1, None)).items[0]
        await inventory.set_stock_levels((inventory.StockCount(store.id, "MUG", 100),))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    return Sale(order, found["seller_id"], new_id())


async def test_steps_that_come_late_or_again_count_once(sale: Sale) -> None:
    parcel = await sale.pack(sale.mugs)
    steps = [Step(sale.order.id, parcel.id, status) for status in ("delivered", "dispatched", "delivered", "canceled")]
    for some in (steps[:1], steps[1:], steps):
        async with db.transaction() as tx:
            await parcels.follow(tx, some)
    assert (await sale.counted())[0] == (3, 3, 3, 0)


def test_each_step_of_a_parcel_counts_once() -> None:
    assert count_step("packed", "dispatched") == (0, 1, 0)
    assert count_step("packed", "delivered") == (0, 1, 1)
    assert count_step("dispatched", "delivered") == (0, 0, 1)
    assert count_step("packed", "canceled") == (-1, 0, 0)
    for before, after in (("dispatched", "canceled"), ("canceled", "dispatched"), ("delivered", "dispatched"), ("packed", "packed")):
        assert count_step(before, after) is None  # type: ignore[arg-type]


async def test_a_parcel_whose_packer_died_before_shipping_knew_is_opened_all_the_same(working_shop: Shop) -> None:
    sale = await sell()
    async with db.transaction() as tx:
        parcel_id = (await parcels.write_parcel(tx, orders.NewParcel(sale.order.id), sale.mugs)).id

    async def is_open() -> bool:
        with as_system():
            return [one.id for one in await shipping.get_shipments_of(sale.order.id)] == [parcel_id]

    await until(is_open)


async def test_who_may_see_a_parcel(sale: Sale) -> None:
    parcel = await sale.pack(sale.mugs)
    for somebody in (as_buyer(BUYER), as_seller(sale.mugs), as_system()):
        with somebody:
            assert (await shipping.get_shipment(parcel.id)).address is not None
            assert [one.id for one in await shipping.get_shipments_of(sale.order.id)] == [parcel.id]
    for stranger in (as_buyer(new_id()), as_seller(sale.bowls), as_guest("a-token-of-another")):
        with stranger:
            with pytest.raises(NotFound):
                await shipping.get_shipment(parcel.id)
            assert await shipping.get_shipments_of(sale.order.id) == ()
    with as_buyer(BUYER):
        for change in (shipping.cancel_shipment, shipping.deliver_shipment):
            with pytest.raises(NotFound):
                await change(parcel.id)
