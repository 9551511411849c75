"""Every purchase begins with a cart: made with its items, in batches, once per request."""

import asyncio

import pytest
from tests.carts.shelf import as_buyer, as_guest, contents, dollars, fill_cart, items, put_on_shelf, token_of

from souk import carts
from souk.app import Shop
from souk.carts.database import db
from souk.carts.types import NewCart, NewItem, PriceMissing, TooManyPieces, UnknownCurrency, UnknownSku
from souk.kit.errors import DomainError, NotFound
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id


async def count_carts() -> int:
    return int(await db.value("SELECT count(*) FROM carts.cart"))


async def test_a_buyer_makes_a_cart(shop: Shop) -> None:
    mug = await put_on_shelf("MUG", 1250)
    buyer = new_id()
    with as_buyer(buyer):
        cart = await fill_cart(("MUG", 2))
        assert await carts.get_cart(cart.id) == cart
    (item,) = cart.items
    assert (item.product_id, item.variant_id) == (mug.id, mug.variants[0].id)
    assert (item.name, item.quantity, item.unit_price, item.total, item.available) == ("A mug, blue", 2, dollars(1250), dollars(2500), True)
    assert (cart.user_id, cart.currency, cart.status, cart.version) == (buyer, "USD", "active", 1)
    assert (cart.subtotal, cart.discount, cart.shipping, cart.tax, cart.total) == (dollars(2500), dollars(0), None, None, dollars(2500))
    assert not isinstance(cart.token, str)


async def test_a_cart_may_be_empty_and_in_another_currency(shop: Shop) -> None:
    with as_buyer(new_id()):
        cart = await carts.create_cart(NewCart(currency="EUR"))
    assert (cart.items, cart.total.amount, cart.total.currency) == ((), 0, "EUR")


async def test_a_guests_cart_opens_with_its_token_alone(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_guest():
        cart, other = await fill_cart(("MUG", 1)), await fill_cart(("MUG", 2))
    with as_guest(token_of(cart)):
        assert contents(await carts.get_cart(cart.id)) == {"MUG": 1}
        assert (await carts.get_cart_lines(cart.id)).lines == (carts.CartLine("MUG", 1),)
        with pytest.raises(NotFound):
            await carts.get_cart(other.id)
    for stranger in (as_guest(), as_guest("guessed"), as_buyer(new_id()), as_guest(token_of(cart)[:-1])):
        with stranger:
            with pytest.raises(NotFound):
                await carts.get_cart(cart.id)
            with pytest.raises(NotFound):
                await carts.get_cart_lines(cart.id)


async def test_the_token_is_told_once_and_not_kept(shop: Shop) -> None:
    with as_guest():
        cart = await fill_cart()
    with as_guest(token_of(cart)):
        assert not isinstance((await carts.get_cart(cart.id)).token, str)
        assert (await carts.get_cart_lines(cart.id)).guest_token_hash != token_of(cart)
    assert await db.value("SELECT count(*) FROM carts.cart AS c WHERE c::text LIKE '%' || $1 || '%'", token_of(cart)) == 0


async def test_what_is_not_for_sale_is_refused_by_its_field(shop: Shop) -> None:
    await put_on_shelf("MUG")
    await put_on_shelf("SECRET", status="draft")
    for sku in ("UNKNOWN", "SECRET"):
        with as_buyer(new_id()), pytest.raises(UnknownSku) as refused:
            await fill_cart(("MUG", 1), (sku, 1))
        assert (refused.value.field, refused.value.status) == ("items[1].sku", 422)
    assert await count_carts() == 0


async def test_what_has_no_price_in_the_currency_is_refused(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        with pytest.raises(PriceMissing) as refused:
            await carts.create_cart(NewCart(items(("MUG", 1)), "GBP"))
        assert refused.value.field == "items[0].sku"
        with pytest.raises(UnknownCurrency):
            await carts.create_cart(NewCart(currency="XXX"))
    assert await count_carts() == 0


async def test_a_sku_that_comes_twice_is_one_line(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        assert contents(await fill_cart(("MUG", 2), ("MUG", 3))) == {"MUG": 5}
        with pytest.raises(TooManyPieces):
            await fill_cart(("MUG", 999), ("MUG", 1))


async def test_many_carts_at_once_cost_a_few_transactions(shop: Shop) -> None:
    await put_on_shelf("MUG")
    await put_on_shelf("CUP")

    async def make(number: int) -> carts.Cart:
        with as_buyer(new_id()) if number % 2 else as_guest():
            return await fill_cart(("MUG", number), ("CUP", 1))

    made = await asyncio.gather(*(make(number) for number in range(1, 201)))
    assert [contents(cart)["MUG"] for cart in made] == list(range(1, 201))
    assert [isinstance(cart.token, str) for cart in made] == [bool(number % 2 == 0) for number in range(1, 201)]
    assert await db.value("SELECT count(DISTINCT xmin::text) FROM carts.cart") < 20


async def test_one_bad_cart_does_not_spoil_its_batch(shop: Shop) -> None:
    await put_on_shelf("MUG")

    async def make(sku: str) -> carts.Cart | DomainError:
        with as_guest():
            try:
                return await fill_cart((sku, 1))
            except DomainError as refusal:
                return refusal

    made = await asyncio.gather(*(make("MUG" if number % 3 else "GONE") for number in range(30)))
    assert [isinstance(cart, UnknownSku) for cart in made] == [number % 3 == 0 for number in range(30)]
    assert await count_carts() == 20


async def test_the_same_key_makes_one_cart(shop: Shop) -> None:
    await put_on_shelf("MUG")
    buyer = new_id()
    with as_buyer(buyer, key="cart-1"):
        twins = await asyncio.gather(*(fill_cart(("MUG", 1)) for _ in range(8)))
        assert len({cart.id for cart in twins}) == 1
        with pytest.raises(IdempotencyKeyReused):
            await fill_cart(("MUG", 2))
    with as_buyer(buyer):
        await carts.add_cart_item(twins[0].id, NewItem("MUG", 4))
    with as_buyer(buyer, key="cart-1"):
        assert contents(await fill_cart(("MUG", 1))) == {"MUG": 5}
    with as_buyer(new_id(), key="cart-1"):
        assert (await fill_cart(("MUG", 1))).id != twins[0].id
    assert await count_carts() == 2


async def test_a_key_does_not_open_another_guests_cart(shop: Shop) -> None:
    with as_guest(key="1"):
        assert (await fill_cart()).id != (await fill_cart()).id


async def test_a_user_has_one_current_cart_and_nothing_is_mixed(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_buyer(new_id()):
        with pytest.raises(NotFound):
            await carts.get_current_cart()
        first = await fill_cart(("MUG", 1))
        assert await carts.get_current_cart() == first
        made = await asyncio.gather(*(fill_cart(("MUG", number)) for number in range(2, 10)))
        current = await carts.get_current_cart()
        assert current in made
        assert contents(await carts.get_cart(first.id)) == {"MUG": 1}
        await carts.delete_cart(current.id)
        with pytest.raises(NotFound):
            await carts.get_current_cart()
    assert await db.value("SELECT count(*) FROM carts.current_cart") == 1
