"""Sizes, names and comments: what a stranger may rely on in every file."""

import ast
import re
from collections.abc import Callable, Iterator

import pytest
from tests.architecture.source import ROOT, Module, assert_none, read_source

from souk import app
from souk.kit.calls import EXPOSED
from souk.kit.errors import REFUSALS
from souk.kit.events import CONSUMERS

app.import_contexts()

LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 50, 6
# Query parameters that several routes share: the framework wants each by name.
QUERIES = {"souk.catalog.http.read_filter"}
EMPTY_NAMES = {"service", "services", "manager", "utils", "util", "helpers", "helper", "common", "base", "core"}
# Where the environment is read; everywhere else it comes as settings.
MAY_READ_ENVIRONMENT = {"souk.kit.config", "souk.kit.supervisor", "souk.app", "souk.__main__", "souk.starting"}

Functions = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(module: Module) -> Iterator[Functions]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_handler(function: Functions) -> bool:
    """Route handlers and commands take what their clients send."""
    return any(name in ast.unparse(decorator) for decorator in function.decorator_list for name in ("route(", "command("))


def find_long_files(module: Module) -> list[str]:
    lines = module.text.count("\n")
    return [f"{module.name} has {lines} lines: split it by business noun"] if lines > LONGEST_FILE else []


def find_long_functions(module: Module) -> list[str]:
    return [
        f"{module.name}.{function.name} has {length} lines"
        for function in functions_of(module)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    ]


def find_wide_functions(module: Module) -> list[str]:
    return [
        f"{module.name}.{function.name} has {count} parameters"
        for function in functions_of(module)
        if not is_handler(function)
        and f"{module.name}.{function.name}" not in QUERIES
        and (count := len([a for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs) if a.arg != "self"]))
        > MOST_PARAMETERS
        and function.name != "__init__"
    ]


def find_empty_names(module: Module) -> list[str]:
    return [f"{module.name} is named after nothing"] if module.path.stem in EMPTY_NAMES else []


def find_missing_sentences(module: Module) -> list[str]:
    said = ast.get_docstring(module.tree)
    return [] if said else [f"{module.name} does not say what is in it"]


def find_relative_imports(module: Module) -> list[str]:
    return [f"{module.name} imports relatively" for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom) and node.level]


def find_any(module: Module) -> list[str]:
    if module.package in ("kit", "") or module.package not in (*app.CONTEXTS, "operations", "demo", "replay"):
        return []
    uses = any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(module.tree))
    return [f"{module.name} uses Any"] if uses else []


def find_environment(module: Module) -> list[str]:
    if module.name in MAY_READ_ENVIRONMENT or module.package == "sandbox" or module.name.startswith("souk.kit.postgres"):
        return []
    return [f"{module.name} reads the environment"] if re.search(r"os\.(environ|getenv)", module.text) else []


def find_buried_imports(module: Module) -> list[str]:
    return [
        f"{module.name}.{function.name} imports inside: imports stand on top, where a reader looks for them"
        for function in functions_of(module)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and "pyarrow" not in ast.unparse(node)  # an extra that need not be there
    ]


def find_mixed_transactions(module: Module) -> list[str]:
    """A function opens a transaction or receives one, never both; one that it receives comes first."""
    found: list[str] = []
    for function in functions_of(module):
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        if "tx" not in names:
            continue
        if names[0] != "tx":
            found.append(f"{module.name}.{function.name} takes tx, but not first")
        if re.search(r"\.transaction\(", ast.unparse(function)):
            found.append(f"{module.name}.{function.name} takes tx and opens another transaction")
    return found


def find_long_sentences(module: Module) -> list[str]:
    first = (ast.get_docstring(module.tree) or "").split("\n\n")[0]
    return [] if first.endswith((".", ":", "…")) else [f"{module.name} begins with no sentence: {first[:60]}"]


RULES: tuple[tuple[Callable[[Module], list[str]], str, str], ...] = (
    (find_long_files, "orders/spy.py", "\n" * 401),
    (find_long_functions, "orders/spy.py", "def f():\n" + "    x = 1\n" * 51),
    (find_wide_functions, "orders/spy.py", "def f(a, b, c, d, e, f, g): ..."),
    (find_empty_names, "orders/utils.py", ""),
    (find_missing_sentences, "orders/spy.py", "x = 1"),
    (find_relative_imports, "orders/spy.py", "from . import types"),
    (find_any, "orders/spy.py", "from typing import Any\nx: Any = 1"),
    (find_environment, "orders/spy.py", "import os\nx = os.environ['X']"),
    (find_buried_imports, "orders/spy.py", "def f():\n    import os"),
    (find_mixed_transactions, "orders/spy.py", "async def f(x, tx): ..."),
    (find_mixed_transactions, "orders/spy.py", "async def f(tx):\n    async with db.transaction() as other: ..."),
    (find_long_sentences, "orders/spy.py", '"""Things about orders"""'),
)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Callable[[Module], list[str]]) -> None:
    modules = read_source()
    assert len(modules) > 100
    assert_none([broken for module in modules for broken in rule(module)])


@pytest.mark.parametrize(("rule", "place", "text"), RULES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_violation_is_seen(rule: Callable[[Module], list[str]], place: str, text: str) -> None:
    assert rule(Module(ROOT / "souk" / place, text)) != []


def test_exposed_functions_are_verb_noun_unique_and_say_what_they_promise() -> None:
    own = [function for function in EXPOSED.values() if function.function.__module__.startswith(f"souk.{function.context}.")]
    assert len(own) > 50
    names = [function.name for function in own]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
    one_word = {name for name in names if "_" not in name} - {"quote", "charge", "refund"}
    assert one_word == set()
    assert [function.path for function in own if not (function.__doc__ or "").strip()] == []


def test_refusals_have_codes_of_their_context_and_are_not_called_errors() -> None:
    kinds = {code: kind for code, kind in REFUSALS.items() if kind.__module__.split(".")[1] in app.CONTEXTS}
    assert len(kinds) > 20
    assert [code for code, kind in kinds.items() if code.partition(".")[0] != kind.__module__.split(".")[1]] == []
    assert [kind.__name__ for kind in kinds.values() if kind.__name__.endswith("Error")] == []


def test_consumers_are_named_for_what_they_do() -> None:
    assert CONSUMERS
    assert [path for path in CONSUMERS if path.partition(".")[2].startswith(("handle_", "on_"))] == []
