"""The vocabulary of prices: what is asked, the quote, what comes off it, and why a coupon is refused."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.kit.errors import Conflict
from souk.kit.money import Money

Funder = Literal["platform", "seller"]
PromotionKind = Literal["percentage", "fixed", "free_shipping"]
ZeroReason = Literal["zero_rated", "exempt", "export", "reverse_charge", "not_collected"]
RedemptionStatus = Literal["redeemed", "restored"]

Name = Annotated[str, Meta(min_length=1, max_length=200, description="shown to buyers", examples=["Summer sale"])]
Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{3,40}(?!\n)$", description="upper and lower case are the same", examples=["SUMMER10"])]
DiscountRate = Annotated[int, Meta(ge=1, le=1_000_000, description="millionths: 100000 is 10 %", examples=[100000])]
TaxRatePpm = Annotated[int, Meta(ge=0, le=1_000_000, description="millionths: 190000 is 19 %", examples=[190000])]
CommissionPpm = Annotated[int, Meta(ge=0, le=1_000_000, description="millionths: 100000 is 10 %", examples=[100000])]
Ids = Annotated[tuple[UUID, ...], Meta(max_length=200)]
Moment = Annotated[datetime, Meta(tz=True)]
Priority = Annotated[int, Meta(ge=0, le=10_000, description="the lower number goes first")]
Uses = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$", description="ISO 3166-1 alpha-2 code", examples=["DE"])]
Region = Annotated[str, Meta(min_length=1, max_length=50, description="as addresses write it", examples=["CA"])]
TaxCategory = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,40}(?!\n)$", examples=["standard"])]


class PricedLine(msgspec.Struct, frozen=True):
    """Pieces of a SKU at their price of now, with what promotions and taxes look at."""

    sku: str
    product_id: UUID
    seller_id: UUID
    category_ids: tuple[UUID, ...]
    tax_category: str
    quantity: int
    unit_price: Money

    @property
    def subtotal(self) -> int:
        return self.quantity * self.unit_price.amount


class ShippingCharge(msgspec.Struct, frozen=True):
    """What shipping one seller's part costs."""

    seller_id: UUID
    price: Money


class QuoteRequest(msgspec.Struct, frozen=True):
    """What is to be bought. Without a country nobody knows yet where it goes: shipping and tax stay open.

    `order_id` names an order that is quoted again: the use of the coupon that it has redeemed is its own.
    """

    currency: str
    lines: tuple[PricedLine, ...]
    shipping: tuple[ShippingCharge, ...] = ()
    coupon: str | None = None
    user_id: UUID | None = None
    country: str | None = None
    region: str | None = None
    order_id: UUID | None = None


class AppliedDiscount(msgspec.Struct, frozen=True):
    """What a promotion or coupon takes off, and who pays for it."""

    promotion_id: UUID
    code: str | None
    name: str
    amount: Money
    funded_by: Funder
    seller_id: UUID | None


class QuotedLine(msgspec.Struct, frozen=True):
    """A line and what it costs. The tax is inside the total where prices include tax, and added to it where they do not.

    Of what the seller gets for it the platform keeps the commission.
    """

    sku: str
    quantity: int
    unit_price: Money
    subtotal: Money
    discount: Money
    tax: Money
    total: Money
    tax_rate: int  # millionths
    discounts: tuple[AppliedDiscount, ...]
    commission: Money
    tax_reason: ZeroReason | None = None  # why the rate is zero


class QuotedShipping(msgspec.Struct, frozen=True):
    """What shipping one seller's part costs."""

    seller_id: UUID
    price: Money
    discount: Money
    tax: Money
    total: Money
    tax_rate: int = 0
    discounts: tuple[AppliedDiscount, ...] = ()
    tax_reason: ZeroReason | None = None


class Quote(msgspec.Struct, frozen=True):
    """What everything costs.

    `discount` is what comes off the lines, `shipping_total` is what is left of the shipping after what comes off it. Where prices
    include tax, total = subtotal - discount + shipping_total; elsewhere tax is added. `coupon` is the code if the coupon is
    used; one that a better promotion beats is not.
    """

    currency: str
    lines: tuple[QuotedLine, ...]
    shipping: tuple[QuotedShipping, ...]
    subtotal: Money
    discount: Money
    shipping_total: Money | None
    tax: Money | None
    total: Money
    tax_included: bool
    coupon: str | None
    promotion_ids: tuple[UUID, ...]
    coupon_discount: Money | None = None  # what the coupon takes off lines and shipping: the amount to redeem


class RedeemCoupon(msgspec.Struct, frozen=True):
    """An order uses a coupon. The buyer is a user's id, or `guest:` and a hash of the e-mail address."""

    order_id: UUID
    code: str
    buyer: str
    discount: Money


class RestoreCoupon(msgspec.Struct, frozen=True):
    """The order will not happen: give its coupon's use back."""

    order_id: UUID


class Redemption(msgspec.Struct, frozen=True):
    """An order's use of a coupon; `restored` means that it was given back and counts no more."""

    order_id: UUID
    promotion_id: UUID
    code: str
    status: RedemptionStatus
    discount: Money
    created_at: datetime
    updated_at: datetime


class PromotionTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a promotion takes off and when. The seller whose it is pays for it, or the platform if it has none.

    A seller's own is for that seller's lines only. Without sellers, categories and products it is for every line. All amounts
    are of one currency, and then it is for carts in this currency only. `minimum` looks at the lines that it is for. One that is
    not `combinable` shares no line with another; where several could be, the buyer gets the best.
    """

    name: Name
    kind: PromotionKind
    seller_id: UUID | None = None
    rate_ppm: DiscountRate | None = None
    amount: Money | None = None
    minimum: Money | None = None
    seller_ids: Ids = ()
    category_ids: Ids = ()
    product_ids: Ids = ()
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    active: bool = True
    priority: Priority = 100
    combinable: bool = False

    @property
    def amounts(self) -> dict[str, Money]:
        """The amounts that it names."""
        return {name: value for name in ("amount", "minimum", "budget") if (value := getattr(self, name, None)) is not None}

    @property
    def currency(self) -> str | None:
        """The only currency in which it is valid; None for any."""
        return next((amount.currency for amount in self.amounts.values()), None)


class CouponTerms(PromotionTerms, frozen=True, kw_only=True):
    """A promotion for those who know its code."""

    code: Code
    user_id: UUID | None = None
    usage_limit: Uses | None = None
    usage_limit_per_buyer: Uses | None = None
    budget: Money | None = None


class NewPromotion(PromotionTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A promotion that applies by itself."""


class NewCoupon(CouponTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A coupon."""


class Promotion(PromotionTerms, frozen=True, kw_only=True):
    """A promotion that applies by itself."""

    id: UUID
    created_at: datetime
    updated_at: datetime


class Coupon(CouponTerms, frozen=True, kw_only=True):
    """A coupon and how often it was used; `spent` counts where it is for one currency."""

    id: UUID
    uses: int
    spent: Money | None
    created_at: datetime
    updated_at: datetime


class PromotionChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; a field that is absent stays as it is."""

    name: Name | UnsetType = UNSET
    kind: PromotionKind | UnsetType = UNSET
    rate_ppm: DiscountRate | UnsetType | None = UNSET
    amount: Money | UnsetType | None = UNSET
    minimum: Money | UnsetType | None = UNSET
    seller_ids: Ids | UnsetType = UNSET
    category_ids: Ids | UnsetType = UNSET
    product_ids: Ids | UnsetType = UNSET
    starts_at: Moment | UnsetType | None = UNSET
    ends_at: Moment | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    combinable: bool | UnsetType = UNSET


class CouponChanges(PromotionChanges, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; a field that is absent stays as it is."""

    user_id: UUID | UnsetType | None = UNSET
    usage_limit: Uses | UnsetType | None = UNSET
    usage_limit_per_buyer: Uses | UnsetType | None = UNSET
    budget: Money | UnsetType | None = UNSET


class NewTaxRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tax on a category of goods in a country or in a region of it; a rate of zero has a reason."""

    country: Country
    region: Region | None = None
    tax_category: TaxCategory = "standard"
    name: Name
    rate_ppm: TaxRatePpm
    zero_reason: ZeroReason | None = None


class TaxRate(msgspec.Struct, frozen=True, kw_only=True):
    """The tax on a category of goods in a country or in a region of it."""

    id: UUID
    country: str
    region: str | None
    tax_category: str
    name: str
    rate_ppm: int
    zero_reason: ZeroReason | None
    created_at: datetime
    updated_at: datetime


class TaxRateChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; a field that is absent stays as it is."""

    name: Name | UnsetType = UNSET
    rate_ppm: TaxRatePpm | UnsetType = UNSET
    zero_reason: ZeroReason | UnsetType | None = UNSET


class NewCommissionRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The platform's share of what a seller sells; without a seller of everybody's, without a category of everything."""

    seller_id: UUID | None = None
    category_id: UUID | None = None
    rate_ppm: CommissionPpm


class CommissionRule(msgspec.Struct, frozen=True, kw_only=True):
    """The platform's share of what a seller sells; without a seller of everybody's, without a category of everything."""

    id: UUID
    seller_id: UUID | None
    category_id: UUID | None
    rate_ppm: int
    created_at: datetime
    updated_at: datetime


class CouponRefused(Conflict, code="pricing.coupon_refused"):
    """The coupon {coupon} cannot be used."""

    coupon: str


class CouponUnknown(CouponRefused, code="pricing.coupon_unknown"):
    """There is no coupon {coupon}."""


class CouponExpired(CouponRefused, code="pricing.coupon_expired"):
    """The coupon {coupon} has expired."""


class CouponUsedUp(CouponRefused, code="pricing.coupon_used_up"):
    """The coupon {coupon} has been used as often as it can be."""


class CouponMinimum(CouponRefused, code="pricing.coupon_minimum"):
    """The coupon {coupon} is for larger orders."""

    minimum: Money


class CouponNotForYou(CouponRefused, code="pricing.coupon_not_for_you"):
    """The coupon {coupon} belongs to another buyer."""


class CouponCurrency(CouponRefused, code="pricing.coupon_currency"):
    """The coupon {coupon} is for carts in {currency}."""

    currency: str


class CouponNotApplicable(CouponRefused, code="pricing.coupon_not_applicable"):
    """The coupon {coupon} is for nothing that is in the cart."""


class CouponCodeTaken(Conflict, code="pricing.coupon_code_taken"):
    """There is a coupon with the code {taken} already."""

    taken: str


class TaxRateExists(Conflict, code="pricing.tax_rate_exists"):
    """There is a tax rate for this place and category already; change that one."""
