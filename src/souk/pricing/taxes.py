"""Which tax falls on what, and how much: pure decisions."""

from collections.abc import Iterable

import msgspec

from souk.kit.money import divide_half_up
from souk.pricing.types import TaxRate, ZeroReason

MILLION = 1_000_000

STANDARD = "standard"
SHIPPING = "shipping"


class TaxRule(msgspec.Struct, frozen=True):
    """A rate in millionths; if it is zero, why."""

    rate_ppm: int
    zero_reason: ZeroReason | None = None


# Nobody knows yet where it goes.
UNKNOWN = TaxRule(0)
# The shop is not registered for tax there: nobody wrote down a rate.
NOT_COLLECTED = TaxRule(0, "not_collected")


def find_rule(rates: Iterable[TaxRate], category: str, country: str, region: str | None) -> TaxRule:
    """The rule for a category of goods at a place: the region's before the country's, the category's before the standard one.

    A category without a rate of its own bears the standard rate, so that a forgotten row never makes the tax too low.
    """
    known = {(rate.region, rate.tax_category): rate for rate in rates if rate.country == country}
    place = normalise_region(region)
    for key in ((place, category), (None, category), (place, STANDARD), (None, STANDARD)):
        if rate := known.get(key):
            return TaxRule(rate.rate_ppm, rate.zero_reason)
    return NOT_COLLECTED


def normalise_region(region: str | None) -> str | None:
    """A region as rates are kept: upper case, no space around it."""
    return region.strip().upper() or None if region else None


def tax_on(base: int, rule: TaxRule, included: bool) -> int:
    """The tax on an amount, which is in it already or comes on top of it; half a unit is rounded up."""
    return divide_half_up(base * rule.rate_ppm, MILLION + rule.rate_ppm if included else MILLION)
