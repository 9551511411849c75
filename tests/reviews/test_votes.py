"""Votes are counted one per person, whoever votes at the same moment."""

import asyncio

import pytest
from tests.conftest import asked_by
from tests.reviews.opinions import SELLER, as_admin, as_buyer, check_books, receive, shown, write

from souk import reviews
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id

MUG = new_id()


async def test_a_vote_counts_once_changes_and_is_taken_back(shop: Shop) -> None:
    made = await write(MUG)
    with as_buyer(new_id()):
        for _ in range(2):
            voted = await reviews.vote_on_review(made.id, True)
            assert (voted.helpful, voted.unhelpful) == (1, 0)
        voted = await reviews.vote_on_review(made.id, False)
        assert (voted.helpful, voted.unhelpful) == (0, 1)
        for _ in range(2):
            voted = await reviews.withdraw_vote(made.id)
            assert (voted.helpful, voted.unhelpful) == (0, 0)
    await check_books()


async def test_64_people_vote_at_once(shop: Shop) -> None:
    made = await write(MUG)

    async def vote(number: int) -> None:
        with as_buyer(new_id()):
            await reviews.vote_on_review(made.id, number % 4 != 0)

    await asyncio.gather(*(vote(number) for number in range(64)))
    (review,) = await shown(MUG)
    assert (review.helpful, review.unhelpful) == (48, 16)
    await check_books()


async def test_one_person_who_votes_64_times_at_once_counts_once(shop: Shop) -> None:
    made = await write(MUG)
    with as_buyer(new_id()):
        await asyncio.gather(*(reviews.vote_on_review(made.id, number % 2 == 0) for number in range(64)))
    (review,) = await shown(MUG)
    assert review.helpful + review.unhelpful == 1
    await check_books()


async def test_nobody_votes_for_their_own_words_or_goods(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, user_id=ada)
    with as_buyer(ada), pytest.raises(reviews.OwnReview):
        await reviews.vote_on_review(made.id, True)
    with asked_by("seller", sells_for=(SELLER,)), pytest.raises(reviews.OwnGoods):
        await reviews.vote_on_review(made.id, False)
    (review,) = await shown(MUG)
    assert (review.helpful, review.unhelpful) == (0, 0)


async def test_what_is_not_shown_gets_no_votes(shop: Shop) -> None:
    made = await write(MUG)
    with as_admin():
        await reviews.reject_review(made.id, "spam")
    with as_buyer(new_id()):
        for attempt in (reviews.vote_on_review(made.id, True), reviews.withdraw_vote(made.id), reviews.vote_on_review(new_id(), True)):
            with pytest.raises(NotFound):
                await attempt
