"""Messages written out: subject, text and page of a letter, or one line; escaped for where it is read, whole or not at all."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from jinja2 import Template, TemplateError

from souk.notifications.formats import direction_of, write_day, write_money, write_time
from souk.notifications.settings import settings
from souk.notifications.types import Content
from souk.notifications.wording import Compiled, Unrenderable, compile_text, find_layout, find_phrases, find_words, forms

LARGEST_LETTER_BYTES = 1_000_000
LONGEST_SUBJECT, LONGEST_SHORT = 200, 300


class Reader(Protocol):
    """Who reads a message, as far as it decides how the message is written."""

    @property
    def name(self) -> str | None: ...

    @property
    def language(self) -> str: ...

    @property
    def timezone(self) -> str: ...


class Recipient(msgspec.Struct, frozen=True):
    """A reader of whom nothing else is known."""

    language: str = "en"
    timezone: str = "UTC"
    name: str | None = None


class Told(msgspec.Struct, frozen=True):
    """One message of a letter."""

    kind: str
    content: Content


class Rendered(msgspec.Struct, frozen=True):
    """A letter as it is written."""

    subject: str
    text: str
    html: str


class Part(msgspec.Struct, frozen=True):
    """A message within the layout."""

    title: str
    paragraphs: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    action: str
    url: str


def render_letter(told: Sequence[Told], reader: Reader, unsubscribe_url: str | None = None) -> Rendered:
    """A letter of one message, or of several in short. Raises Unrenderable, so that nothing half written leaves."""
    language = reader.language
    for one in told:
        require_content(one.kind, one.content)
    words = [find_words(one.kind, language) for one in told]
    used = words[0].language
    phrases = find_phrases(used)
    around = {"shop": settings.now.shop_name, "name": reader.name, "count": len(told)}
    if len(told) == 1:
        subject = one_line(fill(words[0].subject, told[0].content, reader), LONGEST_SUBJECT)
        parts: tuple[Part, ...] = (write_part(told[0], words[0], reader),)
    else:
        subject = one_line(fill(compile_text(phrases.digest), around, reader), LONGEST_SUBJECT)
        parts = tuple(write_short_part(one, its, reader) for one, its in zip(told, words, strict=True))
    page: dict[str, object] = {
        "language": used,
        "direction": direction_of(used),
        "start": "right" if direction_of(used) == "rtl" else "left",
        "subject": subject,
        "short": render_short(told[0].kind, language, told[0].content, reader),
        "shop": settings.now.shop_name,
        "greeting": one_line(fill(compile_text(phrases.greeting), around, reader), LONGEST_SUBJECT) if reader.name else "",
        "parts": parts,
        "footer": fill(compile_text(phrases.footer), around, reader),
        "unsubscribe": phrases.unsubscribe,
        "unsubscribe_url": unsubscribe_url or "",
    }
    try:
        html = find_layout().render(page)
    except TemplateError as mistake:
        raise Unrenderable(f"layout: {mistake}") from mistake
    text = write_text(page, parts)
    if len(html.encode()) + len(text.encode()) > LARGEST_LETTER_BYTES:
        raise Unrenderable("larger than a megabyte")
    return Rendered(subject, text, html)


def render_short(kind: str, language: str, content: Content, contact: Reader | None = None) -> str:
    """A message as one line of plain text, for a feed, a push or an SMS. Raises Unrenderable."""
    reader = contact or Recipient(language)
    require_content(kind, content)
    return one_line(fill(find_words(kind, language).short, content, reader, language), LONGEST_SHORT)


def find_link(kind: str, content: Content) -> str | None:
    """Where a message of this kind leads, from the root of the shop; None if nowhere. Raises Unrenderable."""
    path = fill(find_words(kind, "en").link, content, Recipient())
    if path and not (path.startswith("/") and not path.startswith("//")):
        raise Unrenderable("a link that leaves the shop")
    return path or None


def write_part(told: Told, words: Compiled, reader: Reader) -> Part:
    """A message at length."""
    body = fill(words.body, told.content, reader)
    paragraphs = tuple(" ".join(one.split()) for one in body.split("\n\n") if one.strip())
    return Part("", paragraphs, write_rows(told.content), fill(words.action, told.content, reader), url_of(told))


def write_short_part(told: Told, words: Compiled, reader: Reader) -> Part:
    """A message among others: its line, and the way to more."""
    short = render_short(told.kind, reader.language, told.content, reader)
    return Part(short, (), (), fill(words.action, told.content, reader), url_of(told))


def url_of(told: Told) -> str:
    path = find_link(told.kind, told.content)
    return settings.now.public_url.rstrip("/") + path if path else ""


def write_rows(content: Content) -> tuple[tuple[str, str], ...]:
    """The goods that a message names, and how many of each."""
    items = content.get("items")
    if not isinstance(items, Sequence):
        return ()
    return tuple((one_line(str(item["name"]), LONGEST_SHORT), f"{item.get('quantity', 1)}") for item in items if "name" in item)


def write_text(page: Mapping[str, object], parts: Sequence[Part]) -> str:
    """The letter for who reads no pages."""
    lines = [str(page["greeting"]), ""] if page["greeting"] else []
    for part in parts:
        if part.title:
            lines += [part.title, ""]
        lines += [line for paragraph in part.paragraphs for line in (paragraph, "")]
        lines += [f"{right} x {left}" for left, right in part.rows] + [""] * bool(part.rows)
        if part.url:
            lines += [f"{part.action}: {part.url}", ""]
    lines += ["-- ", str(page["footer"])]
    if page["unsubscribe_url"]:
        lines.append(f"{page['unsubscribe']}: {page['unsubscribe_url']}")
    return "\n".join(lines) + "\n"


def require_content(kind: str, content: Content) -> None:
    """Raises Unrenderable if something is missing that every message of the kind has."""
    form = forms().get(kind)
    if form is None:
        raise Unrenderable(f"no words for {kind}")
    if missing := sorted(name for name in form.sample if content.get(name) is None):
        raise Unrenderable(f"missing: {', '.join(missing)}")


def fill(template: Template, content: Mapping[str, object], reader: Reader, language: str | None = None) -> str:
    """The template's text. Raises Unrenderable for a variable that is not there, or is not what it should be."""
    used, zone = language or reader.language, reader.timezone
    helpers = {
        "money": lambda value: write_money(value, used),
        "day": lambda value: write_day(value, used, zone),
        "time": lambda value: write_time(value, used, zone),
    }
    try:
        return template.render({"shop": settings.now.shop_name, **content, **helpers})
    except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError) as mistake:
        raise Unrenderable(f"cannot be written: {mistake}") from mistake


def one_line(text: str, longest: int) -> str:
    """Without line ends and other controls, and not too long."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
