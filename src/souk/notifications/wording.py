"""The words of every kind of message in every language, and where a shop has words or a layout of its own."""

import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import quote

import msgspec
from jinja2 import StrictUndefined, Template, TemplateError, Undefined
from jinja2.sandbox import SandboxedEnvironment
from mjml import mjml2html

from souk.notifications.settings import settings
from souk.notifications.topics import KINDS

OURS = Path(__file__).parent / "templates"
LAST_RESORT = "en"


class Unrenderable(Exception):
    """A message that cannot be written: why, in one line. Nothing of it is sent."""


class Words(msgspec.Struct, frozen=True):
    """What a kind of message says in a language: Jinja templates that give plain text."""

    subject: str
    body: str
    action: str
    short: str


class Phrases(msgspec.Struct, frozen=True):
    """What stands around every message in a language."""

    greeting: str
    footer: str
    unsubscribe: str
    unsubscribe_ask: str
    unsubscribe_done: str
    digest: str
    more: str


class Form(msgspec.Struct, frozen=True):
    """Where the button of a kind leads, and sample content, all of whose fields a message of the kind must have."""

    link: str
    sample: dict[str, object]


class Compiled(msgspec.Struct, frozen=True):
    """The words of a kind in a language, ready to be filled."""

    language: str
    subject: Template
    body: Template
    action: Template
    short: Template
    link: Template


def _refuse_nothing(value: object) -> object:
    """A value that is there and is nothing is as bad as one that is missing."""
    if value is None:
        raise Unrenderable("a variable is empty")
    return value


def _quote(value: object) -> object:
    """What is put into a link stays in its place there."""
    return value if isinstance(value, Undefined) else quote(str(_refuse_nothing(value)), safe="/?=&#%+-_.~")


# Templates may be a shop's own: what they can reach is what they are given.
TEXT = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, finalize=_refuse_nothing, keep_trailing_newline=False)
LINK = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, finalize=_quote)
PAGE = SandboxedEnvironment(undefined=StrictUndefined, autoescape=True, finalize=_refuse_nothing)


def languages_for(language: str) -> tuple[str, ...]:
    """In which languages words are looked for: de-AT, de, the shop's, English."""
    parts = language.split("-")
    own = ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return tuple(dict.fromkeys([*own, settings.now.language, LAST_RESORT]))


def find_words(kind: str, language: str) -> Compiled:
    """The words of a kind in the first of the languages that has them; raises Unrenderable for a kind without words."""
    return _find_words(kind, language, settings.now.language, settings.now.templates)


@lru_cache(maxsize=5_000)
def _find_words(kind: str, language: str, _shop_language: str, folder: str) -> Compiled:
    if kind not in KINDS or kind not in forms():
        raise Unrenderable(f"no words for {kind}")
    for one in languages_for(language):
        try:
            table = read_language(one, folder).get(kind)
            if table is not None:
                words = msgspec.convert(table, Words)
                subject, body, action, short = map(compile_text, (words.subject, words.body, words.action, words.short))
                return Compiled(one, subject, body, action, short, LINK.from_string(forms()[kind].link))
        except (TemplateError, ValueError) as mistake:
            raise Unrenderable(f"the words of {kind} in {one} cannot be read: {mistake}") from mistake
    raise Unrenderable(f"no words for {kind}")


@lru_cache(maxsize=5_000)
def compile_text(text: str) -> Template:
    """A template that gives plain text."""
    return TEXT.from_string(text)


def find_phrases(language: str) -> Phrases:
    """What stands around messages, in a language that has words."""
    return _find_phrases(language, settings.now.templates)


@lru_cache(maxsize=1_000)
def _find_phrases(language: str, folder: str) -> Phrases:
    ours = read_language(LAST_RESORT, "")["layout"]
    return msgspec.convert({**ours, **read_language(language, folder).get("layout", {})}, Phrases)


@lru_cache(maxsize=1_000)
def read_language(language: str, folder: str) -> Mapping[str, dict[str, str]]:
    """Every table of words of a language: ours, and over them those of the shop's folder."""
    found: dict[str, dict[str, str]] = {}
    for place in (OURS, Path(folder)) if folder else (OURS,):
        file = place / f"{language}.toml"
        if language.replace("-", "").isalnum() and file.is_file():
            for name, table in tomllib.loads(file.read_text()).items():
                found[name] = {**found.get(name, {}), **table}
    return found


@cache
def forms() -> dict[str, Form]:
    """What each kind must have."""
    return msgspec.convert(tomllib.loads((OURS / "kinds.toml").read_text()), dict[str, Form])


def find_layout() -> Template:
    """The page into which a message is put: compiled before anything is filled in, so that nothing of a message is taken for MJML."""
    return _find_layout(settings.now.templates)


@cache
def _find_layout(folder: str) -> Template:
    own = Path(folder) / "layout.mjml"
    source = own if folder and own.is_file() else OURS / "layout.mjml"
    return PAGE.from_string(mjml2html(source.read_text(), disable_comments=True))


def known_languages() -> tuple[str, ...]:
    """The languages that have words."""
    folders = [OURS, *([Path(settings.now.templates)] if settings.now.templates else [])]
    return tuple(sorted({file.stem for folder in folders for file in folder.glob("*.toml")} - {"kinds"}))
