"""Old invoices are told apart honestly: what was sold, what came back, and what is neither."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from souk.replay.history import Line, classify, read_lines, round_to_pence, sum_revenue, tell_apart

FILE = Path(os.environ.get("SOUK_RETAIL_FILE", Path(__file__).parents[3] / "shared/data/online_retail/transactions.parquet"))
NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)


def line(
    invoice_no: str = "5001", sku: str = "85123A", quantity: int = 1, pence: int = 255, customer: int | None = 7, days: int = 0
) -> Line:
    return Line(invoice_no, sku, "A heart", quantity, NOON + timedelta(days=days), pence, customer, "France")


@pytest.mark.parametrize(
    ("given", "kind", "reason"),
    [
        (line(), "sale", ""),
        (line(sku="15056bl"), "sale", ""),
        (line("C5002", quantity=-1), "return", ""),
        (line("A5003"), "neither", "bad debt adjustment"),
        (line(sku="POST"), "neither", "postage"),
        (line("C5002", sku="M", quantity=-1), "neither", "cancelled manual correction"),
        (line(sku="gift_0001_20"), "neither", "gift voucher"),
        (line(quantity=-3, pence=0), "neither", "damaged or missing stock"),
        (line(pence=0), "neither", "given away"),
    ],
)
def test_what_a_line_is(given: Line, kind: str, reason: str) -> None:
    assert classify(given) == (kind, reason)


def test_a_return_undoes_the_latest_sale_at_its_price() -> None:
    history = tell_apart([line("1", quantity=5), line("2", quantity=2, days=1), line("C3", quantity=-4, days=2)])
    assert [(one.sold_on, one.quantity, one.amount_pence) for one in history.returns] == [("2", 2, 510), ("1", 2, 510)]
    assert history.left_out["return without a sale"] == 0


@pytest.mark.parametrize(
    "late", [line("C3", quantity=-1, pence=999), line("C3", quantity=-1, customer=8), line("C3", quantity=-1, days=-1)]
)
def test_what_was_never_sold_cannot_come_back(late: Line) -> None:
    history = tell_apart([line("1", quantity=5), late])
    assert history.returns == ()
    assert history.left_out["return without a sale"] == 1


def test_more_cannot_come_back_than_was_sold() -> None:
    history = tell_apart([line("1", quantity=2), line("C2", quantity=-5, days=1), line("C3", quantity=-1, days=2)])
    assert sum(one.quantity for one in history.returns) == 2
    assert history.left_out["return without a sale"] == 2


def test_prices_are_whole_pence() -> None:
    assert [round_to_pence(price) for price in (2.55, 0.29, 1.005, 0.001, 4.95)] == [255, 29, 101, 0, 495]


@pytest.mark.skipif(not FILE.exists(), reason=f"the real history is not here: {FILE}")
def test_the_real_file_is_told_apart_without_a_line_lost() -> None:
    lines = list(read_lines(FILE))
    history = tell_apart(lines)
    sold = sum(len(invoice.lines) for invoice in history.invoices)
    came_back = sum(classify(one)[0] == "return" for one in lines)
    assert sold + came_back + sum(history.left_out.values()) - history.left_out["return without a sale"] == len(lines) == 541_909
    by_hand: Counter[tuple[str, str]] = Counter()
    for one in lines:
        goods = one.sku[:5].isdigit() and len(one.sku) >= 5 and (one.sku[5:].isalpha() or not one.sku[5:])
        if goods and one.quantity > 0 and one.price_pence > 0 and one.invoice_no[0] not in "CA":
            by_hand[one.month, one.country] += one.quantity * one.price_pence
    revenue = sum_revenue(history.invoices)
    assert {(month, country): pence for month, countries in revenue.items() for country, pence in countries.items()} == dict(by_hand)
