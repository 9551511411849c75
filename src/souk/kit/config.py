"""Settings: frozen objects read from the environment once at start, with every mistake listed together."""

import os
import secrets
from collections.abc import Mapping
from datetime import UTC, tzinfo
from functools import cache
from pathlib import Path
from typing import ClassVar, Generic, TypeVar, cast, get_type_hints
from zoneinfo import ZoneInfo

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


class BadSettings(Exception):
    """What is wrong with the environment, a line each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def read_settings(kind: type[S], prefix: str, env: Mapping[str, str] | None = None) -> S:
    """An object of `kind` from variables named PREFIX_FIELD; a field without a variable keeps its default.

    Numbers and booleans are read from their text; a tuple is read from a comma-separated list. A ValueError of the object's own
    `__post_init__` is a mistake like any other. Raises BadSettings.
    """
    given = os.environ if env is None else env
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, object] = {}
    mistakes: list[str] = []
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}_{field.name}".upper()
        text = given.get(name)
        if text is None or (text == "" and not field.required):
            if field.required:
                mistakes.append(f"{name} is missing")
            continue
        try:
            values[field.name] = _read(text, hints[field.name])
        except (msgspec.ValidationError, ValueError) as mistake:
            mistakes.append(f"{name}: {mistake}")
    if mistakes:
        raise BadSettings(mistakes)
    try:
        return kind(**values)
    except ValueError as mistake:
        raise BadSettings([f"{prefix}: {mistake}"]) from mistake


def _read(text: str, hint: object) -> object:
    if hint is Path:
        return Path(text).expanduser()
    if getattr(hint, "__origin__", None) is tuple:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return msgspec.convert(parts, hint, strict=False)
    return msgspec.convert(text, hint, strict=False)


class Section(Generic[S]):
    """The settings of one context: declared where they are used, read once at start by `read_sections`."""

    declared: ClassVar[list["Section[msgspec.Struct]"]] = []

    def __init__(self, kind: type[S], prefix: str) -> None:
        self.kind = kind
        self.prefix = prefix
        self._read: S | None = None
        Section.declared.append(cast("Section[msgspec.Struct]", self))

    @property
    def now(self) -> S:
        """The settings; the defaults where nothing has been read yet (tests, one-off commands)."""
        if self._read is None:
            self._read = read_settings(self.kind, self.prefix)
        return self._read

    def replace(self, **values: object) -> None:
        """Change fields; for tests and for what a command line option overrides."""
        self._read = msgspec.structs.replace(self.now, **values)


def read_sections() -> None:
    """Read every declared section; raises BadSettings with the mistakes of all of them."""
    mistakes: list[str] = []
    for section in Section.declared:
        try:
            section.replace()
        except BadSettings as bad:
            mistakes.extend(bad.mistakes)
    if mistakes:
        raise BadSettings(mistakes)


@cache
def find_zone(name: str) -> tzinfo:
    """The time zone of this name; raises ValueError if this machine knows none."""
    # A machine without the IANA database has this one all the same.
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as unknown:
        raise ValueError(f"{name} is no time zone of the IANA database") from unknown


def find_secret(home: Path, name: str) -> bytes:
    """A secret of this shop: SOUK_SECRET_<NAME> if it is set, else 32 random bytes kept in home/secrets with mode 0600."""
    if text := os.environ.get(f"SOUK_SECRET_{name.upper()}"):
        return text.encode()
    folder = home / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / name
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(secrets.token_hex(32).encode())
    except FileExistsError:
        pass
    return file.read_bytes()
