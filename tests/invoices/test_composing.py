"""What stands on a document adds up, whatever was cancelled, and says at which rate each tax was taken."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from souk.invoices.composing import charge_shipping, credit_line, describe_buyer, sum_up, take_left
from souk.invoices.numbering import format_number
from souk.invoices.types import InvoiceLine, ShippingCharge, TaxSum
from souk.invoices.wording import write_day, write_rate
from souk.kit.ids import new_id
from souk.orders import SoldLine
from souk.orders.invoicing import describe_line
from souk.orders.reading import StoredLine

amounts = st.integers(0, 10**9)


def sold(quantity: int, canceled: int, unit_price: int, discount: int, tax: int, *, included: bool) -> SoldLine:
    total = quantity * unit_price - discount + (0 if included else tax)
    stored = StoredLine(
        id=new_id(), seller_id=new_id(), product_id=new_id(), variant_id=new_id(), sku="MUG", name="A mug", image_url=None,
        quantity=quantity, unit_price=unit_price, discount=discount, tax=tax, tax_rate_ppm=190_000, total=total, canceled=canceled,
    )  # fmt: skip
    return describe_line(stored)


@given(st.data(), st.integers(1, 1000), amounts, st.booleans())
def test_what_is_left_of_a_line_adds_up_and_is_never_more_than_the_line(
    data: st.DataObject, quantity: int, price: int, included: bool
) -> None:
    canceled = data.draw(st.integers(0, quantity - 1))
    discount = data.draw(st.integers(0, quantity * price))
    tax = data.draw(st.integers(0, quantity * price - discount))
    whole = sold(quantity, canceled, price, discount, tax, included=included)
    line = take_left(whole, included)
    assert line.quantity == quantity - canceled
    assert line.total == line.quantity * price - line.discount + (0 if included else line.tax)
    assert -1 <= line.discount <= discount + 1
    assert 0 <= line.tax <= tax
    assert 0 <= line.total - line.tax <= whole.total - tax
    if not canceled:
        assert (line.discount, line.tax, line.total) == (discount, tax, whole.total)


@pytest.mark.parametrize(
    ("price", "tax", "rates", "included", "rate"),
    [
        (500, 80, {190_000}, True, 190_000),
        (500, 95, {190_000, 70_000}, False, 190_000),
        (500, 33, {190_000, 70_000}, True, 70_000),
        (500, 0, {190_000}, True, 0),
        (0, 0, {190_000}, True, 0),
        (50_000, 4_545, {190_000}, True, 100_000),  # none of the lines' rates: what it comes to
    ],
)
def test_the_rate_of_shipping(price: int, tax: int, rates: set[int], included: bool, rate: int) -> None:
    total = price if included else price + tax
    assert charge_shipping(price, tax, rates, included) == ShippingCharge(rate, tax, total)


def test_a_sum_for_each_rate() -> None:
    lines = tuple(
        InvoiceLine(new_id(), "A", "A", 1, total, 0, rate, tax, total)
        for rate, tax, total in ((190_000, 19, 119), (70_000, 7, 107), (190_000, 38, 238))
    )
    sums = sum_up(lines, ShippingCharge(0, 0, 500))
    assert sums.taxes == (TaxSum(0, 500, 0), TaxSum(70_000, 100, 7), TaxSum(190_000, 300, 57))
    assert (sums.net, sums.tax, sums.total) == (900, 64, 964)
    assert sum_up(lines[:1], ShippingCharge(0, 0, 0)).taxes == (TaxSum(190_000, 100, 19),)


def test_what_is_not_given_back_of_a_price_is_a_discount() -> None:
    line = InvoiceLine(new_id(), "A", "A", 3, 1000, 300, 190_000, 431, 2700)
    back = credit_line(line, 1, 900, 144, included=True)
    assert (back.quantity, back.discount, back.tax, back.total) == (1, 100, 144, 900)
    assert credit_line(line, 1, 1071, 171, included=False).discount == 100


def test_numbers_days_and_rates_as_they_are_written() -> None:
    assert format_number(None, "invoice", 2026, 42) == "2026-000042"
    assert format_number("LIGHT", "credit_note", 2026, 1_234_567) == "LIGHT-CN-2026-1234567"
    assert (write_day(date(2026, 3, 4), "en"), write_day(date(2026, 3, 4), "de")) == ("March 4, 2026", "4. März 2026")
    assert [write_rate(rate, "en") for rate in (190_000, 55_000, 81_250, 0)] == ["19%", "5.5%", "8.125%", "0%"]


def test_nobody_is_named_without_an_address() -> None:
    assert describe_buyer(None).name == ""
