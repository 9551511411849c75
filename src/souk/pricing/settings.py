"""What a shop decides about prices: SOUK_PRICING_CURRENCIES and so on."""

from typing import Annotated

import msgspec

from souk.kit.config import Section
from souk.kit.money import Currency


class PricingSettings(msgspec.Struct, frozen=True):
    """The shop's currencies, the first of which is its own, the countries in which prices are shown without tax, and the commission.

    The commission is in millionths of what the seller gets, for what no rule of an admin is about.
    """

    currencies: tuple[Currency, ...] = ("USD", "EUR", "GBP", "INR")
    tax_excluded_in: tuple[str, ...] = ("US", "CA")
    commission_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 100_000


settings = Section(PricingSettings, "SOUK_PRICING")
