"""What crosses between processes, as data: the types of exposed functions and refusals, and whether two versions understand each other."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect as types

from souk.kit.calls import EXPOSED
from souk.kit.errors import REFUSALS

# A type: {"is": "str", "max_length": 200}, {"is": "struct", "name": "orders.Order"}, {"is": "union", "of": [...]} and so on.
Type = dict[str, Any]
# Functions, refusals and types of one context, by name.
Contract = dict[str, dict[str, Any]]

ATOMS = {
    types.AnyType: "any", types.RawType: "any", types.NoneType: "null", types.BoolType: "bool", types.IntType: "int",
    types.FloatType: "float", types.StrType: "str", types.BytesType: "bytes", types.DateTimeType: "datetime", types.DateType: "date",
    types.UUIDType: "uuid", types.CustomType: "any",  # `object` in a document
}  # fmt: skip
LOWER, UPPER = ("min_length", "ge", "gt"), ("max_length", "le", "lt")


def describe_context(context: str) -> Contract:
    """What other processes may ask of a context and hear from it; its modules have been imported."""
    known: dict[str, Any] = {}
    functions = {
        function.name: {"takes": describe(function.argument_type, known), "answers": describe(function.answer_type, known)}
        for function in EXPOSED.values()
        if function.context == context
    }
    refusals = {
        code: {"status": kind.status, "fields": {name: describe_field(kind, name, known) for name in kind.fields}}
        for code, kind in REFUSALS.items()
        if code.partition(".")[0] == context or (context == "users" and "." not in code)
    }
    return {"functions": functions, "refusals": refusals, "types": known}


def describe_field(kind: type[Exception], name: str, known: dict[str, Any]) -> dict[str, Any]:
    """A field of a refusal."""
    return {"type": describe(get_type_hints(kind)[name], known), "required": not hasattr(kind, name)}


def describe(hint: Any, known: dict[str, Any]) -> Type:
    """A type; Structs are written down in `known`, once each."""
    return _describe(types.type_info(hint), known)


def _describe(info: types.Type, known: dict[str, Any]) -> Type:
    match info:
        case types.Metadata():
            kind = _describe(info.type, known)
        case types.StructType():
            kind = _describe_struct(info, known)
        case types.UnionType():
            kind = {"is": "union", "of": [_describe(one, known) for one in info.types]}
        case types.LiteralType():
            kind = {"is": "literal", "values": sorted(info.values)}
        case types.EnumType():
            kind = {"is": "literal", "values": sorted(one.value for one in info.cls)}
        case types.TupleType():
            kind = {"is": "tuple", "of": [_describe(one, known) for one in info.item_types]}
        case types.DictType():
            kind = {"is": "dict", "of": [_describe(info.key_type, known), _describe(info.value_type, known)]}
        case types.VarTupleType() | types.ListType():
            kind = {"is": "many", "of": [_describe(info.item_type, known)], **_limits(info)}
        case _:
            kind = {"is": ATOMS[type(info)], **_limits(info)}
    return kind


def _limits(info: types.Type) -> dict[str, Any]:
    limits = {name: getattr(info, name, None) for name in (*LOWER, *UPPER, "pattern", "multiple_of", "tz")}
    return {name: value for name, value in limits.items() if value is not None}


def _describe_struct(info: types.StructType, known: dict[str, Any]) -> Type:
    name = _name(info.cls)
    if name not in known:
        known[name] = {}
        cls = get_origin(info.cls) or info.cls
        known[name] |= {
            "by_position": info.array_like,
            "tag": info.tag,
            "omits_defaults": cls.__struct_config__.omit_defaults,
            "fields": {field.encode_name: {"type": _describe(field.type, known), "required": field.required} for field in info.fields},
        }
    return {"is": "struct", "name": name}


def _name(cls: Any) -> str:
    if inner := get_args(cls):
        return f"{_name(get_origin(cls))}[{', '.join(map(_name, inner))}]"
    parts = getattr(cls, "__module__", "").split(".")
    return f"{parts[1]}.{cls.__name__}" if parts[0] == "souk" and len(parts) > 1 else getattr(cls, "__name__", str(cls))


def find_breaks(old: Contract, new: Contract) -> list[str]:
    """Why a process of the old version and one of the new do not understand each other; empty if they do.

    What old callers send is read by the new version, and what the new version answers is read by old callers. Fields that one side does
    not know are left alone; one that has gone, or that is missing and has no default, is not.
    """
    read_here, read_there = _Reader(new["types"], old["types"]), _Reader(old["types"], new["types"])
    found: list[str] = []
    found.extend(f"{name} is gone" for name in old["functions"].keys() - new["functions"].keys())
    for name in old["functions"].keys() & new["functions"].keys():
        function, now = old["functions"][name], new["functions"][name]
        found.extend(f"{name} takes {why}" for why in read_here.complaints(now["takes"], function["takes"]))
        found.extend(f"{name} answers {why}" for why in read_there.complaints(function["answers"], now["answers"]))
    for code, refusal in old["refusals"].items():
        given: dict[str, Any] = new["refusals"].get(code, {"status": 0, "fields": {}})
        if given["status"] != refusal["status"]:
            found.append(f"the refusal {code} is gone or has another status")
        found.extend(f"the refusal {code}: {why}" for why in _changes(refusal["fields"], given["fields"], read_there))
    for name in old["types"].keys() & new["types"].keys():
        gone = old["types"][name]["fields"].keys() - new["types"][name]["fields"].keys()
        found.extend(f"{name}.{field} is gone" for field in gone)
    return sorted(found)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], reader: "_Reader") -> Iterator[str]:
    for name, field in old.items():
        if name not in new:
            yield f"{name} is gone"
        elif why := list(reader.complaints(field["type"], new[name]["type"])):
            yield f"{name}: {'; '.join(why)}"
    yield from (f"{name} is new and has no default" for name, field in new.items() if name not in old and field["required"])


class _Reader:
    """Whether what the writing version writes can be read by the reading one, which may be the older or the newer."""

    def __init__(self, reading: Mapping[str, Any], writing: Mapping[str, Any]) -> None:
        self._reading = reading
        self._writing = writing
        self._seen: set[tuple[str, str]] = set()

    def complaints(self, wide: Type, narrow: Type, path: str = "") -> Iterator[str]:
        """What of `narrow` cannot be read as `wide`."""
        if narrow["is"] == "union":
            for one in narrow["of"]:
                yield from self.complaints(wide, one, path)
        elif wide["is"] == "union":
            if not any(not list(self.complaints(one, narrow, path)) for one in wide["of"]):
                # Of one kind there is one at the most: what is wrong with it says more than that nothing fits.
                alike = [one for one in wide["of"] if one["is"] == narrow["is"] and one.get("name") == narrow.get("name")]
                unknown = f"{path or 'it'} may be {_show(narrow)}, which is not understood"
                yield from self.complaints(alike[0], narrow, path) if alike else (unknown,)
        elif wide["is"] == narrow["is"] == "struct":
            yield from self._struct_complaints(wide["name"], narrow["name"], path)
        elif not _fits(wide, narrow):
            yield f"{path or 'it'} is {_show(narrow)} and read as {_show(wide)}"
        else:
            for one, other in zip(wide.get("of", ()), narrow.get("of", ()), strict=False):
                yield from self.complaints(one, other, f"{path}[]")

    def _struct_complaints(self, wide_name: str, narrow_name: str, path: str) -> Iterator[str]:
        if (wide_name, narrow_name) in self._seen:
            return
        self._seen.add((wide_name, narrow_name))
        wide, narrow = self._reading[wide_name], self._writing[narrow_name]
        same = ("by_position", "tag")
        if [wide[name] for name in same] != [narrow[name] for name in same]:
            yield f"{path or wide_name} is written in another way"
        names = zip(wide["fields"], narrow["fields"], strict=False)
        if wide["by_position"] and any(one != other for one, other in names):
            yield f"{path or wide_name} has its fields in another order"
        for name, field in wide["fields"].items():
            written = narrow["fields"].get(name)
            if written is not None:
                yield from self.complaints(field["type"], written["type"], f"{path}.{name}".lstrip("."))
            missing = written is None or (not written["required"] and narrow["omits_defaults"])
            if missing and field["required"]:
                yield f"{path}.{name} is required and may be missing".lstrip(".")


def _fits(wide: Type, narrow: Type) -> bool:
    """Whether a value of one type that is no union and no Struct can be read as the other, what is inside it left aside."""
    kinds = wide["is"], narrow["is"]
    if wide["is"] == "any" or kinds == ("float", "int"):
        return True
    if kinds == ("literal", "literal"):
        return set(narrow["values"]) <= set(wide["values"])
    if narrow["is"] == "literal":
        return set(wide) == {"is"} and wide["is"] == ("str" if isinstance(narrow["values"][0], str) else "int")
    if kinds[0] != kinds[1] or (wide["is"] == "tuple" and len(wide["of"]) != len(narrow["of"])):
        return False
    exact = all(narrow.get(name) == wide[name] for name in ("pattern", "multiple_of", "tz") if name in wide)
    low = all(narrow.get(name) is not None and narrow[name] >= wide[name] for name in LOWER if name in wide)
    return exact and low and all(narrow.get(name) is not None and narrow[name] <= wide[name] for name in UPPER if name in wide)


def _show(kind: Type) -> str:
    return msgspec.json.encode({name: value for name, value in kind.items() if name != "of"}).decode()
