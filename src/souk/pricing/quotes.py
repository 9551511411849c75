"""The quote: one pure function from what is to be bought and what is in force to what it costs."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import msgspec

from souk.kit.errors import InvalidField
from souk.kit.money import LARGEST_AMOUNT, Money, add_up
from souk.pricing.commissions import commission_on, find_commission_ppm
from souk.pricing.discounts import Offer, applies, check_coupon, choose_discounts, choose_free_shipping
from souk.pricing.taxes import SHIPPING, UNKNOWN, TaxRule, find_rule, tax_on
from souk.pricing.types import (
    AppliedDiscount,
    CommissionRule,
    Coupon,
    CouponExpired,
    CouponNotForYou,
    CouponUnknown,
    CouponUsedUp,
    PricedLine,
    Promotion,
    Quote,
    QuotedLine,
    QuotedShipping,
    QuoteRequest,
    ShippingCharge,
    TaxRate,
)

Discounts = tuple[AppliedDiscount, ...]


class InForce(msgspec.Struct, frozen=True):
    """What a quote depends on beside the request: promotions, the coupon, tax rates, commissions and the settings of a moment."""

    now: datetime
    promotions: tuple[Promotion, ...] = ()
    coupon: Coupon | None = None
    buyer_uses: int = 0
    redeemed: bool = False  # the order that is quoted again has used the coupon: limits and dates are behind it
    tax_rates: tuple[TaxRate, ...] = ()
    tax_excluded_in: tuple[str, ...] = ()
    commissions: tuple[CommissionRule, ...] = ()
    commission_ppm: int = 0


def make_quote(request: QuoteRequest, in_force: InForce) -> Quote:
    """What everything costs.

    Discounts first, then tax on what is left. The order in which the lines stand changes nothing but their order. Raises
    InvalidField, and for the coupon CouponUnknown, CouponExpired, CouponNotForYou, CouponUsedUp, CouponCurrency,
    CouponNotApplicable or CouponMinimum.
    """
    check_request(request)
    offers = find_offers(request, in_force)
    by_line = discount_lines(request, [offer for offer in offers if offer.kind != "free_shipping"])
    included = request.country not in in_force.tax_excluded_in
    lines = tuple(
        quote_line(line, discounts, rule_for(line.tax_category, request, in_force), included, commission_ppm_of(line, in_force))
        for line, discounts in zip(request.lines, by_line, strict=True)
    )
    charges = request.shipping if request.country is not None else ()
    free = [offer for offer in offers if offer.kind == "free_shipping"]
    freight_rule = rule_for(SHIPPING, request, in_force)
    shipping = tuple(
        quote_shipping(charge, choose_free_shipping(request.lines, free, charge.seller_id), freight_rule, included) for charge in charges
    )
    return sum_up(request, lines, shipping, in_force)


def check_request(request: QuoteRequest) -> None:
    """Raise InvalidField for what cannot be added up."""
    prices = [*(line.unit_price for line in request.lines), *(charge.price for charge in request.shipping)]
    if any(price.currency != request.currency for price in prices):
        raise InvalidField("currency", "is to be the same everywhere")
    if any(line.quantity < 1 for line in request.lines) or any(price.amount < 0 for price in prices):
        raise InvalidField("lines", "cannot be sold for less than nothing")
    # With tax, which is at the most as much again, the total still is an amount.
    if sum(line.subtotal for line in request.lines) + sum(one.price.amount for one in request.shipping) > LARGEST_AMOUNT // 2:
        raise InvalidField("lines", "cost more than can be charged")


def find_offers(request: QuoteRequest, in_force: InForce) -> list[Offer]:
    """The promotions and the coupon that this request can have."""
    offers: list[Offer] = [one for one in in_force.promotions if applies(one, request.lines, request.currency)]
    if request.coupon is not None:
        offers.append(admit_coupon(request, request.coupon, in_force))
    return offers


def admit_coupon(request: QuoteRequest, code: str, in_force: InForce) -> Coupon:
    """The coupon, if it can be used now, by this buyer and for these lines."""
    coupon = in_force.coupon
    if coupon is not None and in_force.redeemed:
        check_coupon(coupon, request.lines, request.currency)
        return coupon
    if coupon is None or not coupon.active or (coupon.starts_at is not None and coupon.starts_at > in_force.now):
        raise CouponUnknown(code)
    if coupon.ends_at is not None and coupon.ends_at <= in_force.now:
        raise CouponExpired(coupon.code)
    if coupon.user_id is not None and coupon.user_id != request.user_id:
        raise CouponNotForYou(coupon.code)
    if is_used_up(coupon, in_force.buyer_uses):
        raise CouponUsedUp(coupon.code)
    check_coupon(coupon, request.lines, request.currency)
    return coupon


def is_used_up(coupon: Coupon, buyer_uses: int, discount: int = 1) -> bool:
    """Whether one more use by this buyer, that takes so much off, would break a limit of the coupon."""
    if coupon.usage_limit is not None and coupon.uses >= coupon.usage_limit:
        return True
    if coupon.usage_limit_per_buyer is not None and buyer_uses >= coupon.usage_limit_per_buyer:
        return True
    return coupon.budget is not None and (coupon.spent.amount if coupon.spent else 0) + discount > coupon.budget.amount


def discount_lines(request: QuoteRequest, offers: list[Offer]) -> list[Discounts]:
    """The discounts of each line, in the order of the lines."""
    if not offers:
        return [()] * len(request.lines)
    # Of equal remainders the first line gets the unit, so the lines stand in an order of their own while amounts are split.
    places = sorted(range(len(request.lines)), key=lambda place: msgspec.json.encode(request.lines[place]))
    lines = [request.lines[place] for place in places]
    found: defaultdict[int, list[AppliedDiscount]] = defaultdict(list)
    for offer, taken in choose_discounts(lines, offers):
        for at, amount in taken.items():
            if amount:
                found[places[at]].append(apply(offer, Money(amount, request.currency)))
    return [tuple(found[place]) for place in range(len(lines))]


def apply(offer: Offer, amount: Money) -> AppliedDiscount:
    return AppliedDiscount(
        promotion_id=offer.id,
        code=offer.code if isinstance(offer, Coupon) else None,
        name=offer.name,
        amount=amount,
        funded_by="seller" if offer.seller_id else "platform",
        seller_id=offer.seller_id,
    )


def rule_for(category: str, request: QuoteRequest, in_force: InForce) -> TaxRule:
    return find_rule(in_force.tax_rates, category, request.country, request.region) if request.country else UNKNOWN


def commission_ppm_of(line: PricedLine, in_force: InForce) -> int:
    return find_commission_ppm(in_force.commissions, line, in_force.commission_ppm)


def quote_line(line: PricedLine, discounts: Discounts, rule: TaxRule, included: bool, commission_ppm: int) -> QuotedLine:
    """A line with its tax on what the discounts leave, and the commission on what the seller gets for it."""
    currency = line.unit_price.currency
    subtotal = Money(line.subtotal, currency)
    discount = add_up((one.amount for one in discounts), currency)
    net = subtotal - discount
    tax = Money(tax_on(net.amount, rule, included), currency)
    by_platform = sum(one.amount.amount for one in discounts if one.funded_by == "platform")
    goods = net.amount - (tax.amount if included else 0) + by_platform
    return QuotedLine(
        sku=line.sku,
        quantity=line.quantity,
        unit_price=line.unit_price,
        subtotal=subtotal,
        discount=discount,
        tax=tax,
        total=net if included else net + tax,
        tax_rate=rule.rate_ppm,
        discounts=discounts,
        commission=Money(commission_on(goods, commission_ppm), currency),
        tax_reason=rule.zero_reason,
    )


def quote_shipping(charge: ShippingCharge, free: Offer | None, rule: TaxRule, included: bool) -> QuotedShipping:
    """One seller's shipping with its tax."""
    zero = Money(0, charge.price.currency)
    discount = charge.price if free else zero
    net = charge.price - discount
    tax = Money(tax_on(net.amount, rule, included), zero.currency)
    return QuotedShipping(
        seller_id=charge.seller_id,
        price=charge.price,
        discount=discount,
        tax=tax,
        total=net if included else net + tax,
        tax_rate=rule.rate_ppm,
        discounts=(apply(free, discount),) if free and discount.amount else (),
        tax_reason=rule.zero_reason,
    )


def sum_up(request: QuoteRequest, lines: tuple[QuotedLine, ...], shipping: tuple[QuotedShipping, ...], in_force: InForce) -> Quote:
    """The sums over lines and shipping, and what became of the coupon."""
    known = request.country is not None
    parts: Sequence[QuotedLine | QuotedShipping] = (*lines, *shipping)
    discounts = [one for part in parts for one in part.discounts]
    by_coupon = add_up((one.amount for one in discounts if one.code is not None), request.currency)
    coupon = in_force.coupon if request.coupon is not None else None
    if coupon is not None and not in_force.redeemed and is_used_up(coupon, in_force.buyer_uses, by_coupon.amount):
        raise CouponUsedUp(coupon.code)
    # Before the address is known nobody can say what free shipping takes off.
    used = coupon is not None and (by_coupon.amount > 0 or (coupon.kind == "free_shipping" and not known))
    return Quote(
        currency=request.currency,
        lines=lines,
        shipping=shipping,
        subtotal=add_up((line.subtotal for line in lines), request.currency),
        discount=add_up((line.discount for line in lines), request.currency),
        shipping_total=add_up((one.price - one.discount for one in shipping), request.currency) if known else None,
        tax=add_up((part.tax for part in parts), request.currency) if known else None,
        total=add_up((part.total for part in parts), request.currency),
        tax_included=request.country not in in_force.tax_excluded_in,
        coupon=coupon.code if coupon is not None and used else None,
        promotion_ids=tuple(dict.fromkeys(one.promotion_id for one in discounts)),
        coupon_discount=by_coupon if used else None,
    )
