"""Whatever stands in a file becomes a row or a reason, never an accident."""

import io
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from souk.catalog import rows
from souk.catalog.columns import ColumnMap
from souk.catalog.exporting import to_cell, to_cells, write_csv, write_header, write_ndjson
from souk.catalog.rows import (
    COLUMNS,
    ImportRow,
    Line,
    RowRefused,
    UnreadableFile,
    find_format,
    read_csv,
    read_ndjson,
    to_row,
    to_row_from_csv,
)
from souk.catalog.types import Price

ROW = ImportRow(
    sku="MUG-S", external_id="mug", name='The "blue" mug, tall', description="Two\nlines", brand="Kumo",
    categories=("Home > Kitchen", "Gifts"), attributes={"a": 1, "b": [" x"], "c": None, "d": True}, variant_name="=SUM(A1)",
    variant_attributes={"size": "S"}, prices=(Price(1290, "USD"), Price(5, "EUR"), Price(100000, "INR")), weight_g=380,
    tax_category="reduced", requires_shipping=False, status="draft", rating_average=4.5, rating_count=2,
)  # fmt: skip


def from_csv(text: str) -> list[ImportRow | str]:
    return from_csv_bytes(text.encode("utf-8", "surrogateescape"))


def from_csv_bytes(content: bytes) -> list[ImportRow | str]:
    return [read(line, to_row_from_csv) for line in read_csv(io.BytesIO(content))]


def from_ndjson(content: bytes) -> list[ImportRow | str]:
    return [read(line, to_row) for line in read_ndjson(io.BytesIO(content))]


def read(line: Line, column_map: ColumnMap) -> ImportRow | str:
    try:
        if isinstance(line.cells, RowRefused):
            raise line.cells
        return column_map(line.cells)
    except RowRefused as refused:
        return refused.code


def test_a_row_survives_both_formats() -> None:
    assert from_ndjson(write_ndjson((ROW,))) == [ROW]
    (again,) = from_csv((write_header() + write_csv((ROW,))).decode())
    assert isinstance(again, ImportRow)
    assert sorted(again.prices, key=lambda price: price.currency) == sorted(ROW.prices, key=lambda price: price.currency)
    assert msgspec.structs.replace(again, prices=ROW.prices) == ROW


def test_a_row_survives_the_wire() -> None:
    for row in (ROW, ImportRow("A")):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=ImportRow) == row


def test_an_empty_cell_leaves_the_field_out() -> None:
    (row,) = from_csv("sku,name,brand,price_USD,weight_g\nA,,,,\n")
    assert row == ImportRow("A")
    assert isinstance(row, ImportRow)
    assert row.prices is UNSET


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ("sku,name,price_USD\nA,Mug,12.999", "invalid"),
        ("sku,name,price_USD\nA,Mug,twelve", "invalid"),
        ("sku,name,price_USD\nA,Mug,-1", "invalid"),
        ("sku,name,price_USD\nA,Mug,1e5", "invalid"),
        ("sku,name,price_USD\nA,Mug,NaN", "invalid"),
        ("sku,name,price_XXY\nA,Mug,1", "invalid"),
        ("sku,name,price_JPY\nA,Mug,1.5", "invalid"),
        ("sku,name,weight_g\nA,Mug,heavy", "invalid"),
        ("sku,name,weight_g\nA,Mug,1.5", "invalid"),
        ("sku,name,attributes\nA,Mug,{", "invalid"),
        ("sku,name,attributes\nA,Mug,[]", "invalid"),
        ("sku,name,colour\nA,Mug,blue", "invalid"),
        ("sku,name\nA,Mug\0", "invalid"),
        ("sku,name\nA,4111 1111 1111 1111", "card_number_refused"),
        ("sku,name\nA,caf\udce9", "malformed"),
        ("sku,name\nA,Mug,extra", "malformed"),
        ("sku,name\nA", "malformed"),
        ('sku,name\nA,"Mug', "malformed"),
        ("sku,name\n,Mug", "invalid"),
    ],
)
def test_a_bad_line_of_csv_is_refused(cells: str, code: str) -> None:
    assert from_csv(cells) == [code]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"null", "malformed"),
        (b"\xff", "malformed"),
        (b'{"sku": "\xe9"}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"name": "Mug"}', "invalid"),
        (b'{"sku": 1}', "invalid"),
        (b'{"sku": ""}', "invalid"),
        (b'{"sku": "A", "price": 1}', "invalid"),
        (b'{"sku": "A", "name": "a\\u0000b"}', "invalid"),
        (b'{"sku": "A", "weight_g": -1}', "invalid"),
        (b'{"sku": "A", "weight_g": 99999999999999999999999999}', "invalid"),
        (b'{"sku": "A", "prices": []}', "invalid"),
        (b'{"sku": "A", "prices": [{"amount": 1.5, "currency": "USD"}]}', "invalid"),
        (b'{"sku": "A", "prices": [{"amount": 9999999999999999, "currency": "USD"}]}', "invalid"),
        (b'{"sku": "A", "attributes": {"a": {"b": 1}}}', "invalid"),
        (b'{"sku": "A", "attributes": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "invalid"),
        (b'{"sku": "4111111111111111"}', "card_number_refused"),
    ],
)
def test_a_bad_line_of_json_is_refused(text: bytes, code: str) -> None:
    refused = from_ndjson(text)
    assert refused in ([code], ["malformed"])


def test_bad_lines_do_not_hide_good_ones() -> None:
    assert from_csv('sku,name\nA,One\nB,"Two"x\nC,Three\n\nD\nE,Five\n') == [
        ImportRow("A", name="One"), "malformed", ImportRow("C", name="Three"), "malformed", ImportRow("E", name="Five"),
    ]  # fmt: skip
    assert from_ndjson(b'{"sku":"A"}\n\n{]\n{"sku":"B"}') == [ImportRow("A"), "malformed", ImportRow("B")]


def test_the_line_is_the_one_that_an_editor_shows() -> None:
    assert [line.number for line in read_csv(io.BytesIO(b"sku,name\nA,One\nB,Two\n"))] == [2, 3]
    assert [line.number for line in read_ndjson(io.BytesIO(b'{"sku":"A"}\n\n{"sku":"B"}'))] == [1, 3]


def test_a_line_that_never_ends_ends_the_file() -> None:
    for reader in (read_csv, read_ndjson):
        with pytest.raises(UnreadableFile):
            list(reader(io.BytesIO(b"x" * (rows.LONGEST_LINE + 1))))


@pytest.mark.parametrize("header", ["", "sku,sku", "\n"])
def test_a_header_names_every_column_once(header: str) -> None:
    if header:
        with pytest.raises(UnreadableFile):
            from_csv(f"{header}\nA,B\n")
    else:
        assert from_csv("") == []


def test_a_file_begins_with_a_byte_order_mark_or_not() -> None:
    assert from_csv("\ufeffsku\nA\n") == from_csv("sku\r\nA\r\n") == [ImportRow("A")]


def test_the_format_is_in_the_name() -> None:
    assert [find_format(Path(name)) for name in ("a.csv", "a.NDJSON", "a.jsonl", "a.parquet")] == ["csv", "ndjson", "ndjson", "parquet"]
    with pytest.raises(UnreadableFile):
        find_format(Path("a.xlsx"))


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)


@given(st.builds(ImportRow, sku=texts, name=texts, description=texts, variant_name=texts))
def test_no_cell_of_an_export_begins_as_a_formula(row: ImportRow) -> None:
    row = msgspec.structs.replace(row, attributes={}, variant_attributes={}, prices=(), requires_shipping=True)
    cells = [to_cell(cell) for cell in to_cells(row)]
    assert len(cells) >= len(COLUMNS)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_no_bytes_are_an_accident(content: bytes) -> None:
    for prefix in (b"", b"sku,name,attributes,price_USD,categories\n", b'{"sku":"A","attributes":'):
        from_ndjson(prefix + content)
        try:
            from_csv_bytes(prefix + content)
        except UnreadableFile:
            continue


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
json_values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


# The first example of a run reads the constants of all modules that are loaded, which takes a second; that says nothing of this test.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*COLUMNS, "prices", "other"]), json_values))
def test_no_cells_are_an_accident(cells: dict[str, object]) -> None:
    read(Line(1, cells), to_row)
    read(Line(1, {name: str(cell) for name, cell in cells.items()}), to_row_from_csv)
