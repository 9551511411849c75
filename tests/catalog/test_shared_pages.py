"""Pages and variants come from the cache where another process has put them there, and never with a price that was known to be old."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
from tests.caches import CacheServer
from tests.catalog.goods import as_seller, create, mug
from tests.catalog.test_pages import RENAME, TELL, price_of, warm_page
from tests.waiting import until

from souk import app
from souk.app import Shop
from souk.catalog import pages, selling
from souk.catalog.database import db
from souk.catalog.types import Price, VariantChange
from souk.catalog.variants import change_variant
from souk.kit.cache import cache
from souk.kit.delivery import RECENT, tell_one_by_one
from souk.kit.events import CONSUMERS
from souk.kit.outbox import FIND_LIFE, find_horizon, read_recent
from souk.kit.postgres import EmbeddedPostgres

REPRICE = "UPDATE catalog.price SET amount = $2 WHERE variant_id = (SELECT id FROM catalog.variant WHERE sku = $1)"


def forget_here() -> None:
    """This process has nothing in memory, as one that has just started."""
    pages.pages._kept.clear()
    selling.variants._kept.clear()
    selling.variants._parts.clear()


def kept(server: CacheServer, count: int) -> Callable[[], Awaitable[bool]]:
    async def is_kept() -> bool:
        return len(server.keys("souk:*:value:*")) == count

    return is_kept


async def put_in_cache(server: CacheServer) -> tuple[UUID, str]:
    """A product, its page and its variant in the cache."""
    (product,) = await create(mug())
    sku = product.variants[0].sku
    await warm_page(product.id)

    async def both_are_kept() -> bool:
        await price_of(sku)
        forget_here()
        await pages.get_product(product.id, None)
        return len(server.keys("souk:*:value:*")) == 2

    await until(both_are_kept)
    forget_here()
    return product.id, sku


async def test_what_one_process_has_read_another_takes_until_it_is_told(cached_shop: CacheServer) -> None:
    product_id, sku = await put_in_cache(cached_shop)
    # Nobody is told, so that whoever read the tables would be known by what they see.
    await db.pool.execute(RENAME, product_id, "Cup")
    await db.pool.execute(REPRICE, sku, 1)
    before = await price_of(sku)
    assert before[0].amount != 1
    assert (await pages.get_product(product_id, None)).name == "Stoneware mug"
    await db.pool.execute(TELL, product_id)

    async def is_new() -> bool:
        forget_here()
        return (await price_of(sku))[0].amount == 1 and (await pages.get_product(product_id, None)).name == "Cup"

    await until(is_new)
    forget_here()
    assert ((await price_of(sku))[0].amount, (await pages.get_product(product_id, None)).name) == (1, "Cup")


async def test_what_this_process_changes_is_shown_and_charged_at_once(cached_shop: CacheServer) -> None:
    product_id, sku = await put_in_cache(cached_shop)
    page = await pages.get_product(product_id, None)
    for amount in range(1, 30):
        with as_seller():
            await change_variant(page.id, page.variants[0].id, VariantChange(prices=(Price(amount, "USD"),)), None)
        forget_here()
        assert (await price_of(sku))[0].amount == amount
        assert (await pages.get_product(product_id, None)).variants[0].price.amount == amount


async def test_a_cache_of_yesterday_charges_no_price_of_yesterday(cached_shop: CacheServer) -> None:
    product_id, sku = await put_in_cache(cached_shop)
    cached_shop.save()
    page = await pages.get_product(product_id, None)
    with as_seller():
        await change_variant(page.id, page.variants[0].id, VariantChange(prices=(Price(7, "USD"),)), None)
    cached_shop.kill()
    cached_shop.start()
    assert len(cached_shop.keys("souk:*:value:*")) == 2

    async def answers() -> bool:
        return await cache.read(["anything"]) is not None

    await until(answers)
    for _ in range(20):
        forget_here()
        assert (await price_of(sku))[0].amount == 7
        assert (await pages.get_product(product_id, None)).variants[0].price.amount == 7


async def test_a_process_that_begins_takes_what_is_there_but_what_has_changed(
    cached_shop: CacheServer,
) -> None:
    kept_id, _ = await put_in_cache(cached_shop)
    (other,) = await create(mug("OTHER", name="Other"))
    await warm_page(other.id)
    await until(kept(cached_shop, 3))
    for name, product_id in (("Cup", kept_id), ("Bowl", other.id)):
        await db.pool.execute(RENAME, product_id, name)
    await db.pool.execute(TELL, other.id)
    # The memories of this process begin anew, as those of a process that starts now: one change was told, the other was not.
    await restart_memories()
    assert (await pages.get_product(other.id, None)).name == "Bowl"
    assert (await pages.get_product(kept_id, None)).name == "Stoneware mug"


async def restart_memories() -> None:
    consumer = CONSUMERS["catalog.forget_pages"]
    position = await find_horizon("catalog")
    recent = await read_recent("catalog", position, tuple(consumer.decoders), RECENT)
    pages.pages.clear()
    pages.shared.begin(recent.life, recent.floor)
    tell_one_by_one(consumer, recent.facts)
    pages.shared.reach(position)


async def test_who_may_do_little_learns_which_life_of_the_database_this_is(shop: Shop, postgres: EmbeddedPostgres, dsn: str) -> None:
    """A shop's role need not be a superuser."""
    admin = await asyncpg.connect(dsn)
    await admin.execute("DO $$ BEGIN CREATE ROLE plain; EXCEPTION WHEN duplicate_object THEN END $$")
    await admin.execute("SET ROLE plain")
    plain = await admin.fetchval(FIND_LIFE)
    await admin.close()
    assert plain == await app.database_of("catalog").value(FIND_LIFE)
