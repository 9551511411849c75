"""A guest who signs in keeps what they put into their cart."""

import asyncio

import pytest
from tests.carts.shelf import as_buyer, as_guest, as_system, contents, fill_cart, items, put_many_on_shelf, put_on_shelf, token_of

from souk import carts, pricing
from souk.app import Shop
from souk.carts import closing
from souk.carts.database import db
from souk.carts.types import CartClosed, NewCart, NewItem, TooManyLines
from souk.kit.errors import NotFound, Unauthenticated
from souk.kit.ids import new_id


async def make_guest_cart(*lines: tuple[str, int]) -> tuple[carts.Cart, str]:
    with as_guest():
        cart = await fill_cart(*lines)
    return cart, token_of(cart)


async def test_the_first_cart_of_a_user_is_the_guests(shop: Shop) -> None:
    await put_on_shelf("MUG")
    cart, token = await make_guest_cart(("MUG", 2))
    buyer = new_id()
    with as_buyer(buyer, token=token):
        claimed = await carts.claim_cart(cart.id)
        assert (claimed.id, claimed.user_id, claimed.status, contents(claimed)) == (cart.id, buyer, "active", {"MUG": 2})
        assert await carts.claim_cart(cart.id) == claimed
        assert await carts.get_current_cart() == claimed
    for stranger in (as_guest(token), as_buyer(new_id(), token=token)):
        with stranger, pytest.raises(NotFound):
            await carts.get_cart(cart.id)


async def test_two_carts_become_one(shop: Shop) -> None:
    for sku in ("MUG", "CUP", "JUG"):
        await put_on_shelf(sku)
    guest, token = await make_guest_cart(("MUG", 2), ("JUG", 1))
    with as_buyer(new_id(), token=token):
        own = await fill_cart(("MUG", 3), ("CUP", 1))
        merged = await carts.claim_cart(guest.id)
        assert (merged.id, contents(merged)) == (own.id, {"MUG": 5, "CUP": 1, "JUG": 1})
        assert await carts.claim_cart(guest.id) == merged
        left = await carts.get_cart(guest.id)
        assert (left.status, left.items) == ("merged", ())
        with pytest.raises(CartClosed):
            await carts.add_cart_item(guest.id, NewItem("MUG", 1))
    with as_guest(token), pytest.raises(NotFound):
        await carts.get_cart(guest.id)


async def test_pieces_are_capped_and_lines_are_not_dropped(shop: Shop) -> None:
    skus = [f"SKU-{number}" for number in range(101)]
    await put_many_on_shelf(skus)
    many, many_token = await make_guest_cart((skus[0], 900))
    other, other_token = await make_guest_cart((skus[100], 1))
    buyer = new_id()
    with as_buyer(buyer):
        own = await fill_cart(*((sku, 900) for sku in skus[:100]))
    with as_buyer(buyer, token=many_token):
        assert contents(await carts.claim_cart(many.id))[skus[0]] == 999
    with as_buyer(buyer, token=other_token):
        with pytest.raises(TooManyLines):
            await carts.claim_cart(other.id)
        assert contents(await carts.get_cart(other.id)) == {skus[100]: 1}
        assert len((await carts.get_cart(own.id)).items) == 100


async def test_the_users_own_currency_and_coupon_win(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_system():
        for code in ("GUEST", "OWN"):
            await pricing.create_coupon(pricing.NewCoupon(name=code, kind="percentage", rate_ppm=100_000, code=code))
    first, first_token = await make_guest_cart(("MUG", 1))
    with as_guest(first_token):
        await carts.set_cart_coupon(first.id, "GUEST")
    with as_buyer(new_id(), token=first_token):
        await carts.create_cart(NewCart(items(("MUG", 1)), "EUR"))
        merged = await carts.claim_cart(first.id)
        assert (merged.currency, merged.coupon) == ("EUR", "GUEST")
    second, second_token = await make_guest_cart(("MUG", 1))
    with as_guest(second_token):
        await carts.set_cart_coupon(second.id, "GUEST")
    with as_buyer(new_id(), token=second_token):
        own = await fill_cart(("MUG", 1))
        await carts.set_cart_coupon(own.id, "OWN")
        assert (await carts.claim_cart(second.id)).coupon == "OWN"


async def test_only_who_has_the_token_claims_a_cart(shop: Shop) -> None:
    await put_on_shelf("MUG")
    cart, token = await make_guest_cart(("MUG", 1))
    with as_buyer(new_id()):
        foreign = await fill_cart(("MUG", 1))
    for claimed in (cart, foreign):
        with as_buyer(new_id(), token="guessed"), pytest.raises(NotFound):
            await carts.claim_cart(claimed.id)
    with as_guest(token), pytest.raises(Unauthenticated):
        await carts.claim_cart(cart.id)
    with as_system(), pytest.raises(Unauthenticated):
        await carts.claim_cart(cart.id)


async def test_an_ordered_cart_is_not_claimed_and_not_added_to(shop: Shop) -> None:
    await put_on_shelf("MUG")
    cart, token = await make_guest_cart(("MUG", 1))
    ordered, ordered_token = await make_guest_cart(("MUG", 1))
    buyer = new_id()
    with as_buyer(buyer):
        own = await fill_cart(("MUG", 1))
    async with db.transaction() as tx:
        await closing.close_ordered(tx, {own.id: new_id(), ordered.id: new_id()})
    with as_buyer(buyer, token=ordered_token), pytest.raises(CartClosed):
        await carts.claim_cart(ordered.id)
    with as_buyer(buyer, token=token):
        assert (await carts.claim_cart(cart.id)).id == cart.id
        assert (await carts.get_current_cart()).id == cart.id


async def test_an_earlier_cart_can_be_put_into_the_current_one(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        earlier, current = await fill_cart(("MUG", 1)), await fill_cart(("MUG", 2))
        merged = await carts.claim_cart(earlier.id)
    assert (merged.id, contents(merged)) == (current.id, {"MUG": 3})


async def test_many_claims_at_once_leave_one_cart_with_everything(shop: Shop) -> None:
    await put_on_shelf("MUG")
    buyer = new_id()
    guests = [await make_guest_cart(("MUG", 1)) for _ in range(10)]

    async def claim(cart: carts.Cart, token: str) -> carts.Cart:
        with as_buyer(buyer, token=token):
            return await carts.claim_cart(cart.id)

    claimed = await asyncio.gather(*(claim(*guest) for guest in guests for _ in range(2)))
    assert len({cart.id for cart in claimed}) == 1
    with as_buyer(buyer):
        assert contents(await carts.get_current_cart()) == {"MUG": 10}
    assert await db.value("SELECT count(*) FROM carts.cart WHERE status = 'active'") == 1
