"""A seller lists products, changes them, and takes them away; nobody else does."""

import asyncio

import pytest
from tests.catalog.goods import SELLER, announced, as_admin, as_seller, create, mug, variant, warm_up
from tests.conftest import asked_by

from souk import catalog
from souk.app import Shop
from souk.catalog import products
from souk.catalog.categories import create_category
from souk.catalog.types import (
    CurrencyNotSold,
    ExternalIdTaken,
    NewCategory,
    NewVariant,
    NotSellable,
    Price,
    PriceRepeated,
    ProductChange,
    SkuTaken,
    UnknownCategory,
)
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import Conflict, Forbidden, InvalidField, NotFound, Stale
from souk.kit.ids import new_id
from souk.kit.money import Money


async def test_a_product_is_listed_with_its_variants(shop: Shop) -> None:
    (product,) = await create(mug(brand="Kumo", attributes={"colour": "blue"}, variants=(variant("MUG-S", 1900), variant("MUG-L", 900))))
    assert (product.name, product.brand, product.seller_id, product.version) == ("Stoneware mug", "Kumo", SELLER, 1)
    assert product.attributes == {"colour": "blue"}
    assert product.price == Money(900, "USD")
    assert [(one.sku, one.price) for one in product.variants] == [("MUG-S", Money(1900, "USD")), ("MUG-L", Money(900, "USD"))]
    assert (product.stock_available, product.rating.count, product.rating.average) == (0, 0, None)
    assert product.published_at is not None
    assert await announced("ProductPublished") == [{"product_id": str(product.id), "seller_id": str(SELLER)}]
    added = [(event["sku"], event["seller_id"]) for event in await announced("VariantAdded")]
    assert added == [("MUG-S", str(SELLER)), ("MUG-L", str(SELLER))]


async def test_a_draft_is_for_its_seller_and_admins_only(shop: Shop) -> None:
    (draft,) = await create(mug(status="draft"))
    assert await catalog.get_products((draft.id,)) == ()
    with as_seller(new_id()):
        assert await catalog.get_products((draft.id,)) == ()
    with as_seller():
        assert len(await catalog.get_products((draft.id,))) == 1
    with as_admin():
        assert len(await catalog.get_products((draft.id,))) == 1


async def test_a_sku_is_unique_in_the_shop(shop: Shop) -> None:
    await create(mug())
    with pytest.raises(SkuTaken):
        await create(mug("CUP"), mug("MUG"), seller_id=new_id())
    with pytest.raises(SkuTaken):
        await create(mug("CUP"), mug("CUP"))
    assert await catalog.get_variants(("CUP",)) == ()


async def test_of_many_who_want_one_sku_one_gets_it(shop: Shop) -> None:
    await warm_up()
    answers = await asyncio.gather(*(create(mug("A"), mug("B"), seller_id=new_id()) for _ in range(8)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["SkuTaken"] * 7 + ["tuple"]


async def test_an_external_id_is_unique_per_seller(shop: Shop) -> None:
    (first,) = await create(mug(external_id="a"))
    await create(mug("CUP", external_id="a"), seller_id=new_id())
    with pytest.raises(ExternalIdTaken):
        await create(mug("POT", external_id="a"))
    (other,) = await create(mug("POT", external_id="b"))
    with as_seller(), pytest.raises(ExternalIdTaken):
        await products.change_product(other.id, ProductChange(external_id="a"))
    assert first.external_id == "a"


async def test_the_same_id_lists_a_product_once(shop: Shop) -> None:
    wanted = mug(id=new_id())
    assert await create(wanted) == await create(wanted)
    with pytest.raises(Conflict):
        await create(wanted, seller_id=new_id())


async def test_the_same_idempotency_key_lists_a_product_once(shop: Shop) -> None:
    who = Caller(Principal("user", new_id(), ("seller",), (SELLER,)), idempotency_key="one")
    with asking(who):
        answers = await asyncio.gather(*(catalog.create_products((mug(),)) for _ in range(4)))
    assert len(set(map(str, answers))) == 1


async def test_for_whom_a_seller_may_list(shop: Shop) -> None:
    with asked_by("buyer"), pytest.raises(Forbidden):
        await catalog.create_products((mug(),))
    with pytest.raises(NotFound):
        await create(mug(seller_id=new_id()))
    with asked_by("seller", sells_for=(SELLER, new_id())), pytest.raises(InvalidField):
        await catalog.create_products((mug(),))
    with as_admin():
        assert (await catalog.create_products((mug(seller_id=SELLER),)))[0].seller_id == SELLER


@pytest.mark.parametrize(
    ("prices", "refusal"),
    [
        ((Price(100, "CHF"),), CurrencyNotSold),
        ((Price(100, "USD"), Price(200, "USD")), PriceRepeated),
    ],
)
async def test_a_price_is_in_a_currency_of_the_shop_and_one_per_currency(shop: Shop, prices: tuple, refusal: type) -> None:
    with pytest.raises(refusal):
        await create(mug(variants=(NewVariant("MUG", prices),)))


async def test_a_price_is_shown_in_the_currency_asked_for_or_in_another(shop: Shop) -> None:
    (product,) = await create(mug(variants=(NewVariant("MUG", (Price(1900, "USD"), Price(1500, "EUR"))),)))
    (shown,) = await catalog.get_products((product.id,), "EUR")
    assert (shown.price, shown.variants[0].price) == (Money(1500, "EUR"), Money(1500, "EUR"))
    (shown,) = await catalog.get_products((product.id,), "GBP")
    assert shown.price == Money(1500, "EUR")


async def test_what_is_not_there_cannot_be_a_category(shop: Shop) -> None:
    with pytest.raises(UnknownCategory):
        await create(mug(category_id=new_id()))


async def test_fields_that_are_sent_are_changed_and_no_others(shop: Shop) -> None:
    (product,) = await create(mug(brand="Kumo", description="Blue."))
    with as_seller():
        changed = await products.change_product(product.id, ProductChange(name="Tall mug", brand=None))
    assert (changed.name, changed.brand, changed.description, changed.version) == ("Tall mug", None, "Blue.", 2)
    assert changed.updated_at > product.updated_at
    assert await announced("ProductChanged") == [{"product_id": str(product.id), "version": 2}]


async def test_what_is_the_same_already_makes_no_new_version(shop: Shop) -> None:
    (product,) = await create(mug(attributes={"dishwasher_safe": 1}))
    with as_seller():
        assert (await products.change_product(product.id, ProductChange(name="Stoneware mug"))).version == 1
        changed = await products.change_product(product.id, ProductChange(attributes={"dishwasher_safe": True}))
    assert changed.attributes["dishwasher_safe"] is True
    assert changed.version == 2


async def test_a_change_of_an_old_version_is_refused(shop: Shop) -> None:
    (product,) = await create(mug())
    with as_seller():
        await products.change_product(product.id, ProductChange(name="Tall mug"), (1,))
        with pytest.raises(Stale):
            await products.change_product(product.id, ProductChange(name="Flat mug"), (1,))
        with pytest.raises(Stale):
            await products.remove_product(product.id, ())


async def test_of_many_changes_of_one_version_one_is_made(shop: Shop) -> None:
    (product,) = await create(mug())
    await warm_up()
    for version in range(1, 6):
        with as_seller():
            changes = [ProductChange(name=f"Mug {version}.{turn}") for turn in range(8)]
            answers = await asyncio.gather(
                *(products.change_product(product.id, change, (version,)) for change in changes), return_exceptions=True
            )
        assert sorted(type(answer).__name__ for answer in answers) == ["Product"] + ["Stale"] * 7


async def test_anothers_product_is_not_there(shop: Shop) -> None:
    (product,) = await create(mug())
    for who in (as_seller(new_id()), asked_by("buyer")):
        with who:
            with pytest.raises(NotFound):
                await products.change_product(product.id, ProductChange(name="Mine"))
            with pytest.raises(NotFound):
                await products.remove_product(product.id)
    with as_admin():
        assert (await products.change_product(product.id, ProductChange(name="Checked"))).name == "Checked"


async def test_only_what_can_be_bought_is_published(shop: Shop) -> None:
    with pytest.raises(NotSellable):
        await create(mug(variants=()))
    (draft,) = await create(mug(variants=(), status="draft"))
    with as_seller(), pytest.raises(NotSellable):
        await products.change_product(draft.id, ProductChange(status="published"))


async def test_what_is_archived_cannot_be_bought_until_it_is_published_again(shop: Shop) -> None:
    (product,) = await create(mug())
    with as_seller():
        await products.change_product(product.id, ProductChange(status="archived"))
    assert [one.active for one in await catalog.get_variants(("MUG",))] == [False]
    assert await catalog.get_products((product.id,)) == ()
    with as_seller():
        again = await products.change_product(product.id, ProductChange(status="published"))
    assert [one.active for one in await catalog.get_variants(("MUG",))] == [True]
    assert again.published_at == product.published_at
    assert len(await announced("ProductPublished")) == 2


async def test_a_removed_product_is_gone_and_its_sku_free(shop: Shop) -> None:
    (product,) = await create(mug())
    with as_seller():
        await products.remove_product(product.id, (1,))
        with pytest.raises(NotFound):
            await products.remove_product(product.id)
        assert await catalog.get_products((product.id,)) == ()
    assert await catalog.get_variants(("MUG",)) == ()
    assert [event["sku"] for event in await announced("VariantRemoved")] == ["MUG"]
    assert await announced("ProductRemoved") == [{"product_id": str(product.id), "seller_id": str(SELLER)}]
    await create(mug(), seller_id=new_id())


async def test_the_primary_category_is_one_of_the_categories(shop: Shop) -> None:
    with as_admin():
        home, gifts, sale = [await create_category(NewCategory(name)) for name in ("Home", "Gifts", "Sale")]
    (product,) = await create(mug(category_id=home.id, category_ids=(gifts.id,)))
    assert (product.category, product.category_id) == ("Home", home.id)
    assert [one.name for one in product.categories] == ["Gifts", "Home"]
    with as_seller():
        moved = await products.change_product(product.id, ProductChange(category_id=sale.id))
        assert [one.name for one in moved.categories] == ["Gifts", "Sale"]
        moved = await products.change_product(product.id, ProductChange(category_ids=(home.id,)))
        assert [one.name for one in moved.categories] == ["Home", "Sale"]
        moved = await products.change_product(product.id, ProductChange(category_id=None, category_ids=()))
        assert (moved.category, moved.categories) == (None, ())
