"""Money as integer minor units with an ISO 4217 currency, and the fair ways to share it out."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Annotated

import msgspec
from babel.core import get_global
from babel.numbers import get_currency_precision

Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}(?!\n)$", description="ISO 4217 code", examples=["USD"])]

# Larger than any sum of a shop and far below 2**63, so that adding up a column cannot overflow in SQL.
LARGEST_AMOUNT = 10**15


class Money(msgspec.Struct, frozen=True, order=False, forbid_unknown_fields=True):
    """An amount in minor units (cents) of one currency. Adding two currencies is a TypeError, never a number."""

    amount: Annotated[int, msgspec.Meta(ge=-LARGEST_AMOUNT, le=LARGEST_AMOUNT, description="minor units", examples=[12900])]
    currency: Currency

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __mul__(self, times: int) -> "Money":
        return Money(self.amount * times, self.currency)

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise TypeError(f"{self.currency} and {other.currency} do not add up")


def add_up(amounts: Iterable[Money], currency: str) -> Money:
    """The sum of amounts of one currency; zero for none."""
    total = 0
    for one in amounts:
        if one.currency != currency:
            raise TypeError(f"{currency} and {one.currency} do not add up")
        total += one.amount
    return Money(total, currency)


def split(amount: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Share an amount out in proportion to weights >= 0, so that the parts add up to it exactly.

    Largest remainder (Hamilton) on the absolute value; of equal remainders the earlier part gets the unit. No weight at all
    gives equal parts. An empty `weights` is a ValueError unless the amount is 0.
    """
    if not weights:
        if amount:
            raise ValueError("Nothing to share the amount out over")
        return ()
    if any(weight < 0 for weight in weights):
        raise ValueError("Weights are 0 or more")
    whole = sum(weights)
    shares = weights if whole else [1] * len(weights)
    whole = whole or len(weights)
    sign = -1 if amount < 0 else 1
    parts = [abs(amount) * share // whole for share in shares]
    remainders = [abs(amount) * share % whole for share in shares]
    missing = abs(amount) - sum(parts)
    for place in sorted(range(len(parts)), key=lambda at: (-remainders[at], at))[:missing]:
        parts[place] += 1
    return tuple(sign * part for part in parts)


def divide_half_up(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, halves away from zero; the denominator is above 0."""
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))


@cache
def exponent(currency: str) -> int:
    """How many decimals the currency has (CLDR): 2 for USD, 0 for JPY, 3 for KWD."""
    return get_currency_precision(currency)


def to_major(amount: int, currency: str) -> str:
    """1290 as 12.90, for people and their spreadsheets."""
    places = exponent(currency)
    whole, rest = divmod(abs(amount), 10**places)
    return ("-" if amount < 0 else "") + (f"{whole}.{rest:0{places}}" if places else str(whole))


@cache
def known_currencies() -> frozenset[str]:
    """Every ISO 4217 code that CLDR names."""
    return frozenset(get_global("all_currencies"))
