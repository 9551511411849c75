"""Stock is set aside once, for those who asked first, and never more than there is."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
from tests.batches import in_processes
from tests.waiting import until

from souk import inventory
from souk.app import Shop
from souk.inventory import reservations
from souk.inventory.database import db
from souk.inventory.types import ConfirmStock, OutOfStock, ReleaseStock, ReserveStock, Shortage, StockLine
from souk.kit.batching import Asked
from souk.kit.ids import new_id

SELLER = new_id()


async def put_in_store(sku: str, pieces: int, seller_id: UUID = SELLER, priority: int = 100) -> UUID:
    store_id = new_id()
    async with db.transaction() as tx:
        await tx.run(
            "INSERT INTO inventory.store (id, seller_id, name, country, priority) VALUES ($1, $2, 'A store', 'DE', $3)",
            store_id,
            seller_id,
            priority,
        )
        await tx.run(
            "INSERT INTO inventory.stock (store_id, sku, seller_id, on_hand) VALUES ($1, $2, $3, $4)", store_id, sku, seller_id, pieces
        )
    return store_id


async def available(sku: str) -> int:
    return int(await db.value("SELECT sum(on_hand - reserved) FROM inventory.stock WHERE sku = $1", sku))


def ask(*lines: tuple[str, int], seller_id: UUID = SELLER) -> ReserveStock:
    return ReserveStock(new_id(), tuple(StockLine(sku, seller_id, quantity) for sku, quantity in lines))


async def test_an_order_gets_all_of_its_lines(shop: Shop) -> None:
    store = await put_in_store("MUG", 10)
    reservation = await inventory.reserve_stock(ask(("MUG", 3)))
    assert reservation.status == "held"
    assert reservation.expires_at is not None
    assert [(line.store_id, line.sku, line.quantity) for line in reservation.lines] == [(store, "MUG", 3)]
    assert await available("MUG") == 7


async def test_an_order_gets_all_or_nothing(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    await put_in_store("CUP", 1)
    with pytest.raises(OutOfStock) as refused:
        await inventory.reserve_stock(ask(("MUG", 3), ("CUP", 2)))
    assert refused.value.shortages == (Shortage("CUP", 2, 1),)
    assert await available("MUG") == 10


async def test_two_lines_of_one_sku_are_one_demand(shop: Shop) -> None:
    await put_in_store("MUG", 3)
    with pytest.raises(OutOfStock):
        await inventory.reserve_stock(ask(("MUG", 2), ("MUG", 2)))


async def test_asking_again_for_the_same_order_sets_nothing_more_aside(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    order = ask(("MUG", 3))
    first = await inventory.reserve_stock(order)
    assert await inventory.reserve_stock(order) == first
    twins = await asyncio.gather(*(inventory.reserve_stock(order) for _ in range(8)))
    assert set(twins) == {first}
    assert await available("MUG") == 7


async def test_a_hundred_buyers_of_ten_pieces(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    answers = await asyncio.gather(*(inventory.reserve_stock(ask(("MUG", 1))) for _ in range(100)), return_exceptions=True)
    sold = [answer for answer in answers if isinstance(answer, inventory.Reservation)]
    refused = [answer for answer in answers if isinstance(answer, OutOfStock)]
    assert (len(sold), len(refused)) == (10, 90)
    assert await available("MUG") == 0


async def test_64_buyers_who_come_to_different_processes(shop: Shop) -> None:
    await put_in_store("MUG", 10)
    answers = await in_processes(db, inventory.reserve_stock.batcher._work, [[ask(("MUG", 1))] for _ in range(64)])
    assert sum(isinstance(answer, inventory.Reservation) for answer in answers) == 10
    assert sum(isinstance(answer, OutOfStock) for answer in answers) == 54
    assert await available("MUG") == 0


async def test_nobody_gets_another_sellers_pieces(shop: Shop) -> None:
    await put_in_store("MUG", 10, seller_id=new_id())
    with pytest.raises(OutOfStock):
        await inventory.reserve_stock(ask(("MUG", 1)))


async def test_the_preferred_store_ships_unless_another_has_it_all(shop: Shop) -> None:
    near = await put_in_store("MUG", 2, priority=1)
    far = await put_in_store("MUG", 5, priority=2)
    whole = await inventory.reserve_stock(ask(("MUG", 4)))
    assert [line.store_id for line in whole.lines] == [far]
    both = await inventory.reserve_stock(ask(("MUG", 3)))
    assert {line.store_id: line.quantity for line in both.lines} == {near: 2, far: 1}


async def test_what_is_released_can_be_sold_again(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    order = ask(("MUG", 1))
    await inventory.reserve_stock(order)
    assert (await inventory.release_stock(ReleaseStock(order.order_id))).status == "released"
    assert (await inventory.release_stock(ReleaseStock(order.order_id))).status == "released"
    assert await available("MUG") == 1


async def test_a_late_reservation_of_a_released_order_holds_nothing(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    order = ask(("MUG", 1))
    await inventory.release_stock(ReleaseStock(order.order_id))
    assert (await inventory.reserve_stock(order)).status == "released"
    assert await available("MUG") == 1


async def test_an_unpaid_order_loses_its_stock_and_a_paid_one_takes_it_again(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    order = ask(("MUG", 1))
    await inventory.reserve_stock(order)
    async with db.transaction() as tx:
        await tx.run("UPDATE inventory.reservation SET expires_at = now() - interval '1 second'")
    assert await reservations.release_expired() == 1
    assert await available("MUG") == 1
    confirmed = await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))
    assert confirmed.status == "confirmed"
    again = await inventory.reserve_stock(order)
    assert (again.status, again.expires_at, [line.sku for line in again.lines]) == ("confirmed", None, ["MUG"])
    assert await available("MUG") == 0


async def test_what_is_paid_while_its_time_ends_is_kept(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    order = ask(("MUG", 1))
    await inventory.reserve_stock(order)
    async with db.transaction() as tx:
        await tx.run("UPDATE inventory.reservation SET expires_at = now() - interval '1 second'")
    async with db.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM inventory.stock FOR UPDATE")
        sweeping = asyncio.create_task(reservations.release_expired())
        await until(somebody_waits)  # the sweeper, which has found the order and waits for its level
        assert (await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))).status == "confirmed"
    assert await sweeping == 0
    assert await available("MUG") == 0


async def somebody_waits() -> bool:
    return bool(await db.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))


async def test_a_paid_order_whose_stock_went_to_another_is_refused(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    late, quick = ask(("MUG", 1)), ask(("MUG", 1))
    await inventory.reserve_stock(late)
    await inventory.release_stock(ReleaseStock(late.order_id))
    await inventory.reserve_stock(quick)
    with pytest.raises(OutOfStock):
        await inventory.confirm_stock(ConfirmStock(late.order_id, late.lines))


async def test_the_database_itself_refuses_to_oversell(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.transaction() as tx:
            await tx.run("UPDATE inventory.stock SET reserved = 2 WHERE sku = 'MUG'")


async def test_crossing_orders_do_not_deadlock(shop: Shop) -> None:
    for sku in ("A", "B", "C"):
        await put_in_store(sku, 10_000)
    orders = [ask(("A", 1), ("B", 1), ("C", 1)) if turn % 2 else ask(("C", 1), ("B", 1), ("A", 1)) for turn in range(200)]

    async def buy_and_give_back(order: ReserveStock) -> None:
        await inventory.reserve_stock(order)
        await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))
        await inventory.release_stock(ReleaseStock(order.order_id))

    await asyncio.gather(*(buy_and_give_back(order) for order in orders))
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert [await available(sku) for sku in ("A", "B", "C")] == [10_000] * 3


async def test_orders_that_come_and_go_in_different_processes_do_not_deadlock(shop: Shop) -> None:
    for sku in ("A", "B"):
        await put_in_store(sku, 10_000)
    orders = [ask(("A", 1), ("B", 1)) for _ in range(10)]
    await asyncio.gather(*(inventory.reserve_stock(order) for order in orders))
    coming, going = inventory.reserve_stock.batcher._work, inventory.release_stock.batcher._work

    async def work(asked: tuple[Asked[ReserveStock | ReleaseStock], ...]) -> tuple[object, ...]:
        return await (coming if isinstance(asked[0].request, ReserveStock) else going)(asked)

    given_up = [ReleaseStock(order.order_id) for order in orders]
    await in_processes(db, work, [batch for _ in range(8) for batch in (orders, given_up, orders[::-1], given_up[::-1])])
    assert [await available(sku) for sku in ("A", "B")] == [10_000] * 2
