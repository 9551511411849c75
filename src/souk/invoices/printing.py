"""Lay a page out as PDF: a program of its own, for what typesetting keeps in memory is gone with it, and one that hangs can be killed.

It reads a Task as JSON and writes the file. Characters that no font has are written as their code points, so that nothing is lost.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import typst

TEMPLATE = Path(__file__).with_name("invoice.typ")
PROBE = b"#sys.inputs.text"
# For archives: it embeds its fonts, and is refused if a character has no picture.
ARCHIVAL: "typst.PDFStandards" = ["a-2u"]
LAST_OF_ASCII = 127


class Task(TypedDict):
    """A page, the time that the file is to bear (seconds since 1970), and a folder of more fonts or an empty text."""

    page: dict[str, object]
    timestamp: int
    fonts: str


def lay_out(task: Task) -> bytes:
    """The page as PDF/A; as plain PDF if nothing makes it one."""
    page = json.dumps(task["page"], ensure_ascii=False)
    # Not those of the machine: the same invoice would look another way elsewhere.
    fonts = typst.Fonts(include_system_fonts=False, font_paths=[task["fonts"]] if task["fonts"] else [])
    try:
        return set_type(page, fonts, task["timestamp"], ARCHIVAL)
    except typst.TypstError:
        strange = sorted({letter for letter in page if ord(letter) > LAST_OF_ASCII})
        missing = find_missing(strange, fonts)
    page = page.translate({ord(letter): f"U+{ord(letter):04X} " for letter in missing})
    uncovered = "yes" if missing else "no"
    try:
        return set_type(page, fonts, task["timestamp"], ARCHIVAL, uncovered)
    except typst.TypstError:
        return set_type(page, fonts, task["timestamp"], [], uncovered)


def set_type(page: str, fonts: typst.Fonts, timestamp: int, standards: "typst.PDFStandards", uncovered: str = "no") -> bytes:
    inputs = {"page": page, "uncovered": uncovered}
    return typst.compile(str(TEMPLATE), sys_inputs=inputs, font_paths=fonts, pdf_standards=standards, timestamp=timestamp)


def find_missing(letters: Sequence[str], fonts: typst.Fonts) -> list[str]:
    """Which of these characters no font has, by halving."""
    if not letters or has_all(letters, fonts):
        return []
    if len(letters) == 1:
        return list(letters)
    half = len(letters) // 2
    return find_missing(letters[:half], fonts) + find_missing(letters[half:], fonts)


def has_all(letters: Sequence[str], fonts: typst.Fonts) -> bool:
    try:
        typst.compile(PROBE, sys_inputs={"text": " ".join(letters)}, font_paths=fonts, pdf_standards=ARCHIVAL)
    except typst.TypstError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.buffer.write(lay_out(json.load(sys.stdin.buffer)))
