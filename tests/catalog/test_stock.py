"""What inventory tells is shown: the newest level of each store, summed over the stores of the variant's seller."""

import asyncio
from uuid import UUID

from tests.catalog.goods import SELLER, as_seller, create, mug, variant
from tests.conftest import asked_by
from tests.waiting import until

from souk import catalog, inventory
from souk.app import Shop
from souk.catalog.database import db
from souk.catalog.stock import keep_levels
from souk.inventory.events import StockChanged, StockLevel
from souk.kit.events import publish
from souk.kit.ids import new_id
from souk.users.database import db as users_db
from souk.users.events import SellerApproved, SellerSuspended


async def tell(store_id: UUID, *levels: StockLevel, seller_id: UUID = SELLER) -> None:
    async with db.transaction() as tx:
        await keep_levels(tx, [StockChanged(store_id, seller_id, levels)])


async def available(product_id: UUID) -> tuple[int, list[int]]:
    (product,) = await catalog.get_products((product_id,))
    return product.stock_available, [one.stock_available for one in product.variants]


async def test_stock_is_summed_over_the_sellers_stores_and_makes_no_new_version(shop: Shop) -> None:
    (product,) = await create(mug(variants=(variant("MUG-S"), variant("MUG-L"))))
    await tell(new_id(), StockLevel("MUG-S", 3, 1), StockLevel("MUG-L", 1, 1))
    await tell(new_id(), StockLevel("MUG-S", 2, 1))
    await tell(new_id(), StockLevel("MUG-S", 100, 1), seller_id=new_id())
    assert await available(product.id) == (6, [5, 1])
    (shown,) = await catalog.get_products((product.id,))
    assert (shown.version, shown.updated_at) == (product.version, product.updated_at)


async def test_an_older_level_that_comes_late_is_dropped(shop: Shop) -> None:
    (product,) = await create(mug())
    store = new_id()
    await tell(store, StockLevel("MUG", 3, 1), StockLevel("MUG", 7, 5), StockLevel("MUG", 5, 2))
    await tell(store, StockLevel("MUG", 1, 4))
    assert await available(product.id) == (7, [7])


async def test_what_is_stocked_is_shown_within_a_second(working_shop: Shop) -> None:
    (product,) = await create(mug())
    with asked_by("seller", sells_for=(SELLER,)):
        store = await inventory.create_store(inventory.NewStore(name="Warehouse", country="DE"))
        await until(lambda: stocked(store.id))

        async def shown() -> bool:
            return await available(product.id) == (12, [12])

        await until(shown)


async def stocked(store_id: UUID) -> bool:
    await inventory.set_stock(inventory.StockCount(store_id, "MUG", 12), "counted")
    return True


async def test_a_suspended_seller_sells_nothing_until_approved_again(working_shop: Shop) -> None:
    (product,) = await create(mug())
    user_id = new_id()

    async def hidden() -> bool:
        (found,) = await catalog.get_variants(("MUG",))
        return not found.active and await catalog.get_products((product.id,)) == ()

    async def back() -> bool:
        return not await hidden()

    async with users_db.transaction() as tx:
        await publish(tx, SellerSuspended(SELLER))
    await until(hidden)
    with as_seller():
        assert len(await catalog.get_products((product.id,))) == 1
    async with users_db.transaction() as tx:
        await publish(tx, SellerApproved(SELLER, user_id))
    await until(back)


async def test_levels_of_many_batches_at_once_end_with_the_newest(shop: Shop) -> None:
    (product,) = await create(mug())
    store = new_id()
    await asyncio.gather(*(tell(store, StockLevel("MUG", version * 10, version)) for version in range(1, 30)))
    assert await available(product.id) == (290, [290])
