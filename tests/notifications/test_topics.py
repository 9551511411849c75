"""Every kind of message is made by somebody: words that nobody says are not kept."""

import ast
from collections.abc import Iterable
from pathlib import Path

from souk import notifications
from souk.notifications.topics import KINDS

SOURCE = Path(notifications.__file__).parent
# Those that look at kinds, and make none.
ABOUT_KINDS = {"topics.py", "rules.py"}
# What watches the shop will make them.
AWAITED = {"alert_raised", "alert_ended"}


def find_named(sources: Iterable[str]) -> set[str]:
    """The kinds that stand in these sources as values: not in their comments, and not within a statement."""
    found = (node.value for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return KINDS.keys() & {value for value in found if isinstance(value, str)}


def test_every_kind_is_made_by_somebody() -> None:
    files = [file for file in SOURCE.rglob("*.py") if file.name not in ABOUT_KINDS]
    assert KINDS.keys() - find_named(file.read_text() for file in files) <= AWAITED


def test_a_kind_that_is_only_spoken_of_is_not_made() -> None:
    assert find_named(['# welcome\nSQL = "kind = \'order_placed\'"']) == set()
    assert find_named(["tell('campaign')"]) == {"campaign"}
