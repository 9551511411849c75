"""A cart shows what it costs now, what cannot be bought, and why a coupon takes nothing off."""

import pytest
from tests.carts.shelf import SELLER, as_buyer, as_system, contents, dollars, fill_cart, put_on_shelf

from souk import carts, catalog, inventory, pricing
from souk.app import Shop
from souk.carts.types import CartEmpty
from souk.catalog import products, variants
from souk.catalog.types import ProductChange, VariantChange
from souk.kit.ids import new_id
from souk.pricing.types import CouponChanges

TEN_PERCENT = pricing.NewCoupon(name="Ten", kind="percentage", rate_ppm=100_000, code="TEN")


async def test_a_new_price_is_shown_at_once(shop: Shop) -> None:
    mug = await put_on_shelf("MUG", 1000)
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 2))
        with as_system():
            await variants.change_variant(mug.id, mug.variants[0].id, VariantChange(prices=(catalog.Price(1500, "USD"),)))
        cart = await carts.get_cart(cart.id)
    assert (cart.items[0].unit_price, cart.total) == (dollars(1500), dollars(3000))


async def test_what_is_out_of_stock_is_flagged(shop: Shop) -> None:
    await put_on_shelf("MUG", 1000, pieces=5)
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 5))
        assert cart.items[0].available
        await inventory.reserve_stock(inventory.ReserveStock(new_id(), (inventory.StockLine("MUG", SELLER, 1),)))
        cart = await carts.get_cart(cart.id)
        assert (cart.items[0].available, cart.items[0].unit_price, cart.total) == (False, dollars(1000), dollars(5000))
        assert (await carts.set_item_quantity(cart.id, cart.items[0].id, 4)).items[0].available


async def test_what_is_not_for_sale_any_more_is_shown_and_counts_nothing(shop: Shop) -> None:
    hidden, gone = await put_on_shelf("HIDDEN"), await put_on_shelf("GONE")
    await put_on_shelf("MUG", 700)
    with as_buyer(new_id()):
        cart = await fill_cart(("HIDDEN", 1), ("GONE", 2), ("MUG", 1))
        with as_system():
            await products.change_product(hidden.id, ProductChange(status="archived"))
            await products.remove_product(gone.id)
        cart = await carts.get_cart(cart.id)
    assert [(item.sku, item.name, item.available, item.unit_price) for item in cart.items] == [
        ("HIDDEN", "A hidden, blue", False, None),
        ("GONE", "A gone, blue", False, None),
        ("MUG", "A mug, blue", True, dollars(700)),
    ]
    assert (cart.subtotal, cart.total) == (dollars(700), dollars(700))


async def test_an_item_without_a_price_in_the_currency_stays(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 1))
        cart = await carts.update_cart(cart.id, carts.CartChange(currency="GBP"))
    assert (contents(cart), cart.items[0].available, cart.items[0].unit_price, cart.total.amount) == ({"MUG": 1}, False, None, 0)


async def test_a_coupon_takes_something_off(shop: Shop) -> None:
    await put_on_shelf("MUG", 1000)
    with as_system():
        await pricing.create_coupon(TEN_PERCENT)
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 2))
        cart = await carts.set_cart_coupon(cart.id, " ten ")
        assert (cart.coupon, cart.coupon_problem) == ("ten", None)
        assert (cart.subtotal, cart.discount, cart.total) == (dollars(2000), dollars(200), dollars(1800))
        assert (cart.items[0].discount, cart.items[0].total) == (dollars(200), dollars(1800))
        assert (await carts.get_cart_lines(cart.id)).coupon == "ten"
        again = await carts.set_cart_coupon(cart.id, "ten")
        assert again.version == cart.version
        cart = await carts.clear_cart_coupon(cart.id)
        assert (cart.coupon, cart.total) == (None, dollars(2000))


async def test_a_coupon_that_cannot_be_used_is_refused(shop: Shop) -> None:
    await put_on_shelf("MUG", 1000)
    with as_buyer(new_id()):
        empty = await fill_cart()
        with pytest.raises(CartEmpty):
            await carts.set_cart_coupon(empty.id, "TEN")
        cart = await fill_cart(("MUG", 2))
        with pytest.raises(pricing.CouponUnknown):
            await carts.set_cart_coupon(cart.id, "TEN")
        assert (await carts.get_cart(cart.id)).coupon is None


async def test_a_coupon_that_ends_does_not_close_the_cart(shop: Shop) -> None:
    await put_on_shelf("MUG", 1000)
    with as_system():
        coupon = await pricing.create_coupon(TEN_PERCENT)
    with as_buyer(new_id()):
        cart = await carts.set_cart_coupon((await fill_cart(("MUG", 2))).id, "TEN")
        with as_system():
            await pricing.change_coupon(coupon.id, CouponChanges(active=False))
        cart = await carts.get_cart(cart.id)
    assert cart.coupon == "TEN"
    assert cart.coupon_problem is not None
    assert cart.coupon_problem.startswith("pricing.coupon_")
    assert (cart.discount, cart.total) == (dollars(0), dollars(2000))


async def test_a_promotion_applies_when_the_cart_is_made(shop: Shop) -> None:
    await put_on_shelf("MUG", 1000)
    with as_system():
        await pricing.create_promotion(pricing.NewPromotion(name="Sale", kind="percentage", rate_ppm=500_000))
    with as_buyer(new_id()):
        assert (await fill_cart(("MUG", 2))).total == dollars(1000)
