"""Which changes of an event a process of another release cannot read, and the command that writes the contracts down.

Both directions count. Two releases run side by side, so the old one reads what the new one announces; and facts lie in the outbox
for weeks, so the new one reads what the old one announced.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from souk import app
from souk.kit.contracts import describe_all_events, describe_event, find_events
from souk.kit.events import event_type

FOLDER = Path(__file__).parents[2] / "docs/contracts"
EVENTS = FOLDER / "events"
ASYNCAPI = FOLDER / "asyncapi.json"

# What says something to people only, and what is compared by itself.
WORDS = {"$schema", "title", "description", "examples"}
PARTS = {"$defs", "properties", "required", "default", "items", "x-aggregate"}

Schema = dict[str, Any]


def find_breaks(before: Mapping[str, Schema], after: Mapping[str, Schema]) -> list[str]:
    """What of the events as they were is broken by the events as they are, in sentences. A new event breaks nothing."""
    found: list[str] = []
    for name, old in before.items():
        if (new := after.get(name)) is None:
            found.append(f"{name} is gone; whoever waits for it waits for ever")
            continue
        if (was := old["x-aggregate"]) != (now := new["x-aggregate"]):
            found.append(f"{name} told of its {was} and tells of its {now} now: the order of events is by it")
        found.extend(_compare(name, old, new, old.get("$defs", {}), new.get("$defs", {})))
    return found


def _compare(path: str, old: Schema, new: Schema, olds: Schema, news: Schema) -> list[str]:
    old, new = _resolve(old, olds), _resolve(new, news)
    if "anyOf" in old and len(old["anyOf"]) == len(new.get("anyOf", ())):
        pairs = zip(old["anyOf"], new["anyOf"], strict=True)
        return [broken for was, now in pairs for broken in _compare(path, was, now, olds, news)]
    if unknown := set(new.get("enum", ())) - set(old.get("enum", new.get("enum", ()))):
        return [f"{path} may be {', '.join(sorted(map(str, unknown)))} now, which a reader of the previous release refuses"]
    if (was := _kind_of(old)) != (now := _kind_of(new)):
        return [f"{path} was {was} and is {now} now"]
    if "items" in old:
        return _compare(f"{path}[]", old["items"], new.get("items", {}), olds, news)
    return _compare_fields(path, old, new, olds, news)


def _compare_fields(path: str, old: Schema, new: Schema, olds: Schema, news: Schema) -> list[str]:
    found: list[str] = []
    fields: Schema = new.get("properties", {})
    for name, was in old.get("properties", {}).items():
        if (now := fields.get(name)) is None:
            found.append(f"{path}.{name} is gone or has another name")
            continue
        found.extend(_compare(f"{path}.{name}", was, now, olds, news))
        if name in new.get("required", ()) and name not in old.get("required", ()):
            found.append(f"{path}.{name} has lost its default, and facts of the past lack it")
        elif "default" in was and was["default"] != now.get("default"):
            found.append(f"{path}.{name} has another default: one fact would say two things")
    for name in fields.keys() - old.get("properties", {}).keys():
        if name in new.get("required", ()):
            found.append(f"{path}.{name} is new and has no default, and facts of the past lack it")
        if old.get("additionalProperties") is False:
            found.append(f"{path}.{name} is new, and a reader of the previous release refuses what it does not know there")
    return found


def _resolve(schema: Schema, parts: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    found: Schema = parts[schema["$ref"].rpartition("/")[2]]
    return found


def _kind_of(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name not in WORDS | PARTS}


def read_contracts() -> dict[str, Schema]:
    """The events as they are written down, by name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(EVENTS.glob("*.json"))}


def make_contracts() -> dict[str, Schema]:
    """The events as the source has them, by name."""
    app.import_contexts()
    return {event_type(kind): describe_event(kind) for kind in find_events()}


def write_document(document: Schema) -> str:
    """A document as it lies in its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the contracts down, unless what is written down would be broken."""
    made = make_contracts()
    if broken := find_breaks(read_contracts(), made):
        print("\n".join(broken), file=sys.stderr)  # noqa: T201
        print("Nothing was written. Give a new field a default, or announce a new event beside the old one.", file=sys.stderr)  # noqa: T201
        return 1
    EVENTS.mkdir(parents=True, exist_ok=True)
    for name, schema in made.items():
        (EVENTS / f"{name}.json").write_text(write_document(schema))
    ASYNCAPI.write_text(write_document(describe_all_events()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
