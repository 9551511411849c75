"""What is sold under a SKU: added, priced, archived, taken away."""

import asyncio

import pytest
from tests.catalog.goods import SELLER, announced, as_admin, as_seller, create, mug, variant, warm_up

from souk import catalog
from souk.app import Shop
from souk.catalog import products, variants
from souk.catalog.categories import create_category
from souk.catalog.types import NewCategory, NewVariant, NotSellable, Price, ProductChange, SkuTaken, VariantChange
from souk.kit.errors import NotFound, Stale
from souk.kit.ids import new_id
from souk.kit.money import Money


async def test_others_read_a_variant_by_its_sku(shop: Shop) -> None:
    with as_admin():
        home = await create_category(NewCategory("Home"))
        kitchen = await create_category(NewCategory("Kitchen", home.id))
        gifts = await create_category(NewCategory("Gifts"))
    (product,) = await create(
        mug(
            category_id=kitchen.id, category_ids=(gifts.id,), tax_category="reduced", requires_shipping=False,
            variants=(NewVariant("MUG", (Price(1900, "USD"), Price(1500, "EUR")), "blue", {"size": "L"}, 380),),
        )
    )  # fmt: skip
    (found,) = await catalog.get_variants(("MUG", "NONE"))
    assert (found.product_id, found.seller_id, found.product_name, found.name) == (product.id, SELLER, "Stoneware mug", "blue")
    assert found.prices == (Money(1500, "EUR"), Money(1900, "USD"))
    assert (found.weight_g, found.attributes, found.tax_category, found.requires_shipping) == (380, {"size": "L"}, "reduced", False)
    assert found.category_id == kitchen.id
    assert set(found.category_ids) == {home.id, kitchen.id, gifts.id}
    assert (found.active, found.image_url, found.version) == (True, None, 1)


async def test_a_variant_is_added(shop: Shop) -> None:
    (product,) = await create(mug())
    with as_seller():
        added = await variants.add_variant(product.id, variant("MUG-L", 1500))
        with pytest.raises(SkuTaken):
            await variants.add_variant(product.id, variant("MUG-L"))
        (shown,) = await catalog.get_products((product.id,))
    assert [one.sku for one in shown.variants] == ["MUG", "MUG-L"]
    assert (shown.price, shown.version) == (Money(1500, "USD"), 2)
    assert added in shown.variants
    with as_seller(new_id()), pytest.raises(NotFound):
        await variants.add_variant(product.id, variant("MUG-XL"))


async def test_a_new_price_is_announced_and_shown_in_lists(shop: Shop) -> None:
    (product,) = await create(mug())
    variant_id = product.variants[0].id
    with as_seller():
        changed = await variants.change_variant(product.id, variant_id, VariantChange(prices=(Price(1700, "USD"), Price(1600, "EUR"))))
        assert (changed.price, changed.version) == (Money(1700, "USD"), 2)
        again = await variants.change_variant(product.id, variant_id, VariantChange(prices=(Price(1600, "EUR"), Price(1700, "USD"))))
        assert again.version == 2
        dropped = await variants.change_variant(product.id, variant_id, VariantChange(prices=(Price(1600, "EUR"),)))
        assert dropped.prices == (Money(1600, "EUR"),)
    assert [event["prices"] for event in await announced("PriceChanged")] == [
        [{"amount": 1600, "currency": "EUR"}, {"amount": 1700, "currency": "USD"}],
        [{"amount": 1600, "currency": "EUR"}],
    ]
    (shown,) = await catalog.get_products((product.id,))
    assert (shown.price, shown.version) == (Money(1600, "EUR"), 3)


async def test_a_change_of_an_old_version_is_refused(shop: Shop) -> None:
    (product,) = await create(mug())
    with as_seller():
        await variants.change_variant(product.id, product.variants[0].id, VariantChange(weight_g=1), (1,))
        with pytest.raises(Stale):
            await variants.change_variant(product.id, product.variants[0].id, VariantChange(weight_g=2), (1,))
        with pytest.raises(Stale):
            await variants.remove_variant(product.id, product.variants[0].id, (1,))


async def test_a_variant_belongs_to_its_product(shop: Shop) -> None:
    one, other = await create(mug(), mug("CUP"))
    with as_seller(), pytest.raises(NotFound):
        await variants.change_variant(one.id, other.variants[0].id, VariantChange(weight_g=1))
    with as_seller(new_id()), pytest.raises(NotFound):
        await variants.remove_variant(one.id, one.variants[0].id)


async def test_an_archived_variant_is_shown_to_its_seller_only_and_has_no_say_in_the_price(shop: Shop) -> None:
    (product,) = await create(mug(variants=(variant("MUG-S", 900), variant("MUG-L", 1900))))
    with as_seller():
        await variants.change_variant(product.id, product.variants[0].id, VariantChange(archived=True))
        (own,) = await catalog.get_products((product.id,))
    (public,) = await catalog.get_products((product.id,))
    assert ([one.sku for one in own.variants], [one.sku for one in public.variants]) == (["MUG-S", "MUG-L"], ["MUG-L"])
    assert public.price == Money(1900, "USD")
    assert [(one.sku, one.active) for one in await catalog.get_variants(("MUG-S", "MUG-L"))] == [("MUG-L", True), ("MUG-S", False)]


async def test_two_who_take_the_last_two_variants_away_leave_one(shop: Shop) -> None:
    await warm_up()
    for turn in range(8):
        (product,) = await create(mug(variants=(variant(f"{turn}-S"), variant(f"{turn}-L"))))
        one, other = product.variants
        with as_seller():
            answers = await asyncio.gather(
                variants.remove_variant(product.id, one.id),
                variants.change_variant(product.id, other.id, VariantChange(archived=True)),
                return_exceptions=True,
            )
        assert [type(answer) for answer in answers].count(NotSellable) == 1


async def test_an_archived_product_may_lose_its_last_variant(shop: Shop) -> None:
    (product,) = await create(mug())
    with as_seller():
        with pytest.raises(NotSellable):
            await variants.remove_variant(product.id, product.variants[0].id)
        await products.change_product(product.id, ProductChange(status="archived"))
        await variants.remove_variant(product.id, product.variants[0].id)
        assert (await catalog.get_products((product.id,)))[0].variants == ()
    assert [event["sku"] for event in await announced("VariantRemoved")] == ["MUG"]
