"""What crosses a front door, what events carry, and what a request body may hold: values that are frozen, serialisable and bounded."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct
from msgspec import inspect as types
from tests.architecture.routes import find_routes
from tests.architecture.source import assert_none

from souk import app
from souk.kit.calls import EXPOSED, Exposed
from souk.kit.errors import REFUSALS
from souk.kit.events import Event
from souk.kit.money import Money
from souk.pricing import CouponExpired

app.import_contexts()

# AnyType stands for what is inside a JSON document.
PLAIN = (
    types.NoneType, types.BoolType, types.IntType, types.FloatType, types.StrType, types.BytesType, types.DateTimeType, types.DateType,
    types.UUIDType, types.LiteralType, types.EnumType, types.AnyType,
)  # fmt: skip
PERSONAL = {"name", "username", "email", "phone", "address", "line1", "line2", "city", "token", "password", "ip", "birthday"}
# Refused on purpose, or welcome: a text that may hold anything but a NUL.
LINE_FEED_IS_SEEN_TO = (r"(?!\n)$", r"(?!\s)$", r"[^\x00]+$", r"[^\x00]*$")


def find_unfrozen(kind: object, path: str, seen: frozenset[object] = frozenset()) -> list[str]:
    """Where a type holds something that could be changed on one side of a call, or cannot cross it."""
    return list(_walk(types.type_info(kind), path, seen))


def _walk(info: types.Type, path: str, seen: frozenset[object]) -> Iterator[str]:
    info = _bare(info)
    if isinstance(info, types.StructType):
        cls = get_origin(info.cls) or info.cls
        if not cls.__struct_config__.frozen:
            yield f"{path}: {cls.__name__} is not frozen: class {cls.__name__}(msgspec.Struct, frozen=True)"
        for field in info.fields if cls not in seen else ():
            yield from _walk(field.type, f"{path}.{field.name}", seen | {cls})
    elif isinstance(info, types.DictType):
        # A JSON document: product attributes, preferences.
        if not isinstance(_bare(info.key_type), types.StrType | types.UUIDType | types.LiteralType):
            yield f"{path}: the keys of a document are texts or ids"
    elif isinstance(info, types.VarTupleType | types.TupleType | types.UnionType):
        for one in _parts_of(info):
            yield from _walk(one, path, seen)
    elif not isinstance(info, PLAIN):
        yield f"{path}: {type(info).__name__} does not cross a front door; use a tuple or a frozen Struct"


def _bare(info: types.Type) -> types.Type:
    return _bare(info.type) if isinstance(info, types.Metadata) else info


def _parts_of(info: types.Type) -> tuple[types.Type, ...]:
    if isinstance(info, types.UnionType):
        return info.types
    if isinstance(info, types.TupleType):
        return info.item_types
    return (info.item_type,) if isinstance(info, types.VarTupleType | types.ListType) else (info,)


def signature_of(function: Exposed) -> Iterator[tuple[str, object]]:
    yield f"{function.path} answers", function.answer_type
    yield f"{function.path} takes", function.argument_type


def find_personal(kind: type[Struct], path: str) -> list[str]:
    """Fields, however deep, that are named like something about a person."""
    found: list[str] = []
    for field, hint in get_type_hints(kind).items():
        if PERSONAL & set(field.split("_")):
            found.append(f"{path}.{field}: events cannot be erased; carry the id, and let the consumer ask")
        for inner in _structs_in(hint):
            found.extend(find_personal(inner, f"{path}.{field}"))
    return found


def _structs_in(hint: object) -> Iterator[type[Struct]]:
    if inspect.isclass(hint) and issubclass(hint, Struct):
        yield hint
    for inner in get_args(hint):
        yield from _structs_in(inner)


def find_silent(name: str, said: str, raised: set[str]) -> list[str]:
    """What an exposed function does not say of itself: what it promises, and which refusals of its context it raises."""
    first = said.strip().split("\n\n")[0]
    promises = [] if first.endswith(".") and len(first.split()) >= 3 else [f"{name} does not say what it promises, in a sentence"]
    return promises + [f"{name} does not say that it raises {kind}" for kind in sorted(raised) if kind not in said]


def raised_by(function: Callable[..., object]) -> set[str]:
    """The refusals of its own that stand in a function's body."""
    names = re.findall(r"\braise (?:\w+\.)*([A-Z]\w+)", inspect.getsource(function))
    return {name for name in names if name in {kind.__name__ for kind in REFUSALS.values() if kind.__module__ != "souk.kit.errors"}}


def find_unbounded(kind: object, path: str, seen: frozenset[object] = frozenset()) -> list[str]:
    """Fields of a request body that anything fits into."""
    return list(_find_unbounded(types.type_info(kind), path, seen))


def _find_unbounded(info: types.Type, path: str, seen: frozenset[object]) -> Iterator[str]:
    info = _bare(info)
    if (missing := _missing_bound(info)) is not None:
        yield f"{path}: {missing}"
    if isinstance(info, types.VarTupleType | types.ListType | types.TupleType | types.UnionType):
        for one in _parts_of(info):
            yield from _find_unbounded(one, path if isinstance(info, types.UnionType) else f"{path}[]", seen)
    if isinstance(info, types.DictType):
        for one in (info.key_type, *(part for part in _parts_of(info.value_type) if not isinstance(part, types.IntType | types.FloatType))):
            yield from _find_unbounded(one, f"{path}{{}}", seen)
    if isinstance(info, types.StructType) and info.cls not in seen:
        for field in info.fields:
            yield from _find_unbounded(field.type, f"{path}.{field.name}", seen | {info.cls})


def _missing_bound(info: types.Type) -> str | None:
    if isinstance(info, types.StrType) and info.max_length is None and not (info.pattern or "").endswith("$"):
        return "a text has a longest length (Meta(max_length=...)) or a pattern for the whole of it"
    if isinstance(info, types.IntType) and (info.ge, info.gt).count(None) + (info.le, info.lt).count(None) > 2:
        return "a number has a least and a largest value (Meta(ge=..., le=...))"
    if isinstance(info, types.FloatType):
        return "money, weights and quantities are integers"
    if isinstance(info, types.VarTupleType | types.ListType | types.DictType) and info.max_length is None:
        return "a list or document has a longest length (Meta(max_length=...))"
    if isinstance(info, types.StructType) and not (info.cls.__struct_config__.frozen and info.forbid_unknown_fields):
        return f"{info.cls.__name__} wants frozen=True, forbid_unknown_fields=True"
    return None


def find_open_ends(kind: object, path: str, seen: frozenset[object] = frozenset()) -> list[str]:
    """Patterns that let a line feed through: in Python `$` matches before a last one."""
    found: list[str] = []
    for meta in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
        if isinstance(meta, Meta) and meta.pattern is not None and msgspec_takes("x\n", meta):
            found.append(f"{path}: {meta.pattern} takes a line feed at the end; write (?!\\n)$ for $")
    for inner in get_args(kind):
        found.extend(find_open_ends(inner, path, seen))
    if inspect.isclass(kind) and issubclass(kind, Struct) and kind not in seen:
        for field, hint in get_type_hints(kind, include_extras=True).items():
            found.extend(find_open_ends(hint, f"{path}.{field}", seen | {kind}))
    return found


def msgspec_takes(text: str, meta: Meta) -> bool:
    """Whether a pattern for whole texts ends in a bare $."""
    pattern = meta.pattern or ""
    return pattern.startswith("^") and pattern.endswith("$") and not pattern.endswith(LINE_FEED_IS_SEEN_TO)


def exposed_by_contexts() -> list[Exposed]:
    return [function for function in EXPOSED.values() if function.context in app.CONTEXTS]


def bodies() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for handler in find_routes():
        field = handler.parsed_data_field
        if isinstance(handler, HTTPRouteHandler) and field is not None and "media_types" not in handler.opt:
            found.append((f"{sorted(handler.http_methods)[0]} {sorted(handler.paths)[0]}", field.annotation))
    return found


def events() -> list[type[Event]]:
    return [kind for kind in Event.__subclasses__() if kind.__module__.startswith("souk.")]


def test_only_frozen_values_cross_a_front_door() -> None:
    assert len(exposed_by_contexts()) > 80
    assert [
        broken for function in exposed_by_contexts() for path, kind in signature_of(function) for broken in find_unfrozen(kind, path)
    ] == []


def find_starred(function: Callable[..., object]) -> list[str]:
    """Parameters that no caller can know by name."""
    parameters = inspect.signature(function).parameters.values()
    return [str(one) for one in parameters if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def test_an_exposed_function_names_its_parameters() -> None:
    assert [function.path for function in exposed_by_contexts() if find_starred(function.function)] == []


def test_an_exposed_function_says_what_it_promises_and_raises() -> None:
    functions = exposed_by_contexts()
    assert_none([broken for one in functions for broken in find_silent(one.path, one.__doc__ or "", raised_by(one.function))])


def find_bad_events(kind: type[Struct]) -> list[str]:
    """What keeps an event from being a fact about one thing: it can change, or does not begin with an id."""
    first = kind.__struct_fields__[0]
    begins = get_type_hints(kind)[first] is UUID
    return find_unfrozen(kind, kind.__name__) + ([] if begins else [f"{kind.__name__} begins with {first}, which is no id"])


def test_events_are_frozen_and_begin_with_the_id_of_what_they_tell_of() -> None:
    assert len(events()) > 20
    assert_none([broken for kind in events() for broken in find_bad_events(kind)])


def test_events_carry_nothing_personal_however_deep() -> None:
    assert_none([broken for kind in events() for broken in find_personal(kind, kind.__name__)])


def test_every_field_of_a_body_has_its_bounds() -> None:
    assert len(bodies()) > 30
    assert_none([broken for path, kind in bodies() for broken in find_unbounded(kind, path)])


def test_no_pattern_takes_a_line_feed_at_the_end() -> None:
    assert_none([broken for path, kind in bodies() for broken in find_open_ends(kind, path)])


class Loose(Struct):
    words: list[str]


class Open(Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    number: Annotated[int, Meta(ge=1)]
    parts: tuple[Annotated[str, Meta(max_length=3)], ...]
    code: Annotated[str, Meta(pattern="^[A-Z]{2}$")]


class Told(Event, frozen=True):
    order_id: UUID
    money: Money
    inner: tuple["Inner", ...]


class Inner(Struct, frozen=True):
    customer_email: str


@pytest.mark.parametrize("kind", [Loose, tuple[Loose, ...], list[str], set[UUID], Loose | None, dict[int, str]])
def test_an_unfrozen_value_is_seen(kind: Any) -> None:
    assert find_unfrozen(kind, "planted") != []


@pytest.mark.parametrize("kind", [UUID, Money, tuple[Money, ...], str | None, Annotated[int, Meta(ge=1)], dict[str, object], Inner])
def test_a_frozen_value_is_none(kind: Any) -> None:
    assert find_unfrozen(kind, "planted") == []


def starred(*order_ids: UUID, **options: str) -> None:
    raise CouponExpired


def test_a_starred_or_silent_function_is_seen() -> None:
    assert find_starred(starred) == ["*order_ids: uuid.UUID", "**options: str"]
    assert raised_by(starred) == {"CouponExpired"}
    assert len(find_silent("f", "", set())) == len(find_silent("f", "Orders", set())) == 1
    assert len(find_silent("f", "Cancel the order of its buyer.", {"CouponExpired"})) == 1
    assert find_silent("f", "Cancel the order of its buyer. Raises CouponExpired.", {"CouponExpired"}) == []


def test_an_event_that_is_no_fact_about_one_thing_is_seen() -> None:
    assert len(find_bad_events(Loose)) == 3
    assert len(find_bad_events(Inner)) == 1
    assert find_bad_events(Told) == []


def test_a_person_in_an_event_is_seen() -> None:
    assert len(find_personal(Told, "Told")) == 1


def test_an_open_field_is_seen() -> None:
    assert [broken.partition(":")[0] for broken in find_unbounded(Open, "o")] == ["o.text", "o.number", "o.parts"]
    assert [broken.partition(":")[0] for broken in find_unbounded(Loose, "o")] == ["o", "o.words", "o.words[]"]


def test_an_open_end_is_seen() -> None:
    assert [broken.partition(":")[0] for broken in find_open_ends(Open, "o")] == ["o.code"]
    assert msgspec.convert("DE\n", Annotated[str, Meta(pattern="^[A-Z]{2}$")]) == "DE\n"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("DE\n", Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$")])
