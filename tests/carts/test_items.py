"""What is put into a cart is in it, whoever else puts something in at the same moment."""

import asyncio
from collections.abc import Callable, Coroutine
from uuid import UUID

import pytest
from tests.carts.shelf import as_buyer, as_guest, as_system, contents, dollars, fill_cart, put_many_on_shelf, put_on_shelf, token_of

from souk import carts, pricing
from souk.app import Shop
from souk.carts import closing
from souk.carts.database import db
from souk.carts.types import CartChange, CartClosed, NewItem, TooManyLines, TooManyPieces, UnknownCurrency, UnknownSku
from souk.kit.errors import InvalidField, NotFound
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id

Change = Callable[[carts.Cart], Coroutine[object, object, object]]

# Every way to change a cart.
CHANGES: dict[str, Change] = {
    "add": lambda cart: carts.add_cart_item(cart.id, NewItem("CUP", 1)),
    "set": lambda cart: carts.set_item_quantity(cart.id, cart.items[0].id, 5),
    "remove": lambda cart: carts.remove_cart_item(cart.id, cart.items[0].id),
    "empty": lambda cart: carts.empty_cart(cart.id),
    "currency": lambda cart: carts.update_cart(cart.id, CartChange(currency="EUR")),
    "coupon": lambda cart: carts.set_cart_coupon(cart.id, "TEN"),
    "no coupon": lambda cart: carts.clear_cart_coupon(cart.id),
    "delete": lambda cart: carts.delete_cart(cart.id),
}


async def test_pieces_are_added_changed_and_taken_out(shop: Shop) -> None:
    await put_on_shelf("MUG", 1000)
    await put_on_shelf("CUP", 300)
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 1))
        cart = await carts.add_cart_item(cart.id, NewItem("CUP", 2))
        cart = await carts.add_cart_item(cart.id, NewItem("MUG", 3))
        assert ([item.sku for item in cart.items], contents(cart)) == (["MUG", "CUP"], {"MUG": 4, "CUP": 2})
        assert (cart.total, cart.version) == (dollars(4600), 3)
        mug, cup = cart.items
        cart = await carts.set_item_quantity(cart.id, mug.id, 2)
        assert (contents(cart), cart.items[0].id) == ({"MUG": 2, "CUP": 2}, mug.id)
        assert await carts.set_item_quantity(cart.id, mug.id, 2) == cart
        cart = await carts.remove_cart_item(cart.id, cup.id)
        assert contents(cart) == {"MUG": 2}
        with pytest.raises(NotFound):
            await carts.remove_cart_item(cart.id, cup.id)
        with pytest.raises(NotFound):
            await carts.set_item_quantity(cart.id, cup.id, 1)
        emptied = await carts.empty_cart(cart.id)
        assert (emptied.items, emptied.total) == ((), dollars(0))
        assert await carts.empty_cart(cart.id) == emptied
        assert emptied.updated_at > emptied.created_at


async def test_fifty_at_once_lose_nothing(shop: Shop) -> None:
    skus = [f"SKU-{number}" for number in range(10)]
    await put_many_on_shelf(skus)
    with as_buyer(new_id()):
        cart = await fill_cart(("SKU-0", 1))
        await asyncio.gather(*(carts.add_cart_item(cart.id, NewItem(skus[turn % 10], 2)) for turn in range(50)))
        assert contents(await carts.get_cart(cart.id)) == {sku: 11 if sku == "SKU-0" else 10 for sku in skus}


async def test_a_repeated_request_adds_once(shop: Shop) -> None:
    await put_on_shelf("MUG")
    buyer = new_id()
    with as_buyer(buyer):
        cart = await fill_cart()
    with as_buyer(buyer, key="add-1"):
        answers = await asyncio.gather(*(carts.add_cart_item(cart.id, NewItem("MUG", 2)) for _ in range(8)))
        assert {answer.version for answer in answers} == {2}
        with pytest.raises(IdempotencyKeyReused):
            await carts.add_cart_item(cart.id, NewItem("MUG", 3))
    with as_buyer(buyer):
        assert contents(await carts.get_cart(cart.id)) == {"MUG": 2}


async def test_a_refused_request_does_not_use_up_its_key(shop: Shop) -> None:
    await put_on_shelf("MUG")
    buyer = new_id()
    with as_buyer(buyer):
        cart = await fill_cart(("MUG", 999))
    with as_buyer(buyer, key="add-1"), pytest.raises(TooManyPieces):
        await carts.add_cart_item(cart.id, NewItem("MUG", 1))
    with as_buyer(buyer):
        await carts.set_item_quantity(cart.id, cart.items[0].id, 1)
    with as_buyer(buyer, key="add-1"):
        assert contents(await carts.add_cart_item(cart.id, NewItem("MUG", 1))) == {"MUG": 2}


async def test_two_guests_may_use_the_same_key(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_guest():
        first, second = await fill_cart(), await fill_cart()
    for cart in (first, second):
        with as_guest(token_of(cart), key="1"):
            assert contents(await carts.add_cart_item(cart.id, NewItem("MUG", 1))) == {"MUG": 1}


async def test_a_cart_has_its_limits(shop: Shop) -> None:
    skus = [f"SKU-{number}" for number in range(101)]
    await put_many_on_shelf(skus)
    with as_buyer(new_id()):
        full = await fill_cart(*((sku, 1) for sku in skus[:100]))
        with pytest.raises(TooManyLines):
            await carts.add_cart_item(full.id, NewItem(skus[100], 1))
        heavy = await carts.add_cart_item(full.id, NewItem(skus[0], 998))
        with pytest.raises(TooManyPieces):
            await carts.add_cart_item(full.id, NewItem(skus[0], 1))
        for quantity in (0, -1, 1000, 2**63):
            with pytest.raises(InvalidField, match="quantity"):
                await carts.set_item_quantity(full.id, full.items[0].id, quantity)
        assert await carts.get_cart(full.id) == heavy


async def test_the_limits_hold_however_many_add_at_once(shop: Shop) -> None:
    skus = [f"SKU-{number}" for number in range(110)]
    await put_many_on_shelf(skus)
    with as_buyer(new_id()):
        cart = await fill_cart((skus[0], 990), *((sku, 1) for sku in skus[1:95]))
        more = [carts.add_cart_item(cart.id, NewItem(skus[0], 1)) for _ in range(15)]
        others = [carts.add_cart_item(cart.id, NewItem(sku, 1)) for sku in skus[95:]]
        answers = await asyncio.gather(*more, *others, return_exceptions=True)
        full = await carts.get_cart(cart.id)
    assert (len(full.items), contents(full)[skus[0]]) == (100, 999)
    assert sum(isinstance(answer, TooManyPieces) for answer in answers) == 6
    assert sum(isinstance(answer, TooManyLines) for answer in answers) == 10


async def test_what_is_not_for_sale_is_not_added(shop: Shop) -> None:
    with as_buyer(new_id()):
        cart = await fill_cart()
        with pytest.raises(UnknownSku) as refused:
            await carts.add_cart_item(cart.id, NewItem("GONE", 1))
    assert refused.value.field == "sku"


@pytest.fixture
async def goods(shop: Shop) -> None:
    """What the changes need."""
    await put_on_shelf("MUG")
    await put_on_shelf("CUP")
    with as_system():
        await pricing.create_coupon(pricing.NewCoupon(name="Ten", kind="percentage", rate_ppm=100_000, code="TEN"))


async def test_every_change_can_be_made_by_its_owner(goods: None) -> None:
    for change in CHANGES.values():
        with as_guest():
            cart = await fill_cart(("MUG", 1))
        with as_guest(token_of(cart)):
            await change(cart)


async def test_nobody_changes_anothers_cart(goods: None) -> None:
    owner = new_id()
    with as_buyer(owner):
        cart = await fill_cart(("MUG", 1))
    with as_guest():
        other = await fill_cart()
    for change in CHANGES.values():
        for stranger in (as_buyer(new_id()), as_guest(), as_guest(token_of(other))):
            with stranger, pytest.raises(NotFound):
                await change(cart)
    with as_buyer(owner):
        assert await carts.get_cart(cart.id) == cart


async def test_an_ordered_cart_stays_as_it_is(goods: None) -> None:
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 1))
        async with db.transaction() as tx:
            await closing.close_ordered(tx, {cart.id: new_id()})
        for change in CHANGES.values():
            with pytest.raises(CartClosed) as refused:
                await change(cart)
            assert (refused.value.state, refused.value.status) == ("ordered", 409)
        ordered = await carts.get_cart(cart.id)
        assert (ordered.status, contents(ordered)) == ("ordered", {"MUG": 1})


async def test_the_currency_can_be_changed_and_the_address_of_a_guest(shop: Shop) -> None:
    await put_on_shelf("MUG", 1000)
    with as_guest():
        cart = await fill_cart(("MUG", 1))
    with as_guest(token_of(cart)):
        cart = await carts.update_cart(cart.id, CartChange(currency="EUR", email="guest@example.com"))
        assert (cart.total.currency, cart.total.amount, cart.email) == ("EUR", 1000, "guest@example.com")
        cart = await carts.update_cart(cart.id, CartChange(email=None))
        assert (cart.currency, cart.email) == ("EUR", None)
        assert await carts.update_cart(cart.id, CartChange(currency="EUR")) == cart
        with pytest.raises(UnknownCurrency):
            await carts.update_cart(cart.id, CartChange(currency="XXX"))


async def test_a_cart_that_is_given_up_is_gone(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        cart = await fill_cart(("MUG", 1))
        await carts.delete_cart(cart.id)
        for again in (carts.get_cart(cart.id), carts.get_cart_lines(cart.id), carts.delete_cart(cart.id)):
            with pytest.raises(NotFound):
                await again
    assert await count_rows(cart.id) == 0


async def count_rows(cart_id: UUID) -> int:
    return int(await db.value("SELECT count(*) FROM carts.cart_item WHERE cart_id = $1", cart_id))
