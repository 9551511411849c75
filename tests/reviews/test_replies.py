"""A seller answers a review of their own goods, once."""

import asyncio

import pytest
from tests.reviews.opinions import SELLER, announced, as_admin, as_buyer, as_seller, receive, shown, write

from souk import reviews
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id

MUG = new_id()


async def test_a_reply_from_first_to_last(shop: Shop) -> None:
    made = await write(MUG, 2)
    with as_seller():
        for _ in range(2):
            replied = await reviews.reply_to_review(made.id, "We are sorry.")
        assert replied.reply is not None
        assert replied.reply.comment == "We are sorry."
        with pytest.raises(reviews.AlreadyReplied):
            await reviews.reply_to_review(made.id, "Another one.")
        changed = await reviews.change_reply(made.id, "We are very sorry.")
        assert changed.reply is not None
        assert (changed.reply.comment, changed.reply.created_at) == ("We are very sorry.", replied.reply.created_at)
        assert changed.reply.updated_at > replied.reply.updated_at
        assert await reviews.change_reply(made.id, "We are very sorry.") == changed
        assert await shown(MUG) == (changed,)
        for _ in range(2):
            await reviews.remove_reply(made.id)
        with pytest.raises(NotFound):
            await reviews.change_reply(made.id, "Anybody there?")
    assert (await shown(MUG))[0].reply is None
    assert [event["review_id"] for event in await announced("ReviewReplied")] == [str(made.id)]


async def test_of_32_replies_at_once_one_is_written(shop: Shop) -> None:
    made = await write(MUG)
    with as_seller():
        answers = await asyncio.gather(
            *(reviews.reply_to_review(made.id, f"Thank you {number}.") for number in range(32)), return_exceptions=True
        )
    assert sum(isinstance(one, reviews.AlreadyReplied) for one in answers) == 31
    assert len(await announced("ReviewReplied")) == 1


async def test_nobody_speaks_for_a_seller(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, user_id=ada)
    for who in (as_buyer(ada), as_seller(new_id()), as_admin()):
        with who:
            for attempt in (reviews.reply_to_review(made.id, "Mine."), reviews.change_reply(made.id, "Mine.")):
                with pytest.raises(NotFound):
                    await attempt
    with as_seller():
        await reviews.reply_to_review(made.id, "Thank you.")
    for who in (as_buyer(ada), as_seller(new_id())):
        with who, pytest.raises(NotFound):
            await reviews.remove_reply(made.id)
    with as_admin():
        await reviews.remove_reply(made.id)


async def test_a_seller_finds_what_is_said_of_their_goods(shop: Shop) -> None:
    first, second, hidden = await write(MUG), await write(new_id()), await write(new_id())
    other = new_id()
    await write(other, user_id=await receive(other, seller_id=new_id()))
    with as_admin():
        await reviews.reject_review(hidden.id, "spam")
    with as_seller():
        assert (await reviews.list_own_reviews(None, 10, None)).items == ()
        assert (await reviews.list_own_reviews(SELLER, 10, None)).items == (second, first)
        with pytest.raises(NotFound):
            await reviews.list_own_reviews(new_id(), 10, None)
