"""What people look at and buy is kept for them, each event once."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.users.people import as_user, register

from souk import users
from souk.app import Shop
from souk.catalog.events import ProductViewed
from souk.kit.errors import NotFound
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.partitions import add_partitions, bound
from souk.orders.events import OrderPlaced
from souk.users.activity import forget_old_activity
from souk.users.consumers import note_purchases, note_views
from souk.users.database import db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def view(user_id: UUID | None, minutes: int = 0) -> Delivered[ProductViewed]:
    return Delivered(ProductViewed(new_id(), user_id, NOON + timedelta(minutes=minutes)), new_id(), NOON)


def purchase(user_id: UUID | None, minutes: int = 0) -> Delivered[OrderPlaced]:
    order = OrderPlaced(new_id(), 1, user_id, None, Money(100, "EUR"), (), NOON + timedelta(minutes=minutes))
    return Delivered(order, new_id(), NOON)


async def tell_views(*news: Delivered[ProductViewed]) -> None:
    async with db.transaction() as tx:
        await note_views(tx, news)


async def tell_purchases(*news: Delivered[OrderPlaced]) -> None:
    async with db.transaction() as tx:
        await note_purchases(tx, news)


async def test_views_and_purchases_are_listed_newest_first(shop: Shop) -> None:
    ada = await register()
    early, late, bought = view(ada.id, 1), view(ada.id, 9), purchase(ada.id, 5)
    await tell_views(late, early)
    await tell_purchases(bought)
    with as_user(ada.id):
        page = await users.list_activity(ada.id, 20, None)
    assert [(one.activity_type, one.activity_timestamp.minute, one.product_id, one.order_id) for one in page.items] == [
        ("view", 9, late.event.product_id, None),
        ("purchase", 5, None, bought.event.order_id),
        ("view", 1, early.event.product_id, None),
    ]


async def test_what_is_told_again_is_kept_once(shop: Shop) -> None:
    ada = await register()
    seen, bought = view(ada.id), purchase(ada.id)
    for _ in range(2):
        await tell_views(seen, seen)
        await tell_purchases(bought)
    assert await db.value("SELECT count(*) FROM users.user_activity") == 2


async def test_strangers_and_those_who_are_gone_leave_no_trace(shop: Shop) -> None:
    ada = await register()
    with as_user(ada.id):
        await users.erase_user(ada.id)
    await tell_views(view(None), view(ada.id), view(new_id()))
    await tell_purchases(purchase(None), purchase(ada.id))
    assert await db.value("SELECT count(*) FROM users.user_activity") == 0


async def test_who_is_erased_while_something_is_noted_of_them_leaves_no_trace(shop: Shop) -> None:
    ada, noted = await register(), asyncio.Event()

    async def erase() -> None:
        await noted.wait()
        with as_user(ada.id):
            await users.erase_user(ada.id)

    erasing = asyncio.create_task(erase())
    async with db.transaction() as tx:
        await note_views(tx, (view(ada.id),))
        noted.set()
        await asyncio.sleep(0.2)
        assert not erasing.done()
    await erasing
    assert await db.value("SELECT count(*) FROM users.user_activity") == 0


async def test_activity_is_read_page_by_page_and_by_its_owner_alone(shop: Shop) -> None:
    ada, bob = await register("ada"), await register("bob")
    await tell_views(*(view(ada.id, minutes // 2) for minutes in range(7)), view(bob.id))
    with as_user(ada.id):
        minutes: list[int] = []
        cursor = None
        while True:
            page = await users.list_activity(ada.id, 3, cursor)
            minutes += [one.activity_timestamp.minute for one in page.items]
            cursor = page.next
            if cursor is None:
                break
        with pytest.raises(NotFound):
            await users.list_activity(bob.id, 20, None)
    assert minutes == [3, 2, 2, 1, 1, 0, 0]


async def test_activity_is_forgotten_by_the_month(shop: Shop) -> None:
    ada = await register("ada")
    long_ago = datetime.now(UTC) - timedelta(days=470)
    async with db.pool.acquire() as connection:
        await add_partitions(connection, "users", long_ago)
    seen = ProductViewed(new_id(), ada.id, long_ago)
    async with db.transaction() as tx:
        await note_views(tx, (Delivered(seen, UUID(bound(long_ago, "uuid")), long_ago), view(ada.id)))
    with as_user(ada.id):
        assert len((await users.list_activity(ada.id, 10, None)).items) == 2
        assert await forget_old_activity() >= 1
        assert await forget_old_activity() == 0
        assert [one.activity_timestamp for one in (await users.list_activity(ada.id, 10, None)).items] == [NOON]
