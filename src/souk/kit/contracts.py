"""The contracts of events: a JSON Schema of each, and the AsyncAPI document that is made of them all."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from souk.kit.brokers.messages import CONTENT_TYPE
from souk.kit.events import Event, event_type, source_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

# What goes around an event on its way: CloudEvents 1.0, of which a message is a JSON batch.
ENVELOPE: Schema = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "format": "uuid", "description": "the same whenever the event is sent again"},
    "subject": {"type": "string", "format": "uuid", "description": "the id of what it tells of"},
    "time": {"type": "string", "format": "date-time", "description": "when it was written down"},
    "datacontenttype": {"const": "application/json"},
    "position": {"type": "string", "description": "its place among the events of its context"},
    "previous": {"type": "string", "description": "the place of the event before it; who has not read that one has missed something"},
    "requestid": {"type": "string", "description": "the request that it comes of"},
    "traceparent": {"type": "string", "description": "the trace that it belongs to, as W3C Trace Context has it"},
}
ALWAYS_THERE = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "position", "previous", "data")
SIGNED: Schema = {
    "souk-signature": {"type": "string", "description": "HMAC-SHA256 of `souk event`, a line feed and the body, if the shop has a secret"}
}


def find_events() -> tuple[type[Event], ...]:
    """Every event of this shop, by name."""
    ours = (kind for kind in Event.__subclasses__() if kind.__module__.startswith("souk."))
    return tuple(sorted(ours, key=event_type))


def describe_event(kind: type[Event]) -> Schema:
    """What an event carries, as a JSON Schema of its own; `x-aggregate` is the field with the id of what it tells of."""
    _, parts = describe_types([kind], "#/$defs/{name}")
    own = parts.pop(kind.__name__)
    described = {"$schema": DIALECT, **own, "title": event_type(kind), "x-aggregate": kind.__struct_fields__[0]}
    # As whoever reads it has it: in JSON a tuple is a list.
    as_read: Schema = msgspec.json.decode(msgspec.json.encode(described | ({"$defs": parts} if parts else {})))
    return as_read


@cache
def describe_all_events() -> Schema:
    """The AsyncAPI 3.0 document of this shop: a channel per context, whose messages are batches of its events."""
    events = find_events()
    places, schemas = describe_types(events, "#/components/schemas/{name}")
    schemas |= {event_type(kind): describe_envelope(kind, place) for kind, place in zip(events, places, strict=True)}
    contexts = sorted({source_of(kind) for kind in events})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Souk's events",
            "version": "0.1.0",
            "description": "What the contexts of the shop announce: on Kafka or on RabbitMQ, where the shop has one of them. "
            "Those of a context come in order, some in each message; each may come more than once, with the same id.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {context: describe_channel(context) for context in contexts},
        "operations": {
            f"announce_{context}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{context}"},
                "summary": f"What {context} announces.",
            }
            for context in contexts
        },
        "components": {"messages": {context: describe_message(context, events) for context in contexts}, "schemas": schemas},
    }


def describe_channel(context: str) -> Schema:
    """Where the events of a context go: a topic of Kafka, an exchange of RabbitMQ with the context's name as routing key."""
    address = f"souk.{context}"
    return {
        "address": address,
        "title": context,
        "description": f"The Kafka topic `{address}`, or the RabbitMQ exchange `souk` with the routing key `{context}`.",
        "messages": {"events": {"$ref": f"#/components/messages/{context}"}},
        "bindings": {
            "kafka": {"topic": address, "bindingVersion": "0.5.0"},
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": "souk", "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"},
                "bindingVersion": "0.3.0",
            },
        },
    }


def describe_message(context: str, events: tuple[type[Event], ...]) -> Schema:
    """Some events of a context, in the order in which they became final."""
    kinds = [event_type(kind) for kind in events if source_of(kind) == context]
    return {
        "name": context,
        "title": f"Events of {context}",
        "contentType": CONTENT_TYPE,
        "headers": {"type": "object", "properties": SIGNED},
        "payload": {"type": "array", "items": {"oneOf": [{"$ref": f"#/components/schemas/{kind}"} for kind in kinds]}},
        "bindings": {"kafka": {"key": {"const": context}, "bindingVersion": "0.5.0"}},
    }


def describe_envelope(kind: type[Event], place: Schema) -> Schema:
    """An event in its envelope."""
    return {
        "type": "object",
        "title": kind.__name__,
        "description": (kind.__doc__ or "").partition("\n")[0],
        "properties": ENVELOPE | {"source": {"const": f"/souk/{source_of(kind)}"}, "type": {"const": event_type(kind)}, "data": place},
        "required": list(ALWAYS_THERE),
    }


def describe_types(kinds: Iterable[type[Event]], place: str) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    """Where each type's schema is, and the schemas. msgspec leaves open that a text is a time, unless the time must have a zone."""
    kinds = tuple(kinds)
    places, schemas = msgspec.json.schema_components(kinds, ref_template=place)
    for struct in {found.cls: found for kind in kinds for found in _structs_in(inspect.type_info(kind))}.values():
        for field in struct.fields:
            if any(isinstance(one, inspect.DateTimeType) for one in _parts_of(field.type)):
                described = schemas[struct.cls.__name__]["properties"][field.encode_name]
                text = next(one for one in described.get("anyOf", [described]) if one.get("type") == "string")
                text["format"] = "date-time"
    return places, schemas


def _structs_in(info: inspect.Type) -> Iterator[inspect.StructType]:
    if isinstance(info, inspect.StructType):
        yield info
        for field in info.fields:
            yield from _structs_in(field.type)
    else:
        for one in _parts_of(info):
            if one is not info:
                yield from _structs_in(one)


def _parts_of(info: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(info, inspect.Metadata):
        return _parts_of(info.type)
    if isinstance(info, inspect.UnionType):
        return tuple(part for one in info.types for part in _parts_of(one))
    return (info.item_type,) if isinstance(info, inspect.VarTupleType) else (info,)
