"""How much of everything: small rounds in an ordinary run, full counts in `make torture`."""

import os
from pathlib import Path

TORTURE = bool(os.environ.get("TORTURE"))
REPORTS = Path(__file__).parents[1] / ".torture"


def rounds(few: int, many: int) -> int:
    """How often to do something: `few` times in an ordinary run, `many` times under torture."""
    return many if TORTURE else few


def report(name: str, text: str) -> None:
    """Show a table (with pytest's -s), and under torture keep it in .torture/."""
    print(f"\n{text}")  # noqa: T201
    if TORTURE:
        REPORTS.mkdir(exist_ok=True)
        (REPORTS / name).write_text(text + "\n")
