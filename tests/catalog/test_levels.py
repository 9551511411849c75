"""Stock in memory is what inventory told last, whatever the table has not heard yet, and never rests on what nobody tells."""

from uuid import UUID

import pytest
from tests.catalog.goods import SELLER, create, mug
from tests.waiting import until

from souk import inventory
from souk.app import Shop
from souk.catalog import pages
from souk.catalog.database import db
from souk.catalog.levels import Levels
from souk.catalog.stock import keep_levels
from souk.inventory.database import db as inventory_db
from souk.inventory.events import StockChanged, StockLevel
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.events import Delivered, publish
from souk.kit.ids import new_id

STORE = new_id()
TELL = """
    INSERT INTO inventory.outbox (event_id, type, aggregate_id, payload, request_id)
    VALUES (gen_random_uuid(), 'inventory.StockChanged', $1, json_build_object('store_id', $1::uuid, 'seller_id', $2::uuid,
            'levels', json_build_array(json_build_object('sku', 'MUG', 'available', 4, 'version', 2000000))), '')
"""


def told(available: int, version: int, sku: str = "MUG", store_id: UUID = STORE, seller_id: UUID = SELLER) -> StockChanged:
    return StockChanged(store_id, seller_id, (StockLevel(sku, available, version),))


async def write(*changes: StockChanged) -> None:
    """What the table's consumer does."""
    async with db.transaction() as tx:
        await keep_levels(tx, changes)


async def tell(*changes: StockChanged) -> None:
    """What inventory announces, of which catalog's consumers hear."""
    async with inventory_db.transaction() as tx:
        await publish(tx, *changes)


async def ask(levels: Levels, sku: str = "MUG") -> int:
    return (await levels.find_available(SELLER, (sku,)))[sku]


async def make_certain(levels: Levels, sku: str = "MUG") -> None:
    """Wait until the levels of this SKU stay in memory."""

    async def is_certain() -> bool:
        await ask(levels, sku)
        kept = levels.peek(sku)
        return kept is not None and kept.until == float("inf")

    await until(is_certain)


@pytest.fixture
def levels() -> Levels:
    """A memory that we tell by hand."""
    levels = Levels(10)
    levels.need("news")
    levels.begin("news")
    return levels


async def test_stock_in_memory_changes_in_place_and_the_table_is_not_asked_again(working_shop: Shop, levels: Levels) -> None:
    await write(told(5, 1), told(2, 1, store_id=new_id()), told(100, 1, store_id=new_id(), seller_id=new_id()))
    await make_certain(levels)
    assert await ask(levels) == 7
    levels.hear([told(4, 2)])
    assert await ask(levels) == 6
    levels.hear([told(9, 1), told(1, 3, store_id=new_id())])
    assert await ask(levels) == 7
    await write(told(50, 9))
    assert await ask(levels) == 7


async def test_what_was_heard_goes_over_what_the_table_has_not_heard_yet(working_shop: Shop, levels: Levels) -> None:
    await write(told(5, 1))
    levels.hear([told(3, 3)])
    await make_certain(levels)
    assert await ask(levels) == 3
    await write(told(8, 8, sku="CUP"))
    levels.hear([told(7, 7, sku="CUP")])
    assert await ask(levels, "CUP") == 8


async def test_what_the_table_lacks_since_before_we_heard_is_not_kept(shop: Shop, levels: Levels) -> None:
    await tell(told(5, 1))
    assert await ask(levels) == 0
    assert levels.peek("MUG").until < float("inf")
    await write(told(5, 1))

    async def is_shown() -> bool:
        return await ask(levels) == 5

    await until(is_shown, within_s=1.0)
    assert levels.peek("MUG").until < float("inf")


async def test_who_does_not_hear_keeps_stock_for_half_a_second(working_shop: Shop) -> None:
    deaf = Levels(10)
    deaf.need("news")
    await write(told(5, 1))
    assert await ask(deaf) == 5
    await write(told(4, 2))
    deaf.hear([told(3, 3)])
    assert await ask(deaf) == 5

    async def is_read_again() -> bool:
        return await ask(deaf) == 4

    await until(is_read_again, within_s=1.0)


async def test_what_was_kept_is_void_when_the_news_break_off(working_shop: Shop, levels: Levels) -> None:
    await write(told(5, 1))
    await make_certain(levels)
    await write(told(4, 2))
    levels.end("news")
    assert await ask(levels) == 4


async def test_memory_is_bounded_and_who_had_to_forget_what_was_heard_looks_again(working_shop: Shop, levels: Levels) -> None:
    await write(*(told(1, 1, sku=f"S{number}") for number in range(30)))
    await make_certain(levels)
    for number in range(30):
        await ask(levels, f"S{number}")
    assert [number for number in range(30) if levels.peek(f"S{number}")] == list(range(20, 30))
    levels.hear(told(2, 2, sku=f"S{number}") for number in range(10, 30))
    assert levels._heard == {}
    assert await ask(levels, "S25") == 2
    assert await ask(levels, "S11") == 1
    assert levels.peek("S11").until < float("inf")
    await make_certain(levels, "S12")


async def test_a_page_of_another_process_shows_a_sale_within_a_second(working_shop: Shop) -> None:
    (product,) = await create(mug())
    with asking(Caller(SYSTEM)):
        store = await inventory.create_store(inventory.NewStore("Store", "DE", seller_id=SELLER))
        await inventory.set_stock_levels((inventory.StockCount(store.id, "MUG", 7),))
    await make_certain(pages.levels)
    assert await ask(pages.levels) == 7
    pages.hear_levels((Delivered(told(6, 10**6, store_id=store.id), new_id(), product.created_at),))
    assert (await pages.get_product(product.id)).stock_available == 6
    # Told by the outbox alone, as by another process.
    await inventory_db.pool.execute(TELL, store.id, SELLER)

    async def is_shown() -> bool:
        return (await pages.get_product(product.id)).stock_available == 4

    await until(is_shown, within_s=1.0)
    assert pages.levels.peek("MUG").until == float("inf")
