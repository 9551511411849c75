"""Who received a product says what they think of it, once, and may change their mind."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import asked_by
from tests.reviews.opinions import (
    SELLER,
    announced,
    as_admin,
    as_buyer,
    as_seller,
    check_books,
    hear,
    parcel,
    rating_of,
    receive,
    sent,
    shown,
    write,
)
from tests.shipping.parcels import dispatch, pack
from tests.waiting import until

from souk import reviews, shipping
from souk.app import Shop
from souk.catalog.events import ProductPublished, ProductRemoved
from souk.kit.callers import ANONYMOUS, Caller, asking
from souk.kit.errors import InvalidField, NotFound, TooMany, Unauthenticated
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.kit.partitions import bound, month_start
from souk.reviews import consumers, jobs
from souk.reviews.database import db
from souk.reviews.settings import settings
from souk.reviews.types import NewReview, ReviewChange
from souk.reviews.writing import add_review

MUG = new_id()


@pytest.fixture(autouse=True)
def usual_settings() -> Iterator[None]:
    before = settings.now
    yield
    settings.replace(**{name: getattr(before, name) for name in before.__struct_fields__})


async def tell_of_product(*events: ProductPublished | ProductRemoved) -> None:
    async with db.transaction() as tx:
        await consumers.keep_listings(tx, tuple(Delivered(one, new_id(), datetime.now(UTC)) for one in events))


async def add_month(months_ago: int) -> str:
    """The partition for purchases of a month in the past."""
    first, after = (month_start(datetime.now(UTC), months - months_ago) for months in (0, 1))
    name = f"reviews.purchase_{first:%Y_%m}"
    bounds = f"FROM ('{bound(first, 'uuid')}') TO ('{bound(after, 'uuid')}')"
    await db.pool.execute(f"CREATE TABLE {name} PARTITION OF reviews.purchase FOR VALUES {bounds}")
    return name


async def test_a_review_from_first_to_last(shop: Shop) -> None:
    ada = await receive(MUG)
    with as_buyer(ada):
        made = await reviews.create_review(MUG, NewReview(4, "Warm", "Keeps <b>warm</b> & looks good.", "Ada"))
        assert (made.rating, made.comment, made.display_name) == (4, "Keeps <b>warm</b> & looks good.", "Ada")
        assert (made.verified, made.status, made.edited_at) == (True, "published", None)
        assert await reviews.create_review(MUG, NewReview(4, "Warm", "Keeps <b>warm</b> & looks good.", "Ada")) == made
        with pytest.raises(reviews.AlreadyReviewed) as refused:
            await reviews.create_review(MUG, NewReview(5, "Warm", "Keeps <b>warm</b> & looks good.", "Ada"))
        assert refused.value.review_id == made.id
        changed = await reviews.change_review(MUG, made.id, ReviewChange(rating=2, display_name=None))
        assert (changed.rating, changed.title, changed.display_name) == (2, "Warm", None)
        assert changed.edited_at is not None
        assert await reviews.change_review(MUG, made.id, ReviewChange(rating=2)) == changed
        assert await shown(MUG) == (changed,)
        await reviews.remove_review(MUG, made.id, None)
        with pytest.raises(NotFound):
            await reviews.remove_review(MUG, made.id, None)
    assert await shown(MUG) == ()
    assert (await rating_of(MUG)).count == 0
    assert [event["rating"] for event in await announced("ReviewPosted")] == [4, 2]
    assert [event["review_id"] for event in await announced("ReviewHidden")] == [str(made.id)]
    await check_books()


async def test_a_review_says_nobodys_id(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, user_id=ada)
    assert str(ada) not in str(made)
    assert str(ada) not in str(await shown(MUG))


async def test_only_who_received_it_may_review_it(shop: Shop) -> None:
    stranger, early = new_id(), new_id()
    await hear(parcel(stranger, new_id()), parcel(None, MUG), parcel(early, MUG, at=datetime.now(UTC) - timedelta(days=401)))
    for user_id in (stranger, early):
        with as_buyer(user_id), pytest.raises(reviews.NotPurchased):
            await reviews.create_review(MUG, NewReview(1))
    with asking(Caller(ANONYMOUS)), pytest.raises(Unauthenticated):
        await reviews.create_review(MUG, NewReview(1))
    assert await shown(MUG) == ()


async def test_what_was_sent_is_there_some_day_whether_its_seller_says_so_or_not(shop: Shop) -> None:
    now = datetime.now(UTC)
    waiting, late = new_id(), new_id()
    for user_id, days in ((waiting, 1), (late, 15)):
        await hear(sent(parcel(user_id, MUG), now - timedelta(days=days)))
    with as_buyer(waiting), pytest.raises(reviews.NotPurchased):
        await reviews.create_review(MUG, NewReview(1))
    with as_buyer(late):
        assert (await reviews.create_review(MUG, NewReview(1))).verified


@pytest.mark.parametrize("told", ["together", "in_order", "the_other_way_round"])
async def test_a_parcel_that_has_arrived_counts_from_then_on(shop: Shop, told: str) -> None:
    ada, now = new_id(), datetime.now(UTC)
    arrived = parcel(ada, MUG, at=now - timedelta(days=1))
    left = sent(arrived, now - timedelta(days=2))
    match told:
        case "together":
            await hear(left, arrived)
        case "in_order":
            await hear(left)
            await hear(arrived)
        case "the_other_way_round":
            await hear(arrived)
            await hear(left)
    assert await db.value("SELECT array_agg(delivered_at) FROM reviews.purchase") == [arrived.delivered_at]
    assert (await write(MUG, user_id=ada)).verified


async def test_shipping_tells_whose_parcel_leaves(working_shop: Shop) -> None:
    settings.replace(arrives_days=0)
    ada, lines = new_id(), (shipping.ShipmentLine(new_id(), "MUG", "Mug", 1, MUG),)
    await dispatch(await pack(user_id=ada, lines=lines))

    async def is_known() -> bool:
        return bool(await db.value("SELECT count(*) FROM reviews.purchase WHERE user_id = $1 AND product_id = $2", ada, MUG))

    await until(is_known)
    assert (await write(MUG, 1, user_id=ada)).verified


async def test_who_sells_it_does_not_praise_it(shop: Shop) -> None:
    ada = await receive(MUG)
    with asked_by("seller", user_id=ada, sells_for=(SELLER,)), pytest.raises(reviews.OwnGoods):
        await reviews.create_review(MUG, NewReview(5))


async def test_a_shop_may_let_others_review_and_says_who_received_it(shop: Shop) -> None:
    settings.replace(verified_only=False)
    stranger = new_id()
    with as_buyer(stranger), pytest.raises(NotFound):
        await reviews.create_review(MUG, NewReview(3))
    await tell_of_product(ProductPublished(MUG, SELLER))
    assert (await write(MUG, 3, user_id=stranger)).verified is False
    assert (await write(MUG, 4)).verified is True
    listed = await reviews.list_reviews(MUG, reviews.ReviewFilter(verified=True), 10, None)
    assert [review.rating for review in listed.items] == [4]


async def test_32_requests_at_once_make_one_review(shop: Shop) -> None:
    ada = await receive(MUG)
    with as_buyer(ada):
        made = await asyncio.gather(*(reviews.create_review(MUG, NewReview(5, comment="Good.")) for _ in range(32)))
    assert len({review.id for review in made}) == 1
    assert (await rating_of(MUG)).count == 1
    await check_books()


async def test_of_32_different_ones_at_once_one_counts(shop: Shop) -> None:
    ada = await receive(MUG)
    with as_buyer(ada):
        made = await asyncio.gather(
            *(reviews.create_review(MUG, NewReview(number % 5 + 1, comment=str(number))) for number in range(32)), return_exceptions=True
        )
    assert sum(isinstance(one, reviews.AlreadyReviewed) for one in made) == 31
    (kept,) = await shown(MUG)
    assert [star.count for star in (await rating_of(MUG)).stars if star.rating == kept.rating] == [1]
    await check_books()


async def test_nobody_changes_what_another_wrote(shop: Shop) -> None:
    made = await write(MUG)
    bob = await receive(MUG)
    for who in (as_buyer(bob), as_seller(), as_admin()):
        with who, pytest.raises(NotFound):
            await reviews.change_review(MUG, made.id, ReviewChange(rating=1))
    for who in (as_buyer(bob), as_seller()):
        with who, pytest.raises(NotFound):
            await reviews.remove_review(MUG, made.id, "I do not like it")
    assert await shown(MUG) == (made,)


async def test_a_review_belongs_to_its_product(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, user_id=ada)
    with as_buyer(ada):
        for attempt in (
            reviews.change_review(new_id(), made.id, ReviewChange(rating=1)),
            reviews.remove_review(new_id(), made.id, None),
            reviews.get_review(new_id(), made.id),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert await reviews.get_review(MUG, made.id) == made


async def test_an_admin_says_why_another_review_goes(shop: Shop) -> None:
    ada = await receive(MUG)
    made = await write(MUG, user_id=ada)
    with as_admin():
        with pytest.raises(InvalidField):
            await reviews.remove_review(MUG, made.id, None)
        await reviews.remove_review(MUG, made.id, "an advertisement")
    assert await shown(MUG) == ()
    with as_buyer(ada):
        (own,) = (await reviews.list_own_reviews(None, 10, None)).items
    assert (own.status, own.reason) == ("rejected", "an advertisement")
    await check_books()


async def test_who_writes_too_much_waits(shop: Shop) -> None:
    settings.replace(reviews_per_day=3)
    ada, goods = new_id(), [new_id() for _ in range(5)]
    await hear(parcel(ada, *goods))
    with as_buyer(ada):
        made = await asyncio.gather(*(reviews.create_review(product_id, NewReview(5)) for product_id in goods), return_exceptions=True)
        assert sum(isinstance(one, TooMany) for one in made) == 2
    assert len(await announced("ReviewPosted")) == 3


async def test_who_writes_and_removes_again_and_again_waits(shop: Shop) -> None:
    settings.replace(reviews_per_day=3)
    ada = await receive(MUG)
    with as_buyer(ada):
        for _ in range(2):
            for _ in range(3):
                made = await reviews.create_review(MUG, NewReview(5))
                await reviews.remove_review(MUG, made.id, None)
            for _ in range(2):
                with pytest.raises(TooMany):
                    await reviews.create_review(MUG, NewReview(5))
            await db.pool.execute("UPDATE reviews.pace SET since = since - interval '1 day'")


async def test_a_parcel_that_is_told_again_is_one_purchase(shop: Shop) -> None:
    news = parcel(new_id(), MUG, MUG)
    await hear(news, news)
    await hear(news)
    assert await db.value("SELECT count(*) FROM reviews.purchase") == 1


async def test_purchases_that_nobody_may_review_any_more_are_forgotten_by_the_month(shop: Shop) -> None:
    # What was packed in the newer of these months may have arrived 400 days ago; of the older one everything is over.
    newer, older = await add_month(15), await add_month(18)
    ada = await receive(MUG)
    assert await jobs.forget_old_purchases() == 1
    assert await jobs.forget_old_purchases() == 0
    assert [await db.value("SELECT to_regclass($1) IS NOT NULL", name) for name in (newer, older)] == [True, False]
    settings.replace(purchase_days=1)
    assert await jobs.forget_old_purchases() == 1
    assert (await write(MUG, user_id=ada)).verified


async def test_what_is_gone_for_good_takes_its_reviews_along(shop: Shop) -> None:
    other = new_id()
    with as_buyer(await receive(MUG)):
        await reviews.add_favorite(MUG)
        kept = await reviews.add_favorite(other)
        await reviews.create_review(MUG, NewReview(5))
        await tell_of_product(ProductPublished(MUG, SELLER), ProductRemoved(MUG, SELLER), ProductPublished(other, SELLER))
        assert (await reviews.list_favorites(10, None)).items == (kept,)
        with pytest.raises(NotFound):
            await reviews.create_review(MUG, NewReview(5))
    assert await shown(MUG) == ()
    assert (await rating_of(MUG)).count == 0
    await tell_of_product(ProductPublished(MUG, SELLER))
    assert (await write(MUG)).verified
    await check_books()


@pytest.mark.parametrize("rated", [True, False])
async def test_what_is_written_while_its_product_goes_goes_along(shop: Shop, rated: bool) -> None:
    await tell_of_product(ProductPublished(MUG, SELLER))
    if rated:
        await write(MUG)
    ada = await receive(MUG)
    written = asyncio.Event()

    async def remove() -> None:
        await written.wait()
        await tell_of_product(ProductRemoved(MUG, SELLER))

    async def waits_or_is_done() -> bool:
        return removal.done() or bool(await db.pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

    removal = asyncio.create_task(remove())
    with as_buyer(ada):
        async with db.transaction() as tx:
            await add_review(tx, MUG, ada, NewReview(5))
            written.set()
            await until(waits_or_is_done)
        await removal
        assert (await reviews.list_own_reviews(None, 10, None)).items == ()
        with pytest.raises(NotFound):
            await reviews.create_review(MUG, NewReview(5))
    assert await db.value("SELECT count(*) FROM reviews.product_rating") == 0
    await check_books()
