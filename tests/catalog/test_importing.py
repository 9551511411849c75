"""Rows become products: good ones land, bad ones are listed, and the same rows again change nothing."""

import asyncio
import os
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from tests.catalog.goods import SELLER, announced, as_admin, as_seller, as_system, create, mug, variant
from tests.conftest import asked_by

from souk import catalog
from souk.app import Shop
from souk.catalog import categories, exporting, importing
from souk.catalog.browsing import ProductFilter, list_products
from souk.catalog.columns import COLUMN_MAPS, find_brand
from souk.catalog.database import db
from souk.catalog.importing import ImportSummary, Seen, import_file, import_rows
from souk.catalog.merging import NumberedRow, RowReport
from souk.catalog.rows import ImportRow, UnreadableFile
from souk.catalog.types import Price
from souk.kit.errors import Forbidden, NotFound
from souk.kit.ids import new_id
from souk.kit.money import Money

USD = (Price(1900, "USD"),)


async def take(*rows: ImportRow, seller_id: UUID = SELLER) -> list[RowReport]:
    """Import rows as one file of this seller's."""
    seen = Seen()
    with as_seller(seller_id):
        return list(await import_rows(tuple(seen.number(line, row) for line, row in enumerate(rows, 1))))


def results(reports: list[RowReport]) -> list[str]:
    return [report.code or report.result for report in reports]


async def state_of_shop() -> str:
    """Every row of the catalogue's own tables, versions and times included."""
    tables = ("product", "variant", "price", "lowest_price", "product_category", "category", "outbox")
    parts = [f"(SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)), '[]') FROM catalog.{table} AS t)" for table in tables]
    return str(await db.value(f"SELECT md5(concat({', '.join(f'{part}::text' for part in parts)}))"))


async def test_rows_become_products_on_sale(shop: Shop) -> None:
    reports = await take(ImportRow("MUG", name="Mug", prices=USD, brand="Kumo", weight_g=380, attributes={"colour": "blue"}))
    assert results(reports) == ["created"]
    (variant_,) = await catalog.get_variants(("MUG",))
    assert (variant_.product_id, variant_.active, variant_.prices) == (reports[0].product_id, True, (Money(1900, "USD"),))
    (product,) = await catalog.get_products((variant_.product_id,))
    assert (product.external_id, product.brand, product.attributes) == ("MUG", "Kumo", {"colour": "blue"})
    assert [event["sku"] for event in await announced("VariantAdded")] == ["MUG"]


async def test_rows_of_one_external_id_are_variants_of_one_product(shop: Shop) -> None:
    reports = await take(
        ImportRow("MUG-S", "mug", "Mug", prices=USD, variant_name="small"),
        ImportRow("CUP", name="Cup", prices=USD),
        ImportRow("MUG-L", "mug", "Another name", prices=(Price(900, "USD"),), variant_name="large"),
    )
    assert results(reports) == ["created"] * 3
    assert reports[0].product_id == reports[2].product_id != reports[1].product_id
    (product,) = [one for one in await catalog.get_products((reports[0].product_id,)) if one]
    assert (product.name, product.price) == ("Mug", Money(900, "USD"))
    assert [(one.sku, one.name) for one in product.variants] == [("MUG-S", "small"), ("MUG-L", "large")]


async def test_the_same_rows_again_change_nothing(shop: Shop) -> None:
    with as_admin():
        for name in ("Home", "Gifts"):
            await categories.ensure_category((name,))
    rows = [
        ImportRow("MUG-S", "mug", "Mug", prices=(Price(1, "USD"), Price(2, "EUR")), categories=("Home",), attributes={"a": 1.0, "b": True}),
        ImportRow("MUG-L", "mug", "Mug", prices=USD, categories=("Gifts",), brand="Kumo"),
        ImportRow("CUP", name=" Cup ", prices=USD, description="x", status="draft", tax_category="reduced", requires_shipping=False),
        ImportRow("CUP", name="Cup again", prices=(Price(5, "USD"),), categories=("Gifts",)),
    ]
    assert results(await take(*rows)) == ["created", "created", "created", "updated"]
    before = await state_of_shop()
    for _ in range(2):
        assert results(await take(*rows)) == ["unchanged"] * 4
    assert await state_of_shop() == before


async def test_what_a_row_says_is_changed_and_what_it_leaves_out_is_not(shop: Shop) -> None:
    await take(ImportRow("MUG", name="Mug", description="Blue.", brand="Kumo", prices=USD))
    (report,) = await take(ImportRow("MUG", name="Tall mug", prices=(Price(2100, "USD"),)))
    assert report.result == "updated"
    (product,) = await catalog.get_products((report.product_id,))
    assert (product.name, product.description, product.brand, product.price, product.version) == (
        "Tall mug", "Blue.", "Kumo", Money(2100, "USD"), 2,
    )  # fmt: skip
    assert [event["sku"] for event in await announced("PriceChanged")] == ["MUG"]
    assert [event["version"] for event in await announced("ProductChanged")] == [2]


async def test_a_product_that_was_listed_by_hand_is_found_by_its_sku(shop: Shop) -> None:
    (product,) = await create(mug(variants=(variant("MUG-S"), variant("MUG-L"))))
    reports = await take(ImportRow("MUG-L", name="Tall mug"), ImportRow("MUG-XL", "MUG-S", prices=USD))
    assert [report.product_id for report in reports] == [product.id, product.id]
    (shown,) = await catalog.get_products((product.id,))
    assert (shown.name, len(shown.variants), shown.external_id) == ("Tall mug", 3, None)


async def test_bad_rows_are_listed_and_the_others_land(shop: Shop) -> None:
    await create(mug("TAKEN"), seller_id=new_id())
    await create(mug("MINE", external_id="mine"))
    reports = await take(
        ImportRow("A", name="A", prices=USD),
        ImportRow("B", name="B"),
        ImportRow("C", prices=USD),
        ImportRow("TAKEN", name="D", prices=USD),
        ImportRow("MINE", "other", "E", prices=USD),
        ImportRow("F", name="F", prices=(Price(1, "CHF"),)),
        ImportRow("G", name="G", prices=(Price(1, "USD"), Price(2, "USD"))),
        ImportRow("H", name="H", prices=USD, categories=("Nowhere",)),
        ImportRow("I", name="I", prices=USD, categories=("a > > b",)),
        ImportRow("J", name="J", prices=USD, rating_average=5, rating_count=1000),
        ImportRow("K", name="K", prices=USD, rating_average=5),
        ImportRow("L", name="L", prices=USD),
    )
    assert results(reports) == [
        "created", "no_price", "no_name", "catalog.sku_taken", "catalog.sku_taken", "catalog.currency_not_sold", "catalog.price_repeated",
        "catalog.unknown_category", "catalog.unknown_category", "forbidden", "invalid", "created",
    ]  # fmt: skip
    assert [report.line for report in reports] == list(range(1, 13))
    assert all(report.reason for report in reports if report.result == "refused")
    assert [one.sku for one in await catalog.get_variants(tuple("ABCDEFGHIJKL"))] == ["A", "L"]


async def test_a_refused_row_leaves_nothing_of_itself(shop: Shop) -> None:
    reports = await take(ImportRow("A", "one", "Wrong", prices=(Price(1, "CHF"),)), ImportRow("B", "one", "Right", prices=USD))
    assert results(reports) == ["catalog.currency_not_sold", "created"]
    (product,) = await catalog.get_products((reports[1].product_id,))
    assert (product.name, [one.sku for one in product.variants]) == ("Right", ["B"])


async def test_categories_grow_for_admins_only_and_are_never_taken_away(shop: Shop) -> None:
    row = ImportRow("MUG", name="Mug", prices=USD, categories=("Home > Kitchen",))
    assert results(await take(row)) == ["catalog.unknown_category"]
    with as_admin():
        (report,) = await import_rows((NumberedRow(1, row),), SELLER)
        await categories.ensure_category(("Gifts",))
    assert report.result == "created"
    assert results(await take(ImportRow("MUG", categories=("Gifts",)))) == ["updated"]
    (product,) = await catalog.get_products((report.product_id,))
    assert [one.name for one in product.categories] == ["Gifts", "Kitchen"]
    assert product.category == "Gifts"


async def test_for_whom_rows_are_taken(shop: Shop) -> None:
    row = NumberedRow(1, ImportRow("MUG", name="Mug", prices=USD))
    with asked_by("buyer"), pytest.raises(Forbidden):
        await import_rows((row,))
    with as_seller(), pytest.raises(NotFound):
        await import_rows((row,), new_id())


async def test_of_imports_at_once_each_sku_lands_once(shop: Shop) -> None:
    rows = [ImportRow(f"MUG-{number}", name="Mug", prices=USD) for number in range(40)]
    answers = await asyncio.gather(*(take(*(rows if turn % 2 else reversed(rows))) for turn in range(6)))
    counted = Counter(report.result for reports in answers for report in reports)
    assert counted == {"created": 40, "unchanged": 200}
    others = await asyncio.gather(take(*rows, seller_id=new_id()), take(*reversed(rows), seller_id=new_id()))
    assert {report.code for reports in others for report in reports} == {"catalog.sku_taken"}


async def test_a_file_is_taken_in_portions(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    lines = [f"SKU-{number},mug-{number % 600},Mug {number},{number}.50" for number in range(1200)]
    file.write_text("\n".join(["sku,external_id,name,price_EUR", *lines, "BAD,bad,,twelve", ""]))
    reports: list[RowReport] = []
    with as_system():
        summary = await import_file(file, None, SELLER, reports.append)
        assert summary == ImportSummary(1201, 1200, 0, 0, {"invalid": 1})
        assert await import_file(file, None, SELLER, reports.append) == ImportSummary(1201, 0, 0, 1200, {"invalid": 1})
    assert [report.line for report in reports[:1201]] == list(range(2, 1203))
    assert await db.value("SELECT count(*) FROM catalog.product") == 600
    with pytest.raises(UnreadableFile):
        await import_file(tmp_path / "products.xlsx", None, SELLER, reports.append)


async def test_what_is_exported_is_taken_in_again_without_a_change(shop: Shop) -> None:
    with as_admin():
        kitchen = await categories.ensure_category(("Home", "Kitchen"))
        gifts = await categories.ensure_category(("Gifts",))
    await create(
        mug("=A", name="@Mug", category_id=kitchen.id, category_ids=(gifts.id,), variants=(variant("=A"), variant("B", weight_g=3))),
        mug("C", external_id="c", status="draft", brand="Kumo", attributes={"a": [1 and "x"], "b": 1.5}),
    )
    await create(mug("OTHER"), seller_id=new_id())
    before = await state_of_shop()
    with as_seller():
        exported = [row async for rows in exporting.export_all(None) for row in rows]
    assert [(row.sku, row.external_id) for row in exported] == [("=A", "=A"), ("B", "=A"), ("C", "c")]
    assert exported[0].categories == ("Home > Kitchen", "Gifts")
    assert results(await take(*exported)) == ["unchanged"] * 3
    assert await state_of_shop() == before


async def test_an_export_goes_on_where_a_portion_ended(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", 3)
    await create(*(mug(f"M{number}", variants=(variant(f"M{number}-S"), variant(f"M{number}-L"))) for number in range(5)))
    with as_seller():
        portions = [tuple(row.sku for row in rows) async for rows in exporting.export_all(None)]
    assert [len(portion) for portion in portions] == [3, 3, 3, 1]
    assert len({sku for portion in portions for sku in portion}) == 10


async def test_an_export_is_for_who_sells(shop: Shop) -> None:
    await create(mug())
    with asked_by("buyer"), pytest.raises(Forbidden):
        await anext(exporting.export_all(None))
    with as_seller(new_id()), pytest.raises(NotFound):
        await anext(exporting.export_all(SELLER))
    with as_admin():
        assert [row.sku for row in await anext(exporting.export_all(SELLER))] == ["MUG"]


BRANDS = [
    ("LG 1.5 Ton AC", "LG"), ("Red Tape Men's Shoe", "Red Tape"), ("Pigeon by Stovekraft", "Pigeon"), ("???", None), ("", None),
    ("JBL Go 2", "JBL"), ("3M Car Care", "3M"), ("MI Xiaomi Band", "MI"), ("F Gear Backpack", "F Gear"), ("L'Oréal Paris", "L'Oréal"),
    ("THE CLOWNFISH Tote", "THE CLOWNFISH"), ("(Renewed) Usha Fan", "Usha"), ("[4 Pack] (New) Kumo Hooks", "Kumo"), ("(Kumo)", "Kumo"),
    ("|Dulari gifts| Watch", "Dulari"), ("U.S. Polo Assn. Shirt", "U.S."), ("Dot & Key Serum", "Dot"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "brand"), BRANDS)
def test_the_brand_is_the_first_words_of_a_name(name: str, brand: str | None) -> None:
    assert find_brand(name) == brand


def find_catalogue() -> Path:
    """The real catalogue: where SOUK_AMAZON_IN says, or beside the repository."""
    return Path(os.environ.get("SOUK_AMAZON_IN") or Path(__file__).parents[3] / "shared/data/amazon_in_catalogue/products.parquet")


@pytest.mark.skipif(not find_catalogue().exists(), reason="the Amazon.in catalogue is not here: set SOUK_AMAZON_IN to its products.parquet")
async def test_the_real_catalogue_comes_in_once(shop: Shop) -> None:
    pytest.importorskip("pyarrow", reason="reading parquet needs the extra: pip install 'souk[parquet]'")
    reports: list[RowReport] = []
    with as_system():
        summary = await import_file(find_catalogue(), COLUMN_MAPS["amazon-in"], SELLER, reports.append)
        before = await state_of_shop()
        again = await import_file(find_catalogue(), COLUMN_MAPS["amazon-in"], SELLER, reports.append)
    assert summary == ImportSummary(10_815, 9_810, 913, 0, {"no_price": 92})
    assert again == ImportSummary(10_815, 0, 0, 10_723, {"no_price": 92})
    assert await state_of_shop() == before
    assert await db.value("SELECT count(*) FROM catalog.product") == 9_810
    assert await db.value("SELECT count(*) FROM catalog.product_category") == 10_723
    cheap = await list_products(ProductFilter(category="air conditioners", currency="INR", sort="price"), 1, None)
    assert cheap.items[0].price is not None
    assert cheap.items[0].price.currency == "INR"
    assert importing.ROWS_AT_ONCE == 500
