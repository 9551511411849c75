"""Who leaves takes their name, votes and favourites along; what they published stays and is nobody's."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from tests.conftest import asked_by
from tests.reviews.opinions import announced, as_admin, as_buyer, as_seller, check_books, hear, parcel, rating_of, sent, shown, write

from souk import reviews
from souk.app import Shop
from souk.kit import personal
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.reviews import consumers
from souk.reviews.database import db
from souk.reviews.types import NewReport
from souk.users.events import UserErased

COUNT_TRACES = """
    SELECT count(*) FROM (
        SELECT user_id FROM reviews.review UNION ALL SELECT user_id FROM reviews.vote UNION ALL SELECT user_id FROM reviews.report
        UNION ALL SELECT user_id FROM reviews.favorite UNION ALL SELECT user_id FROM reviews.purchase
        UNION ALL SELECT user_id FROM reviews.pace) AS traces
    WHERE user_id = ANY($1)
"""


async def erase(*user_ids: UUID) -> None:
    async with db.transaction() as tx:
        await consumers.forget_users(tx, tuple(Delivered(UserErased(one), new_id(), datetime.now(UTC)) for one in user_ids))


async def leave_traces(user_id: UUID, about: reviews.Review) -> tuple[reviews.Review, reviews.Review]:
    """A published review and a rejected one, a vote, a report and a favourite of this user."""
    goods = (new_id(), new_id())
    await hear(parcel(user_id, *goods))
    made = [await write(product_id, 4, "My name is Ada.", user_id, display_name="Ada") for product_id in goods]
    with as_admin():
        await reviews.reject_review(made[1].id, "a name in it")
    with as_buyer(user_id):
        await reviews.vote_on_review(about.id, True)
        await reviews.report_review(about.id, NewReport("other", "I know him"))
        await reviews.add_favorite(goods[0])
    return made[0], made[1]


async def test_an_export_has_all_that_is_kept(shop: Shop) -> None:
    ada, mug = new_id(), new_id()
    other = await write(mug)
    published, rejected = await leave_traces(ada, other)
    with as_buyer(ada):
        mine = (await personal.export_user_data(ada))["reviews"]
    assert [one["id"] for one in mine["reviews"]] == [str(published.id), str(rejected.id)]
    assert mine["votes"] == [{"review_id": str(other.id), "helpful": True}]
    assert [one["comment"] for one in mine["reports"]] == ["I know him"]
    assert [one["product_id"] for one in mine["favorites"]] == [str(published.product_id)]
    assert {one["product_id"] for one in mine["purchases"]} == {str(published.product_id), str(rejected.product_id)}


async def test_who_is_gone_leaves_words_and_no_trace(shop: Shop) -> None:
    ada, ben, mug = new_id(), new_id(), new_id()
    other = await write(mug)
    published, rejected = await leave_traces(ada, other)
    await leave_traces(ben, other)
    with as_buyer(new_id()):
        await reviews.vote_on_review(other.id, False)
    await erase(ada, ben)
    await erase(ada)
    assert await db.value(COUNT_TRACES, [ada, ben]) == 0
    (kept,) = await shown(published.product_id)
    assert (kept.id, kept.rating, kept.comment, kept.display_name) == (published.id, 4, "My name is Ada.", None)
    assert (await rating_of(published.product_id)).count == 1
    (voted,) = await shown(mug)
    assert (voted.helpful, voted.unhelpful) == (0, 1)
    assert await db.value("SELECT count(*) FROM reviews.review WHERE id = $1", rejected.id) == 0
    with as_buyer(ada):
        mine = (await personal.export_user_data(ada))["reviews"]
    assert not any(mine.values())
    await check_books()


async def test_what_nobody_wrote_can_still_be_answered_and_rejected(shop: Shop) -> None:
    ada, mug = new_id(), new_id()
    await hear(parcel(ada, mug))
    made = await write(mug, 2, user_id=ada)
    await erase(ada)
    with asked_by("buyer", user_id=new_id()):
        await reviews.vote_on_review(made.id, True)
    with as_seller():
        await reviews.reply_to_review(made.id, "We are sorry.")
    with as_admin():
        await reviews.reject_review(made.id, "a name in it")
    assert await shown(mug) == ()
    assert [event["user_id"] for event in await announced("ReviewRejected")] == [None]
    await check_books()


async def test_what_arrives_after_its_buyer_has_left_is_nobodys_purchase(shop: Shop) -> None:
    ada, ben, mug = new_id(), new_id(), new_id()
    arrived = parcel(ada, mug)
    await hear(sent(arrived, datetime.now(UTC)))
    await erase(ada)
    await hear(arrived, parcel(ben, mug), parcel(ada, new_id()))
    assert await db.value(COUNT_TRACES, [ada]) == 0
    assert await db.value(COUNT_TRACES, [ben]) == 1


async def test_who_leaves_while_their_parcels_arrive_leaves_no_purchase(shop: Shop) -> None:
    buyers = [new_id() for _ in range(32)]
    await asyncio.gather(*(step for buyer_id in buyers for step in (hear(parcel(buyer_id, new_id())), erase(buyer_id))))
    assert await db.value(COUNT_TRACES, buyers) == 0
