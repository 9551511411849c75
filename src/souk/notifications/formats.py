"""Amounts and moments as they are written in somebody's language and time zone."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency

from souk.kit.money import exponent


@lru_cache(maxsize=1_000)
def find_locale(language: str) -> Locale:
    """The locale of a language tag, or of its language alone; English for one that nobody knows."""
    for tag in (language, language.partition("-")[0]):
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


@lru_cache(maxsize=1_000)
def find_zone(name: str) -> tzinfo:
    """The time zone of this name; UTC if this machine knows none."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return UTC


def write_money(amount: Mapping[str, object], language: str) -> str:
    """{"amount": 12900, "currency": "EUR"} as 129,00 €."""
    return _write_money(int(str(amount["amount"])), str(amount["currency"]), language)


@lru_cache(maxsize=10_000)
def _write_money(amount: int, currency: str, language: str) -> str:
    return str(format_currency(Decimal(amount).scaleb(-exponent(currency)), currency, locale=find_locale(language)))


def write_day(moment: str, language: str, zone: str) -> str:
    """A moment in ISO 8601 as a day where its reader is."""
    return str(format_date(read_moment(moment, zone), "long", locale=find_locale(language)))


def write_time(moment: str, language: str, zone: str) -> str:
    """A moment in ISO 8601 as a day and a time where its reader is."""
    return str(format_datetime(read_moment(moment, zone), "medium", locale=find_locale(language)))


def read_moment(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(find_zone(zone))


def direction_of(language: str) -> str:
    """How a language is written: ltr or rtl."""
    return "rtl" if find_locale(language).text_direction == "rtl" else "ltr"
