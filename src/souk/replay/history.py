"""Read a file of old invoice lines, and tell what is a sale, what is a return, and what is neither, and why."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

GOODS = re.compile(r"\d{5}[A-Za-z]*")
COLUMNS = ("invoice_no", "stock_code", "description", "quantity", "invoice_date", "unit_price", "customer_id", "country")

# What the codes stand for that are no goods (as the file's descriptions say).
CODES = {
    "POST": "postage", "DOT": "postage", "C2": "carriage", "M": "manual correction", "m": "manual correction", "D": "discount",
    "S": "samples", "BANK CHARGES": "bank charges", "AMAZONFEE": "marketplace fee", "CRUK": "commission to a charity", "B": "bad debt",
}  # fmt: skip

Reason = str


class Line(msgspec.Struct, frozen=True):
    """A line of the file; the price in whole pence per piece, halves rounded away from zero."""

    invoice_no: str
    sku: str
    description: str
    quantity: int
    sold_at: datetime
    price_pence: int
    customer_id: int | None
    country: str

    @property
    def amount_pence(self) -> int:
        return self.quantity * self.price_pence

    @property
    def month(self) -> str:
        return f"{self.sold_at:%Y-%m}"


class Invoice(msgspec.Struct, frozen=True):
    """The lines that were sold on one invoice."""

    invoice_no: str
    sold_at: datetime
    customer_id: int | None
    country: str
    lines: tuple[Line, ...]


class Return(msgspec.Struct, frozen=True):
    """Pieces of a sale that came back."""

    invoice_no: str
    sold_on: str
    line: Line
    quantity: int

    @property
    def amount_pence(self) -> int:
        return self.quantity * self.line.price_pence


class History(msgspec.Struct, frozen=True):
    """A file, told apart."""

    invoices: tuple[Invoice, ...]
    returns: tuple[Return, ...]
    left_out: dict[Reason, int]


class ParquetMissing(Exception):
    """Reading parquet needs an extra that is not installed."""


def read_lines(file: Path) -> Iterator[Line]:
    """The lines of a parquet file with the columns COLUMNS, in the file's order. Raises ParquetMissing."""
    try:
        from pyarrow import parquet  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as missing:
        raise ParquetMissing("Reading parquet needs pyarrow: pip install 'souk[parquet]'") from missing
    for batch in parquet.ParquetFile(file).iter_batches(batch_size=50_000, columns=list(COLUMNS)):
        for row in zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True):
            invoice_no, sku, description, quantity, sold_at, price, customer_id, country = row
            yield Line(
                invoice_no, sku, description or "", quantity, sold_at.replace(tzinfo=UTC), round_to_pence(price), customer_id, country
            )


def round_to_pence(price: float) -> int:
    """The price in whole pence. The file's floats are decimals with at most three places, so a nudge cannot mislead."""
    sign = -1 if price < 0 else 1
    return sign * int(abs(price) * 100 + 0.5 + 1e-6)


def tell_apart(lines: Iterable[Line]) -> History:
    """Sales by invoice, returns matched with the sale they undo, and a count of everything else by reason."""
    sold: defaultdict[str, list[Line]] = defaultdict(list)
    came_back: list[Line] = []
    left_out: Counter[Reason] = Counter()
    for line in lines:
        kind, reason = classify(line)
        if kind == "sale":
            sold[line.invoice_no].append(line)
        elif kind == "return":
            came_back.append(line)
        else:
            left_out[reason] += 1
    invoices = tuple(make_invoice(number, own) for number, own in sold.items())
    returns, unmatched = match_returns(invoices, came_back)
    left_out["return without a sale"] = unmatched
    return History(invoices, returns, dict(sorted(left_out.items())))


def classify(line: Line) -> tuple[Literal["sale", "return", "neither"], Reason]:
    """What a line is: it sells goods if its code is one of goods, quantity and price are above zero, and its invoice is no C or A."""
    if line.invoice_no.startswith("A"):
        return "neither", "bad debt adjustment"
    if not GOODS.fullmatch(line.sku):
        what = CODES.get(line.sku) or ("gift voucher" if line.sku.startswith("gift_") else "not a stock code")
        return "neither", f"cancelled {what}" if line.invoice_no.startswith("C") else what
    if line.invoice_no.startswith("C"):
        return ("return", "") if line.quantity < 0 and line.price_pence > 0 else ("neither", "cancellation without a value")
    if line.quantity <= 0:
        return "neither", "damaged or missing stock"
    if line.price_pence <= 0:
        return "neither", "given away"
    return "sale", ""


def make_invoice(invoice_no: str, lines: list[Line]) -> Invoice:
    first = lines[0]
    return Invoice(invoice_no, min(line.sold_at for line in lines), first.customer_id, first.country, tuple(lines))


class _OpenSale:
    """A sold line and how many of its pieces have not come back."""

    __slots__ = ("left", "line")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.left = line.quantity


def match_returns(invoices: tuple[Invoice, ...], came_back: list[Line]) -> tuple[tuple[Return, ...], int]:
    """Give each returned piece to the latest earlier sale of the same SKU at the same price to the same customer.

    How many lines came back without a sale, or with more pieces than were sold, is the second answer.
    """
    open_sales: defaultdict[tuple[int | None, str, int], list[_OpenSale]] = defaultdict(list)
    for invoice in sorted(invoices, key=lambda one: one.sold_at):
        for line in invoice.lines:
            if line.customer_id is not None:
                open_sales[line.customer_id, line.sku, line.price_pence].append(_OpenSale(line))
    matched: list[Return] = []
    unmatched = 0
    for line in sorted(came_back, key=lambda one: one.sold_at):
        wanted = -line.quantity
        for sale in reversed(open_sales.get((line.customer_id, line.sku, line.price_pence), [])):
            taken = min(sale.left, wanted) if sale.line.sold_at <= line.sold_at else 0
            if taken:
                sale.left -= taken
                wanted -= taken
                matched.append(Return(line.invoice_no, sale.line.invoice_no, line, taken))
        unmatched += wanted > 0
    return tuple(matched), unmatched


def sum_revenue(invoices: Iterable[Invoice]) -> dict[str, dict[str, int]]:
    """Gross sales in pence per month and country."""
    revenue: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for invoice in invoices:
        for line in invoice.lines:
            revenue[f"{invoice.sold_at:%Y-%m}"][line.country] += line.amount_pence
    return {month: dict(sorted(countries.items())) for month, countries in sorted(revenue.items())}
