"""The two ways to fail: a refusal (they said no) and Unavailable (nobody answered)."""

import inspect
from typing import Any, ClassVar, dataclass_transform, get_type_hints

import msgspec

REFUSALS: dict[str, type["DomainError"]] = {}


@dataclass_transform(eq_default=False)
class DomainError(Exception):
    """They said no; asking the same again will not help.

    A subclass declares its fields as annotations, in the order of its constructor, and its message as its docstring, in
    which `{field}` stands for a field. `code` is stable and public; `status` is the HTTP status. Both keep their value
    over the wire, and so does the class.
    """

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, code: str = "", status: int = 0) -> None:
        if status:
            cls.status = status
        own = tuple(name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint))
        cls.fields = (*cls.fields, *own)
        if code:
            if code in REFUSALS:
                raise TypeError(f"Two refusals have the code {code}")
            cls.code = code
            REFUSALS[code] = cls

    def __init__(self, *args: Any, **named: Any) -> None:
        values = dict(zip(self.fields, args, strict=False)) | named
        for name in self.fields:
            if name not in values and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} wants {name}")
        if unknown := values.keys() - set(self.fields):
            raise TypeError(f"{type(self).__name__} does not know {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self, name, value)
        super().__init__(*args)

    def __str__(self) -> str:
        message = inspect.cleandoc(type(self).__doc__ or "").split("\n\n")[0].replace("\n", " ")
        return message.format_map({name: getattr(self, name) for name in self.fields})

    def values(self) -> dict[str, Any]:
        """The declared fields and what they hold."""
        return {name: getattr(self, name) for name in self.fields}


class NotFound(DomainError, code="not_found", status=404):
    """There is no such thing, or it is not yours."""


class Conflict(DomainError, code="conflict", status=409):
    """The current state does not allow this."""


class Forbidden(DomainError, code="forbidden", status=403):
    """You may not do this."""


class Unauthenticated(DomainError, code="unauthenticated", status=401):
    """Sign in first: no valid access token came with the request."""


class Invalid(DomainError, code="invalid", status=422):
    """Something in the request is not as it should be."""


class InvalidField(Invalid, code="invalid_field"):
    """{field}: {reason}."""

    field: str
    reason: str


class Stale(DomainError, code="stale", status=412):
    """It has changed since you read it; read it again."""


class TooMany(DomainError, code="too_many_requests", status=429):
    """Too many attempts; try again in {retry_after_s} seconds."""

    retry_after_s: int


class Unavailable(Exception):
    """Nobody answered in time, or nobody can say whether it was done. Try again: a repeated write has one effect."""

    retry_after_s = 1


class Failed(Unavailable):
    """What was asked in another process has failed there, by a bug: it answers, and it may answer so for ever."""


def refusal_to_wire(refusal: DomainError) -> dict[str, Any]:
    """The code and the fields of a refusal, in types that msgpack and JSON know, and what is told where its class is not known."""
    return {"code": refusal.code, "fields": msgspec.to_builtins(refusal.values()), "status": refusal.status, "message": str(refusal)}


def refusal_from_wire(wire: dict[str, Any]) -> DomainError:
    """The refusal that `refusal_to_wire` took apart: same class, same fields, but for those that only another version knows.

    A refusal that only another version knows is a DomainError with its code, status and message: it is still a no, and no silence.
    """
    refused = REFUSALS.get(wire["code"])
    if refused is None:
        said = str(wire["message"]).replace("{", "{{").replace("}", "}}")
        told = {"code": wire["code"], "status": wire["status"], "__doc__": said}
        unknown: type[DomainError] = type("UnknownRefusal", (DomainError,), told)
        return unknown()
    hints = get_type_hints(refused)
    known = {name: value for name, value in wire["fields"].items() if name in refused.fields}
    if missing := [name for name in refused.fields if name not in known and not hasattr(refused, name)]:
        raise KeyError(", ".join(missing))
    return refused(**{name: msgspec.convert(value, hints[name], strict=False) for name, value in known.items()})
