"""A seller is told once that stock is low, and that it has recovered."""

import asyncio

from tests.conftest import asked_by
from tests.inventory.stock import as_seller, ask, check_books, count_events, put_in_store

from souk import inventory
from souk.app import Shop
from souk.inventory.alerts import AlertStatus
from souk.inventory.types import Alert, ConfirmStock, NewMovement, ReleaseStock, ShipStock, StockCount
from souk.kit.ids import new_id


async def list_alerts(status: AlertStatus = "open") -> tuple[Alert, ...]:
    with as_seller():
        return (await inventory.list_alerts(status, 50, None)).items


async def test_selling_below_the_threshold_raises_one_alert(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 5)
    with as_seller():
        await inventory.set_threshold(store_id, "MUG", 3)
    await inventory.reserve_stock(ask(("MUG", 1)))
    assert await list_alerts() == ()
    await asyncio.gather(*(inventory.reserve_stock(ask(("MUG", 1))) for _ in range(2)))
    for _ in range(2):
        await inventory.reserve_stock(ask(("MUG", 1)))  # further down, in a transaction of its own
    (alert,) = await list_alerts()
    assert (alert.store_id, alert.sku, alert.threshold, alert.closed_at) == (store_id, "MUG", 3, None)
    assert alert.available <= 3
    assert await count_events("StockLow") == 1
    await check_books()


async def test_the_alert_is_closed_when_stock_is_back(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 3)
    order = ask(("MUG", 2))
    with as_seller():
        await inventory.set_threshold(store_id, "MUG", 2)
        await inventory.reserve_stock(order)
        assert len(await list_alerts()) == 1
        await inventory.release_stock(ReleaseStock(order.order_id))
        assert await list_alerts() == ()
        assert [alert.closed_at is None for alert in await list_alerts("closed")] == [False]
        assert await count_events("StockRecovered") == 1
        await inventory.record_movement(store_id, NewMovement("adjust", "MUG", -1, "broken"))
        await inventory.record_movement(store_id, NewMovement("receive", "MUG", 10, "delivery"))
    assert len(await list_alerts("all")) == 2
    assert (await count_events("StockLow"), await count_events("StockRecovered")) == (2, 2)
    await check_books()


async def test_what_leaves_the_store_was_not_available_before(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 5)
    order = ask(("MUG", 2))
    with as_seller():
        await inventory.set_threshold(store_id, "MUG", 3)
    await inventory.confirm_stock(ConfirmStock(order.order_id, order.lines))
    told = await count_events("StockChanged")
    await inventory.ship_stock(ShipStock(order.order_id))
    assert await count_events("StockChanged") == told
    assert len(await list_alerts("all")) == 1
    await check_books()


async def test_a_threshold_counts_from_the_moment_it_is_set(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 2)
    with as_seller():
        assert (await inventory.set_threshold(store_id, "MUG", 2)).threshold == 2
        assert len(await list_alerts()) == 1
        await inventory.set_threshold(store_id, "MUG", 2)
        assert len(await list_alerts("all")) == 1
        await inventory.set_threshold(store_id, "MUG", None)
        assert await list_alerts() == ()
        await inventory.set_stock(StockCount(store_id, "MUG", 0))
    assert await list_alerts() == ()
    await check_books()


async def test_sold_out_is_worth_an_alert_only_to_who_asked_for_it(shop: Shop) -> None:
    await put_in_store("MUG", 1)
    cups = await put_in_store("CUP", 1)
    with as_seller():
        await inventory.set_threshold(cups, "CUP", 0)
    await inventory.reserve_stock(ask(("MUG", 1), ("CUP", 1)))
    assert [alert.sku for alert in await list_alerts()] == ["CUP"]


async def test_each_store_has_its_own_alert(shop: Shop) -> None:
    first, second = await put_in_store("MUG", 1), await put_in_store("MUG", 1)
    with as_seller():
        for store_id in (first, second):
            await inventory.set_threshold(store_id, "MUG", 0)
    await inventory.reserve_stock(ask(("MUG", 2)))
    assert {alert.store_id for alert in await list_alerts()} == {first, second}


async def test_another_sellers_alerts_are_not_shown(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 1)
    with as_seller():
        await inventory.set_threshold(store_id, "MUG", 1)
    with as_seller(new_id()):
        assert (await inventory.list_alerts("open", 10, None)).items == ()
    with asked_by("admin"):
        assert len((await inventory.list_alerts("open", 10, None)).items) == 1
