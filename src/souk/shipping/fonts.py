"""The letters of labels: Noto Sans, the shop's own fonts for what it lacks, and texts that are made fit for paper."""

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

import fontpkg_noto_sans
import msgspec
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from souk.shipping.settings import settings

NOTO_SANS = Path(fontpkg_noto_sans.__file__).parent / "files" / "NotoSans[wdth,wght].ttf"
# What stands for a character that no font has.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS = "…"


class Font(msgspec.Struct, frozen=True):
    """A font that can be written with, and the characters that it has."""

    name: str
    characters: frozenset[int]


class Run(msgspec.Struct, frozen=True):
    """A piece of a text in one font."""

    font: str
    text: str


@cache
def load_fonts(paths: tuple[str, ...]) -> tuple[Font, ...]:
    """These fonts, made known to the library that draws. Not safe for threads: whoever draws does it one label at a time."""
    return tuple(load_font(f"souk{number}", path) for number, path in enumerate((str(NOTO_SANS), *paths)))


def load_font(name: str, path: str) -> Font:
    font = TTFont(name, path)
    pdfmetrics.registerFont(font)
    return Font(name, frozenset(font.face.charToGlyph))


def fonts() -> tuple[Font, ...]:
    """Noto Sans, then the shop's own."""
    return load_fonts(settings.now.label_fonts)


def clean(text: str) -> str:
    """The text as it can be printed in one line: composed, no control characters, one blank where there were several."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(one if unicodedata.category(one)[0] != "C" else " " for one in composed).split())


def runs_of(text: str) -> Iterator[Run]:
    """The text in pieces, each in the first font that has its characters."""
    for name, characters in groupby(((find_font(one), one) for one in text), key=lambda found: found[0]):
        if name is None:
            yield Run(fonts()[0].name, UNKNOWN)
        else:
            yield Run(name, "".join(one for _, one in characters))


def find_font(character: str) -> str | None:
    return next((font.name for font in fonts() if ord(character) in font.characters), None)


def width_of(text: str, size: float) -> float:
    """How long a clean text is in points."""
    return sum(float(pdfmetrics.stringWidth(run.text, run.font, size)) for run in runs_of(text))


def fit(text: str, size: float, width: float) -> str:
    """As much of a clean text as fits, with an ellipsis if that is not all."""
    if width_of(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width_of(text[:middle] + ELLIPSIS, size) <= width else (low, middle - 1)
    return text[:low] + ELLIPSIS
