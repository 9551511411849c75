"""What a shop decides about its invoices: SOUK_INVOICES_TIMEZONE and so on."""

from datetime import date, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from souk.invoices.types import Language
from souk.kit.config import Section, find_zone


class Settings(msgspec.Struct, frozen=True):
    """In which zone a year begins, in which language documents are written, a folder of more fonts, and how many are laid out at once."""

    timezone: str = "UTC"
    language: Language = "en"
    fonts: str = ""
    renderers: Annotated[int, Meta(ge=1, le=64)] = 2

    def __post_init__(self) -> None:
        find_zone(self.timezone)


settings = Section(Settings, "SOUK_INVOICES")


def day_of(moment: datetime) -> date:
    """The day of a moment where the shop is."""
    return moment.astimezone(find_zone(settings.now.timezone)).date()
