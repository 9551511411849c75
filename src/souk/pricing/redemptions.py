"""Count the use of a coupon, once per order and never above its limits, and give it back once."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from uuid import UUID

import msgspec

from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns, part
from souk.kit.errors import DomainError
from souk.kit.events import APPEND, News, publish
from souk.kit.personal import exports_user_data
from souk.pricing.database import db
from souk.pricing.events import CouponRedeemed, CouponRestored
from souk.pricing.promotions import COLUMNS, normalise_code
from souk.pricing.quotes import is_used_up
from souk.pricing.quoting import BuyerUses
from souk.pricing.types import (
    Coupon,
    CouponCurrency,
    CouponNotForYou,
    CouponRefused,
    CouponUnknown,
    CouponUsedUp,
    RedeemCoupon,
    Redemption,
    RestoreCoupon,
)

# Coupons are locked before redemptions are written, both in the order of their keys, so that no two batches can deadlock.
LOCK_BY_CODE = f"SELECT {COLUMNS} FROM pricing.promotion WHERE code = ANY($1) ORDER BY id FOR UPDATE"
LOCK_OF_ORDERS = """
    SELECT id FROM pricing.promotion
    WHERE id IN (SELECT promotion_id FROM pricing.redemption WHERE order_id = ANY($1) AND status = 'redeemed')
    ORDER BY id FOR UPDATE
"""
FIND_USES = "SELECT promotion_id, buyer, uses FROM pricing.buyer_usage WHERE promotion_id = ANY($1) AND buyer = ANY($2)"
REDEMPTION = """
    json_build_object('order_id', order_id, 'promotion_id', promotion_id, 'code', code, 'status', status,
                      'discount', json_build_object('amount', discount, 'currency', currency),
                      'created_at', created_at, 'updated_at', updated_at)
"""
FIND = f"""
    SELECT order_id, CASE WHEN promotion_id IS NOT NULL THEN {REDEMPTION} END AS redemption
    FROM pricing.redemption WHERE order_id = ANY($1)
"""
FIND_OF_BUYER = f"SELECT order_id, {REDEMPTION} AS redemption FROM pricing.redemption WHERE buyer = $1 ORDER BY order_id"
FIND_PERSONAL = f"SELECT {COLUMNS} FROM pricing.promotion WHERE user_id = $1 ORDER BY id"
# Uses that were granted: written, counted and told of, but for a twin's that came first from elsewhere. The coupons are locked.
REDEEM = f"""
    WITH used AS (
        INSERT INTO pricing.redemption (order_id, promotion_id, code, buyer, currency, discount, status)
        SELECT u.order_id, u.promotion_id, u.code, u.buyer, u.currency, u.discount, 'redeemed'
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
            AS u (order_id, promotion_id, code, buyer, currency, discount)
        ORDER BY u.order_id
        ON CONFLICT (order_id) DO NOTHING
        RETURNING order_id, promotion_id, buyer, discount, {REDEMPTION} AS redemption
    ), counted AS (
        UPDATE pricing.promotion AS p SET uses = p.uses + u.uses, spent = p.spent + u.spent
        FROM (SELECT promotion_id, count(*) AS uses, sum(discount)::bigint AS spent FROM used GROUP BY promotion_id) AS u
        WHERE p.id = u.promotion_id
    ), counted_for_buyers AS (
        INSERT INTO pricing.buyer_usage AS b (promotion_id, buyer, uses, usage_limit)
        SELECT u.promotion_id, u.buyer, count(*), p.usage_limit_per_buyer
        FROM used AS u JOIN pricing.promotion AS p ON p.id = u.promotion_id
        GROUP BY u.promotion_id, u.buyer, p.usage_limit_per_buyer
        ORDER BY u.promotion_id, u.buyer
        ON CONFLICT (promotion_id, buyer)
        DO UPDATE SET uses = b.uses + excluded.uses, usage_limit = excluded.usage_limit, updated_at = now()
    ), announced AS ({part(APPEND.format(schema="pricing"), 6, "WHERE (u.payload ->> 'order_id')::uuid IN (SELECT order_id FROM used)")})
    SELECT order_id, redemption FROM used
"""
# A late redeem_coupon of an order that was given up finds this row and counts nothing.
WRITE_GIVEN_UP = """
    INSERT INTO pricing.redemption (order_id, status) SELECT u.order_id, 'restored' FROM unnest($1::uuid[]) AS u (order_id)
    ORDER BY u.order_id
    ON CONFLICT (order_id) DO NOTHING
"""
GIVE_BACK = """
    UPDATE pricing.redemption SET status = 'restored', updated_at = now()
    WHERE order_id = ANY($1) AND status = 'redeemed'
    RETURNING order_id, promotion_id, code, buyer, discount
"""
COUNT = """
    UPDATE pricing.promotion AS p SET uses = p.uses + u.uses, spent = p.spent + u.spent
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (id, uses, spent)
    WHERE p.id = u.id
"""
TAKE_FROM_BUYERS = """
    UPDATE pricing.buyer_usage AS b SET uses = b.uses - u.uses, updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS u (promotion_id, buyer, uses)
    WHERE b.promotion_id = u.promotion_id AND b.buyer = u.buyer
"""


class Use(msgspec.Struct, frozen=True):
    """An order's use of a coupon that begins or ceases to count."""

    order_id: UUID
    promotion_id: UUID
    code: str
    buyer: str
    discount: int


class _Kept(msgspec.Struct, frozen=True):
    order_id: UUID
    redemption: Redemption | None  # None if the order was given up before it used a coupon


class _Id(msgspec.Struct, frozen=True):
    id: UUID


@exposed.batched(timeout=5.0)
async def redeem_coupon(asked: tuple[Asked[RedeemCoupon], ...]) -> tuple[Redemption | DomainError, ...]:
    """Count an order's use of a coupon; those who asked first are served first.

    Asking again for the same order counts nothing and returns its redemption, also when it has been restored meanwhile. Dates
    are not looked at: the quote has done so. Raises CouponUsedUp, CouponUnknown, CouponNotForYou, CouponCurrency, and
    CouponRefused for an order that was given up before.
    """
    wanted = {one.request.order_id: one.request for one in asked}
    async with db.transaction() as tx:
        coupons = await tx.all(Coupon, LOCK_BY_CODE, sorted({normalise_code(request.code) for request in wanted.values()}))
        known = await find_redemptions(tx, wanted)
        fresh = tuple(request for order_id, request in wanted.items() if order_id not in known)
        used = await tx.all(BuyerUses, FIND_USES, [coupon.id for coupon in coupons], [request.buyer for request in fresh])
        granted, refused = decide(fresh, coupons, used)
        if granted:
            known |= await redeem(tx, granted)
            # Of a twin that came first from elsewhere, maybe with another code, its redemption is the answer.
            if twins := [request.order_id for request, _ in granted if request.order_id not in known]:
                known |= await find_redemptions(tx, twins)
    return tuple(
        refused.get(order_id) or known[order_id] or CouponRefused(wanted[order_id].code)
        for order_id in (one.request.order_id for one in asked)
    )


@exposed.batched(timeout=5.0)
async def restore_coupon(asked: tuple[Asked[RestoreCoupon], ...]) -> tuple[Redemption | DomainError | None, ...]:
    """Give the use of a coupon by an order back, and remember that: a late redeem_coupon counts nothing.

    Restoring again changes nothing. None for an order that has used no coupon.
    """
    order_ids = sorted({one.request.order_id for one in asked})
    async with db.transaction() as tx:
        await tx.all(_Id, LOCK_OF_ORDERS, order_ids)
        await tx.run(WRITE_GIVEN_UP, order_ids)
        if uses := await tx.all(Use, GIVE_BACK, order_ids):
            await tx.run(COUNT, *count_by_coupon(uses, -1))
            await tx.run(TAKE_FROM_BUYERS, *count_by_buyer(uses))
            await publish(tx, *(CouponRestored(use.promotion_id, use.order_id, use.code) for use in uses))
        known = await find_redemptions(tx, order_ids)
    return tuple(known[one.request.order_id] for one in asked)


@exports_user_data
async def export_coupons(user_id: UUID) -> Mapping[str, object]:
    """The coupons that are a user's own, and those that they used. The books need the latter: they stay under the user's id."""
    used = await db.all(_Kept, FIND_OF_BUYER, str(user_id))
    return {"coupons": await db.all(Coupon, FIND_PERSONAL, user_id), "redemptions": tuple(row.redemption for row in used)}


async def find_redemptions(tx: Transaction, order_ids: Iterable[UUID]) -> dict[UUID, Redemption | None]:
    """What is known of these orders; None for one that was given up before it used a coupon."""
    return {row.order_id: row.redemption for row in await tx.all(_Kept, FIND, list(order_ids))}


async def redeem(tx: Transaction, granted: list[tuple[RedeemCoupon, Coupon]]) -> dict[UUID, Redemption | None]:
    """Write the uses that were granted, raise the counters, and tell of them; what was new."""
    requests = [request for request, _ in granted]
    news = News([CouponRedeemed(coupon.id, request.order_id, coupon.code) for request, coupon in granted])
    rows = await tx.all(
        _Kept,
        REDEEM,
        *columns(requests, "order_id"),
        *columns([coupon for _, coupon in granted], "id", "code"),
        *columns(requests, "buyer"),
        *columns([request.discount for request in requests], "currency", "amount"),
        *news.values,
    )
    tx.after_commit.append(partial(news.tell, db))
    return {row.order_id: row.redemption for row in rows}


def count_by_coupon(uses: Iterable[Use], sign: int) -> tuple[list[UUID], list[int], list[int]]:
    """Coupon, number of uses and what they took off: one row per coupon."""
    number: Counter[UUID] = Counter()
    spent: Counter[UUID] = Counter()
    for use in uses:
        number[use.promotion_id] += sign
        spent[use.promotion_id] += sign * use.discount
    return list(number), list(number.values()), [spent[promotion_id] for promotion_id in number]


def count_by_buyer(uses: Iterable[Use]) -> tuple[list[UUID], list[str], list[int]]:
    """Coupon, buyer and number of uses: one row per pair, in the order of the keys."""
    number = Counter((use.promotion_id, use.buyer) for use in uses)
    pairs = sorted(number)
    return [promotion_id for promotion_id, _ in pairs], [buyer for _, buyer in pairs], [number[pair] for pair in pairs]


def decide(
    wanted: Iterable[RedeemCoupon], coupons: Iterable[Coupon], used: Iterable[BuyerUses]
) -> tuple[list[tuple[RedeemCoupon, Coupon]], dict[UUID, DomainError]]:
    """Decide first come, first served which orders may use their coupon, and why the others may not."""
    by_code = {coupon.code: coupon for coupon in coupons}
    buyer_uses = Counter({(one.promotion_id, one.buyer): one.uses for one in used})
    granted: list[tuple[RedeemCoupon, Coupon]] = []
    refused: dict[UUID, DomainError] = {}
    for request in wanted:
        coupon = by_code.get(normalise_code(request.code))
        if coupon is None:
            refused[request.order_id] = CouponUnknown(request.code)
        elif coupon.user_id is not None and request.buyer != str(coupon.user_id):
            refused[request.order_id] = CouponNotForYou(coupon.code)
        elif coupon.currency is not None and coupon.currency != request.discount.currency:
            refused[request.order_id] = CouponCurrency(coupon.code, coupon.currency)
        elif is_used_up(coupon, buyer_uses[coupon.id, request.buyer], request.discount.amount):
            refused[request.order_id] = CouponUsedUp(coupon.code)
        else:
            granted.append((request, coupon))
            buyer_uses[coupon.id, request.buyer] += 1
            spent = coupon.spent + request.discount if coupon.spent else None
            by_code[coupon.code] = msgspec.structs.replace(coupon, uses=coupon.uses + 1, spent=spent)
    return granted, refused
