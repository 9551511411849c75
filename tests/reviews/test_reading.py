"""Lists of reviews: in each order, filtered, a page at a time; and the stars they add up to."""

import asyncio
from typing import get_args

import pytest
from tests.reviews.opinions import announced, as_admin, as_buyer, check_books, rating_of, receive, shown, write

from souk import reviews
from souk.app import Shop
from souk.kit.errors import InvalidField
from souk.kit.ids import new_id
from souk.reviews.database import db
from souk.reviews.ratings import MOST_AT_ONCE
from souk.reviews.types import Review, ReviewFilter, ReviewSort

MUG = new_id()
KEYS = {
    "newest": lambda one: one.id,
    "helpful": lambda one: (one.helpful - one.unhelpful, one.id),
    "highest": lambda one: (one.rating, one.id),
    "lowest": lambda one: (-one.rating, -one.id.int),
}


async def read_all(sort: ReviewSort, limit: int) -> list[Review]:
    """Every page of a list."""
    seen: list[Review] = []
    cursor = None
    while True:
        page = await reviews.list_reviews(MUG, ReviewFilter(sort=sort), limit, cursor)
        assert len(page.items) <= limit
        seen += page.items
        if (cursor := page.next) is None:
            return seen


@pytest.mark.parametrize("sort", get_args(ReviewSort))
async def test_each_order_shows_each_review_once(shop: Shop, sort: ReviewSort) -> None:
    made = [await write(MUG, number % 5 + 1) for number in range(11)]
    for number, review in enumerate(made):
        for voter in range(number % 4):
            with as_buyer(new_id()):
                await reviews.vote_on_review(review.id, (number + voter) % 3 > 0)
    await write(new_id())
    everything = await shown(MUG)
    assert len(everything) == 11
    assert await read_all(sort, 3) == await read_all(sort, 100) == sorted(everything, key=KEYS[sort], reverse=True)


async def test_a_list_is_filtered_by_stars(shop: Shop) -> None:
    made = [await write(MUG, number % 5 + 1) for number in range(10)]
    listed = (await reviews.list_reviews(MUG, ReviewFilter(rating=2), 10, None)).items
    assert listed == (made[6], made[1])
    assert (await reviews.list_reviews(MUG, ReviewFilter(rating=2, verified=False), 10, None)).items == ()


@pytest.mark.parametrize("sort", get_args(ReviewSort))
async def test_a_cursor_of_nobodys_is_refused(shop: Shop, sort: ReviewSort) -> None:
    with pytest.raises(InvalidField):
        await reviews.list_reviews(MUG, ReviewFilter(sort=sort), 10, "AAAA")


async def test_stars_add_up(shop: Shop) -> None:
    assert await rating_of(MUG) == reviews.RatingSummary(MUG, None, 0, tuple(reviews.StarCount(stars, 0) for stars in (5, 4, 3, 2, 1)))
    made = [await write(MUG, rating) for rating in (5, 5, 4, 1)]
    summary = await rating_of(MUG)
    assert (summary.average, summary.count) == (3.75, 4)
    assert {star.rating: star.count for star in summary.stars} == {5: 2, 4: 1, 3: 0, 2: 0, 1: 1}
    with as_admin():
        await reviews.reject_review(made[3].id, "spam")
    assert (await rating_of(MUG)).average == 4.67
    told = await announced("RatingChanged")
    assert [(event["count"], event["total"]) for event in told] == [(1, 5), (2, 10), (3, 14), (4, 15), (3, 14)]
    assert [event["version"] for event in told] == [1, 2, 3, 4, 5]
    await check_books()


async def test_an_average_is_rounded_as_the_catalogue_rounds_it(shop: Shop) -> None:
    for rating in (4, 4, 4, 4, 4, 4, 4, 5):
        await write(MUG, rating)
    assert (await rating_of(MUG)).average == 4.13
    assert float(await db.value("SELECT (total::numeric / count)::numeric(3, 2) FROM reviews.product_rating")) == 4.13


async def test_32_buyers_at_once_are_all_counted(shop: Shop) -> None:
    buyers = [await receive(MUG) for _ in range(32)]
    made = await asyncio.gather(*(write(MUG, number % 5 + 1, user_id=user_id) for number, user_id in enumerate(buyers)))
    summary = await rating_of(MUG)
    assert {star.rating: star.count for star in summary.stars} == {1: 7, 2: 7, 3: 6, 4: 6, 5: 6}
    told = {event["version"]: (event["count"], event["total"]) for event in await announced("RatingChanged")}
    assert sorted(told) == list(range(1, 33))
    assert told[32] == (32, sum(review.rating for review in made))
    await check_books()


async def test_ratings_of_many_come_in_the_order_of_the_ids(shop: Shop) -> None:
    other, unknown = new_id(), new_id()
    await write(MUG, 5)
    await write(other, 1)
    found = await reviews.get_ratings((unknown, other, MUG, other))
    assert [(one.product_id, one.average, one.count) for one in found] == [
        (unknown, None, 0), (other, 1.0, 1), (MUG, 5.0, 1), (other, 1.0, 1),
    ]  # fmt: skip
    with pytest.raises(InvalidField):
        await reviews.get_ratings((MUG,) * (MOST_AT_ONCE + 1))
