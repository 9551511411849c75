"""People keep products in mind: each once, as many as the shop allows."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.reviews.opinions import announced, as_buyer

from souk import reviews
from souk.app import Shop
from souk.kit.callers import ANONYMOUS, Caller, asking
from souk.kit.errors import NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.reviews.settings import settings


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    before = settings.now.favorites
    yield
    settings.replace(favorites=before)


async def test_favorites_come_and_go(shop: Shop) -> None:
    ada, goods = new_id(), [new_id() for _ in range(5)]
    with as_buyer(ada):
        kept = [await reviews.add_favorite(product_id) for product_id in goods]
        assert await reviews.add_favorite(goods[0]) == kept[0] == await reviews.get_favorite(goods[0])
        page = await reviews.list_favorites(3, None)
        rest = await reviews.list_favorites(3, page.next)
        assert [*page.items, *rest.items] == kept[::-1]
        assert rest.next is None
        for _ in range(2):
            await reviews.remove_favorite(goods[4])
        assert (await reviews.list_favorites(1, None)).items == (kept[3],)
        with pytest.raises(NotFound):
            await reviews.get_favorite(goods[4])
    with as_buyer(new_id()):
        assert (await reviews.list_favorites(10, None)).items == ()
        await reviews.remove_favorite(goods[0])
        with pytest.raises(NotFound):
            await reviews.get_favorite(goods[0])
    assert await announced("FavoriteAdded") == [{"user_id": str(ada), "product_id": str(one)} for one in goods]
    assert await announced("FavoriteRemoved") == [{"user_id": str(ada), "product_id": str(goods[4])}]


async def test_32_at_once_make_one_favorite(shop: Shop) -> None:
    product_id = new_id()
    with as_buyer(new_id()):
        made = await asyncio.gather(*(reviews.add_favorite(product_id) for _ in range(32)))
        assert (await reviews.list_favorites(10, None)).items == (made[0],)
    assert len(set(made)) == 1
    assert len(await announced("FavoriteAdded")) == 1


async def test_nobody_keeps_more_in_mind_than_the_shop_allows(shop: Shop) -> None:
    settings.replace(favorites=5)
    with as_buyer(new_id()):
        answers = await asyncio.gather(*(reviews.add_favorite(new_id()) for _ in range(32)), return_exceptions=True)
        assert sum(isinstance(one, reviews.TooManyFavorites) for one in answers) == 27
        kept = (await reviews.list_favorites(10, None)).items
        assert len(kept) == 5
        await reviews.remove_favorite(kept[0].product_id)
        await reviews.add_favorite(new_id())


async def test_a_stranger_keeps_nothing_in_mind(shop: Shop) -> None:
    with asking(Caller(ANONYMOUS)), pytest.raises(Unauthenticated):
        await reviews.add_favorite(new_id())
