"""Shares add up to the penny, are as fair as whole pennies allow, and never depend on the sign."""

from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from souk.kit.money import LARGEST_AMOUNT, Money, add_up, divide_half_up, exponent, known_currencies, split, to_major

amounts = st.integers(-LARGEST_AMOUNT, LARGEST_AMOUNT)
some_weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=50)


@given(amounts, some_weights)
def test_parts_add_up_to_the_whole(amount: int, weights: list[int]) -> None:
    parts = split(amount, weights)
    assert sum(parts) == amount
    assert len(parts) == len(weights)


@given(amounts, some_weights.filter(any))
def test_each_part_is_within_a_penny_of_its_fair_share(amount: int, weights: list[int]) -> None:
    for part, weight in zip(split(amount, weights), weights, strict=True):
        assert abs(part - Fraction(amount * weight, sum(weights))) < 1
        assert weight or part == 0


@given(amounts, some_weights)
def test_a_refund_is_split_as_the_sale_was(amount: int, weights: list[int]) -> None:
    assert split(-amount, weights) == tuple(-part for part in split(amount, weights))


@given(st.integers(0, LARGEST_AMOUNT), some_weights)
def test_a_part_is_never_more_than_the_whole_nor_below_zero(amount: int, weights: list[int]) -> None:
    assert all(0 <= part <= amount for part in split(amount, weights))


@given(st.integers(0, LARGEST_AMOUNT), some_weights.filter(any))
def test_of_two_weights_the_larger_gets_no_less(amount: int, weights: list[int]) -> None:
    pairs = sorted(zip(weights, split(amount, weights), strict=True))
    assert all(lighter[1] <= heavier[1] for lighter, heavier in pairwise(pairs) if lighter[0] < heavier[0])


@given(st.integers(0, 10**6), some_weights.filter(any))
def test_a_discount_split_over_prices_is_at_most_each_price(percent: int, prices: list[int]) -> None:
    discount = sum(prices) * min(percent, 100) // 100
    assert all(part <= price for part, price in zip(split(discount, prices), prices, strict=True))


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (100, [1, 1, 1], (34, 33, 33)),
        (2, [1, 1, 1], (1, 1, 0)),
        (-100, [1, 1, 1], (-34, -33, -33)),
        (10, [0, 0], (5, 5)),
        (5, [0, 0], (3, 2)),
        (5, [0, 3], (0, 5)),
        (0, [3, 4], (0, 0)),
        (0, [], ()),
    ],
)
def test_known_splits(amount: int, weights: list[int], parts: tuple[int, ...]) -> None:
    assert split(amount, weights) == parts


def test_what_cannot_be_split_is_an_error() -> None:
    with pytest.raises(ValueError, match="Nothing to share"):
        split(1, [])
    with pytest.raises(ValueError, match="0 or more"):
        split(1, [1, -1])


@given(amounts, st.integers(1, 10**9))
def test_division_rounds_to_the_nearest_and_halves_away_from_zero(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert abs(divide_half_up(numerator, denominator) - exact) <= Fraction(1, 2)
    assert divide_half_up(-numerator, denominator) == -divide_half_up(numerator, denominator)


def test_halves() -> None:
    assert [divide_half_up(numerator, 2) for numerator in (1, 3, -1, -3, 2)] == [1, 2, -1, -2, 1]


@given(amounts, amounts)
def test_money_adds_up_in_one_currency_only(one: int, other: int) -> None:
    assert Money(one, "EUR") + Money(other, "EUR") - Money(other, "EUR") == Money(one, "EUR")
    assert add_up([Money(one, "EUR"), Money(other, "EUR")], "EUR").amount == one + other
    for mixed in (lambda: Money(one, "EUR") + Money(other, "USD"), lambda: Money(one, "EUR") - Money(other, "USD")):
        with pytest.raises(TypeError, match="EUR and USD"):
            mixed()


def test_nothing_adds_up_to_nothing() -> None:
    assert add_up([], "EUR") == Money(0, "EUR")
    with pytest.raises(TypeError):
        add_up([Money(1, "USD")], "EUR")


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 1.5, "currency": "EUR"},
        {"amount": "1", "currency": "EUR"},
        {"amount": 10**15 + 1, "currency": "EUR"},
        {"amount": 2**63, "currency": "EUR"},
        {"amount": 1, "currency": "eur"},
        {"amount": 1, "currency": "EURO"},
        {"amount": 1, "currency": "EUR\n"},
        {"amount": 1, "currency": "EUR", "extra": 1},
        {"amount": True, "currency": "EUR"},
        {"currency": "EUR"},
    ],
    ids=str,
)
def test_what_is_no_money_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(wrong), type=Money)


def test_currencies_are_those_of_the_world() -> None:
    assert [exponent(code) for code in ("USD", "JPY", "KWD")] == [2, 0, 3]
    assert {"USD", "EUR", "GBP", "INR", "JPY"} <= known_currencies()
    assert "XXQ" not in known_currencies()


def test_major_units_are_for_people() -> None:
    shown = [to_major(amount, currency) for amount, currency in ((1_290, "USD"), (-5, "EUR"), (0, "EUR"), (-1_205, "KWD"), (-700, "JPY"))]
    assert shown == ["12.90", "-0.05", "0.00", "-1.205", "-700"]
