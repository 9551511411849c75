"""What waits for an admin, and what becomes of it."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.conftest import asked_by
from tests.reviews.opinions import announced, as_admin, as_buyer, as_seller, check_books, rating_of, receive, shown, write

from souk import reviews
from souk.app import Shop
from souk.kit.errors import Forbidden, NotFound, TooMany
from souk.kit.ids import new_id
from souk.reviews.settings import settings
from souk.reviews.types import NewReport, NewReview, QueuedReview, Review, ReviewChange

MUG = new_id()


@pytest.fixture(autouse=True)
def usual_settings() -> Iterator[None]:
    before = settings.now
    yield
    settings.replace(**{name: getattr(before, name) for name in before.__struct_fields__})


async def queue() -> tuple[QueuedReview, ...]:
    with as_admin():
        return (await reviews.list_review_queue(50, None)).items


async def report(review: Review, reason: str = "spam", comment: str = "") -> reviews.Report:
    """Somebody new reports a review."""
    with as_buyer(new_id()):
        return await reviews.report_review(review.id, NewReport(reason, comment))  # type: ignore[arg-type]


async def test_with_moderation_a_review_is_shown_when_an_admin_has_seen_it(shop: Shop) -> None:
    settings.replace(moderated=True)
    ada = await receive(MUG)
    made = await write(MUG, 4, user_id=ada)
    assert made.status == "pending"
    assert await shown(MUG) == ()
    assert (await rating_of(MUG)).count == 0
    for who in (as_buyer(new_id()), asked_by("seller")):
        with who, pytest.raises(NotFound):
            await reviews.get_review(MUG, made.id)
    assert [waiting.id for waiting in await queue()] == [made.id]
    with as_admin():
        for _ in range(2):
            assert (await reviews.approve_review(made.id)).status == "published"
    assert await queue() == ()
    assert (await rating_of(MUG)).count == 1
    with as_buyer(ada):
        changed = await reviews.change_review(MUG, made.id, ReviewChange(rating=1))
    assert changed.status == "pending"
    assert (await rating_of(MUG)).count == 0
    assert len(await announced("ReviewPosted")) == len(await announced("ReviewHidden")) == 1
    await check_books()


async def test_what_was_rejected_may_be_mended_and_is_looked_at_again(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, 1, "Buy at my shop!", ada)
    with as_admin():
        for reason in ("an advertisement", "a bold advertisement"):
            rejected = await reviews.reject_review(made.id, reason)
            assert (rejected.status, rejected.reason) == ("rejected", reason)
        with pytest.raises(reviews.AlreadyRejected):
            await reviews.approve_review(made.id)
    assert await shown(MUG) == ()
    assert len(await announced("ReviewRejected")) == 1
    with as_buyer(ada):
        mended = await reviews.change_review(MUG, made.id, ReviewChange(comment="It broke."))
        assert (mended.status, mended.reason) == ("pending", None)
    with as_admin():
        await reviews.approve_review(made.id)
    assert [review.comment for review in await shown(MUG)] == ["It broke."]
    await check_books()


async def test_what_was_rejected_does_not_come_back_by_being_removed(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, 1, "Buy at my shop!", ada, display_name="Ada")
    with as_admin():
        await reviews.reject_review(made.id, "an advertisement")
    with as_buyer(ada):
        await reviews.remove_review(MUG, made.id, None)
        (left,) = (await reviews.list_own_reviews(None, 10, None)).items
        assert (left.status, left.comment, left.display_name) == ("withdrawn", "", None)
        for _ in range(2):
            again = await reviews.create_review(MUG, NewReview(1, comment="Buy at my shop!"))
            assert (again.id, again.status) == (made.id, "pending")
            await reviews.remove_review(MUG, made.id, None)
    assert await shown(MUG) == ()
    with as_admin(), pytest.raises(NotFound):
        await reviews.approve_review(made.id)


async def test_what_was_reported_does_not_come_back_by_being_removed(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, 1, "Buy at my shop!", ada)
    with as_seller():
        await reviews.reply_to_review(made.id, "Please do not.")
    for _ in range(3):
        await report(made)
    with as_buyer(ada):
        await reviews.remove_review(MUG, made.id, None)
        assert (await rating_of(MUG)).count == 0
        again = await reviews.create_review(MUG, NewReview(1, comment="Buy at my shop!"))
    assert (again.status, again.reply) == ("pending", None)
    assert await shown(MUG) == ()
    (waiting,) = await queue()
    assert len(waiting.reported) == 3
    assert len(await announced("ReviewHidden")) == 1
    await check_books()


@pytest.mark.parametrize("with_", ["reply", "report", "decided report"])
async def test_nobody_is_rid_of_a_reply_or_a_report_by_removing_and_writing_anew(shop: Shop, with_: str) -> None:
    ada = await receive(MUG)
    made = await write(MUG, 1, "Buy at my shop!", ada)
    if with_ == "reply":
        with as_seller():
            await reviews.reply_to_review(made.id, "This is an advertisement.")
    else:
        await report(made)
    if with_ == "decided report":
        with as_admin():
            await reviews.approve_review(made.id)
    for _ in range(2):
        with as_buyer(ada):
            await reviews.remove_review(MUG, made.id, None)
            assert (await rating_of(MUG)).count == 0
            again = await reviews.create_review(MUG, NewReview(1, comment="Buy at my shop!"))
        assert (again.id, again.status, again.reply) == (made.id, "pending", None)
        assert await shown(MUG) == ()
    (waiting,) = await queue()
    assert len(waiting.reported) == (with_ == "report")
    assert len(await announced("ReviewHidden")) == 1
    await check_books()


async def test_a_review_with_a_blocked_word_waits(shop: Shop) -> None:
    settings.replace(blocked_words=("casino", "c++"))
    waits = [await write(new_id(), comment=comment) for comment in ("Best CASINO!", "I like C++.", "casino")]
    waits.append(await write(new_id(), display_name="Casino Joe"))
    waits.append(await write(new_id(), title="My casino"))
    shows = [await write(new_id(), comment=comment) for comment in ("casinos", "Occasino", "c+")]
    assert {review.status for review in waits} == {"pending"}
    assert {review.status for review in shows} == {"published"}
    assert {waiting.id for waiting in await queue()} == {review.id for review in waits}


async def test_reports_bring_a_review_to_an_admin_who_decides_once(shop: Shop) -> None:
    made = await write(MUG)
    await report(made)
    with as_buyer(new_id()):
        first = await reviews.report_review(made.id, NewReport("other", "Rude."))
        assert await reviews.report_review(made.id, NewReport("spam")) == first
    assert await queue() == ()
    await report(made, "untrue")
    (waiting,) = await queue()
    assert {one.reason for one in waiting.reported} == {"spam", "other", "untrue"}
    assert await shown(MUG) != ()
    with as_admin():
        await reviews.approve_review(made.id)
    assert await queue() == ()
    for _ in range(2):
        await report(made)
    assert await queue() == ()
    await report(made)
    assert len(await queue()) == 1
    assert len(await announced("ReviewPosted")) == 1
    await check_books()


@pytest.mark.parametrize("edited", [True, False])
async def test_who_has_reported_a_review_may_report_what_becomes_of_it(shop: Shop, edited: bool) -> None:
    ada, readers = await receive(MUG), [new_id() for _ in range(3)]
    made = await write(MUG, user_id=ada)

    async def all_report(comment: str) -> None:
        for reader in readers:
            with as_buyer(reader):
                for _ in range(2):
                    await reviews.report_review(made.id, NewReport("spam", comment))

    await all_report("an advertisement")
    with as_admin():
        await reviews.approve_review(made.id)
    if edited:
        with as_buyer(ada):
            await reviews.change_review(MUG, made.id, ReviewChange(comment="Buy at my shop!"))
    assert await queue() == ()
    await all_report("now it is one")
    assert [one.comment for waiting in await queue() for one in waiting.reported] == ["now it is one"] * 3 * edited
    await check_books()
    with as_admin():
        await reviews.approve_review(made.id)
    await all_report("decided twice")
    assert await queue() == ()


async def test_64_people_report_at_once(shop: Shop) -> None:
    made = await write(MUG)
    await asyncio.gather(*(report(made) for _ in range(64)))
    (waiting,) = await queue()
    assert len(waiting.reported) == 20
    await check_books()


async def test_nobody_reports_their_own_review_or_what_is_not_shown(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, user_id=ada)
    with as_buyer(ada), pytest.raises(reviews.OwnReview):
        await reviews.report_review(made.id, NewReport("spam"))
    with as_admin():
        await reviews.reject_review(made.id, "spam")
    with pytest.raises(NotFound):
        await report(made)


async def test_who_reports_everything_waits(shop: Shop) -> None:
    settings.replace(reports_per_day=2)
    made = [await write(MUG) for _ in range(4)]
    with as_buyer(new_id()):
        answers = await asyncio.gather(*(reviews.report_review(one.id, NewReport("spam")) for one in made), return_exceptions=True)
    assert sum(isinstance(one, TooMany) for one in answers) == 2


async def test_the_queue_is_the_admins(shop: Shop) -> None:
    made = await write(MUG)
    with as_buyer(new_id()):
        for attempt in (reviews.list_review_queue(10, None), reviews.approve_review(made.id), reviews.reject_review(made.id, "spam")):
            with pytest.raises(Forbidden):
                await attempt


async def test_those_that_wait_longest_come_first_a_page_at_a_time(shop: Shop) -> None:
    settings.replace(moderated=True)
    made = [await write(MUG) for _ in range(5)]
    seen: list[object] = []
    cursor = None
    with as_admin():
        while True:
            page = await reviews.list_review_queue(2, cursor)
            seen += [waiting.id for waiting in page.items]
            if (cursor := page.next) is None:
                break
    assert seen == [review.id for review in made]
