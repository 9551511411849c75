"""The rules for tests: nothing of ours is mocked; each context's settings are one frozen object."""

import ast
import re

import msgspec
from tests.architecture.source import ROOT, assert_none, parse

from souk import app
from souk.kit.config import Section

app.import_contexts()

TESTS = ROOT.parent / "tests"
MOCKS = ("unittest", "mock", "pytest_mock", "asynctest")


def find_mocks(name: str, text: str) -> list[str]:
    """Mock libraries, and functions of a context that a test puts its own in the place of; a limit may be made smaller."""
    tree = parse(text)
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    found = [f"{name} imports {module}" for module in imported if module.partition(".")[0] in MOCKS]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "monkeypatch.setattr":
            what = " ".join(ast.unparse(argument) for argument in node.args[:2] if not isinstance(argument, ast.Lambda))
            target = re.findall(r"\w+", what)
            if not any(word.isupper() for word in target):
                found.append(f"{name}:{node.lineno} replaces {what}: nothing of ours is mocked")
    return found


def find_bad_settings(sections: list[tuple[str, type[msgspec.Struct]]]) -> list[str]:
    """Settings (context, kind) that can change, or that a context has in two objects."""
    found = [f"{kind.__name__} of {context} is not frozen" for context, kind in sections if not kind.__struct_config__.frozen]
    own = [context for context, kind in sections if kind.__name__ == "Settings"]
    return found + [f"{context} has two Settings" for context in sorted(set(own)) if own.count(context) > 1]


def test_nothing_of_ours_is_mocked() -> None:
    files = [file for context in (*app.CONTEXTS, "journeys", "demo") for file in sorted((TESTS / context).rglob("*.py"))]
    assert len(files) > 50
    assert_none([broken for file in files for broken in find_mocks(str(file.relative_to(TESTS)), file.read_text())])


def test_settings_are_one_frozen_object_for_each_context() -> None:
    declared = [(section.kind.__module__.split(".")[1], section.kind) for section in Section.declared]
    assert len(declared) > 4
    assert find_bad_settings(declared) == []


class Settings(msgspec.Struct):
    limit: int = 1


def test_a_planted_violation_is_seen() -> None:
    assert len(find_mocks("spy", "from unittest.mock import AsyncMock")) == 1
    assert len(find_mocks("spy", "monkeypatch.setattr(inventory, 'reserve_stock', pretend)")) == 1
    assert len(find_mocks("spy", "monkeypatch.setattr('souk.payments.charging.charge', lambda *_: None)")) == 1
    assert find_mocks("spy", "monkeypatch.setattr(images, 'MOST_IMAGES', 2)") == []
    assert len(find_bad_settings([("orders", Settings)])) == 1
    assert len(find_bad_settings([("orders", app.Settings), ("orders", app.Settings)])) == 1
