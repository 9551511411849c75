"""Messages written out: subject, text and page of a letter, or one line; escaped for where it is read, whole or not at all."""

import re
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import msgspec
from jinja2 import Template, TemplateError
from markupsafe import escape

from souk.notifications.formats import direction_of, write_day, write_money, write_time
from souk.notifications.settings import Settings, settings
from souk.notifications.types import Content
from souk.notifications.wording import LINK, Compiled, Unrenderable, compile_text, find_layout, find_phrases, find_words, forms

LARGEST_LETTER_BYTES = 1_000_000
LONGEST_SUBJECT, LONGEST_SHORT = 200, 300
PRICE = compile_text("{{ money(price) }}")
PRODUCT_PATH = LINK.from_string("/shop/products/{{ product_id }}")
# Of a letter that has gathered more of them, the others are counted.
MOST_SHOWN = 50
# What phones take at once.
LONGEST_TEXT = 1_600
# What stands in a page that many get in place of what is each reader's own. Nobody who writes a message knows it.
GREETING, WAY_OUT = secrets.token_hex(16), secrets.token_hex(16)
MARK = re.compile(f"({GREETING}|{WAY_OUT})")
# By these it is seen whether a layout does anything with them but show them.
SAMPLE = {GREETING: "Hello, <Ada> & 'Bob'", WAY_OUT: "https://shop.example/u/a_B-1?b=2&c=3"}


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
    """A letter as it is written. Of its page every second piece is this reader's own; the others are the same for many."""

    subject: str
    text: str
    page: tuple[str, ...]

    @property
    def html(self) -> str:
        """The whole page."""
        return "".join(self.page)


class Row(msgspec.Struct, frozen=True):
    """One of the goods that a message names: how many of it or what it costs, and where it is shown, or nothing."""

    name: str
    count: str = ""
    price: str = ""
    url: str = ""


class Part(msgspec.Struct, frozen=True):
    """A message within the layout."""

    title: str
    paragraphs: tuple[str, ...]
    rows: tuple[Row, ...]
    action: str
    url: str


class Core(msgspec.Struct, frozen=True):
    """What of a letter of one message is the same for everybody who reads it in a language and a zone."""

    subject: str
    short: str
    part: Part


def render_letter(told: Sequence[Told], reader: Reader, unsubscribe_url: str | None = None) -> Rendered:
    """A letter of one message, or of several in short. Raises Unrenderable, so that nothing half written leaves."""
    for one in told:
        require_content(one.kind, one.content)
    used = find_words(told[0].kind, reader.language).language
    phrases = find_phrases(used)
    around = {"name": reader.name, "count": len(told)}
    if len(told) == 1:
        core = find_core(told[0], reader)
        subject, short = core.subject, core.short
        parts: tuple[Part, ...] = (core.part,)
    else:
        subject = one_line(fill(compile_text(phrases.digest), around, reader), LONGEST_SUBJECT)
        parts = tuple(write_short_part(one, reader) for one in told[:MOST_SHOWN])
        if len(told) > MOST_SHOWN:
            parts += (Part(write_more(len(told) - MOST_SHOWN, used, reader), (), (), "", ""),)
        short = parts[0].title
    greeting = one_line(fill(compile_text(phrases.greeting), around, reader), LONGEST_SUBJECT) if reader.name else ""
    own = {GREETING: greeting, WAY_OUT: unsubscribe_url or ""}
    frame = None
    if len(told) == 1 and "token" not in told[0].content:
        frame = find_frame(Core(subject, short, parts[0]), used, (bool(greeting), bool(unsubscribe_url)), settings.now)
    page = (write_page(Core(subject, short, parts[0]), parts, used, own),) if frame is None else fill_frame(frame, own)
    text = write_text(used, own, parts)
    # No character is more than four bytes: of almost every letter they need not be counted.
    characters = sum(map(len, page)) + len(text)
    if 4 * characters > LARGEST_LETTER_BYTES and sum(len(piece.encode()) for piece in (*page, text)) > LARGEST_LETTER_BYTES:
        raise Unrenderable("larger than a megabyte")
    return Rendered(subject, text, page)


def write_page(core: Core, parts: Sequence[Part], language: str, own: Mapping[str, str]) -> str:
    """The page of a letter, with what is its reader's own. Raises Unrenderable."""
    page = {
        "language": language,
        "direction": direction_of(language),
        "start": "right" if direction_of(language) == "rtl" else "left",
        "subject": core.subject,
        "short": core.short,
        "shop": settings.now.shop_name,
        "greeting": own[GREETING],
        "parts": parts,
        "footer": find_footer(language, settings.now),
        "unsubscribe": find_phrases(language).unsubscribe,
        "unsubscribe_url": own[WAY_OUT],
    }
    try:
        return find_layout().render(page)
    except TemplateError as mistake:
        raise Unrenderable(f"layout: {mistake}") from mistake


@lru_cache(maxsize=200)
def find_frame(core: Core, language: str, has: tuple[bool, bool], _settings: Settings) -> tuple[str, ...] | None:
    """A page with marks in place of what is each reader's own, cut at them; None if the layout does not merely show that."""
    parts, sample = (core.part,), {mark: SAMPLE[mark] if there else "" for mark, there in zip(SAMPLE, has, strict=True)}
    marked = write_page(core, parts, language, {mark: mark if there else "" for mark, there in zip(SAMPLE, has, strict=True)})
    frame = tuple(MARK.split(marked))
    return frame if "".join(fill_frame(frame, sample)) == write_page(core, parts, language, sample) else None


def fill_frame(frame: Sequence[str], own: Mapping[str, str]) -> tuple[str, ...]:
    """A page with what is its reader's own in place of the marks."""
    return tuple(str(escape(own[piece])) if place % 2 else piece for place, piece in enumerate(frame))


def find_core(told: Told, reader: Reader) -> Core:
    """The message written out. What many are told, as in a campaign, is written once; what has a token in it is not kept."""
    if "token" in told.content:
        return write_core(told, reader)
    return _find_core(told.kind, reader.language, reader.timezone, msgspec.json.encode(told.content), settings.now)


@lru_cache(maxsize=200)
def _find_core(kind: str, language: str, timezone: str, content: bytes, _settings: Settings) -> Core:
    return write_core(Told(kind, msgspec.json.decode(content)), Recipient(language, timezone))


def write_core(told: Told, reader: Reader) -> Core:
    words = find_words(told.kind, reader.language)
    subject = one_line(fill(words.subject, told.content, reader), LONGEST_SUBJECT)
    return Core(subject, render_short(told.kind, reader.language, told.content, reader), write_part(told, words, reader))


@lru_cache(maxsize=200)
def find_footer(language: str, _settings: Settings) -> str:
    return fill(compile_text(find_phrases(language).footer), {}, Recipient(language))


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
    return Part("", paragraphs, write_rows(told.content, reader), fill(words.action, told.content, reader), url_of(told))


def write_short_part(told: Told, reader: Reader) -> Part:
    """A message among others: its line, and the way to more. Raises Unrenderable."""
    words = find_words(told.kind, reader.language)
    short = render_short(told.kind, reader.language, told.content, reader)
    return Part(short, (), (), fill(words.action, told.content, reader), url_of(told))


def render_lines(told: Sequence[Told], reader: Reader) -> str:
    """Several messages as lines of plain text, as many as phones take. Raises Unrenderable."""
    lines: list[str] = []
    for place, one in enumerate(told):
        line = render_short(one.kind, reader.language, one.content, reader)
        more = write_more(len(told) - place, find_words(one.kind, reader.language).language, reader)
        if sum(map(len, lines)) + len(lines) + len(line) + len(more) + 1 > LONGEST_TEXT:
            return "\n".join([*lines, more])
        lines.append(line)
    return "\n".join(lines)


def write_more(count: int, language: str, reader: Reader) -> str:
    """That there are so many more."""
    return one_line(fill(compile_text(find_phrases(language).more), {"count": count}, reader), LONGEST_SHORT)


def url_of(told: Told) -> str:
    path = find_link(told.kind, told.content)
    return in_shop(path) if path else ""


def in_shop(path: str) -> str:
    return settings.now.public_url.rstrip("/") + path


def write_rows(content: Content, reader: Reader) -> tuple[Row, ...]:
    """The goods that a message names. Raises Unrenderable for a price that is none."""
    items = content.get("items")
    return tuple(write_row(item, reader) for item in items if "name" in item) if isinstance(items, Sequence) else ()


def write_row(item: Mapping[str, object], reader: Reader) -> Row:
    """Goods that somebody has ordered are counted, those that are for sale have a price."""
    name = one_line(str(item["name"]), LONGEST_SHORT)
    if "price" not in item:
        return Row(name, count=str(item.get("quantity", 1)))
    url = in_shop(fill(PRODUCT_PATH, item, reader)) if "product_id" in item else ""
    return Row(name, price=fill(PRICE, item, reader), url=url)


def write_text(language: str, own: Mapping[str, str], parts: Sequence[Part]) -> str:
    """The letter for who reads no pages."""
    lines = [own[GREETING], ""] if own[GREETING] else []
    for part in parts:
        if part.title:
            lines += [part.title, ""]
        lines += [line for paragraph in part.paragraphs for line in (paragraph, "")]
        lines += [write_line(row) for row in part.rows] + [""] * bool(part.rows)
        if part.url:
            lines += [f"{part.action}: {part.url}", ""]
    lines += ["-- ", find_footer(language, settings.now)]
    if own[WAY_OUT]:
        lines.append(f"{find_phrases(language).unsubscribe}: {own[WAY_OUT]}")
    return "\n".join(lines) + "\n"


def write_line(row: Row) -> str:
    """Some goods for who reads no pages."""
    if row.count:
        return f"{row.count} x {row.name}"
    return f"{row.name}, {row.price}" + f": {row.url}" * bool(row.url)


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
