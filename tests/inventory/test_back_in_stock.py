"""Whoever waits for what is sold out is told once that there is stock again."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.inventory.stock import SELLER, as_seller, ask, check_books, count_events, open_store, put_in_store
from tests.waiting import until

from souk import inventory
from souk.app import Shop
from souk.catalog.events import VariantAdded, VariantRemoved
from souk.inventory import consumers, subscriptions
from souk.inventory.database import db
from souk.inventory.types import NewMovement, ReleaseStock, StockCount, StoreChange
from souk.kit import personal
from souk.kit.callers import ANONYMOUS, Caller, asking
from souk.kit.errors import InvalidField, NotFound, Unauthenticated
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.users.events import UserErased

MUG = new_id()
COUNT = "SELECT count(*) FROM inventory.subscription"
HOLD = "SELECT FROM inventory.subscription WHERE user_id = $1 FOR UPDATE"


async def list_variants(*skus: str, product_id: UUID = MUG) -> None:
    """The catalogue tells of a product's variants."""
    added = [Delivered(VariantAdded(product_id, SELLER, new_id(), sku), new_id(), datetime.now(UTC)) for sku in skus]
    async with db.transaction() as tx:
        await consumers.learn_items(tx, tuple(added))


async def subscribe(user_id: UUID, sku: str | None = None) -> inventory.StockSubscription:
    with asked_by("buyer", user_id=user_id):
        return await inventory.subscribe_to_stock(MUG, sku)


async def told() -> list[UUID]:
    """Who was told that something is back, in the order of the news."""
    async with db.transaction() as tx:
        rows = await tx.connection.fetch("SELECT payload FROM inventory.outbox WHERE type = 'inventory.BackInStock' ORDER BY xid, id")
    return [UUID(user_id) for row in rows for user_id in row["payload"]["user_ids"]]


async def test_who_waits_is_told_once_when_stock_arrives(working_shop: Shop) -> None:
    await list_variants("MUG")
    store_id = await put_in_store("MUG", 1)
    order = ask(("MUG", 1))
    await inventory.reserve_stock(order)
    users = [new_id() for _ in range(3)]
    for user_id in users:
        made = await subscribe(user_id)
        assert await subscribe(user_id) == made
        assert (made.product_id, made.sku) == (MUG, "MUG")
    with as_seller():
        await inventory.record_movement(store_id, NewMovement("receive", "MUG", 5, "delivery"))

    async def all_told() -> bool:
        return await told() == users

    await until(all_told)
    assert await db.value(COUNT) == 0
    with as_seller():
        await inventory.record_movement(store_id, NewMovement("receive", "MUG", 5, "delivery"))
    await inventory.release_stock(ReleaseStock(order.order_id))
    await asyncio.sleep(0.3)
    assert await told() == users
    await check_books()


async def test_what_an_unpaid_order_gives_back_is_stock_again(working_shop: Shop) -> None:
    await list_variants("MUG")
    await put_in_store("MUG", 1)
    order, user_id = ask(("MUG", 1)), new_id()
    await inventory.reserve_stock(order)
    await subscribe(user_id)
    await inventory.release_stock(ReleaseStock(order.order_id))

    async def is_told() -> bool:
        return await told() == [user_id]

    await until(is_told)


async def test_a_store_that_opens_again_brings_its_stock_back(working_shop: Shop) -> None:
    await list_variants("MUG")
    store_id = await put_in_store("MUG", 1)
    with as_seller():
        await inventory.update_store(store_id, StoreChange(active=False))
    user_id = new_id()
    await subscribe(user_id)
    with as_seller():
        await inventory.update_store(store_id, StoreChange(active=True))

    async def is_told() -> bool:
        return await told() == [user_id]

    await until(is_told)


async def test_an_arrival_is_told_when_there_was_nothing_and_only_then(shop: Shop) -> None:
    store_id = await put_in_store("MUG", 2)
    assert await count_events("StockArrived") == 1
    with as_seller():
        await inventory.set_stock(StockCount(store_id, "MUG", 5))
    await inventory.reserve_stock(ask(("MUG", 4)))
    sold_out = ask(("MUG", 1))
    await inventory.reserve_stock(sold_out)
    assert await count_events("StockArrived") == 1
    await inventory.release_stock(ReleaseStock(sold_out.order_id))
    assert await count_events("StockArrived") == 2
    with as_seller():
        await inventory.set_stock_levels(tuple(StockCount(store_id, f"CUP-{number}", 1) for number in range(700)))
    assert await count_events("StockArrived") == 4


async def test_what_has_sold_out_again_keeps_its_subscribers(shop: Shop) -> None:
    await list_variants("MUG")
    await subscribe(new_id())
    await put_in_store("MUG", 1)
    await inventory.reserve_stock(ask(("MUG", 1)))
    assert await subscriptions.tell_subscribers({"MUG"}) == 0
    assert await db.value(COUNT) == 1
    assert await told() == []


async def test_many_are_told_in_pages_and_a_crash_in_between_tells_nobody_twice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "TOLD_AT_ONCE", 10)
    await list_variants("MUG")
    users = [new_id() for _ in range(35)]
    for user_id in users:
        await subscribe(user_id)
    await put_in_store("MUG", 1)
    async with db.pool.acquire() as other, other.transaction():
        await other.execute(HOLD, users[25])
        telling = asyncio.create_task(subscriptions.tell_subscribers({"MUG"}))

        async def two_pages_are_told() -> bool:
            return len(await told()) == 20

        await until(two_pages_are_told)
        telling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await telling
    assert await told() == users[:20]
    assert await subscriptions.tell_subscribers({"MUG"}) == 15
    assert await told() == users
    assert await count_events("BackInStock") == 4


async def test_who_subscribes_while_stock_arrives_is_told_or_refused(shop: Shop) -> None:
    """Somebody has looked, found nothing, and has not written yet: whoever tells waits for that."""
    await list_variants("MUG")
    late = new_id()
    slow = await db.pool.acquire()
    begun = slow.transaction()
    await begun.start()
    await slow.execute(subscriptions.KEEP_TELLER_OUT)
    assert not await slow.fetch(subscriptions.FIND_IN_STOCK, ["MUG"])
    await put_in_store("MUG", 1)
    telling = asyncio.create_task(subscriptions.tell_subscribers({"MUG"}))
    await asyncio.sleep(0.3)
    assert not telling.done()
    await slow.execute(subscriptions.SUBSCRIBE, "MUG", late, MUG, new_id())
    await begun.commit()
    await db.pool.release(slow)
    assert await telling == 1
    assert await told() == [late]
    with pytest.raises(inventory.InStock):
        await subscribe(new_id())


async def test_nobody_is_missed_or_told_twice_whoever_does_what_at_once(working_shop: Shop) -> None:
    await list_variants("MUG")
    store = await open_store()
    users = [new_id() for _ in range(32)]

    async def come_and_go() -> None:
        for pieces in (1, 0, 1, 0, 1):
            with as_seller():
                await inventory.set_stock(StockCount(store.id, "MUG", pieces))
            await asyncio.sleep(0.02)

    answers = await asyncio.gather(come_and_go(), *(subscribe(user_id) for user_id in users), return_exceptions=True)
    waiting = {user_id for user_id, answer in zip(users, answers[1:], strict=True) if not isinstance(answer, inventory.InStock)}

    async def nobody_waits() -> bool:
        return await db.value(COUNT) == 0

    await until(nobody_waits)
    assert sorted(await told()) == sorted(waiting)


async def test_32_requests_at_once_are_one_subscription(shop: Shop) -> None:
    await list_variants("MUG")
    user_id = new_id()
    made = await asyncio.gather(*(subscribe(user_id) for _ in range(32)))
    assert len(set(made)) == 1
    assert await db.value(COUNT) == 1


async def test_of_several_variants_one_is_named(shop: Shop) -> None:
    await list_variants("MUG-S", "MUG-L")
    user_id = new_id()
    with pytest.raises(InvalidField):
        await subscribe(user_id)
    for sku in ("MUG-S", "MUG-L"):
        assert (await subscribe(user_id, sku)).sku == sku
    with pytest.raises(NotFound):
        await subscribe(user_id, "CUP")
    with asked_by("buyer", user_id=user_id):
        page = await inventory.list_stock_subscriptions(1, None)
        rest = await inventory.list_stock_subscriptions(1, page.next)
        assert [one.sku for one in (*page.items, *rest.items)] == ["MUG-L", "MUG-S"]
        await inventory.unsubscribe_from_stock(MUG, "MUG-S")
        assert [one.sku for one in (await inventory.list_stock_subscriptions(10, None)).items] == ["MUG-L"]
        for _ in range(2):
            await inventory.unsubscribe_from_stock(MUG, None)
        assert (await inventory.list_stock_subscriptions(10, None)).items == ()
        with pytest.raises(NotFound):
            await inventory.subscribe_to_stock(new_id(), None)
    with asking(Caller(ANONYMOUS)), pytest.raises(Unauthenticated):
        await inventory.subscribe_to_stock(MUG, "MUG-S")


async def test_nobody_waits_for_too_much(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_SUBSCRIPTIONS", 2)
    await list_variants("A", "B", "C")
    user_id = new_id()
    await subscribe(user_id, "A")
    await subscribe(user_id, "B")
    with pytest.raises(inventory.TooManySubscriptions):
        await subscribe(user_id, "C")
    assert (await subscribe(user_id, "B")).sku == "B"


async def test_a_variant_that_is_gone_and_a_user_who_leaves_wait_for_nothing(shop: Shop) -> None:
    await list_variants("MUG-S", "MUG-L")
    ada, ben = new_id(), new_id()
    for user_id in (ada, ben):
        await subscribe(user_id, "MUG-S")
    await subscribe(ben, "MUG-L")
    with asked_by("buyer", user_id=ada):
        exported = (await personal.export_user_data(ada))["inventory"]
    assert [one["sku"] for one in exported["stock_subscriptions"]] == ["MUG-S"]
    async with db.transaction() as tx:
        await consumers.forget_users(tx, (Delivered(UserErased(ada), new_id(), datetime.now(UTC)),))
    assert await db.value(COUNT) == 2
    async with db.transaction() as tx:
        gone = Delivered(VariantRemoved(MUG, new_id(), "MUG-L"), new_id(), datetime.now(UTC))
        await consumers.learn_items(tx, (gone,))
    assert await db.value("SELECT array_agg(sku) FROM inventory.subscription") == ["MUG-S"]
