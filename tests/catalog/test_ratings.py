"""What buyers say of a product stands on its page within a moment, in its newest form, and is no new version of it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.catalog.goods import SELLER, announced, as_admin, as_system, create, mug
from tests.catalog.test_pages import warm_page
from tests.conftest import asked_by
from tests.waiting import until

from souk import catalog, reviews
from souk.app import Shop
from souk.catalog import browsing, consumers, importing, pages
from souk.catalog.database import db
from souk.catalog.merging import NumberedRow
from souk.catalog.rows import ImportRow
from souk.catalog.types import Rating
from souk.kit.errors import Forbidden
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.reviews import consumers as reviews_consumers
from souk.reviews.database import db as reviews_db
from souk.reviews.events import RatingChanged
from souk.shipping.events import ShipmentDelivered, ShippedLine

SHOW = "UPDATE catalog.product SET rating_count = 1, rating_average = 1, reviews_version = 9 WHERE id = $1"
TELL = """
    INSERT INTO catalog.outbox (event_id, type, aggregate_id, payload, request_id)
    VALUES (gen_random_uuid(), 'catalog.RatingShown', $1, json_build_object('product_id', $1::uuid), '')
"""


async def hear(*changes: RatingChanged) -> None:
    async with db.transaction() as tx:
        await consumers.show_ratings(tx, tuple(Delivered(one, new_id(), datetime.now(UTC)) for one in changes))


async def rating_of(product_id: UUID) -> Rating:
    return (await pages.get_product(product_id, None)).rating


async def review(product_id: UUID, rating: int) -> reviews.Review:
    """Somebody new received the product and rates it."""
    user_id = new_id()
    parcel = ShipmentDelivered(new_id(), new_id(), SELLER, (ShippedLine(new_id(), "MUG", 1, product_id),), datetime.now(UTC), user_id)
    async with reviews_db.transaction() as tx:
        await reviews_consumers.keep_purchases(tx, (Delivered(parcel, new_id(), datetime.now(UTC)),))
    with asked_by("buyer", user_id=user_id):
        return await reviews.create_review(product_id, reviews.NewReview(rating))


async def test_the_newest_rating_is_shown_whatever_comes_first(shop: Shop) -> None:
    (product,) = await create(mug())
    assert product.rating == Rating(None, 0)
    await hear(RatingChanged(product.id, 3, 14, 3), RatingChanged(product.id, 2, 10, 2))
    assert await rating_of(product.id) == Rating(4.67, 3)
    await hear(RatingChanged(product.id, 1, 5, 1), RatingChanged(new_id(), 1, 5, 1))
    assert await rating_of(product.id) == Rating(4.67, 3)
    await hear(RatingChanged(product.id, 0, 0, 4))
    assert await rating_of(product.id) == Rating(None, 0)
    assert len(await announced("RatingShown")) == 2


async def test_a_rating_is_no_new_version(shop: Shop) -> None:
    (product,) = await create(mug())
    await hear(RatingChanged(product.id, 1, 5, 1))
    rated = await pages.get_product(product.id, None)
    assert (rated.version, rated.updated_at) == (product.version, product.updated_at)
    assert await announced("ProductChanged") == []


async def test_lists_filter_by_what_buyers_say(shop: Shop) -> None:
    good, bad = await create(mug("GOOD"), mug("BAD"))
    await hear(RatingChanged(good.id, 2, 9, 1), RatingChanged(bad.id, 2, 3, 1))
    listed = (await browsing.list_products(catalog.ProductFilter(min_rating=4), 10, None)).items
    assert [(product.id, product.rating) for product in listed] == [(good.id, Rating(4.5, 2))]


async def test_a_page_in_memory_shows_a_new_rating_within_seconds(working_shop: Shop) -> None:
    (product,) = await create(mug())
    await warm_page(product.id)
    made = [await review(product.id, rating) for rating in (5, 4, 4)]

    async def shows(wanted: Rating) -> bool:
        return await rating_of(product.id) == wanted

    await until(lambda: shows(Rating(4.33, 3)), within_s=3.0)
    with asked_by("admin"):
        await reviews.reject_review(made[0].id, "spam")
    await until(lambda: shows(Rating(4.0, 2)), within_s=3.0)


async def test_a_page_shows_a_rating_that_another_process_wrote(working_shop: Shop) -> None:
    (product,) = await create(mug())
    await warm_page(product.id)
    await db.pool.execute(SHOW, product.id)
    assert await rating_of(product.id) == Rating(None, 0)
    await db.pool.execute(TELL, product.id)

    async def shows_it() -> bool:
        return await rating_of(product.id) == Rating(1.0, 1)

    await until(shows_it, within_s=2.0)


async def test_an_imported_rating_stands_until_there_are_reviews(shop: Shop) -> None:
    row = ImportRow(sku="MUG", name="Mug", prices=(catalog.Price(5, "USD"),), rating_average=4.5, rating_count=1000)
    with as_system():
        (first,) = await importing.import_rows((NumberedRow(1, row),), SELLER)
        assert first.product_id is not None
        assert await rating_of(first.product_id) == Rating(4.5, 1000)
        await hear(RatingChanged(first.product_id, 1, 2, 1))
        assert await rating_of(first.product_id) == Rating(2.0, 1)
        (again,) = await importing.import_rows((NumberedRow(1, row),), SELLER)
    assert again.result == "unchanged"
    assert await rating_of(first.product_id) == Rating(2.0, 1)


async def test_what_is_shown_is_told_to_the_audit(shop: Shop) -> None:
    product, other = await create(mug("A"), mug("B"))
    await hear(RatingChanged(product.id, 3, 14, 1))
    with as_admin():
        shown = await catalog.read_shown_ratings((product.id, other.id, new_id()))
    assert {(one.product_id, one.count, one.average_hundredths) for one in shown} == {(product.id, 3, 467), (other.id, 0, None)}
    with asked_by("seller"), pytest.raises(Forbidden):
        await catalog.read_shown_ratings((product.id,))
