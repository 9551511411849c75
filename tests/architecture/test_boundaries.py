"""Contexts meet at their front doors only, calls form no circle, and the kit knows no business."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from tests.architecture.source import ROOT, Module, read_source

from souk import app

# Who may call whom (design: "Allowed calls").
ALLOWED: dict[str, set[str]] = {
    "users": set(),
    "catalog": set(),
    "inventory": set(),
    "payments": {"users"},
    "pricing": {"catalog"},
    "shipping": {"catalog", "inventory"},
    "carts": {"catalog", "pricing", "shipping", "inventory"},
    "orders": {"carts", "catalog", "pricing", "inventory", "shipping", "payments"},
    "invoices": {"orders", "users"},
    "reviews": set(),
    "notifications": {"users", "orders", "catalog"},
    "webhooks": set(),
}


def find_deep_imports(modules: tuple[Module, ...]) -> list[str]:
    """Modules that reach behind another context's front door."""
    return [
        f"{module.name} imports {name}: use souk.{name.split('.')[1]} or its events"
        for module in modules
        for name in module.imports
        if (parts := name.split(".")) and len(parts) > 2 and parts[1] in app.CONTEXTS
        if parts[1] != module.package and parts[2] != "events"
    ]


def find_forbidden_calls(modules: tuple[Module, ...]) -> list[str]:
    """Contexts that import a front door that is not theirs to call."""
    return [
        f"{module.name} calls {name}, which {module.package} may not"
        for module in modules
        if module.package in app.CONTEXTS
        for name in module.imports
        if (parts := name.split("."))
        and len(parts) == 2
        and parts[1] in app.CONTEXTS
        and parts[1] != module.package
        and parts[1] not in ALLOWED[module.package]
    ]


def find_business_in_kit(modules: tuple[Module, ...]) -> list[str]:
    """Modules of the kit that import anything but the kit."""
    return [
        f"{module.name} imports {name}"
        for module in modules
        if module.package == "kit"
        for name in module.imports
        if not name.startswith("souk.kit") and name != "souk"
    ]


def find_misplaced_imports(modules: tuple[Module, ...]) -> list[str]:
    """Files of a context that import what their kind of file may not (design: "Anatomy of a context")."""
    return [
        f"{module.name} imports {name}"
        for module in modules
        if module.package in app.CONTEXTS
        for name in module.imports
        if not name.startswith("souk.kit") and not may_import(module, name)
    ]


def may_import(module: Module, name: str) -> bool:
    own = f"souk.{module.package}"
    match module.name.removeprefix(f"{own}."):
        case "types":
            return False
        case "events":
            return name == f"{own}.types"
        case "http":
            return name.startswith(own) or gives_types_only(module, name)
        case "jobs":
            return name.startswith(own)
        case "consumers":
            return name.startswith(own) or name.endswith(".events")
    return True


def gives_types_only(module: Module, name: str) -> bool:
    """Whether a module takes types out of another and nothing to call: a route may answer with what a neighbour made."""
    found = [node for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom) and node.module == name]
    return bool(found) and all(alias.name[0].isupper() for node in found for alias in node.names)


def test_other_contexts_are_imported_as_front_doors_or_events_only() -> None:
    assert find_deep_imports(read_source()) == []


def test_a_context_calls_only_whom_it_may() -> None:
    assert find_forbidden_calls(read_source()) == []


def test_types_events_routes_consumers_and_jobs_import_only_what_they_may() -> None:
    assert find_misplaced_imports(read_source()) == []


def test_the_kit_knows_no_context() -> None:
    assert find_business_in_kit(read_source()) == []


def find_circle(calls: Mapping[str, set[str]]) -> list[str]:
    """Contexts that call each other in a circle."""
    try:
        TopologicalSorter(calls).prepare()
    except CycleError as circle:
        return [" -> ".join(circle.args[1])]
    return []


def calls_in(modules: tuple[Module, ...]) -> dict[str, set[str]]:
    """Who imports whose front door, as the source has it."""
    calls: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules:
        others = {name.split(".")[1] for name in module.imports if name.count(".") == 1} & set(app.CONTEXTS) - {module.package}
        if module.package in app.CONTEXTS and others:
            calls[module.package] |= others
    return dict(calls)


def test_calls_form_no_circle() -> None:
    assert set(ALLOWED) == set(app.CONTEXTS)
    assert calls_in(read_source())["orders"] == ALLOWED["orders"]
    assert find_circle(calls_in(read_source())) == []
    assert find_circle(ALLOWED) == []
    assert find_circle(ALLOWED | {"payments": {"orders"}}) != []


def find_ours_in_sandbox(modules: tuple[Module, ...]) -> list[str]:
    """Modules of the world outside that know the shop."""
    return [name for module in modules if module.package == "sandbox" for name in module.imports if ".sandbox" not in name]


# A broker's library is known to its adapter, and who has set no broker does not pay for it: the adapter is imported by its address only.
BROKER_LIBRARIES = ("faststream", "aiokafka", "aio_pika", "aiormq")
BROKER_ADAPTERS = ("souk.kit.brokers.kafka", "souk.kit.brokers.rabbitmq")


def find_broker_libraries(modules: tuple[Module, ...]) -> list[str]:
    """Modules that import the library of a broker, or an adapter, and are no adapter."""
    return [
        f"{module.name} imports {ast.unparse(node)}"
        for module in modules
        if module.name not in BROKER_ADAPTERS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] in BROKER_LIBRARIES or name in BROKER_ADAPTERS
    ]


def test_the_libraries_of_brokers_are_known_to_their_adapters_only() -> None:
    assert find_broker_libraries(read_source()) == []
    loaded = "import sys, souk.app; souk.app.import_contexts(); sys.exit(any(name in sys.modules for name in ('faststream', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_the_sandbox_is_the_world_and_none_of_ours() -> None:
    assert find_ours_in_sandbox(read_source()) == []


@pytest.mark.parametrize(
    ("place", "text", "find"),
    [
        ("orders/spy.py", "from souk.payments.ledger import post", find_deep_imports),
        ("orders/spy.py", "from souk.payments import ledger", find_deep_imports),
        ("replay/spy.py", "import souk.orders.database", find_deep_imports),
        ("catalog/spy.py", "from souk import inventory", find_forbidden_calls),
        ("payments/spy.py", "import souk.orders", find_forbidden_calls),
        ("orders/types.py", "from souk.orders import placing", find_misplaced_imports),
        ("orders/events.py", "from souk.catalog.events import PriceChanged", find_misplaced_imports),
        ("orders/http.py", "from souk import carts", find_misplaced_imports),
        ("orders/jobs.py", "from souk.carts import get_cart", find_misplaced_imports),
        ("orders/consumers.py", "from souk.payments import refund", find_misplaced_imports),
        ("kit/spy.py", "from souk.users.types import User", find_business_in_kit),
        ("sandbox/spy.py", "from souk.kit.money import Money", find_ours_in_sandbox),
        ("kit/spy.py", "from faststream.kafka import KafkaBroker", find_broker_libraries),
        ("orders/spy.py", "from souk.kit.brokers.rabbitmq import make_broker", find_broker_libraries),
    ],
)
def test_a_planted_violation_is_seen(place: str, text: str, find: object) -> None:
    planted = Module(ROOT / "souk" / Path(place), text)
    assert find((planted,)) != []  # type: ignore[operator]


# Libraries that one module alone knows: whoever else wants what they do asks that module.
KEPT_BEHIND = {"valkey": "souk.kit.cache"}


def find_open_seams(modules: tuple[Module, ...]) -> list[str]:
    """Modules that import a library which is behind a seam of ours."""
    found: list[str] = []
    for module in modules:
        for node in ast.walk(module.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            kept = {name.partition(".")[0] for name in names} & KEPT_BEHIND.keys()
            found.extend(f"{module.name} imports {name}: ask {KEPT_BEHIND[name]}" for name in kept if module.name != KEPT_BEHIND[name])
    return found


def test_the_cache_has_one_seam() -> None:
    assert find_open_seams(read_source()) == []
    planted = Module(ROOT / "souk/orders/spy.py", "from valkey.asyncio import Valkey")
    assert len(find_open_seams((planted,))) == 1


def find_closed_doors(modules: tuple[Module, ...]) -> list[str]:
    """Contexts without an `__init__.py` that says in a sentence what they know."""
    doors = {module.package: module.text for module in modules if module.name == f"souk.{module.package}"}
    return [context for context in app.CONTEXTS if not doors.get(context, "").startswith('"""')]


def test_every_context_has_a_front_door_with_one_sentence() -> None:
    assert find_closed_doors(read_source()) == []
    silent = Module(ROOT / "souk/orders/__init__.py", "x = 1")
    assert find_closed_doors((*read_source(), silent)) == ["orders"]
