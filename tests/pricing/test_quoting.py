"""A quote is made of what is in force at this moment, for a batch in one statement."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.conftest import asked_by

from souk import pricing
from souk.app import Shop
from souk.kit.db import Connection
from souk.kit.errors import InvalidField
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.pricing.database import db
from souk.pricing.quoting import FIND_IN_FORCE
from souk.pricing.types import (
    CouponExpired,
    CouponUnknown,
    CouponUsedUp,
    NewCoupon,
    NewPromotion,
    NewTaxRate,
    PricedLine,
    Quote,
    QuoteRequest,
    RedeemCoupon,
)

ANNA, BEN = new_id(), new_id()
SHIRTS, MUGS = new_id(), new_id()


async def promote(**terms: object) -> UUID:
    with asked_by("admin"):
        return (await pricing.create_promotion(NewPromotion(**{"name": "Sale", "kind": "percentage", "rate_ppm": 100_000} | terms))).id


async def make_coupon(code: str, **terms: object) -> UUID:
    with asked_by("admin"):
        new = NewCoupon(**{"name": "Coupon", "kind": "percentage", "rate_ppm": 100_000, "code": code} | terms)
        return (await pricing.create_coupon(new)).id


def line(price: int = 1000, seller: UUID = ANNA, category: UUID = SHIRTS, product: UUID | None = None) -> PricedLine:
    return PricedLine("SKU", product or new_id(), seller, (category,), "standard", 1, Money(price, "EUR"))


def ask(*lines: PricedLine, **rest: object) -> QuoteRequest:
    return QuoteRequest("EUR", lines or (line(),), **rest)


async def off(*lines: PricedLine, **rest: object) -> int:
    return (await pricing.quote(ask(*lines, **rest))).discount.amount


async def test_promotions_in_force_apply(shop: Shop) -> None:
    now = datetime.now(UTC)
    assert await off() == 0
    await promote(rate_ppm=900_000, active=False)
    await promote(rate_ppm=900_000, ends_at=now)
    await promote(rate_ppm=900_000, starts_at=now + timedelta(hours=1))
    await promote(rate_ppm=900_000, seller_id=BEN)
    await promote(rate_ppm=900_000, category_ids=(MUGS,))
    await promote(rate_ppm=900_000, product_ids=(new_id(),))
    await promote(kind="fixed", rate_ppm=None, amount=Money(900, "USD"))
    assert await off() == 0
    await promote(starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1))
    assert await off() == 100
    assert await off(line(), line(seller=BEN)) == 100 + 900
    assert await off(line(), line(category=MUGS)) == 100 + 900


async def test_a_change_holds_from_the_next_quote_on(shop: Shop) -> None:
    promotion_id = await promote()
    assert await off() == 100
    with asked_by("admin"):
        await pricing.change_promotion(promotion_id, pricing.PromotionChanges(rate_ppm=200_000))
        assert await off() == 200
        await pricing.remove_promotion(promotion_id)
    assert await off() == 0


async def test_a_coupon_by_its_code(shop: Shop) -> None:
    await make_coupon("Summer-10")
    for typed in ("SUMMER-10", "summer-10", " Summer-10 "):
        assert (await pricing.quote(ask(coupon=typed))).coupon == "SUMMER-10"
    for wrong in ("SUMMER", "", "x" * 10_000, "a\x00b", "'; DROP TABLE", "\u017fummer-10"):
        with pytest.raises(CouponUnknown):
            await pricing.quote(ask(coupon=wrong))


async def test_a_coupon_that_was_used_up(shop: Shop) -> None:
    await make_coupon("ONCE", usage_limit_per_buyer=1)
    buyer, order_id = new_id(), new_id()
    await pricing.redeem_coupon(RedeemCoupon(order_id, "ONCE", str(buyer), Money(100, "EUR")))
    with pytest.raises(CouponUsedUp):
        await pricing.quote(ask(coupon="ONCE", user_id=buyer))
    assert await off(coupon="ONCE", user_id=new_id()) == 100
    assert await off(coupon="ONCE", user_id=buyer, order_id=order_id) == 100
    with pytest.raises(CouponUsedUp):
        await pricing.quote(ask(coupon="ONCE", user_id=buyer, order_id=new_id()))


async def test_an_expired_coupon(shop: Shop) -> None:
    await make_coupon("LATE", ends_at=datetime.now(UTC))
    with pytest.raises(CouponExpired):
        await pricing.quote(ask(coupon="LATE"))


async def test_tax_by_country_and_region(shop: Shop) -> None:
    with asked_by("admin"):
        await pricing.set_tax_rates(
            (
                NewTaxRate(country="DE", name="MwSt", rate_ppm=190_000),
                NewTaxRate(country="US", region="ca", name="Sales tax", rate_ppm=72_500),
            )
        )
    german = await pricing.quote(ask(line(1190), country="DE"))
    assert (german.tax, german.total, german.tax_included) == (Money(190, "EUR"), Money(1190, "EUR"), True)
    american = await pricing.quote(ask(line(1000), country="US", region="CA"))
    assert (american.tax, american.total, american.tax_included) == (Money(73, "EUR"), Money(1073, "EUR"), False)
    elsewhere = await pricing.quote(ask(line(1000), country="US", region="OR"))
    assert (elsewhere.tax, elsewhere.lines[0].tax_reason) == (Money(0, "EUR"), "not_collected")


async def test_every_request_of_a_batch_has_its_own_answer(shop: Shop) -> None:
    await make_coupon("TEN")
    await make_coupon("TWENTY", rate_ppm=200_000)
    codes = [None, "TEN", "TWENTY", "NOPE"] * 25
    answers = await asyncio.gather(*(pricing.quote(ask(coupon=code)) for code in codes), return_exceptions=True)
    found = [one.discount.amount if isinstance(one, Quote) else type(one) for one in answers]
    assert found == [0, 100, 200, CouponUnknown] * 25


async def test_one_that_cannot_be_added_up_spoils_no_other(shop: Shop) -> None:
    bad = QuoteRequest("USD", (line(),))
    answers = await asyncio.gather(pricing.quote(bad), pricing.quote(ask()), return_exceptions=True)
    assert isinstance(answers[0], InvalidField)
    assert isinstance(answers[1], Quote)


async def test_a_quote_does_not_wait_for_a_coupon_that_is_being_counted(shop: Shop) -> None:
    await make_coupon("BUSY")
    async with db.pool.acquire() as counting, counting.transaction():
        await counting.execute("UPDATE pricing.promotion SET uses = uses + 1")
        assert (await pricing.quote(ask(coupon="BUSY"))).coupon == "BUSY"


async def test_the_statement_reads_by_index(shop: Shop) -> None:
    """With a year of coupons and old promotions in the tables none of them is read through."""
    async with db.transaction() as tx:
        await tx.run(
            "INSERT INTO pricing.promotion (id, code, name, kind, rate_ppm) "
            "SELECT gen_random_uuid(), 'C' || n, 'Old', 'percentage', 1000 FROM generate_series(1, 20000) AS n"
        )
        await tx.run(
            "INSERT INTO pricing.promotion (id, name, kind, rate_ppm, ends_at) "
            "SELECT gen_random_uuid(), 'Old', 'percentage', 1000, now() - interval '1 day' FROM generate_series(1, 20000)"
        )
    async with db.pool.acquire() as connection:
        await connection.execute("ANALYZE pricing.promotion")
        plan = await explain(connection, FIND_IN_FORCE, [ANNA], [new_id()], [SHIRTS], ["C7"], [str(new_id())], [new_id()], ["DE"])
    assert "Seq Scan on promotion" not in plan
    assert "promotion_live" in plan


async def explain(connection: Connection, sql: str, *values: object) -> str:
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *values))
