"""A coupon is used as often as it may be, once per order, and given back once."""

import asyncio

import asyncpg
import msgspec
import pytest
from tests.batches import in_processes
from tests.conftest import asked_by

from souk import pricing
from souk.app import Shop
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.personal import export_user_data
from souk.pricing.database import db
from souk.pricing.redemptions import decide
from souk.pricing.types import (
    Coupon,
    CouponCurrency,
    CouponNotForYou,
    CouponRefused,
    CouponUnknown,
    CouponUsedUp,
    NewCoupon,
    RedeemCoupon,
    Redemption,
    RestoreCoupon,
)

ROUNDS = 5


async def make_coupon(code: str = "WELCOME", **terms: object) -> Coupon:
    with asked_by("admin"):
        new = NewCoupon(**{"name": "Welcome", "kind": "percentage", "rate_ppm": 100_000, "code": code} | terms)
        return await pricing.create_coupon(new)


async def uses(coupon: Coupon) -> int:
    with asked_by("admin"):
        return (await pricing.get_coupon(coupon.id)).uses


def ask(code: str = "WELCOME", buyer: str | None = None, discount: int = 500, currency: str = "EUR") -> RedeemCoupon:
    return RedeemCoupon(new_id(), code, buyer or str(new_id()), Money(discount, currency))


async def redeem_all(*requests: RedeemCoupon) -> tuple[list[Redemption], list[BaseException]]:
    answers = await asyncio.gather(*(pricing.redeem_coupon(request) for request in requests), return_exceptions=True)
    return [one for one in answers if isinstance(one, Redemption)], [one for one in answers if isinstance(one, BaseException)]


async def test_a_use_is_counted_once_per_order(shop: Shop) -> None:
    coupon = await make_coupon()
    request = ask("welcome")
    first = await pricing.redeem_coupon(request)
    assert (first.code, first.status, first.discount, first.promotion_id) == ("WELCOME", "redeemed", Money(500, "EUR"), coupon.id)
    assert await pricing.redeem_coupon(request) == first
    twins, refused = await redeem_all(*[request] * 16)
    assert set(twins) == {first} and not refused
    assert await uses(coupon) == 1


@pytest.mark.parametrize("limit", [1, 10])
async def test_64_buyers_of_a_limited_coupon(shop: Shop, limit: int) -> None:
    for turn in range(ROUNDS):
        coupon = await make_coupon(f"LIMIT{turn}", usage_limit=limit)
        redeemed, refused = await redeem_all(*(ask(coupon.code) for _ in range(64)))
        assert (len(redeemed), {type(one) for one in refused}) == (limit, {CouponUsedUp})
        assert await uses(coupon) == limit


@pytest.mark.parametrize("limit", [1, 10])
async def test_64_processes_that_do_not_share_a_batch(shop: Shop, limit: int) -> None:
    """As if each request came to another process: batches of one, all at the database at once."""
    coupon = await make_coupon(usage_limit=limit)
    answers = await in_processes(db, pricing.redeem_coupon.batcher._work, [[ask()] for _ in range(64)])
    assert sum(isinstance(one, Redemption) for one in answers) == limit
    assert sum(isinstance(one, CouponUsedUp) for one in answers) == 64 - limit
    assert await uses(coupon) == limit


async def test_twins_with_different_coupons_use_one_of_them(shop: Shop) -> None:
    coupons = [await make_coupon("AAA"), await make_coupon("BBB")]
    orders = [ask() for _ in range(24)]
    batches = [[msgspec.structs.replace(order, code=coupon.code)] for order in orders for coupon in coupons]
    answers = await in_processes(db, pricing.redeem_coupon.batcher._work, batches)
    assert len(answers) == 48 and len(set(answers)) == 24
    assert sum([await uses(coupon) for coupon in coupons]) == 24
    assert await db.value("SELECT count(*) FROM pricing.outbox WHERE type = 'pricing.CouponRedeemed'") == 24


async def test_each_buyer_once(shop: Shop) -> None:
    coupon = await make_coupon(usage_limit_per_buyer=1)
    buyers = [str(new_id()) for _ in range(4)] + ["guest:6f1e"]
    redeemed, refused = await redeem_all(*(ask(buyer=buyers[turn % 5]) for turn in range(65)))
    assert len(redeemed) == 5
    assert {type(one) for one in refused} == {CouponUsedUp}
    assert await uses(coupon) == 5
    again, _ = await redeem_all(ask(buyer=buyers[0]))
    assert again == []


async def test_limits_hold_inside_a_batch(shop: Shop) -> None:
    """Without a look at the counters in the database, which would refuse the whole batch."""
    thrifty = await make_coupon("AAA", usage_limit_per_buyer=1, budget=Money(1000, "EUR"))
    short = await make_coupon("BBB", usage_limit=2)
    wanted = [ask("aaa", buyer="guest:1"), ask("aaa", buyer="guest:1"), ask("aaa", "guest:2", 501), ask("aaa", "guest:2")]
    wanted += [ask("bbb"), ask("bbb"), ask("bbb")]
    granted, refused = decide(wanted, (thrifty, short), ())
    assert [request for request, _ in granted] == [wanted[0], wanted[3], wanted[4], wanted[5]]
    assert {order_id: type(why) for order_id, why in refused.items()} == {wanted[at].order_id: CouponUsedUp for at in (1, 2, 6)}


async def test_a_budget_is_never_overspent(shop: Shop) -> None:
    coupon = await make_coupon(budget=Money(1000, "EUR"))
    redeemed, refused = await redeem_all(*(ask(discount=300) for _ in range(64)))
    assert (len(redeemed), {type(one) for one in refused}) == (3, {CouponUsedUp})
    await pricing.redeem_coupon(ask(discount=100))
    with asked_by("admin"):
        assert (await pricing.get_coupon(coupon.id)).spent == Money(1000, "EUR")
    with pytest.raises(CouponCurrency):
        await pricing.redeem_coupon(ask(discount=1, currency="USD"))


async def test_what_an_order_gives_back_another_can_use(shop: Shop) -> None:
    coupon = await make_coupon(usage_limit=1, usage_limit_per_buyer=1, budget=Money(500, "EUR"))
    request = ask(buyer="guest:6f1e")
    await pricing.redeem_coupon(request)
    answers = await asyncio.gather(*(pricing.restore_coupon(RestoreCoupon(request.order_id)) for _ in range(16)))
    assert {one.status for one in answers if one} == {"restored"} and None not in answers
    assert await uses(coupon) == 0
    assert (await pricing.redeem_coupon(request)).status == "restored"
    assert await uses(coupon) == 0
    assert (await pricing.redeem_coupon(ask(buyer="guest:6f1e"))).status == "redeemed"
    assert await uses(coupon) == 1


async def test_an_order_that_was_given_up_counts_nothing_later(shop: Shop) -> None:
    coupon = await make_coupon()
    request = ask()
    assert await pricing.restore_coupon(RestoreCoupon(request.order_id)) is None
    assert await pricing.restore_coupon(RestoreCoupon(request.order_id)) is None
    with pytest.raises(CouponRefused):
        await pricing.redeem_coupon(request)
    assert await uses(coupon) == 0


async def test_using_and_giving_up_at_once_leaves_nothing_counted(shop: Shop) -> None:
    coupon = await make_coupon(usage_limit=100)
    requests = [ask() for _ in range(50)]

    async def use(request: RedeemCoupon) -> None:
        try:
            await pricing.redeem_coupon(request)
        except CouponRefused:
            return

    await asyncio.gather(*(work for one in requests for work in (use(one), pricing.restore_coupon(RestoreCoupon(one.order_id)))))
    counted = await db.value("SELECT count(*) FROM pricing.redemption WHERE status = 'redeemed'")
    assert counted == await uses(coupon) == 0


async def test_crossing_coupons_do_not_deadlock(shop: Shop) -> None:
    coupons = [await make_coupon(code) for code in ("AAA", "BBB", "CCC")]

    async def use_and_give_back(turn: int) -> None:
        request = ask(coupons[turn % 3].code)
        await pricing.redeem_coupon(request)
        await pricing.restore_coupon(RestoreCoupon(request.order_id))

    await asyncio.gather(*(use_and_give_back(turn) for turn in range(200)))
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert [await uses(coupon) for coupon in coupons] == [0, 0, 0]


async def test_a_personal_coupon_is_for_one_buyer(shop: Shop) -> None:
    owner = new_id()
    await make_coupon(user_id=owner)
    with pytest.raises(CouponNotForYou):
        await pricing.redeem_coupon(ask())
    assert (await pricing.redeem_coupon(ask(buyer=str(owner)))).status == "redeemed"


async def test_a_buyer_sees_what_is_kept_of_them(shop: Shop) -> None:
    buyer = new_id()
    mine = await make_coupon("MINE", user_id=buyer)
    await make_coupon("OURS")
    await make_coupon("THEIRS", user_id=new_id())
    used = await pricing.redeem_coupon(ask("OURS", buyer=str(buyer)))
    await pricing.redeem_coupon(ask("OURS"))
    with asked_by("buyer", user_id=buyer):
        kept = (await export_user_data(buyer))["pricing"]
    assert msgspec.convert(kept["coupons"], tuple[Coupon, ...]) == (mine,)
    assert msgspec.convert(kept["redemptions"], tuple[Redemption, ...]) == (used,)


async def test_a_code_that_nobody_made(shop: Shop) -> None:
    for code in ("NOPE", "", "x" * 5000, "a\x00b"):
        with pytest.raises(CouponUnknown):
            await pricing.redeem_coupon(ask(code))


async def test_one_refused_order_does_not_touch_the_others(shop: Shop) -> None:
    coupon = await make_coupon(usage_limit=2)
    redeemed, refused = await redeem_all(ask(), ask("NOPE"), ask())
    assert len(redeemed) == 2
    assert [type(one) for one in refused] == [CouponUnknown]
    assert await uses(coupon) == 2


async def test_uses_are_told_of_once(shop: Shop) -> None:
    coupon = await make_coupon()
    request = ask()
    for _ in range(2):
        await pricing.redeem_coupon(request)
    for _ in range(2):
        await pricing.restore_coupon(RestoreCoupon(request.order_id))
    told = await db.value("SELECT array_agg(type || ' ' || aggregate_id ORDER BY xid, id) FROM pricing.outbox")
    assert told == [f"pricing.CouponRedeemed {coupon.id}", f"pricing.CouponRestored {coupon.id}"]


async def test_the_database_itself_refuses_to_overuse(shop: Shop) -> None:
    coupon = await make_coupon(usage_limit=1, usage_limit_per_buyer=1, budget=Money(500, "EUR"))
    await pricing.redeem_coupon(ask())
    for overuse in (
        "UPDATE pricing.promotion SET uses = uses + 1",
        "UPDATE pricing.promotion SET uses = -1",
        "UPDATE pricing.promotion SET spent = spent + 1",
        "UPDATE pricing.buyer_usage SET uses = uses + 1",
        "UPDATE pricing.redemption SET buyer = NULL",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            async with db.transaction() as tx:
                await tx.run(overuse)
    assert await uses(coupon) == 1
