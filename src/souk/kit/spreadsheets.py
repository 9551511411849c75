"""Lines of CSV in which no cell is a formula for the spreadsheet that opens them."""

import csv
from collections.abc import Sequence
from io import StringIO

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escape(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith((*FORMULA, "'")) else cell


def unescape(cell: str) -> str:
    """What was escaped."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*FORMULA, "'")) else cell


def write_line(cells: Sequence[str]) -> bytes:
    """One line of CSV, its cells as they are."""
    line = StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()
