"""What a shop decides about prices: SOUK_PRICING_CURRENCIES and so on."""

import msgspec

from souk.kit.config import Section
from souk.kit.money import Currency


class PricingSettings(msgspec.Struct, frozen=True):
    """The shop's currencies, the first of which is its own, and the countries in which prices are shown without tax."""

    currencies: tuple[Currency, ...] = ("USD", "EUR", "GBP", "INR")
    tax_excluded_in: tuple[str, ...] = ("US", "CA")


settings = Section(PricingSettings, "SOUK_PRICING")
