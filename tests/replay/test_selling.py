"""A history that is sold again closes its books: revenue, what went back, and the stock are those of the file, however often it is run."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.audit.history import is_settled
from tests.orders.market import as_system, available
from tests.waiting import until

from souk import orders, replay
from souk.app import Shop
from souk.kit.ids import derive_id
from souk.orders.database import db
from souk.orders.return_types import TooMuchRecorded
from souk.replay import selling
from souk.replay.history import Line

NOON = datetime(2011, 3, 1, 12, tzinfo=UTC)


def line(invoice_no: str, sku: str, quantity: int, pence: int = 250, days: int = 0) -> Line:
    return Line(invoice_no, sku, f"A {sku}", quantity, NOON + timedelta(days=days), pence, 7, "France")


HISTORY = [
    line("1", "85123A", 6),
    line("1", "85123A", 2),
    line("1", "22633", 3, 185),
    line("2", "85123A", 4, days=1),
    line("2", "22633", 1, 99, days=1),
    line("C3", "85123A", -7, days=40),
    line("C4", "22633", -1, 99, days=41),
]


@pytest.fixture
def _file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selling, "read_lines", lambda file: iter(HISTORY))


async def play() -> replay.Replayed:
    with as_system():
        return await replay.replay_file(None, lambda step, done, total: None)


@pytest.mark.usefixtures("_file")
async def test_the_books_of_a_year_close_and_a_second_run_changes_nothing(working_shop: Shop) -> None:
    first = await play()
    assert first.revenue == {"2011-03": {"France": 12 * 250 + 3 * 185 + 99}}
    assert first.refunds == {"2011-03": {"France": 7 * 250 + 99}}
    assert (first.orders, first.refunded_lines) == (2, 4)
    await until(is_settled)

    async def is_in_stock() -> bool:
        return (await available("85123A"), await available("22633")) == (7, 1)

    await until(is_in_stock)
    again = await play()
    assert (again.revenue, again.refunds) == (first.revenue, first.refunds)
    await until(is_in_stock)
    statuses = await db.pool.fetch("SELECT status, count(*) AS n FROM orders.returns GROUP BY status")
    assert {row["status"]: row["n"] for row in statuses} == {"refunded": 3}


@pytest.mark.usefixtures("_file")
async def test_no_more_comes_back_than_was_sold(working_shop: Shop) -> None:
    await play()
    with as_system():
        seller_id = await selling.ensure_seller()
        order_id = derive_id(NOON, "invoice 1")
        pieces = (orders.RecordedPieces("22633", selling.Money(185, "GBP"), 4),)
        with pytest.raises(TooMuchRecorded):
            await orders.record_return(orders.RecordReturn(derive_id(NOON, "x"), order_id, seller_id, pieces))
