"""What catalog must know of the shop: its currencies (SOUK_PRICING_CURRENCIES), where its data lies (SOUK_HOME), where media are."""

from pathlib import Path
from typing import Annotated

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
    """Where pictures are: in the shop's folder, or in a bucket of an S3-compatible store if an endpoint is set.

    Views of products are kept for `views_days`, then dropped by the month.
    `media_url` is what links to them begin with: another host if a content delivery network stands before the shop.
    """

    media_url: str = "/media/"
    s3_endpoint: str | None = None
    s3_bucket: str = "souk"
    s3_region: str = "us-east-1"
    s3_key_id: str = ""
    s3_secret: str = ""
    views_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 400


shop = Section(Currencies, "SOUK_PRICING")
place = Section(Home, "SOUK")
settings = Section(Settings, "SOUK_CATALOG")
