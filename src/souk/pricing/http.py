"""Promotions, coupons, tax rates and currencies over HTTP."""

from uuid import UUID

import msgspec
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from souk import pricing
from souk.kit.http import ADMIN, PUBLIC, SIGNED_IN, Cursor, Limit, Page, make_page, read_cursor, route
from souk.kit.money import exponent
from souk.pricing.types import (
    CommissionRule,
    Coupon,
    CouponChanges,
    NewCommissionRule,
    NewCoupon,
    NewPromotion,
    NewTaxRate,
    Promotion,
    PromotionChanges,
    TaxRate,
    TaxRateChanges,
)


class Currency(msgspec.Struct, frozen=True):
    """A currency of the shop and how many decimals its amounts have."""

    code: str
    decimals: int


@route("GET", "/currencies", PUBLIC)
async def list_currencies() -> Page[Currency]:
    """The currencies in which this shop sells, its own first."""
    return Page(tuple(Currency(code, exponent(code)) for code in await pricing.get_currencies()))


@route("POST", "/promotions", SIGNED_IN)
async def create_promotion(data: JSONBody[NewPromotion]) -> Promotion:
    """Make a promotion that applies by itself (an admin, or a seller for their own lines)."""
    return await pricing.create_promotion(data)


@route("GET", "/promotions", SIGNED_IN)
async def list_promotions(limit: Limit = 50, cursor: Cursor = None) -> Page[Promotion]:
    """Promotions, the newest first: all for an admin, a seller's own else."""
    return make_page(await pricing.list_promotions(read_after(cursor), limit + 1), limit, lambda one: (one.id,))


@route("GET", "/promotions/{promotion_id:uuid}", SIGNED_IN)
async def show_promotion(promotion_id: FromPath[UUID]) -> Promotion:
    """A promotion."""
    return await pricing.get_promotion(promotion_id)


@route("PATCH", "/promotions/{promotion_id:uuid}", SIGNED_IN)
async def change_promotion(promotion_id: FromPath[UUID], data: JSONBody[PromotionChanges]) -> Promotion:
    """Change what is given of a promotion."""
    return await pricing.change_promotion(promotion_id, data)


@route("DELETE", "/promotions/{promotion_id:uuid}", SIGNED_IN)
async def remove_promotion(promotion_id: FromPath[UUID]) -> None:
    """Remove a promotion; orders keep what it took off."""
    await pricing.remove_promotion(promotion_id)


@route("POST", "/coupons", SIGNED_IN)
async def create_coupon(data: JSONBody[NewCoupon]) -> Coupon:
    """Make a coupon (an admin, or a seller for their own lines)."""
    return await pricing.create_coupon(data)


@route("GET", "/coupons", SIGNED_IN)
async def list_coupons(limit: Limit = 50, cursor: Cursor = None) -> Page[Coupon]:
    """Coupons, the newest first: all for an admin, a seller's own else."""
    return make_page(await pricing.list_coupons(read_after(cursor), limit + 1), limit, lambda one: (one.id,))


@route("GET", "/coupons/{coupon_id:uuid}", SIGNED_IN)
async def show_coupon(coupon_id: FromPath[UUID]) -> Coupon:
    """A coupon and how often it was used."""
    return await pricing.get_coupon(coupon_id)


@route("PATCH", "/coupons/{coupon_id:uuid}", SIGNED_IN)
async def change_coupon(coupon_id: FromPath[UUID], data: JSONBody[CouponChanges]) -> Coupon:
    """Change what is given of a coupon; its code stays."""
    return await pricing.change_coupon(coupon_id, data)


@route("DELETE", "/coupons/{coupon_id:uuid}", SIGNED_IN)
async def remove_coupon(coupon_id: FromPath[UUID]) -> None:
    """Remove a coupon; orders keep what it took off."""
    await pricing.remove_coupon(coupon_id)


@route("POST", "/tax-rates", ADMIN)
async def create_tax_rate(data: JSONBody[NewTaxRate]) -> TaxRate:
    """Write down the tax on a category of goods in a country or a region of it."""
    return await pricing.create_tax_rate(data)


@route("GET", "/tax-rates", ADMIN)
async def list_tax_rates(limit: Limit = 50, cursor: Cursor = None) -> Page[TaxRate]:
    """All tax rates, the oldest first."""
    return make_page(await pricing.list_tax_rates(read_after(cursor), limit + 1), limit, lambda one: (one.id,))


@route("GET", "/tax-rates/{tax_rate_id:uuid}", ADMIN)
async def show_tax_rate(tax_rate_id: FromPath[UUID]) -> TaxRate:
    """A tax rate."""
    return await pricing.get_tax_rate(tax_rate_id)


@route("PATCH", "/tax-rates/{tax_rate_id:uuid}", ADMIN)
async def change_tax_rate(tax_rate_id: FromPath[UUID], data: JSONBody[TaxRateChanges]) -> TaxRate:
    """Change what is given of a tax rate; placed orders keep their tax."""
    return await pricing.change_tax_rate(tax_rate_id, data)


@route("DELETE", "/tax-rates/{tax_rate_id:uuid}", ADMIN)
async def remove_tax_rate(tax_rate_id: FromPath[UUID]) -> None:
    """Remove a tax rate; placed orders keep their tax."""
    await pricing.remove_tax_rate(tax_rate_id)


@route("PUT", "/commissions", ADMIN)
async def set_commission(data: JSONBody[NewCommissionRule]) -> CommissionRule:
    """Say which share a seller, a category or a seller's category bears from now on."""
    return await pricing.set_commission(data)


@route("GET", "/commissions", ADMIN)
async def list_commissions(limit: Limit = 50, cursor: Cursor = None) -> Page[CommissionRule]:
    """The rules of commission, the oldest first."""
    return make_page(await pricing.list_commissions(read_after(cursor), limit + 1), limit, lambda one: (one.id,))


@route("DELETE", "/commissions/{rule_id:uuid}", ADMIN)
async def remove_commission(rule_id: FromPath[UUID]) -> None:
    """Remove a rule; placed orders keep their commission."""
    await pricing.remove_commission(rule_id)


def read_after(cursor: str | None) -> UUID | None:
    """The id of the last item of the page before."""
    key = read_cursor(cursor, tuple[UUID])
    return key[0] if key else None


routes: tuple[BaseRouteHandler, ...] = (
    list_currencies,
    create_promotion,
    list_promotions,
    show_promotion,
    change_promotion,
    remove_promotion,
    create_coupon,
    list_coupons,
    show_coupon,
    change_coupon,
    remove_coupon,
    create_tax_rate,
    list_tax_rates,
    show_tax_rate,
    change_tax_rate,
    set_commission,
    list_commissions,
    remove_commission,
    remove_tax_rate,
)
