"""Reading what a newer version of the shop has written: fields that are not known here are left out, also of types that refuse them."""

from functools import cached_property
from typing import Any

import msgspec
from msgspec import inspect as types


class Reader:
    """Decodes msgpack as a type. What the type refuses for its unknown fields alone is read without them."""

    def __init__(self, hint: Any) -> None:
        self._hint = hint
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(hint)

    def decode(self, content: bytes | msgspec.Raw) -> Any:
        """The value; raises msgspec.DecodeError."""
        try:
            return self._decoder.decode(content)
        except msgspec.ValidationError:
            return msgspec.convert(leave_out(msgspec.msgpack.decode(content), self._info), self._hint)

    @cached_property
    def _info(self) -> types.Type:
        return types.type_info(self._hint)


def leave_out(value: Any, info: types.Type) -> Any:
    """The value without what the type does not know."""
    match info:
        case types.Metadata():
            value = leave_out(value, info.type)
        case types.StructType() if isinstance(value, dict):
            known = {field.encode_name: field.type for field in info.fields}
            tag = {info.tag_field: value[info.tag_field]} if info.tag_field in value else {}
            value = {name: leave_out(one, known[name]) for name, one in value.items() if name in known} | tag
        case types.StructType() if isinstance(value, list):
            value = [leave_out(one, field.type) for one, field in zip(value, info.fields, strict=False)]
        case types.UnionType():
            value = leave_out(value, _choose(value, info))
        case types.VarTupleType() | types.ListType() if isinstance(value, list):
            value = [leave_out(one, info.item_type) for one in value]
        case types.TupleType() if isinstance(value, list) and len(value) == len(info.item_types):
            value = [leave_out(one, kind) for one, kind in zip(value, info.item_types, strict=True)]
        case types.DictType() if isinstance(value, dict):
            value = {name: leave_out(one, info.value_type) for name, one in value.items()}
    return value


def _choose(value: Any, info: types.UnionType) -> types.Type:
    """The member of a union as which a value is meant. There is one at the most that is written so, or each has a tag."""
    members = [one.type if isinstance(one, types.Metadata) else one for one in info.types]
    return next((one for one in members if _is_written_as(value, one)), types.AnyType())


def _is_written_as(value: Any, kind: types.Type) -> bool:
    if isinstance(kind, types.StructType):
        shaped = isinstance(value, list if kind.array_like else dict)
        return shaped and (kind.tag_field is None or (isinstance(value, dict) and value.get(kind.tag_field) == kind.tag))
    if isinstance(kind, types.DictType):
        return isinstance(value, dict)
    return isinstance(kind, types.VarTupleType | types.ListType | types.TupleType) and isinstance(value, list)
