"""Pieces come and go with a reason, once per request, and what was written down is never changed."""

import asyncio
import random
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.inventory.stock import SELLER, as_seller, ask, available, check_books, open_store, put_in_store

from souk import inventory
from souk.app import Shop
from souk.inventory import reservations
from souk.inventory.database import db
from souk.inventory.types import (
    MOST_PIECES,
    ConfirmStock,
    NewMovement,
    ReleaseStock,
    ShipStock,
    StockCount,
    StockReserved,
    StoreChange,
    TooManyPieces,
)
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import DomainError, InvalidField, NotFound
from souk.kit.ids import new_id


async def test_a_delivery_comes_and_a_broken_piece_goes(shop: Shop) -> None:
    store = await open_store()
    with as_seller():
        received = await inventory.record_movement(store.id, NewMovement("receive", "MUG", 10, "delivery 4711"))
        assert [(one.kind, one.quantity, one.reason) for one in received.movements] == [("received", 10, "delivery 4711")]
        broken = await inventory.record_movement(store.id, NewMovement("adjust", "MUG", -1, "broken"))
        assert [(stock.on_hand, stock.available) for stock in broken.stock] == [(9, 9)]
        listed = await inventory.list_movements(store.id, None, 10, None)
    assert listed.items == (*broken.movements, *received.movements)
    await check_books()


async def test_a_transfer_takes_from_one_store_what_it_brings_to_the_other(shop: Shop) -> None:
    there = await open_store()
    here = await put_in_store("MUG", 10)
    with as_seller():
        moved = await inventory.record_movement(here, NewMovement("transfer", "MUG", 4, "more shoppers there", there.id))
    assert [(one.store_id, one.quantity, one.other_store_id) for one in moved.movements] == [(here, -4, there.id), (there.id, 4, here)]
    assert [(stock.store_id, stock.on_hand) for stock in moved.stock] == [(here, 6), (there.id, 4)]
    await check_books()


async def test_a_transfer_stays_within_one_seller(shop: Shop) -> None:
    here = await put_in_store("MUG", 10)
    foreign = await open_store(new_id())
    move = NewMovement("transfer", "MUG", 4, "a gift", foreign.id)
    with as_seller(), pytest.raises(NotFound):
        await inventory.record_movement(here, move)
    with asking(Caller(Principal("user", new_id(), ("admin",)))), pytest.raises(NotFound):
        await inventory.record_movement(here, move)


async def test_crossing_transfers_do_not_deadlock(shop: Shop) -> None:
    left, right = await put_in_store("MUG", 1000), await put_in_store("MUG", 1000)
    with as_seller():
        ways = [(left, right) if turn % 2 else (right, left) for turn in range(60)]
        await asyncio.gather(*(inventory.record_movement(one, NewMovement("transfer", "MUG", 1, "to and fro", to)) for one, to in ways))
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert await available("MUG") == 2000
    await check_books()


async def test_what_is_set_aside_stays(shop: Shop) -> None:
    there = await open_store()
    here = await put_in_store("MUG", 10)
    await inventory.reserve_stock(ask(("MUG", 8)))
    with as_seller():
        for move in (NewMovement("adjust", "MUG", -3, "broken"), NewMovement("transfer", "MUG", 3, "more shoppers there", there.id)):
            with pytest.raises(StockReserved) as refused:
                await inventory.record_movement(here, move)
            assert (refused.value.on_hand, refused.value.reserved) == (10, 8)
    await check_books()


async def test_a_movement_that_makes_no_sense_is_refused(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 10)
    for move in (
        NewMovement("receive", "MUG", 0, "nothing"),
        NewMovement("receive", "MUG", -1, "back to the maker"),
        NewMovement("transfer", "MUG", -1, "backwards", new_id()),
        NewMovement("transfer", "MUG", 1, "nowhere"),
        NewMovement("transfer", "MUG", 1, "round in a circle", store_id),
        NewMovement("adjust", "MUG", 1, "found", new_id()),
    ):
        with as_seller(), pytest.raises(InvalidField):
            await inventory.record_movement(store_id, move)
    await check_books()


async def test_no_store_holds_more_than_can_be_counted(shop: Shop) -> None:
    store_id = await put_in_store("MUG", MOST_PIECES)
    with as_seller(), pytest.raises(TooManyPieces):
        await inventory.record_movement(store_id, NewMovement("receive", "MUG", 1, "one more"))


async def test_a_repeated_delivery_comes_once(shop: Shop) -> None:
    store = await open_store()
    who = Caller(Principal("user", new_id(), ("seller",), (SELLER,)), idempotency_key="delivery-4711")
    delivery = NewMovement("receive", "MUG", 10, "delivery 4711")
    with asking(who):
        answers = await asyncio.gather(*(inventory.record_movement(store.id, delivery) for _ in range(8)))
    assert len(set(answers)) == 1
    assert await available("MUG") == 10
    with asking(msgspec.structs.replace(who, idempotency_key="delivery-4712")):
        await inventory.record_movement(store.id, delivery)
    assert await available("MUG") == 20


async def test_movements_are_listed_newest_first_page_by_page(shop: Shop) -> None:
    store = await open_store()
    with as_seller():
        for number in range(1, 6):
            await inventory.record_movement(store.id, NewMovement("receive", "MUG" if number % 2 else "CUP", number, "delivery"))
        first = await inventory.list_movements(store.id, None, 3, None)
        rest = await inventory.list_movements(store.id, None, 3, first.next)
        cups = await inventory.list_movements(store.id, "CUP", 3, None)
    assert [one.quantity for one in (*first.items, *rest.items)] == [5, 4, 3, 2, 1]
    assert rest.next is None
    assert [one.quantity for one in cups.items] == [4, 2]


async def test_the_database_itself_keeps_movements_as_they_are(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    for statement in ("UPDATE inventory.movement SET delta = 2", "DELETE FROM inventory.movement"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            async with db.transaction() as tx:
                await tx.run(statement)


class Warehouse:
    """Does one thing after another that a warehouse and its shop can do, wherever chance leads."""

    def __init__(self, stores: list[UUID], seed: int) -> None:
        self.chance = random.Random(seed)
        self.stores = stores
        self.orders = [ask(("MUG", 1))]

    async def do_something(self) -> None:
        deed = self.chance.choice(
            [self.receive, self.adjust, self.transfer, self.count, self.threshold, self.toggle, self.expire]
            + [self.order, self.confirm, self.ship, self.ship_parcel, self.release] * 3
        )
        try:
            await deed()
        except DomainError:
            return  # refused for good reasons; the books have to be right all the same

    def place(self) -> tuple[UUID, str]:
        return self.chance.choice(self.stores), self.chance.choice(("MUG", "CUP", "JUG"))

    async def receive(self) -> None:
        store_id, sku = self.place()
        await inventory.record_movement(store_id, NewMovement("receive", sku, self.chance.randint(1, 9), "delivery"))

    async def adjust(self) -> None:
        store_id, sku = self.place()
        await inventory.record_movement(store_id, NewMovement("adjust", sku, self.chance.randint(-5, 5), "found or lost"))

    async def transfer(self) -> None:
        store_id, sku = self.place()
        other = self.chance.choice(self.stores)
        await inventory.record_movement(store_id, NewMovement("transfer", sku, self.chance.randint(1, 5), "moved", other))

    async def count(self) -> None:
        places = {self.place() for _ in range(3)}
        await inventory.set_stock_levels(tuple(StockCount(*place, self.chance.randint(0, 20)) for place in places))

    async def threshold(self) -> None:
        await inventory.set_threshold(*self.place(), self.chance.choice((None, 0, 3, 8)))

    async def toggle(self) -> None:
        await inventory.update_store(self.chance.choice(self.stores), StoreChange(active=self.chance.random() < 0.8))

    async def order(self) -> None:
        order = ask(*((self.chance.choice(("MUG", "CUP", "JUG")), self.chance.randint(1, 4)) for _ in range(2)))
        self.orders.append(order)
        await inventory.reserve_stock(order)

    async def confirm(self) -> None:
        order = self.chance.choice(self.orders)
        await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))

    async def release(self) -> None:
        await inventory.release_stock(ReleaseStock(self.chance.choice(self.orders).order_id))

    async def expire(self) -> None:
        async with db.transaction() as tx:
            await tx.run("UPDATE inventory.reservation SET expires_at = now() - interval '1 second' WHERE status = 'held'")
        await reservations.release_expired()

    async def ship(self) -> None:
        await inventory.ship_stock(ShipStock(self.chance.choice(self.orders).order_id))

    async def ship_parcel(self) -> None:
        order = self.chance.choice(self.orders)
        line = msgspec.structs.replace(order.lines[0], quantity=1)
        await inventory.ship_stock(ShipStock(order.order_id, (line,), new_id()))


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_books_are_right(shop: Shop, seed: int) -> None:
    stores = [(await open_store()).id for _ in range(3)]
    warehouse = Warehouse(stores, seed)
    with as_seller():
        for _ in range(12):
            await asyncio.gather(*(warehouse.do_something() for _ in range(20)))
            await check_books()
    assert await db.value("SELECT count(*) FROM inventory.movement WHERE kind = 'shipped'") > 0
