"""Two versions of the shop understand each other: what may change between releases, what may not, and that the wire bears it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import aiohttp
import msgspec
import pytest
from msgspec import Meta, Struct
from tests.kit import notebook
from tests.kit.test_wire import SECRET, sign

from souk.kit.calls import EXPOSED
from souk.kit.compatibility import Contract, describe, describe_context, find_breaks
from souk.kit.errors import REFUSALS, DomainError, NotFound, refusal_from_wire, refusal_to_wire
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.tolerance import Reader

Status = Literal["open", "closed"]


class Line(Struct, frozen=True):
    sku: str
    quantity: int = 1


class Order(Struct, frozen=True):
    id: Annotated[str, Meta(max_length=36)]
    lines: tuple[Line, ...]
    status: Status = "open"
    note: str | None = None


def contract_of(takes: Any, answers: Any = None, **more: Any) -> Contract:
    """A context with one function, and perhaps refusals."""
    known: dict[str, Any] = {}
    function = {"takes": describe(takes, known), "answers": describe(answers, known)}
    return {"functions": {"place_order": function}, "refusals": more.get("refusals", {}), "types": known}


def changed(name: str = "Order", kind: type[Struct] = Order, **fields: Any) -> type[Struct]:
    """The Struct as another version has it: a field is (type,), (type, default) or None for one that has gone."""
    now: dict[str, tuple[Any, ...]] = {}
    for field in msgspec.structs.fields(kind):
        now[field.name] = (field.type,) if field.required else (field.type, field.default)
    now |= fields
    written = sorted(((field, *what) for field, what in now.items() if what is not None), key=len)
    return msgspec.defstruct(name, written, frozen=True, module="souk.orders.types")


BEFORE = changed()
UNDERSTOOD_AS_ARGUMENT = {
    "nothing": {},
    "a new optional field": {"gift": (bool, False)},
    "a wider type": {"note": (str | int | None, None)},
    "another status": {"status": (Literal["open", "closed", "lost"], "open")},
    "more room": {"id": (Annotated[str, Meta(max_length=100)],)},
    "no limit": {"id": (str,)},
    "a field that may be left out": {"id": (Annotated[str, Meta(max_length=36)], "")},
}
NOT_UNDERSTOOD_AS_ARGUMENT = {
    "a new required field": {"gift": (bool,)},
    "a field that has gone": {"note": None},
    "another type": {"note": (int | None, None)},
    "a narrower type": {"note": (str, "")},
    "a status less": {"status": (Literal["open"], "open")},
    "less room": {"id": (Annotated[str, Meta(max_length=10)],)},
    "a pattern": {"id": (Annotated[str, Meta(max_length=36, pattern="^a")],)},
    "a narrower type inside": {"lines": (tuple[changed("Line", Line, sku=(int,)), ...],)},
    "one instead of many": {"lines": (Line,)},
}
UNDERSTOOD_AS_ANSWER = {
    "nothing": {},
    "a new field": {"gift": (bool,)},
    "a status less": {"status": (Literal["open"], "open")},
    "never null": {"note": (str, "")},
}
NOT_UNDERSTOOD_AS_ANSWER = {
    "a field that has gone": {"id": None},
    "an optional field that has gone": {"note": None},
    "another status": {"status": (Literal["open", "closed", "lost"], "open")},
    "a wider type": {"note": (str | int | None, None)},
    "more room": {"id": (Annotated[str, Meta(max_length=100)],)},
    "a wider type inside": {"lines": (tuple[changed("Line", Line, sku=(str | None,)), ...],)},
}


@pytest.mark.parametrize("what", UNDERSTOOD_AS_ARGUMENT)
def test_what_may_change_in_what_is_asked(what: str) -> None:
    assert find_breaks(contract_of(BEFORE), contract_of(changed(**UNDERSTOOD_AS_ARGUMENT[what]))) == []


@pytest.mark.parametrize("what", NOT_UNDERSTOOD_AS_ARGUMENT)
def test_what_may_not_change_in_what_is_asked(what: str) -> None:
    assert find_breaks(contract_of(BEFORE), contract_of(changed(**NOT_UNDERSTOOD_AS_ARGUMENT[what])))


@pytest.mark.parametrize("what", UNDERSTOOD_AS_ANSWER)
def test_what_may_change_in_what_is_answered(what: str) -> None:
    assert find_breaks(contract_of(None, BEFORE), contract_of(None, changed(**UNDERSTOOD_AS_ANSWER[what]))) == []


@pytest.mark.parametrize("what", NOT_UNDERSTOOD_AS_ANSWER)
def test_what_may_not_change_in_what_is_answered(what: str) -> None:
    assert find_breaks(contract_of(None, BEFORE), contract_of(None, changed(**NOT_UNDERSTOOD_AS_ANSWER[what])))


def test_what_may_change_is_what_the_wire_bears() -> None:
    """The rules are not a matter of opinion: msgpack of one version is read by the other, or is not."""
    old = msgspec.msgpack.encode(BEFORE(id="b" * 11, lines=(Line("MUG"),)))
    for fields in UNDERSTOOD_AS_ARGUMENT.values():
        msgspec.msgpack.decode(old, type=changed(**fields))
    for what in ("a new required field", "another type", "less room", "a pattern", "one instead of many", "a narrower type inside"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(old if what != "another type" else with_note(), type=changed(**NOT_UNDERSTOOD_AS_ARGUMENT[what]))
    for fields in UNDERSTOOD_AS_ANSWER.values():
        now = changed(**fields)
        given = {"id": "a", "lines": (Line("MUG"),), "gift": True}
        answer = msgspec.msgpack.encode(now(**{name: value for name, value in given.items() if name in now.__struct_fields__}))
        msgspec.msgpack.decode(answer, type=BEFORE)


def with_note() -> bytes:
    return msgspec.msgpack.encode(BEFORE(id="a", lines=(), note="text"))


def function_of(function: Callable[..., Any]) -> Contract:
    """The contract of a function whose parameters cross by position."""
    hints = {name: (hint,) for name, hint in function.__annotations__.items()}
    defaults = function.__defaults__ or ()
    names = [*hints]
    fields = [(name, *hints[name], *defaults[place - len(names) :][:1]) if place >= len(names) - len(defaults) else (name, *hints[name])
              for place, name in enumerate(names)]  # fmt: skip
    return contract_of(msgspec.defstruct("arguments", fields, array_like=True, frozen=True, module="souk.orders.types"))


def test_parameters_keep_their_places() -> None:
    def before(order_id: str, reason: str): ...
    def with_more(order_id: str, reason: str, quick: bool = False): ...
    def in_between(order_id: str, quick: bool, reason: str): ...
    def swapped(reason: str, order_id: str): ...
    def fewer(order_id: str): ...

    assert find_breaks(function_of(before), function_of(with_more)) == []
    for broken in (in_between, swapped, fewer):
        assert find_breaks(function_of(before), function_of(broken)), broken


def test_functions_and_refusals_stay() -> None:
    field = {"type": {"is": "str"}, "required": True}
    refused = {"orders.late": {"status": 409, "fields": {"why": field}}}
    before = contract_of(Order, refusals=refused)
    assert find_breaks(before, before) == []
    assert find_breaks(before, before | {"functions": {}}) == ["place_order is gone"]
    assert find_breaks(before, before | {"refusals": {}}) != []
    for fields in ({}, {"why": {"type": {"is": "int"}, "required": True}}, {"why": field, "who": field}):
        assert find_breaks(before, before | {"refusals": {"orders.late": {"status": 409, "fields": fields}}}), fields
    optional = {"why": field, "who": field | {"required": False}}
    assert find_breaks(before, before | {"refusals": {"orders.late": {"status": 409, "fields": optional}}}) == []
    assert find_breaks(before, before | {"refusals": {"orders.late": {"status": 404, "fields": {"why": field}}}}) != []


def test_a_context_is_described_with_what_it_takes_answers_and_refuses() -> None:
    described = describe_context("kit")
    assert described["functions"].keys() >= {"count_note", "write_note", "forget"}
    assert described["refusals"]["kit.note_refused"]["status"] == 409
    assert find_breaks(described, msgspec.json.decode(msgspec.json.encode(described))) == []


EVERYTHING = notebook.Everything(new_id(), "text", 1, Money(5, "EUR"), datetime(2026, 1, 2, tzinfo=UTC), "new", (), {})


class Sent(msgspec.Struct, frozen=True):
    """A note as a newer process sends it."""

    id: str
    number: int
    text: str
    colour: str = "red"


async def ask(neighbour: str, function: str, arguments: object, **more: object) -> Any:
    """Ask as a process of another version does; its answer, undecoded."""
    envelope = {"principal": {}, "request_id": "", "seconds_left": 5.0, "arguments": arguments, **more}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {sign(SECRET)}"}) as session:
        url = f"{neighbour}/internal/kit/{function}"
        async with session.post(url, data=msgspec.msgpack.encode([envelope])) as answer:
            assert answer.status == 200
            (given,) = msgspec.msgpack.decode(await answer.read())
            return given


async def test_a_process_reads_what_a_newer_one_sends(neighbour: str) -> None:
    note = Sent(str(new_id()), 1, "text")
    given = await ask(neighbour, "count_note", note, priority="high")
    assert given["value"]["note_id"] == note.id
    assert (await ask(neighbour, "forget", ["an argument that is new"]))["value"] is None
    # Money refuses unknown fields, because it stands in request bodies.
    dear = {**msgspec.to_builtins(EVERYTHING), "price": {"amount": 5, "currency": "EUR", "coins": 3}, "taste": "sweet"}
    (echoed,) = (await ask(neighbour, "echo", [dear]))["value"]
    assert echoed["price"] == {"amount": 5, "currency": "EUR"}
    assert "silence" in await ask(neighbour, "echo", [dear | {"price": {"amount": "many"}}])


class Cash(Struct, frozen=True, tag="cash", forbid_unknown_fields=True):
    amount: Money


class Card(Struct, frozen=True, tag="card", forbid_unknown_fields=True):
    token: str


class Paid(Struct, frozen=True, forbid_unknown_fields=True):
    by: Cash | Card | None
    parts: tuple[Cash, ...]
    pair: tuple[Card, int]
    more: dict[str, Cash]


def test_unknown_fields_are_left_out_wherever_they_are() -> None:
    cash = {"type": "cash", "amount": {"amount": 1, "currency": "EUR", "new": 1}, "new": 1}
    card = {"type": "card", "token": "t", "new": 1}
    known = Paid(Card("t"), (Cash(Money(1, "EUR")),), (Card("t"), 1), {"a": Cash(Money(1, "EUR"))})
    written = {"by": card, "parts": [cash], "pair": [card, 1], "more": {"a": cash}, "new": [1]}
    assert Reader(Paid).decode(msgspec.msgpack.encode(written)) == known
    assert Reader(Paid | None).decode(msgspec.msgpack.encode(written | {"by": None})).by is None
    for broken in ({"by": {"type": "cheque"}}, {"parts": [card]}, {"pair": [card, "x"]}, {"more": 1}):
        with pytest.raises(msgspec.ValidationError):
            Reader(Paid).decode(msgspec.msgpack.encode(written | broken))


async def test_a_process_reads_what_an_older_one_sends(neighbour: str) -> None:
    note_id = str(new_id())
    given = await ask(neighbour, "count_note", {"id": note_id, "number": 2})
    assert given["value"]["note_id"] == note_id
    assert len((await ask(neighbour, "echo", [EVERYTHING]))["value"]) == 1
    assert len((await ask(neighbour, "echo", [EVERYTHING, True, "new"]))["value"]) == 2


def test_what_has_no_default_has_to_be_there() -> None:
    with pytest.raises(msgspec.ValidationError):
        EXPOSED["kit/echo"].argument_decoder.decode(msgspec.msgpack.encode([]))


def test_a_refusal_of_another_version_is_still_a_no() -> None:
    unknown = refusal_from_wire({"code": "orders.from_tomorrow", "fields": {"when": 1}, "status": 409, "message": "Not {before} noon."})
    assert type(unknown).__mro__[1] is DomainError
    assert (unknown.code, unknown.status, str(unknown)) == ("orders.from_tomorrow", 409, "Not {before} noon.")
    assert "orders.from_tomorrow" not in REFUSALS
    wire = refusal_to_wire(notebook.NoteRefused(new_id(), (), Money(0, "EUR"), None))
    wire["fields"]["colour"] = "red"
    again = refusal_from_wire(wire)
    assert type(again) is notebook.NoteRefused
    assert again.values().keys() == set(notebook.NoteRefused.fields)
    del wire["fields"]["limit"]
    with pytest.raises(KeyError, match="limit"):
        refusal_from_wire(wire)
    assert type(refusal_from_wire({"code": "not_found", "fields": {}})) is NotFound
