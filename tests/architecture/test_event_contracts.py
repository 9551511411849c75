"""Events keep their contracts: what is written down is what the source announces, and no change of it breaks another release."""

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from litestar.testing import TestClient
from tests.architecture import contracts
from tests.architecture.contracts import Schema, find_breaks, make_contracts, read_contracts, write_document
from tests.architecture.source import assert_none

from souk import app
from souk.kit.auth import Verifier
from souk.kit.contracts import describe_all_events, find_events
from souk.kit.events import Event, event_type
from souk.operations import event_pages

app.import_contexts()

SHIPPED: Schema = {
    "title": "shipping.Shipped",
    "type": "object",
    "properties": {
        "shipment_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": "string", "format": "uuid"},
        "status": {"enum": ["left", "lost"]},
        "weight_g": {"type": "integer", "minimum": 1},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "price": {"$ref": "#/$defs/Price"},
    },
    "required": ["shipment_id", "order_id", "status", "weight_g", "lines", "price"],
    "x-aggregate": "shipment_id",
    "$defs": {
        "Line": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]},
        "Price": {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"], "additionalProperties": False},
    },
}


def find_stale(written: dict[str, str], made: dict[str, str]) -> list[str]:
    """Contracts that are not written down, or not as the source has them, or of nothing."""
    missing = [f"{name} is not written down: make contracts" for name in made.keys() - written.keys()]
    stale = [f"{name} is written down otherwise: make contracts" for name in made.keys() & written.keys() if made[name] != written[name]]
    return sorted(missing + stale + [f"{name} is written down and announced by nobody" for name in written.keys() - made.keys()])


def test_what_is_written_down_is_what_is_announced() -> None:
    written = {file.stem: file.read_text() for file in contracts.EVENTS.glob("*.json")}
    made = {name: write_document(schema) for name, schema in make_contracts().items()}
    assert len(made) > 60
    assert_none(find_stale(written, made))
    assert contracts.ASYNCAPI.read_text() == write_document(describe_all_events()), "make contracts"
    assert find_stale({"a.B": "1", "a.C": "1"}, {"a.B": "2", "a.D": "1"}) != []
    assert len(find_stale({"a.B": "1", "a.C": "1"}, {"a.B": "2", "a.D": "1"})) == 3


def test_no_change_breaks_a_process_of_another_release() -> None:
    assert_none(find_breaks(read_contracts(), make_contracts()))


def rename(new: Schema) -> None:
    new["properties"]["weight"] = new["properties"].pop("weight_g")
    new["required"] = [name.replace("weight_g", "weight") for name in new["required"]]


def require(new: Schema, name: str) -> None:
    new["properties"].setdefault(name, {"type": "string"}).pop("default", None)
    new["required"].append(name)


BREAKS: dict[str, Callable[[Schema], Any]] = {
    "shipping.Shipped.note is gone": lambda new: new["properties"].pop("note"),
    "shipping.Shipped.weight_g is gone or has another name": rename,
    "shipping.Shipped.weight_g was {'type': 'integer'": lambda new: new["properties"].update(weight_g={"type": "string"}),
    "shipping.Shipped.order_id was": lambda new: new["properties"]["order_id"].pop("format"),
    "shipping.Shipped.weight_g was {'type': 'integer', 'minimum'": lambda new: new["properties"]["weight_g"].update(minimum=2),
    "shipping.Shipped.order_id was {'type': 'string', 'format': 'uuid'} and is {'anyOf'": lambda new: new["properties"].update(
        order_id={"anyOf": [new["properties"]["order_id"], {"type": "null"}]}
    ),
    "shipping.Shipped.note was {'anyOf'": lambda new: new["properties"].update(note={"type": "string", "default": ""}),
    "shipping.Shipped.note was {'type': 'string'}": lambda new: new["properties"]["note"]["anyOf"][0].update(type="integer"),
    "shipping.Shipped.carrier is new and has no default": lambda new: require(new, "carrier"),
    "shipping.Shipped.note has lost its default": lambda new: require(new, "note"),
    "shipping.Shipped.note has another default": lambda new: new["properties"]["note"].update(default="none"),
    "shipping.Shipped.status may be found now": lambda new: new["properties"]["status"]["enum"].append("found"),
    "shipping.Shipped.status was": lambda new: new["properties"]["status"]["enum"].remove("lost"),
    "shipping.Shipped.lines[].sku is gone": lambda new: new["$defs"]["Line"]["properties"].clear(),
    "shipping.Shipped.lines[].sku was": lambda new: new["$defs"]["Line"]["properties"].update(sku={"type": "integer"}),
    "shipping.Shipped.price.currency is new, and a reader": lambda new: new["$defs"]["Price"]["properties"].update(
        currency={"type": "string", "default": "EUR"}
    ),
    "shipping.Shipped.lines was": lambda new: new["properties"]["lines"].update(type="object"),
    "shipping.Shipped was": lambda new: new.update(additionalProperties=False),
    "shipping.Shipped told of its shipment_id": lambda new: new.update({"x-aggregate": "order_id"}),
}


@pytest.mark.parametrize("sentence", BREAKS)
def test_a_planted_break_is_seen(sentence: str) -> None:
    new = deepcopy(SHIPPED)
    BREAKS[sentence](new)
    found = find_breaks({"shipping.Shipped": SHIPPED}, {"shipping.Shipped": new})
    assert any(one.startswith(sentence) for one in found), found


def test_an_event_that_is_gone_is_seen_and_what_is_added_breaks_nothing() -> None:
    old = {"shipping.Shipped": SHIPPED}
    assert [one.partition(";")[0] for one in find_breaks(old, {})] == ["shipping.Shipped is gone"]
    new = deepcopy(SHIPPED)
    new["properties"]["carrier"] = {"type": "string", "default": ""}
    new["$defs"]["Line"]["properties"]["pieces"] = {"type": "integer", "default": 1, "description": "how many"}
    new["description"] = "In other words."
    assert find_breaks(old, {"shipping.Shipped": new, "shipping.Arrived": SHIPPED}) == []


EXAMPLES = {
    "uuid": "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000",
    "date-time": datetime(2026, 1, 2, tzinfo=UTC).isoformat(),
    "string": "text",
    "integer": 3,
    "boolean": True,
    "number": 0.5,
}


def example_of(schema: Schema, parts: Schema, *, whole: bool) -> Any:
    """A value that such a schema allows: with all that it may have, or with what it must have only."""
    if "$ref" in schema:
        return example_of(parts[schema["$ref"].rpartition("/")[2]], parts, whole=whole)
    if "properties" in schema:
        names = schema["properties"] if whole else schema["required"]
        return {name: example_of(schema["properties"][name], parts, whole=whole) for name in names}
    if "items" in schema:
        return [example_of(schema["items"], parts, whole=whole)]
    if choices := schema.get("enum") or schema.get("anyOf"):
        return example_of(choices[0], parts, whole=whole) if isinstance(choices[0], dict) else choices[0]
    return "USD" if "pattern" in schema else EXAMPLES[schema.get("format") or schema["type"]]


@pytest.mark.parametrize("kind", find_events(), ids=event_type)
def test_a_process_reads_what_another_release_announces(kind: type[Event]) -> None:
    schema = json.loads((contracts.EVENTS / f"{event_type(kind)}.json").read_text())
    parts = schema.get("$defs", {})
    decoder = msgspec.json.Decoder(kind)
    least = example_of(schema, parts, whole=False)
    decoder.decode(msgspec.json.encode(least))
    whole = example_of(schema, parts, whole=True)
    event = decoder.decode(msgspec.json.encode(whole | {"of_the_next_release": [1]}))
    assert set(msgspec.to_builtins(event)) == set(whole), "a field that is left out when it has its default would be missing in a topic"


def test_the_document_is_asyncapi_and_has_every_event() -> None:
    document = describe_all_events()
    ApplicationSchema.model_validate(document)
    told = [kind["$ref"] for message in document["components"]["messages"].values() for kind in message["payload"]["items"]["oneOf"]]
    assert sorted(told) == [f"#/components/schemas/{event_type(kind)}" for kind in find_events()]
    for place in find_places(document):
        found: Any = document
        for name in place.removeprefix("#/").split("/"):
            found = found[name]
    in_channels = [place["$ref"] for channel in document["channels"].values() for place in channel["messages"].values()]
    assert sorted(in_channels) == [f"#/components/messages/{context}" for context in sorted(document["components"]["messages"])]


def find_places(document: object) -> list[str]:
    """Everything that a document refers to."""
    if isinstance(document, list):
        return [place for one in document for place in find_places(one)]
    if not isinstance(document, dict):
        return []
    own = [document["$ref"]] if "$ref" in document else []
    return own + [place for one in document.values() for place in find_places(one)]


def test_the_page_shows_every_event_and_loads_nothing() -> None:
    with TestClient(app.make_rest_app(list(event_pages.routes), Verifier()).app) as client:  # type: ignore[arg-type]
        page = client.get("/docs/events")
        document = client.get("/asyncapi.json")
    assert document.json() == json.loads(contracts.ASYNCAPI.read_text())
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert [kind.__name__ for kind in find_events() if f'id="{event_type(kind)}"' not in page.text] == []
    for loading in ("<script", "src=", "url(", "@import", "<link"):
        assert loading not in page.text


def test_what_breaks_is_not_written_down(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(contracts, "EVENTS", tmp_path / "events")
    monkeypatch.setattr(contracts, "ASYNCAPI", tmp_path / "asyncapi.json")
    assert contracts.main() == 0
    placed = tmp_path / "events" / "orders.OrderPlaced.json"
    schema = json.loads(placed.read_text())
    schema["properties"]["of_the_last_release"] = {"type": "integer"}
    placed.write_text(changed := write_document(schema))
    assert contracts.main() == 1
    assert placed.read_text() == changed
    assert "orders.OrderPlaced.of_the_last_release is gone" in capsys.readouterr().err
