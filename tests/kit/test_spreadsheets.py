"""Whatever stands in a cell, no spreadsheet takes it for a formula, and it comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from souk.kit.spreadsheets import escape, unescape, write_line


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'quoted", "'=x"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert escape(cell)[0] == "'"
    assert unescape(escape(cell)) == cell


@given(st.text())
def test_what_is_escaped_comes_back(cell: str) -> None:
    assert unescape(escape(cell)) == cell
    assert not escape(cell).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_line_quotes_what_has_to_be() -> None:
    assert write_line(["plain", "a,b", 'say "no"', ""]) == b'plain,"a,b","say ""no""",\r\n'
