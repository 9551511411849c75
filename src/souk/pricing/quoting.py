"""Ask for a quote: whatever is in force for a batch of requests is read in one statement, then each is worked out."""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.batching import Asked
from souk.kit.calls import exposed
from souk.kit.errors import DomainError
from souk.pricing.commissions import COLUMNS as COMMISSION_COLUMNS
from souk.pricing.database import db
from souk.pricing.promotions import COLUMNS, normalise_code
from souk.pricing.quotes import InForce, make_quote
from souk.pricing.settings import settings
from souk.pricing.tax_rates import COLUMNS as TAX_COLUMNS
from souk.pricing.types import CommissionRule, Coupon, Promotion, Quote, QuoteRequest, TaxRate

# No cache: it would be stale in every process but one, and a batch of any size costs this one statement.
FIND_IN_FORCE = f"""
    SELECT now() AS now,
        (SELECT coalesce(json_agg(p), '[]') FROM (
            SELECT {COLUMNS} FROM pricing.promotion
            WHERE code IS NULL AND active AND (seller_id IS NULL OR seller_id = ANY($1))
              AND coalesce(ends_at, 'infinity'::timestamptz) > now() AND (starts_at IS NULL OR starts_at <= now())
              AND ((product_ids = '{{}}' AND category_ids = '{{}}') OR product_ids && $2 OR category_ids && $3)) AS p) AS promotions,
        (SELECT coalesce(json_agg(c), '[]') FROM (SELECT {COLUMNS} FROM pricing.promotion WHERE code = ANY($4)) AS c) AS coupons,
        (SELECT coalesce(json_agg(u), '[]') FROM (
            SELECT promotion_id, buyer, uses FROM pricing.buyer_usage
            WHERE promotion_id IN (SELECT id FROM pricing.promotion WHERE code = ANY($4)) AND buyer = ANY($5)) AS u) AS buyer_uses,
        (SELECT coalesce(json_agg(r), '[]') FROM (
            SELECT order_id, promotion_id FROM pricing.redemption WHERE order_id = ANY($6) AND status = 'redeemed') AS r) AS redeemed,
        (SELECT coalesce(json_agg(t), '[]') FROM (
            SELECT {TAX_COLUMNS} FROM pricing.tax_rate WHERE country = ANY($7)) AS t) AS tax_rates,
        (SELECT coalesce(json_agg(c), '[]') FROM (
            SELECT {COMMISSION_COLUMNS} FROM pricing.commission_rule WHERE seller_id IS NULL OR seller_id = ANY($1)) AS c) AS commissions
"""


class BuyerUses(msgspec.Struct, frozen=True):
    """How often a buyer has used a coupon."""

    promotion_id: UUID
    buyer: str
    uses: int


class _Redeemed(msgspec.Struct, frozen=True):
    order_id: UUID
    promotion_id: UUID


class _Found(msgspec.Struct, frozen=True):
    now: datetime
    promotions: tuple[Promotion, ...]
    coupons: tuple[Coupon, ...]
    buyer_uses: tuple[BuyerUses, ...]
    redeemed: tuple[_Redeemed, ...]
    tax_rates: tuple[TaxRate, ...]
    commissions: tuple[CommissionRule, ...]


@exposed.batched(timeout=3.0, lanes=2)
async def quote(asked: tuple[Asked[QuoteRequest], ...]) -> tuple[Quote | DomainError, ...]:
    """What the lines and their shipping cost now, with discounts and tax. Changes nothing.

    Without a country shipping and tax are None and left out of the total. Raises InvalidField for what cannot be added up, and
    for a coupon that cannot be used CouponUnknown, CouponExpired, CouponNotForYou, CouponUsedUp, CouponCurrency,
    CouponNotApplicable or CouponMinimum.
    """
    requests = tuple(one.request for one in asked)
    found = await find_in_force(requests)
    coupons = {coupon.code: coupon for coupon in found.coupons}
    uses = {(one.promotion_id, one.buyer): one.uses for one in found.buyer_uses}
    redeemed = {(one.order_id, one.promotion_id) for one in found.redeemed}
    answers: list[Quote | DomainError] = []
    for request in requests:
        coupon = coupons.get(normalise_code(request.coupon))
        in_force = InForce(
            now=found.now,
            promotions=found.promotions,
            coupon=coupon,
            buyer_uses=uses.get((coupon.id, str(request.user_id)), 0) if coupon else 0,
            redeemed=coupon is not None and (request.order_id, coupon.id) in redeemed,
            tax_rates=found.tax_rates,
            tax_excluded_in=settings.now.tax_excluded_in,
            commissions=found.commissions,
            commission_ppm=settings.now.commission_ppm,
        )
        try:
            answers.append(make_quote(request, in_force))
        except DomainError as refusal:
            answers.append(refusal)
    return tuple(answers)


async def find_in_force(requests: tuple[QuoteRequest, ...]) -> _Found:
    """All that the requests depend on, of one moment."""
    lines = [line for request in requests for line in request.lines]
    (found,) = await db.all(
        _Found,
        FIND_IN_FORCE,
        sorted({line.seller_id for line in lines}),
        sorted({line.product_id for line in lines}),
        sorted({category_id for line in lines for category_id in line.category_ids}),
        sorted({code for request in requests if (code := normalise_code(request.coupon))}),
        [str(request.user_id) for request in requests if request.coupon and request.user_id],
        [request.order_id for request in requests if request.order_id],
        sorted({request.country for request in requests if request.country}),
    )
    return found
