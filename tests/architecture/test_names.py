"""Names tell the kind of a thing: files and classes by a noun, functions by a verb, events in the past, quantities with their unit."""

import ast
import re
from collections.abc import Callable

import pytest
from tests.architecture.source import ROOT, Module, assert_none, read_source

from souk import app
from souk.kit.calls import EXPOSED
from souk.kit.errors import REFUSALS
from souk.kit.events import CONSUMERS, Event

app.import_contexts()

EMPTY_NAMES = {"service", "services", "manager", "utils", "util", "helpers", "helper", "common", "base", "core"}
EMPTY_CLASSES = re.compile(r"(Service|Manager|Utils?|Helpers?|Repository|Facade|DTO|Base|Impl|Interface)$")
# What an exposed function may begin with. Add to it any verb that a shop's owner would use.
VERBS = """
    add allow apply approve authenticate buy cancel change charge check claim clear close confirm count create credit delete deliver
    deposit describe dispatch empty ensure erase export favour find follow forget get hold import issue list mark move note notify open
    pack pay place plan post print put quote read recall receive recommend record redeem refresh refund register reject release remove reply
    report request reserve reset resolve restore resume retry return revoke rotate save search sell send set settle ship subscribe suggest
    sum suspend take train unsubscribe update upload verify void vote withdraw
"""
# One word says it all; fit to be called from anywhere.
ONE_WORD = {"quote", "charge", "refund", "recommend", "similar", "suggest", "notify", "authenticate"}
IRREGULAR_PASTS = {
    "Paid", "Sent", "Low", "Won", "Lost", "Begun", "Sold", "Bought", "Held", "Taken", "Given", "Put", "Set", "Read", "Hidden", "Shown",
    "Stock",
}  # fmt: skip
EMPTY_CONSUMERS = re.compile(r"^(handle|on|process|consume|react|receive|do)_|_(handler|consumer|listener|subscriber)$")
UNITS = {"s", "ms", "g", "kg", "mm", "cm", "ppm", "kib", "mib", "bytes"}
QUANTITIES = {"timeout", "delay", "duration", "ttl", "interval", "latency", "lease", "pause", "weight", "memory"}
# As its decorator is written in every context: @exposed(timeout=2.0).
WITHOUT_UNIT = {("souk.kit.calls", "timeout")}


def find_empty_names(module: Module) -> list[str]:
    classes = [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef) and EMPTY_CLASSES.search(node.name)]
    return [f"{module.name} is named after nothing"] * (module.path.stem in EMPTY_NAMES) + [
        f"{module.name}.{name} is named after a pattern" for name in classes
    ]


def find_lost_units(module: Module) -> list[str]:
    """Numbers whose name has its unit in another place than last, or none where one is due."""
    named = {(node.target.id, ast.unparse(node.annotation)) for node in ast.walk(module.tree)
             if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}  # fmt: skip
    named |= {(node.arg, ast.unparse(node.annotation)) for node in ast.walk(module.tree) if isinstance(node, ast.arg) and node.annotation}
    found: list[str] = []
    for name, kind in sorted(named):
        *front, last = name.lower().split("_")
        if re.search(r"\b(int|float)\b", kind) and (module.name, name) not in WITHOUT_UNIT and (UNITS & set(front) or last in QUANTITIES):
            found.append(f"{module.name}: {name} is a number of what? The unit comes last: timeout_s, weight_g")
    return found


def find_bad_functions(context_by_name: list[tuple[str, str]]) -> list[str]:
    """Exposed functions (context, name) that are no verb_noun, or of whose name there are two in the shop."""
    names = [name for _, name in context_by_name]
    return [
        f"{context}.{name} is no verb_noun (VERBS in {__name__})"
        for context, name in context_by_name
        if name not in ONE_WORD and not ("_" in name and name.partition("_")[0] in VERBS.split())
    ] + [f"{context}.{name}: another context exposes this name, too" for context, name in context_by_name if names.count(name) > 1]


def find_present_events(names: list[str]) -> list[str]:
    """Events that are not in the past tense."""
    last = {name: re.findall("[A-Z][a-z]*", name)[-1] for name in names}
    return [name for name, word in last.items() if not word.endswith("ed") and word not in IRREGULAR_PASTS]


def find_bad_refusals(refusals: list[tuple[str, str, str]]) -> list[str]:
    """Refusals (context, name, code) that are called errors, or whose code is another context's."""
    return [
        f"{name} ({code}) of {context}"
        for context, name, code in refusals
        if name.endswith(("Error", "Exception")) or code.partition(".")[0] != context
    ]


def find_bad_consumers(heard_by_path: dict[str, set[str]]) -> list[str]:
    """Consumers (path: events) that are named for what they hear, or for hearing, instead of what they do."""
    found: list[str] = []
    for path, heard in heard_by_path.items():
        name = path.partition(".")[2]
        snakes = {re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower() for event in heard}
        if EMPTY_CONSUMERS.search(name) or any(snake in name for snake in snakes):
            found.append(path)
    return found


RULES: tuple[tuple[Callable[[Module], list[str]], str, str], ...] = (
    (find_empty_names, "orders/utils.py", ""),
    (find_empty_names, "orders/spy.py", "class OrderService: ..."),
    (find_lost_units, "orders/spy.py", "timeout: float = 2.0"),
    (find_lost_units, "orders/spy.py", "def f(s_timeout: float): ..."),
    (find_lost_units, "orders/spy.py", "class Parcel:\n    g_weight: int"),
)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Callable[[Module], list[str]]) -> None:
    modules = read_source()
    assert len(modules) > 100
    assert_none([broken for module in modules for broken in rule(module)])


@pytest.mark.parametrize(("rule", "place", "text"), RULES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_violation_is_seen(rule: Callable[[Module], list[str]], place: str, text: str) -> None:
    assert rule(Module(ROOT / "souk" / place, text)) != []


def test_exposed_functions_are_verb_noun_and_unique() -> None:
    # What the kit exposes for every context (its outbox) has one name in all of them.
    own = [
        (one.context, one.name)
        for one in EXPOSED.values()
        if one.context in app.CONTEXTS and one.function.__module__.startswith(f"souk.{one.context}.")
    ]
    assert len(own) > 100
    assert_none(find_bad_functions(own))


def test_events_are_in_the_past_tense() -> None:
    names = [kind.__name__ for kind in Event.__subclasses__() if kind.__module__.startswith("souk.")]
    assert len(names) > 20
    assert find_present_events(names) == []


def test_refusals_have_codes_of_their_context_and_are_not_called_errors() -> None:
    kinds = [(kind.__module__.split(".")[1], kind.__name__, code) for code, kind in REFUSALS.items()]
    ours = [found for found in kinds if found[0] in app.CONTEXTS]
    assert len(ours) > 20
    assert_none(find_bad_refusals(ours))


def test_consumers_are_named_for_what_they_do() -> None:
    assert len(CONSUMERS) > 5
    assert find_bad_consumers({path: {name.partition(".")[2] for name in one.decoders} for path, one in CONSUMERS.items()}) == []


def test_a_planted_name_is_seen() -> None:
    assert len(find_bad_functions([("orders", "order_cancel")])) == 1
    assert len(find_bad_functions([("orders", "cancel")])) == 1
    assert len(find_bad_functions([("orders", "get_totals"), ("carts", "get_totals")])) == 2
    assert find_bad_functions([("orders", "cancel_order"), ("pricing", "quote")]) == []
    assert find_present_events(["OrderPlace", "PlaceOrder", "OrderPlaced", "StockLow"]) == ["OrderPlace", "PlaceOrder"]
    assert len(find_bad_refusals([("inventory", "StockError", "inventory.stock")])) == 1
    assert len(find_bad_refusals([("inventory", "OutOfStock", "orders.out_of_stock")])) == 1
    assert find_bad_refusals([("inventory", "OutOfStock", "inventory.out_of_stock")]) == []
    heard = {"OrderPlaced"}
    planted = dict.fromkeys(
        ("carts.handle_order", "carts.on_order", "carts.order_placed", "carts.order_handler", "carts.close_carts"), heard
    )
    assert find_bad_consumers(planted) == ["carts.handle_order", "carts.on_order", "carts.order_placed", "carts.order_handler"]
