"""Promotions and coupons are made and changed by those whose they are, and never contradict themselves."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest
from tests.conftest import asked_by

from souk import pricing
from souk.app import Shop
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import DomainError, Forbidden, InvalidField, NotFound, Unauthenticated
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.pricing.types import (
    Coupon,
    CouponChanges,
    CouponCodeTaken,
    NewCoupon,
    NewPromotion,
    Promotion,
    PromotionChanges,
    RedeemCoupon,
)

ANNA, BEN = new_id(), new_id()


def new_promotion(**terms: object) -> NewPromotion:
    return NewPromotion(**{"name": "Sale", "kind": "percentage", "rate_ppm": 100_000} | terms)


def new_coupon(code: str = "WELCOME", **terms: object) -> NewCoupon:
    return NewCoupon(**{"name": "Welcome", "kind": "percentage", "rate_ppm": 100_000, "code": code} | terms)


async def make_coupon(**terms: object) -> Coupon:
    with asked_by("admin"):
        return await pricing.create_coupon(new_coupon(**terms))


async def change(coupon_id: UUID, **changes: object) -> Coupon:
    with asked_by("admin"):
        return await pricing.change_coupon(coupon_id, CouponChanges(**changes))


async def test_what_was_written_is_read(shop: Shop) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    terms = new_coupon(
        "welcome",
        kind="fixed",
        rate_ppm=None,
        amount=Money(500, "EUR"),
        minimum=Money(2000, "EUR"),
        budget=Money(100_000, "EUR"),
        seller_ids=(ANNA, BEN),
        category_ids=(new_id(),),
        product_ids=(new_id(),),
        starts_at=now,
        ends_at=now + timedelta(days=1),
        active=False,
        priority=7,
        combinable=True,
        user_id=new_id(),
        usage_limit=10,
        usage_limit_per_buyer=1,
    )
    with asked_by("admin"):
        made = await pricing.create_coupon(terms)
        assert await pricing.get_coupon(made.id) == made
    for name in set(terms.__struct_fields__) - {"code"}:
        assert getattr(made, name) == getattr(terms, name)
    assert (made.code, made.uses, made.spent) == ("WELCOME", 0, Money(0, "EUR"))


async def test_a_code_is_given_once(shop: Shop) -> None:
    await make_coupon(code="WELCOME")
    with pytest.raises(CouponCodeTaken):
        await make_coupon(code="welcome")
    with asked_by("admin"):
        answers = await asyncio.gather(*(pricing.create_coupon(new_coupon("TWIN")) for _ in range(16)), return_exceptions=True)
    assert sum(isinstance(one, Coupon) for one in answers) == 1
    assert sum(isinstance(one, CouponCodeTaken) for one in answers) == 15


async def test_the_same_key_makes_one_coupon(shop: Shop) -> None:
    admin = Principal("user", new_id(), ("admin",))
    with asking(Caller(admin, idempotency_key="k1")):
        first = await pricing.create_coupon(new_coupon())
        assert await pricing.create_coupon(new_coupon()) == first
        with pytest.raises(IdempotencyKeyReused):
            await pricing.create_coupon(new_coupon("OTHER"))


async def test_a_seller_manages_their_own_and_nobody_elses(shop: Shop) -> None:
    platforms, bens = await make_coupon(code="SHOP"), await make_coupon(code="BEN", seller_id=BEN)
    with asked_by("seller", sells_for=(ANNA,)):
        mine = await pricing.create_coupon(new_coupon("ANNA"))
        assert mine.seller_id == ANNA
        assert await pricing.list_coupons(None, 10) == (mine,)
        for another in (platforms, bens):
            with pytest.raises(NotFound):
                await pricing.get_coupon(another.id)
            with pytest.raises(NotFound):
                await pricing.change_coupon(another.id, CouponChanges(active=False))
            with pytest.raises(NotFound):
                await pricing.remove_coupon(another.id)
        with pytest.raises(NotFound):
            await pricing.create_coupon(new_coupon("THEFT", seller_id=BEN))
        assert not (await pricing.change_coupon(mine.id, CouponChanges(active=False))).active
        await pricing.remove_coupon(mine.id)
        with pytest.raises(NotFound):
            await pricing.get_coupon(mine.id)
    with asked_by("admin"):
        assert await pricing.list_coupons(None, 10) == (bens, platforms)


async def test_a_seller_of_two_says_for_which(shop: Shop) -> None:
    with asked_by("seller", sells_for=(ANNA, BEN)):
        with pytest.raises(InvalidField):
            await pricing.create_promotion(new_promotion())
        assert (await pricing.create_promotion(new_promotion(seller_id=BEN))).seller_id == BEN


async def test_buyers_and_strangers_make_none(shop: Shop) -> None:
    with asked_by("buyer"):
        for attempt in (pricing.create_coupon(new_coupon()), pricing.list_coupons(None, 10), pricing.list_promotions(None, 10)):
            with pytest.raises(Forbidden):
                await attempt
    with asking(Caller()), pytest.raises(Unauthenticated):
        await pricing.create_promotion(new_promotion())


async def test_a_coupon_is_no_promotion(shop: Shop) -> None:
    coupon = await make_coupon()
    with asked_by("admin"):
        promotion = await pricing.create_promotion(new_promotion())
        assert await pricing.list_promotions(None, 10) == (promotion,)
        assert await pricing.list_coupons(None, 10) == (coupon,)
        with pytest.raises(NotFound):
            await pricing.get_promotion(coupon.id)
        with pytest.raises(NotFound):
            await pricing.get_coupon(promotion.id)


async def test_pages_follow_each_other(shop: Shop) -> None:
    with asked_by("admin"):
        made = [await pricing.create_promotion(new_promotion(seller_id=ANNA)) for _ in range(5)]
    for principal in (("admin", ()), ("seller", (ANNA,))):
        with asked_by(principal[0], sells_for=principal[1]):
            first = await pricing.list_promotions(None, 3)
            rest = await pricing.list_promotions(first[-1].id, 3)
        assert [one.id for one in (*first, *rest)] == [one.id for one in reversed(made)]


CONTRADICTIONS: list[tuple[dict[str, object], str]] = [
    ({"rate_ppm": None}, "rate_ppm"),
    ({"kind": "fixed"}, "rate_ppm"),
    ({"kind": "fixed", "rate_ppm": None}, "amount"),
    ({"amount": Money(1, "EUR")}, "amount"),
    ({"kind": "free_shipping"}, "rate_ppm"),
    ({"kind": "fixed", "rate_ppm": None, "amount": Money(0, "EUR")}, "amount"),
    ({"minimum": Money(-1, "EUR")}, "minimum"),
    ({"minimum": Money(1, "EUR"), "budget": Money(1, "USD")}, "budget"),
    ({"minimum": Money(1, "XXX")}, "minimum"),
    ({"starts_at": datetime(2026, 5, 1, tzinfo=UTC), "ends_at": datetime(2026, 5, 1, tzinfo=UTC)}, "ends_at"),
    ({"starts_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=10)))}, "starts_at"),
    ({"ends_at": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-10)))}, "ends_at"),
    ({"seller_id": ANNA, "seller_ids": (BEN,)}, "seller_ids"),
]


async def test_terms_that_contradict_themselves(shop: Shop) -> None:
    for terms, field in CONTRADICTIONS:
        with pytest.raises(InvalidField) as refused:
            await make_coupon(**terms)
        assert refused.value.field == field
    with asked_by("admin"):
        assert await pricing.list_coupons(None, 10) == ()


@pytest.mark.parametrize(
    "body",
    [
        {"code": "ab"},
        {"code": "with space"},
        {"code": "a" * 41},
        {"rate_ppm": 0},
        {"rate_ppm": 1_000_001},
        {"rate_ppm": 1.5},
        {"usage_limit": 0},
        {"usage_limit": 2**63},
        {"name": ""},
        {"name": "x" * 201},
        {"kind": "gift"},
        {"starts_at": "2026-05-01T00:00:00"},
        {"product_ids": ["no id"]},
        {"product_ids": [str(UUID(int=1))] * 201},
        {"priority": -1},
        {"uses": 0},
        {"id": str(UUID(int=1))},
    ],
)
def test_a_field_out_of_range(body: dict[str, object]) -> None:
    good = {"name": "Welcome", "kind": "percentage", "rate_ppm": 100_000, "code": "WELCOME"}
    assert msgspec.json.decode(msgspec.json.encode(good), type=NewCoupon).code == "WELCOME"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(good | body), type=NewCoupon)


async def test_what_is_not_given_stays(shop: Shop) -> None:
    before = await make_coupon(minimum=Money(2000, "EUR"), usage_limit=5)
    after = await change(before.id, name="Hello", minimum=None)
    assert (after.name, after.minimum, after.usage_limit, after.created_at) == ("Hello", None, 5, before.created_at)
    assert after.updated_at > before.updated_at


async def test_a_change_is_checked_as_a_whole(shop: Shop) -> None:
    coupon = await make_coupon()
    with pytest.raises(InvalidField):
        await change(coupon.id, kind="fixed")
    changed = await change(coupon.id, kind="fixed", rate_ppm=None, amount=Money(500, "EUR"))
    assert (changed.kind, changed.amount, changed.rate_ppm) == ("fixed", Money(500, "EUR"), None)


async def test_limits_do_not_fall_below_what_was_used(shop: Shop) -> None:
    coupon = await make_coupon(usage_limit=10, budget=Money(10_000, "EUR"))
    for _ in range(2):
        await pricing.redeem_coupon(RedeemCoupon(new_id(), coupon.code, "guest:1", Money(500, "EUR")))
    for changes in ({"usage_limit": 1}, {"budget": Money(999, "EUR")}, {"budget": None}, {"budget": Money(10_000, "USD")}):
        with pytest.raises(InvalidField):
            await change(coupon.id, **changes)
    stopped = await change(coupon.id, usage_limit=2, budget=Money(1000, "EUR"))
    assert (stopped.usage_limit, stopped.uses, stopped.spent) == (2, 2, Money(1000, "EUR"))
    with pytest.raises(DomainError):
        await pricing.redeem_coupon(RedeemCoupon(new_id(), coupon.code, "guest:2", Money(0, "EUR")))


async def test_a_change_loses_no_use_that_is_counted_meanwhile(shop: Shop) -> None:
    coupon = await make_coupon()
    requests = [RedeemCoupon(new_id(), coupon.code, f"guest:{turn}", Money(1, "EUR")) for turn in range(40)]
    await asyncio.gather(*(pricing.redeem_coupon(one) for one in requests), *(change(coupon.id, name=f"Name {turn}") for turn in range(20)))
    with asked_by("admin"):
        assert (await pricing.get_coupon(coupon.id)).uses == 40


async def test_two_changes_at_once_are_both_kept(shop: Shop) -> None:
    coupon = await make_coupon()
    for turn in range(1, 11):
        await asyncio.gather(change(coupon.id, name=f"Name {turn}"), change(coupon.id, priority=turn), change(coupon.id, usage_limit=turn))
        with asked_by("admin"):
            now = await pricing.get_coupon(coupon.id)
        assert (now.name, now.priority, now.usage_limit) == (f"Name {turn}", turn, turn)


async def test_a_promotion_is_changed_and_removed(shop: Shop) -> None:
    with asked_by("admin"):
        made = await pricing.create_promotion(new_promotion())
        changed = await pricing.change_promotion(made.id, PromotionChanges(priority=1))
        assert isinstance(changed, Promotion)
        assert changed.priority == 1
        await pricing.remove_promotion(made.id)
        with pytest.raises(NotFound):
            await pricing.remove_promotion(made.id)
