"""Carts that guests left behind go after a while; carts of users, and those that somebody still fills, stay."""

import asyncio
from uuid import UUID

import pytest
from tests.carts.shelf import as_buyer, as_guest, as_system, contents, fill_cart, put_on_shelf, token_of

from souk import carts
from souk.app import Shop
from souk.carts import closing, jobs
from souk.carts.database import db
from souk.carts.types import NewItem
from souk.kit.errors import NotFound
from souk.kit.ids import new_id

AGE_CART = """
    UPDATE carts.cart SET created_at = now() - make_interval(days => $2), updated_at = now() - make_interval(days => $3) WHERE id = $1
"""
COUNT_CARTS = "SELECT count(*) FROM carts.cart WHERE id = $1"
COUNT_ITEMS = "SELECT count(*) FROM carts.cart_item WHERE cart_id = $1"


async def age(cart_id: UUID, made: int, changed: int) -> None:
    async with db.transaction() as tx:
        await tx.run(AGE_CART, cart_id, made, changed)


async def test_an_old_cart_of_a_guest_is_forgotten(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_guest():
        old, touched, young = [await fill_cart(("MUG", 1)) for _ in range(3)]
    with as_buyer(new_id()):
        owned = await fill_cart(("MUG", 2))
    for cart, made, changed in ((old, 31, 31), (touched, 31, 29), (young, 29, 29), (owned, 400, 400)):
        await age(cart.id, made, changed)
    assert await jobs.forget_guest_carts() == 1
    assert await jobs.forget_guest_carts() == 0
    assert await db.value(COUNT_ITEMS, old.id) == 0
    with as_guest(token_of(old)), pytest.raises(NotFound):
        await carts.get_cart(old.id)
    with as_system():
        assert [contents(await carts.get_cart(cart.id)) for cart in (touched, young, owned)] == [{"MUG": 1}, {"MUG": 1}, {"MUG": 2}]


async def test_all_of_them_go_batch_by_batch(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "CARTS_AT_ONCE", 2)
    with as_guest():
        for cart in [await fill_cart() for _ in range(5)]:
            await age(cart.id, 31, 31)
    assert await jobs.forget_guest_carts() == 5


async def test_a_cart_goes_whole_or_stays_whole_whoever_fills_it_meanwhile(shop: Shop) -> None:
    await put_on_shelf("MUG")
    with as_guest():
        made = [await fill_cart() for _ in range(30)]
    for cart in made:
        await age(cart.id, 31, 31)

    async def add(cart: carts.Cart) -> bool:
        with as_guest(token_of(cart)):
            try:
                await carts.add_cart_item(cart.id, NewItem("MUG", 1))
            except NotFound:
                return False
        return True

    forgotten, *stayed = await asyncio.gather(jobs.forget_guest_carts(), *(add(cart) for cart in made))
    assert forgotten + await jobs.forget_guest_carts() == stayed.count(False)
    for cart, stays in zip(made, stayed, strict=True):
        assert await db.value(COUNT_CARTS, cart.id) == await db.value(COUNT_ITEMS, cart.id) == stays
