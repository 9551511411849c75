"""Shoppers find what they look for: by words, category, brand, seller, price, stock and rating, page by page."""

from itertools import pairwise

import pytest
from tests.catalog.goods import SELLER, as_admin, as_seller, as_system, create, mug, names, variant

from souk.app import Shop
from souk.catalog import categories, importing, sellers
from souk.catalog.browsing import ProductFilter, Sort, list_brands, list_products
from souk.catalog.database import db
from souk.catalog.merging import NumberedRow
from souk.catalog.rows import ImportRow
from souk.catalog.stock import keep_levels
from souk.catalog.types import NewVariant, Price
from souk.inventory.events import StockChanged, StockLevel
from souk.kit.errors import InvalidField
from souk.kit.ids import new_id


async def find(limit: int = 100, **wanted: object) -> list[str]:
    return names((await list_products(ProductFilter(**wanted), limit, None)).items)


async def search(words: str) -> list[str]:
    return await find(q=words, sort="relevance")


async def fill(*wanted: str) -> None:
    """Products of these names, the first one first."""
    for name in wanted:
        await create(mug(name, name=name))


async def test_the_newest_come_first_and_drafts_not_at_all(shop: Shop) -> None:
    await fill("One", "Two", "Three")
    await create(mug("DRAFT", name="Draft", status="draft"))
    assert await find() == ["Three", "Two", "One"]


@pytest.mark.parametrize("sort", ["newest", "price", "-price", "relevance"])
async def test_pages_follow_each_other_without_gap_or_overlap(shop: Shop, sort: Sort) -> None:
    await create(*(mug(f"MUG-{number}", 1000 + number % 4, name=f"Mug {'tall ' * (number % 3)}{number}") for number in range(23)))
    wanted = ProductFilter(q="mug", sort=sort)
    seen: list[str] = []
    prices: list[int] = []
    cursor = None
    for _ in range(10):
        page = await list_products(wanted, 5, cursor)
        seen += names(page.items)
        prices += [item.price.amount for item in page.items if item.price]
        cursor = page.next
        if cursor is None:
            break
    assert len(seen) == 23 == len(set(seen))
    if "price" in sort:
        assert all((one <= other) if sort == "price" else (one >= other) for one, other in pairwise(prices))


async def test_a_cursor_of_another_sort_is_refused(shop: Shop) -> None:
    await fill("One", "Two")
    page = await list_products(ProductFilter(sort="newest"), 1, None)
    for cursor in (page.next, "rubbish", "gqNhYmM", "kg"):
        with pytest.raises(InvalidField):
            await list_products(ProductFilter(sort="price"), 1, cursor)


async def test_words_are_found_in_any_form_and_the_last_one_by_its_beginning(shop: Shop) -> None:
    await fill("Blue shirts", "Café table", "Running shoe", "Notebook, dotted")
    assert await search("shirt") == ["Blue shirts"]
    assert await search("cafe tables") == ["Café table"]
    assert await search("CAFÉ") == ["Café table"]
    assert await search("run") == ["Running shoe"]
    assert await search("runni") == ["Running shoe"]
    assert await search("dotted notebo") == ["Notebook, dotted"]
    assert await search("noteb dotted") == []


async def test_search_is_as_on_the_web(shop: Shop) -> None:
    await fill("Red wool blanket", "Red cotton blanket", "Blue wool blanket", "Wool, red")
    assert set(await search("red blanket")) == {"Red wool blanket", "Red cotton blanket"}
    assert await search('"red wool"') == ["Red wool blanket"]
    assert set(await search("red -cotton")) == {"Red wool blanket", "Wool, red"}
    assert set(await search("cotton or blue")) == {"Red cotton blanket", "Blue wool blanket"}


ODD = ["'", '"', "-", "!", "a & | b", "\\", ":*", "<->", "( (", "' OR 1=1 --", "%", "the", "🙂", "x" * 200, "-a -b", "or", "a:*b", "'a' b"]


@pytest.mark.parametrize("words", ODD)
async def test_nothing_that_is_typed_breaks_the_search(shop: Shop, words: str) -> None:
    await fill("Mug")
    assert await search(words) in ([], ["Mug"])


async def test_without_words_a_search_lists_the_newest(shop: Shop) -> None:
    await fill("One", "Two")
    assert await search("  ") == ["Two", "One"]


async def test_a_name_counts_more_than_a_description(shop: Shop) -> None:
    await create(mug("A", name="Tray", description="Goes with the lamp, the lamp and the lamp."), mug("B", name="Reading lamp"))
    assert await search("lamp") == ["Reading lamp", "Tray"]


async def test_a_category_includes_what_stands_below_it(shop: Shop) -> None:
    with as_admin():
        shelf = await categories.ensure_category(("Home", "Kitchen", "Shelf"))
        home = await categories.ensure_category(("Home",))
        garden = await categories.ensure_category(("Garden",))
    both = mug("B", name="B", category_id=garden.id, category_ids=(home.id,))
    await create(mug("A", name="A", category_id=shelf.id), both, mug("C", name="C"))
    assert await find(category_id=home.id) == ["B", "A"]
    assert await find(category="kitchen") == ["A"]
    assert await find(category_id=garden.id, q="b") == ["B"]
    assert await find(category="nowhere") == []


async def test_brand_and_seller(shop: Shop) -> None:
    other = new_id()
    await create(mug("A", name="A", brand="Kumo"), mug("B", name="B", brand="KUMO"), mug("C", name="C", brand="Tern"), mug("D", name="D"))
    await create(mug("E", name="E", brand="Kumo"), seller_id=other)
    assert await find(brand="kumo") == ["E", "B", "A"]
    assert await find(brand="Kumo", seller_id=other) == ["E"]
    assert [brand.name.lower() for brand in (await list_brands(1, None)).items] == ["kumo"]
    page = await list_brands(1, None)
    assert [brand.name for brand in (await list_brands(5, page.next)).items] == ["Tern"]


async def test_prices_are_those_of_one_currency(shop: Shop) -> None:
    await create(
        mug("A", 1000, name="A"),
        mug("B", name="B", variants=(variant("B-S", 3000), variant("B-L", 2000))),
        mug("C", name="C", variants=(NewVariant("C", (Price(1500, "EUR"),)),)),
    )
    assert await find(min_price=1000, max_price=2000) == ["B", "A"]
    assert await find(min_price=2001) == []
    assert await find(currency="EUR", max_price=1500) == ["C"]
    assert await find(sort="price") == ["A", "B"]
    assert await find(sort="-price") == ["B", "A"]
    assert await find() == ["C", "B", "A"]


async def test_what_can_be_had_now(shop: Shop) -> None:
    await create(mug("A", name="A"), mug("B", name="B"), mug("C", name="C"))
    store = new_id()
    async with db.transaction() as tx:
        levels = (StockLevel("A", 3, 1), StockLevel("B", 0, 1))
        await keep_levels(tx, [StockChanged(store, SELLER, levels), StockChanged(new_id(), new_id(), (StockLevel("C", 9, 1),))])
    assert await find(in_stock=True) == ["A"]
    assert await find(in_stock=False) == ["C", "B"]
    page = await list_products(ProductFilter(), 5, None)
    assert [(item.name, item.stock_available) for item in page.items] == [("C", 0), ("B", 0), ("A", 3)]


async def test_attributes_of_the_product_or_a_variant(shop: Shop) -> None:
    price = (Price(100, "USD"),)
    sizes = tuple(NewVariant(f"A-{size}", price, attributes={"size": size}) for size in ("S", "L"))
    wool = {"material": "Wool", "colours": ["red", "blue"], "washable": True}
    await create(mug(name="A", attributes=wool, variants=sizes), mug("B", name="B", attributes={"material": "cotton"}))
    assert await find(attributes={"material": "wool"}) == ["A"]
    assert await find(attributes={"material": "wool", "size": "L"}) == ["A"]
    assert await find(attributes={"size": "XL"}) == []
    assert await find(attributes={"colours": "blue"}) == ["A"]
    assert await find(attributes={"washable": "true"}) == ["A"]


async def test_ratings(shop: Shop) -> None:
    price = (Price(100, "USD"),)
    rows = [ImportRow(str(stars), name=f"{stars} stars", prices=price, rating_average=stars, rating_count=3) for stars in (2.5, 4.2)]
    with as_system():
        await importing.import_rows(tuple(NumberedRow(line, row) for line, row in enumerate(rows)), SELLER)
    assert await find(min_rating=4.2) == ["4.2 stars"]
    assert await find(min_rating=2.6) == ["4.2 stars"]
    (item, _) = (await list_products(ProductFilter(), 2, None)).items
    assert (item.rating.average, item.rating.count) == (4.2, 3)


async def test_a_status_lists_ones_own(shop: Shop) -> None:
    await create(mug("A", name="A", status="draft"), mug("B", name="B"))
    await create(mug("C", name="C", status="draft"), seller_id=new_id())
    assert await find(status="draft") == []
    with as_seller():
        assert await find(status="draft") == ["A"]
        assert await find(status="published") == ["B"]
    with as_admin():
        assert await find(status="draft") == ["C", "A"]


async def test_a_suspended_sellers_products_are_hidden_until_the_seller_is_back(shop: Shop) -> None:
    await fill("Mug")
    async with db.transaction() as tx:
        await sellers.set_suspended(tx, SELLER, suspended=True)
    assert await find() == []
    assert await search("mug") == []
    async with db.transaction() as tx:
        await sellers.set_suspended(tx, SELLER, suspended=False)
    assert await find() == ["Mug"]
