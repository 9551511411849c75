"""What catalog must know of the shop: its currencies (SOUK_PRICING_CURRENCIES), where its data lies (SOUK_HOME), where media are."""

from pathlib import Path

import msgspec

from souk.kit.config import Section
from souk.kit.money import Currency


class Currencies(msgspec.Struct, frozen=True):
    """The shop's currencies, the first of which is its own. Pricing reads the same setting."""

    currencies: tuple[Currency, ...] = ("USD", "EUR", "GBP", "INR")


class Home(msgspec.Struct, frozen=True):
    """Where this shop keeps its data."""

    home: Path = Path(".souk")


class Settings(msgspec.Struct, frozen=True):
    """What links to pictures begin with: another host if a content delivery network stands before the shop."""

    media_url: str = "/media/"


shop = Section(Currencies, "SOUK_PRICING")
place = Section(Home, "SOUK")
settings = Section(Settings, "SOUK_CATALOG")
