"""Sizes, imports, transactions and comments: what a stranger may rely on in every file."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator

import pytest
from tests.architecture.source import ROOT, Module, assert_none, read_source

from souk import app

LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 50, 6
# Query parameters that several routes share: the framework wants each by name.
QUERIES = {"souk.catalog.http.read_filter"}
BANNER = re.compile(r"[-=#*~+_]{4,}")
HISTORY = re.compile(
    r"\b(TODO|FIXME|XXX|HACK|previously|formerly|used to be|renamed|refactored|legacy|moved (here )?from|changed in)\b", re.IGNORECASE
)
PATTERNS = re.compile(
    r"\b(singleton|facade|visitor|mediator|repository pattern|strategy|abstract factory|unit of work|DTO|CQRS)\b", re.IGNORECASE
)
# The only floats about money: a data set and a spreadsheet that have them, read and rounded at once.
MAY_READ_FLOAT_MONEY = {"souk.catalog.columns", "souk.replay.history"}
MONEY = re.compile(r"amount|price|total|money|balance|\bfee|\btax|discount|refund|commission|shipping_cost")
STATEMENT = re.compile(r"\s*(SELECT\s|INSERT INTO\s|UPDATE\s|DELETE FROM\s|WITH \w+ AS)")
# A list of products is put together from the filters that were asked for; its tests run every part.
MAY_BUILD_STATEMENTS = {"souk.catalog.browsing.write_statement", "souk.catalog.shelves.fill"}
# Where the environment is read; everywhere else it comes as settings.
MAY_READ_ENVIRONMENT = {
    "souk.kit.config", "souk.kit.supervisor", "souk.app", "souk.__main__", "souk.supervising", "souk.splitting", "souk.health",
}  # fmt: skip

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


def find_missing_sentences(module: Module) -> list[str]:
    said = ast.get_docstring(module.tree)
    return [] if said else [f"{module.name} does not say what is in it"]


def find_relative_imports(module: Module) -> list[str]:
    return [f"{module.name} imports relatively" for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom) and node.level]


def find_any(module: Module) -> list[str]:
    if module.package in ("kit", "") or module.package not in (*app.CONTEXTS, "operations", "audit", "demo", "replay"):
        return []
    uses = any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(module.tree))
    return [f"{module.name} uses Any"] if uses else []


def find_environment(module: Module) -> list[str]:
    if module.name in MAY_READ_ENVIRONMENT or module.package == "sandbox" or module.name.startswith("souk.kit.postgres"):
        return []
    return [f"{module.name} reads the environment"] if re.search(r"os\.(environ|getenv)", module.text) else []


# An extra that need not be there, and libraries that take 3 to 13 MB of a process and that few shops or processes use.
MAY_BE_IMPORTED_LATE = ("pyarrow", "valkey", "souk.payments.gateways.stripe", "souk.shipping.printing", "souk.kit.worker", "souk.kit.spans")


def find_buried_imports(module: Module) -> list[str]:
    return [
        f"{module.name}.{function.name} imports inside: imports stand on top, where a reader looks for them"
        for function in functions_of(module)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and not any(name in ast.unparse(node) for name in MAY_BE_IMPORTED_LATE)
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


def find_broken_sentences(module: Module) -> list[str]:
    first = (ast.get_docstring(module.tree) or "").split("\n\n")[0]
    return [] if first.endswith((".", ":", "…")) else [f"{module.name} begins with no sentence: {first[:60]}"]


def comments_of(module: Module) -> Iterator[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
    return ((token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT)


def find_idle_comments(module: Module) -> list[str]:
    """Comments that decorate, tell history, or name a pattern instead of saying why."""
    return [
        f"{module.name}:{line}: no banners, no history, no pattern names: {text}"
        for line, text in comments_of(module)
        if any(forbidden.search(text) for forbidden in (BANNER, HISTORY, PATTERNS))
    ]


def find_float_money(module: Module) -> list[str]:
    """Fields, parameters and variables about money that are no integers."""
    named = [(node.target, node.annotation) for node in ast.walk(module.tree) if isinstance(node, ast.AnnAssign)]
    named += [(ast.Name(node.arg), node.annotation) for node in ast.walk(module.tree) if isinstance(node, ast.arg) and node.annotation]
    return [
        f"{module.name}: {ast.unparse(name)} is {ast.unparse(kind)}: money is integer minor units with a currency"
        for name, kind in named
        if module.name not in MAY_READ_FLOAT_MONEY
        and MONEY.search(ast.unparse(name).lower())
        and re.search(r"\b(float|Decimal)\b", ast.unparse(kind))
    ]


def find_inline_statements(module: Module) -> list[str]:
    """SQL within a function, where the test that prepares every statement does not see it."""
    if module.package not in app.CONTEXTS:
        return []
    return [
        f"{module.name}.{function.name} has SQL inside: constants stand on top"
        for function in functions_of(module)
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value)
        if f"{module.name}.{function.name}" not in MAY_BUILD_STATEMENTS
    ]


RULES: tuple[tuple[Callable[[Module], list[str]], str, str], ...] = (
    (find_long_files, "orders/spy.py", "\n" * 401),
    (find_long_functions, "orders/spy.py", "def f():\n" + "    x = 1\n" * 51),
    (find_wide_functions, "orders/spy.py", "def f(a, b, c, d, e, f, g): ..."),
    (find_missing_sentences, "orders/spy.py", "x = 1"),
    (find_relative_imports, "orders/spy.py", "from . import types"),
    (find_any, "orders/spy.py", "from typing import Any\nx: Any = 1"),
    (find_environment, "orders/spy.py", "import os\nx = os.environ['X']"),
    (find_buried_imports, "orders/spy.py", "def f():\n    import os"),
    (find_mixed_transactions, "orders/spy.py", "async def f(x, tx): ..."),
    (find_mixed_transactions, "orders/spy.py", "async def f(tx):\n    async with db.transaction() as other: ..."),
    (find_broken_sentences, "orders/spy.py", '"""Things about orders"""'),
    (find_idle_comments, "orders/spy.py", "# ---------- placing ----------"),
    (find_idle_comments, "orders/spy.py", "x = 1  # TODO: two"),
    (find_idle_comments, "orders/spy.py", "# Renamed: this was y.\nx = 1"),
    (find_idle_comments, "orders/spy.py", "# A singleton.\nx = 1"),
    (find_float_money, "orders/spy.py", "class Line:\n    total_price: float | None"),
    (find_float_money, "orders/spy.py", "def pay(amount: Decimal): ..."),
    (find_inline_statements, "orders/spy.py", "async def f(tx):\n    await tx.run('DELETE FROM orders.orders')"),
)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Callable[[Module], list[str]]) -> None:
    modules = read_source()
    assert len(modules) > 100
    assert_none([broken for module in modules for broken in rule(module)])


@pytest.mark.parametrize(("rule", "place", "text"), RULES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_violation_is_seen(rule: Callable[[Module], list[str]], place: str, text: str) -> None:
    assert rule(Module(ROOT / "souk" / place, text)) != []
