"""Looks at products are noted once, by whom if that is known, and forgotten with the user."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.catalog.goods import announced, create, mug
from tests.conftest import asked_by
from tests.waiting import until

from souk import catalog
from souk.app import Shop
from souk.catalog import views
from souk.catalog.database import db
from souk.catalog.views import RecordView, record_view
from souk.kit.errors import NotFound
from souk.kit.events import publish
from souk.kit.ids import new_id
from souk.kit.partitions import add_partitions, bound
from souk.kit.personal import export_user_data
from souk.users.database import db as users_db
from souk.users.events import UserErased


async def count() -> int:
    return int(await db.value("SELECT count(*) FROM catalog.product_view"))


async def test_a_look_is_noted_with_who_looked(shop: Shop) -> None:
    (product,) = await create(mug())
    user_id = new_id()
    with asked_by("buyer", user_id=user_id):
        view = await record_view(RecordView(new_id(), product.id))
    guest = await record_view(RecordView(new_id(), product.id))
    assert (view.product_id, view.user_id, guest.user_id) == (product.id, user_id, None)
    assert [event["user_id"] for event in await announced("ProductViewed")] == [str(user_id), None]


async def test_reading_is_not_looking(shop: Shop) -> None:
    (product,) = await create(mug())
    await catalog.get_products((product.id,))
    assert await count() == 0


async def test_the_same_look_is_noted_once_however_often_it_is_told(shop: Shop) -> None:
    (product,) = await create(mug())
    look = RecordView(new_id(), product.id)
    with asked_by("buyer", user_id=new_id()):
        views = await asyncio.gather(*(record_view(look) for _ in range(20)))
    assert len(set(views)) == 1
    assert (await count(), len(await announced("ProductViewed"))) == (1, 1)
    with asked_by("buyer"), pytest.raises(NotFound):
        await record_view(look)


async def test_a_thousand_looks_are_a_few_transactions(shop: Shop) -> None:
    (product,) = await create(mug())
    before = await db.value("SELECT pg_current_xact_id()::text::bigint")
    await asyncio.gather(*(record_view(RecordView(new_id(), product.id)) for _ in range(1000)))
    after = await db.value("SELECT pg_current_xact_id()::text::bigint")
    assert await count() == 1000
    assert after - before < 20


async def test_what_is_not_on_sale_cannot_be_looked_at(shop: Shop) -> None:
    draft, there = await create(mug(status="draft"), mug("CUP"))
    looks = [RecordView(new_id(), product_id) for product_id in (draft.id, new_id(), there.id)]
    answers = await asyncio.gather(*(record_view(look) for look in looks), return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotFound, NotFound, catalog.ProductView]


async def test_a_user_sees_what_is_kept_and_is_forgotten_when_erased(working_shop: Shop) -> None:
    (product,) = await create(mug())
    user_id = new_id()
    with asked_by("buyer", user_id=user_id):
        await record_view(RecordView(new_id(), product.id))
        kept = (await export_user_data(user_id))["catalog"]["product_views"]
    assert [view["product_id"] for view in kept] == [str(product.id)]
    async with users_db.transaction() as tx:
        await publish(tx, UserErased(user_id))

    async def forgotten() -> bool:
        return not await db.value("SELECT count(*) FROM catalog.product_view WHERE user_id IS NOT NULL")

    await until(forgotten)
    assert await count() == 1


async def test_views_are_forgotten_by_the_month(shop: Shop) -> None:
    (product,) = await create(mug())
    long_ago = datetime.now(UTC) - timedelta(days=470)
    async with db.pool.acquire() as connection:
        await add_partitions(connection, "catalog", long_ago)
        await connection.execute(
            "INSERT INTO catalog.product_view (id, product_id) VALUES ($1, $2)", UUID(bound(long_ago, "uuid")), product.id
        )
        await connection.execute(
            "INSERT INTO catalog.product_view (id, product_id, viewed_at) VALUES ($1, $2, $3)", uuid4(), product.id, long_ago
        )
    await record_view(RecordView(new_id(), product.id))
    await record_view(RecordView(uuid4(), product.id))
    assert await count() == 4
    assert await views.forget_old_views() >= 2
    assert await views.forget_old_views() == 0
    assert await count() == 2
