"""The rules of the house, each with the tests that hold it; every one of them has been seen to fail on a planted violation.

`docs/guides/contributing.md` tells the rules in prose. A test that is named here and is gone fails.
"""

from pathlib import Path

import pytest
from tests.architecture.source import parse

HERE = Path(__file__).parent

# A finder is asked about the whole source by one test, and about a planted violation by another in its file.
RULES = {
    "another context is imported only as souk.<context> or its events": "test_boundaries.find_deep_imports",
    "a context calls only whom it may": "test_boundaries.find_forbidden_calls",
    "kit imports no context": "test_boundaries.find_business_in_kit",
    "a library behind a seam is known by one module": "test_boundaries.find_open_seams",
    "the sandbox is the world and none of ours": "test_boundaries.find_ours_in_sandbox",
    "the libraries of brokers are known to their adapters only": "test_boundaries.find_broker_libraries",
    "calls form no circle": "test_boundaries.find_circle",
    "types, events, routes, consumers and jobs import what the anatomy allows": "test_boundaries.find_misplaced_imports",
    "a context has a front door with one sentence": "test_boundaries.find_closed_doors",
    "exposed signatures are frozen": "test_contracts.find_unfrozen",
    "exposed parameters have names": "test_contracts.find_starred",
    "an exposed function says what it promises and raises": "test_contracts.find_silent",
    "events are frozen and begin with an id": "test_contracts.find_bad_events",
    "a change of an event breaks no other release": "contracts.find_breaks",
    "contracts of events are written down": "test_event_contracts.find_stale",
    "events carry nothing personal": "test_contracts.find_personal",
    "every field of a body is bounded": "test_contracts.find_unbounded",
    "no pattern takes a line feed at the end": "test_contracts.find_open_ends",
    "every SQL constant can be prepared": "test_sql.find_unprepared",
    "SQL is in constants": "test_shape.find_inline_statements",
    "a context touches its own schema only": "test_sql.find_foreign_schemas",
    "rows have created_at; columns are exact; times have a zone": "test_sql.find_bad_tables",
    "functions at most 50 lines": "test_shape.find_long_functions",
    "files at most 400 lines": "test_shape.find_long_files",
    "at most six parameters": "test_shape.find_wide_functions",
    "no file or class is named after nothing": "test_names.find_empty_names",
    "exposed functions are verb_noun and unique": "test_names.find_bad_functions",
    "events are past tense": "test_names.find_present_events",
    "consumers are named for what they do": "test_names.find_bad_consumers",
    "refusals have a code of their context and no Error": "test_names.find_bad_refusals",
    "units come last": "test_names.find_lost_units",
    "a module begins with a sentence": "test_shape.find_broken_sentences",
    "no banners, no history, no pattern names": "test_shape.find_idle_comments",
    "no Any outside kit": "test_shape.find_any",
    "no relative imports": "test_shape.find_relative_imports",
    "imports on top": "test_shape.find_buried_imports",
    "a function opens a transaction or receives one": "test_shape.find_mixed_transactions",
    "money is no float": "test_shape.find_float_money",
    "settings come from the environment in one place": "test_shape.find_environment",
    "strict types": "test_tools.test_mypy_sees_loose_types",
    "ruff holds its part: relative and buried imports, parameters, naive times": "test_tools.test_ruff_sees_a_planted_violation",
    "no mocks of our own contexts": "test_tests.find_mocks",
    "configuration is one frozen object for each context": "test_tests.find_bad_settings",
    "every route says who may use it": "test_routes.find_undeclared",
    "every route is documented": "test_routes.find_undocumented",
    "what strangers may change is known": "test_routes.find_open_writes",
    "no two operations have one id": "test_routes.find_twins",
    "every operation says what it does and how it refuses": "test_documents.find_silent_operations",
    "every setting stands in the guide": "test_documents.find_unnamed",
    "no call to a neighbour while a transaction is open": "kit/test_calls.test_nobody_is_called_while_a_transaction_is_open",
    "all that is wrong with the settings is told together": "kit/test_config.test_all_mistakes_are_listed_together_and_name_their_variable",
}


def find_gone(rules: dict[str, str]) -> list[str]:
    """Rules whose finder or test is not where the table has it."""
    gone: list[str] = []
    for rule, held in rules.items():
        file, _, name = held.rpartition(".")
        path = (HERE.parent if "/" in file else HERE) / f"{file}.py"
        defined = {getattr(node, "name", "") for node in parse(path.read_text()).body} if path.exists() else set()
        if name not in defined:
            gone.append(f"{rule}: {held}")
    return gone


def test_every_rule_is_held_by_a_test_that_is_there() -> None:
    assert find_gone(RULES) == []


@pytest.mark.parametrize("held", ["test_sql.find_nothing", "test_nothing.find_unprepared", "kit/test_sql.find_unprepared"])
def test_a_rule_that_nothing_holds_is_seen(held: str) -> None:
    assert find_gone({"planted": held}) == [f"planted: {held}"]
