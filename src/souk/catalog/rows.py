"""Read rows of products out of CSV, NDJSON and parquet files, one at a time, whatever stands in them."""

import csv
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from souk.catalog.types import (
    Attributes,
    Brand,
    Description,
    ExternalId,
    Name,
    Prices,
    ProductStatus,
    Sku,
    TaxCategory,
    VariantName,
    WeightG,
)
from souk.kit.cardnumbers import CardNumber, refuse_card_numbers
from souk.kit.errors import Invalid
from souk.kit.money import exponent, known_currencies
from souk.kit.spreadsheets import unescape

Format = Literal["csv", "ndjson", "parquet"]

LONGEST_LINE = 1024 * 1024
PRICE = "price_"
DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?")
JSON_COLUMNS = {"attributes", "variant_attributes"}
SCALARS: dict[str, type] = {"weight_g": int, "requires_shipping": bool, "rating_average": float, "rating_count": int}
COLUMNS = (
    "sku", "external_id", "name", "description", "brand", "categories", "attributes", "variant_name", "variant_attributes",
    "weight_g", "tax_category", "requires_shipping", "status", "rating_average", "rating_count",
)  # fmt: skip

CategoryNames = Annotated[str, Meta(min_length=1, max_length=2000, description="names from the root down", examples=["Home > Kitchen"])]


class RowRefused(Exception):
    """Why a row cannot become a product: a stable code, and the sentence that explains it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class UnreadableFile(Invalid, code="catalog.unreadable_file"):
    """The file cannot be read: {reason}."""

    reason: str


class ImportRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant and the product that it belongs to. What is left out stays as it is, or has its default in a new product.

    Rows with one `external_id` are variants of one product; without it a row is a product of its own, known by its SKU. The
    first row of a product says what the product is, the first row of a SKU what the variant is; every row may add categories.
    """

    sku: Sku
    external_id: ExternalId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    brand: Brand | UnsetType = UNSET
    categories: Annotated[tuple[CategoryNames, ...], Meta(max_length=20)] = ()
    attributes: Attributes | UnsetType = UNSET
    variant_name: VariantName | UnsetType = UNSET
    variant_attributes: Attributes | UnsetType = UNSET
    prices: Prices | UnsetType = UNSET
    weight_g: WeightG | UnsetType = UNSET
    tax_category: TaxCategory | UnsetType = UNSET
    requires_shipping: bool | UnsetType = UNSET
    status: ProductStatus | UnsetType = UNSET
    rating_average: Annotated[float, Meta(ge=1, le=5)] | UnsetType = UNSET
    rating_count: Annotated[int, Meta(ge=1, le=10**12)] | UnsetType = UNSET


class Line(msgspec.Struct, frozen=True):
    """Where a row stands in its file, and what it says or why it says nothing."""

    number: int
    cells: Mapping[str, object] | RowRefused


def read_file(file: Path, kind: Format | None = None) -> Iterator[Line]:
    """The rows of a file, of the format that its name ends in; raises UnreadableFile."""
    found = kind or find_format(file)
    if found == "parquet":
        yield from read_parquet(file)
        return
    with file.open("rb") as opened:
        yield from read_csv(opened) if found == "csv" else read_ndjson(opened)


def find_format(file: Path) -> Format:
    """The format of a file by its name."""
    endings: dict[str, Format] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}
    if found := endings.get(file.suffix.lower()):
        return found
    raise UnreadableFile(f"{file.name} ends in none of {', '.join(endings)}")


def read_ndjson(file: BinaryIO) -> Iterator[Line]:
    """One JSON object a line; empty lines are nothing."""
    for number, text in enumerate(cut_lines(file), 1):
        if text.strip():
            yield Line(number, decode_object(text))


def decode_object(text: bytes) -> Mapping[str, object] | RowRefused:
    """The object, or that it is none."""
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        return RowRefused("malformed", f"This is not a JSON object: {broken}")


def read_csv(file: BinaryIO) -> Iterator[Line]:
    """Comma-separated values in UTF-8 with a header line; empty lines are nothing. Raises UnreadableFile for the header."""
    texts = (text.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape") for number, text in enumerate(cut_lines(file)))
    reader = csv.reader(texts, strict=True)
    header: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as broken:
            yield Line(reader.line_num, RowRefused("malformed", f"This is not a line of CSV: {broken}"))
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header) or not any(header):
                raise UnreadableFile("the first line is to name every column once")
        elif len(cells) > len(header) or (cells and len(cells) < len(header)):
            yield Line(reader.line_num, RowRefused("malformed", f"The line has {len(cells)} cells, the header {len(header)}"))
        elif cells:
            yield Line(reader.line_num, dict(zip(header, cells, strict=True)))


def read_parquet(file: Path) -> Iterator[Line]:
    """The rows of a parquet file; raises UnreadableFile, also if pyarrow (the extra `parquet`) is not installed."""
    try:
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError as missing:
        raise UnreadableFile("reading parquet needs the extra: pip install 'souk[parquet]'") from missing
    number = 0
    for batch in parquet.ParquetFile(file).iter_batches(500):
        for cells in batch.to_pylist():
            number += 1
            yield Line(number, cells)


def cut_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; raises UnreadableFile for one that is longer than any row can be."""
    while text := file.readline(LONGEST_LINE + 1):
        if len(text) > LONGEST_LINE:
            raise UnreadableFile(f"a line is longer than {LONGEST_LINE} bytes")
        yield text


def to_row(cells: Mapping[str, object]) -> ImportRow:
    """The row that cells of JSON stand for; raises RowRefused."""
    check_texts(cells)
    try:
        return msgspec.convert(cells, ImportRow)
    except msgspec.ValidationError as mistake:
        raise RowRefused("invalid", str(mistake)) from mistake


def to_row_from_csv(cells: Mapping[str, object]) -> ImportRow:
    """The row that cells of CSV stand for: an empty cell leaves out, prices are in major units; raises RowRefused."""
    texts = {name: unescape(str(cell).strip()) for name, cell in cells.items() if str(cell).strip()}
    row: dict[str, object] = {name: text for name, text in texts.items() if not name.startswith(PRICE)}
    prices = [to_price(text, name.removeprefix(PRICE)) for name, text in texts.items() if name.startswith(PRICE)]
    if prices:
        row["prices"] = prices
    if "categories" in texts:
        row["categories"] = [part.strip() for part in texts["categories"].split("|")]
    check_texts(texts)
    try:
        for name in JSON_COLUMNS & texts.keys():
            row[name] = msgspec.json.decode(texts[name])
        for name, kind in SCALARS.items():
            if name in texts:
                row[name] = msgspec.convert(texts[name], kind, strict=False)
        return msgspec.convert(row, ImportRow)
    except (msgspec.DecodeError, RecursionError) as mistake:
        raise RowRefused("invalid", str(mistake)) from mistake


def to_price(text: str, currency: str) -> dict[str, object]:
    """A price in minor units out of a number like 12.90; raises RowRefused."""
    if currency not in known_currencies():
        raise RowRefused("invalid", f"{currency} is no currency")
    if not DECIMAL.fullmatch(text):
        raise RowRefused("invalid", f"{text[:40]} is no price")
    amount = Decimal(text) * 10 ** exponent(currency)
    if amount != int(amount):
        raise RowRefused("invalid", f"{currency} has {exponent(currency)} decimals, and {text} has more")
    return {"amount": int(amount), "currency": currency}


def check_texts(cells: Mapping[str, object]) -> None:
    """Raises RowRefused for what no text of ours may contain: NUL, bytes that are not UTF-8, a card number."""
    try:
        text = msgspec.json.encode(cells)
        refuse_card_numbers(text)
    except UnicodeEncodeError as broken:
        raise RowRefused("malformed", "The line is not UTF-8") from broken
    except (OverflowError, RecursionError) as broken:
        raise RowRefused("invalid", f"The line has a value out of range: {broken}") from broken
    except CardNumber as found:
        raise RowRefused(found.code, str(found)) from found
    if b"\\u0000" in text:
        raise RowRefused("invalid", "A text may not contain a NUL character")
