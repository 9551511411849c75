"""While shoppers type, they are shown what begins so: categories, brands, and names of what is on sale."""

import pytest
from tests.catalog.conftest import Web
from tests.catalog.goods import as_admin, create, mug

from souk.app import Shop
from souk.catalog import categories, sellers
from souk.catalog.database import db
from souk.catalog.suggestions import SUGGEST, Suggestion, suggest
from souk.catalog.types import NewCategory
from souk.kit.ids import new_id


async def texts(words: str, limit: int = 10) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in (await suggest(words, limit)).items]


async def test_what_begins_so_is_suggested_each_text_once(shop: Shop) -> None:
    with as_admin():
        category = await categories.create_category(NewCategory("Coffee"))
    first, _, _, _ = await create(
        mug("A", name="Coffee mug", brand="Kumo"),
        mug("B", name="coffee mug", brand="Coffeehouse"),
        mug("C", name="Coffee grinder", brand="Coffeehouse"),
        mug("D", name="Iced coffee glass", brand="Kumo"),
    )
    found = (await suggest("cof", 10)).items
    assert [(one.kind, one.text) for one in found] == [
        ("category", "Coffee"),
        ("brand", "Coffeehouse"),
        ("product", "Coffee grinder"),
        ("product", "Coffee mug"),
    ]
    assert found[0] == Suggestion("category", "Coffee", category_id=category.id)
    assert found[-1] == Suggestion("product", "Coffee mug", product_id=first.id)
    assert await texts("cof", 2) == [("category", "Coffee"), ("brand", "Coffeehouse")]


@pytest.mark.parametrize("typed", ["crème", "CREME", "  Creme   brûlée", "creme brulee d"])
async def test_case_accents_and_blanks_do_not_matter(shop: Shop, typed: str) -> None:
    await create(mug(name="Crème brûlée dish"))
    assert await texts(typed) == [("product", "Crème brûlée dish")]


@pytest.mark.parametrize("typed", ["%", "_tone", "\\", " ", "stone_", "stoneware mugs", "ware"])
async def test_nothing_else_is_suggested(shop: Shop, typed: str) -> None:
    await create(mug())
    assert await texts(typed) == []
    assert await texts("stone") == [("product", "Stoneware mug")]


async def test_only_what_is_on_sale_is_suggested(shop: Shop) -> None:
    await create(mug("A", name="Mug of a draft", brand="Mugs & Co", status="draft"))
    other = new_id()
    await create(mug("B", name="Mug of theirs", brand="Mugworks"), seller_id=other)
    await create(mug("C", name="Mug of ours", brand="Mugworld"))
    assert await texts("mug") == [("brand", "Mugworks"), ("brand", "Mugworld"), ("product", "Mug of ours"), ("product", "Mug of theirs")]
    async with db.transaction() as tx:
        await sellers.set_suspended(tx, other, suspended=True)
    assert await texts("mug") == [("brand", "Mugworld"), ("product", "Mug of ours")]


async def test_one_brand_and_one_name_of_many_products_do_not_hide_the_others(shop: Shop) -> None:
    await create(*(mug(f"A{number}", name="Mug", brand="Mugs") for number in range(100)))
    await create(
        mug("B", name="Mug, blue", brand="Mugs"), *(mug(f"C{number}", name=f"Tray {number}", brand=f"Mug {number}") for number in range(9))
    )
    assert await texts("mug", 6) == [
        ("brand", "Mug 0"), ("brand", "Mug 1"), ("brand", "Mug 2"), ("product", "Mug"), ("product", "Mug, blue"),
    ]  # fmt: skip


async def test_the_index_finds_them_however_many_there_are(shop: Shop) -> None:
    await create(*(mug(f"A{number}", name=f"Item {number}", brand=f"Brand {number}") for number in range(500)))
    async with db.transaction() as tx:
        await tx.run("ANALYZE catalog.product")
        await tx.run("SET LOCAL plan_cache_mode = force_custom_plan")
        # Of five hundred rows, other ways cost about as much: only that of the order itself is left.
        for other in ("seqscan", "bitmapscan", "sort"):
            await tx.run(f"SET LOCAL enable_{other} = off")
        rows = await tx.connection.fetch(f"EXPLAIN {SUGGEST}", "item 49", 10, 3)
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    for index in ("product_name_beginning", "product_brand_beginning"):
        # The first one, and the next ones.
        assert plan.count(f"using {index}") == 2
    assert plan.count("Index Cond: (((lower(catalog.plain(name)))::text >= 'item 49'") >= 2


async def test_suggestions_over_http(web: Web) -> None:
    await create(mug())
    answer = await web.ask("GET", "/products/suggest?q=ston")
    assert answer.status == 200
    assert [item["text"] for item in answer.json["items"]] == ["Stoneware mug"]
    assert answer.json["next"] is None
    assert "etag" in answer.headers
    for bad in ("", "?q=", "?q=%00", f"?q={'x' * 201}", "?q=a&limit=0", "?q=a&limit=21"):
        assert (await web.ask("GET", f"/products/suggest{bad}")).status == 422
