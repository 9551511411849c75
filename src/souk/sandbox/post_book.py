"""The book of what was taken to be brought to people: every letter and every text, written once and never changed."""

import re
import sqlite3

import msgspec
from msgspec import Struct

from souk.sandbox.book import iso_now
from souk.sandbox.refusals import Refused

SCHEMA = """
    CREATE TABLE IF NOT EXISTS letters (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        letter_id TEXT NOT NULL,
        channel TEXT NOT NULL,
        sender TEXT NOT NULL,
        recipient TEXT NOT NULL,
        raw BLOB NOT NULL,
        created_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS letters_by_id ON letters (letter_id);
    CREATE TRIGGER IF NOT EXISTS letters_stay BEFORE UPDATE ON letters BEGIN SELECT RAISE(ABORT, 'the book is append-only'); END;
    CREATE TRIGGER IF NOT EXISTS letters_last BEFORE DELETE ON letters BEGIN SELECT RAISE(ABORT, 'the book is append-only'); END;
"""
APPEND = "INSERT INTO letters (letter_id, channel, sender, recipient, raw, created_at) VALUES (?, ?, ?, ?, ?, ?) RETURNING seq"
PAGE = "SELECT seq, letter_id, channel, sender, recipient, created_at FROM letters WHERE seq > ? ORDER BY seq LIMIT ?"
FIND = "SELECT DISTINCT letter_id FROM letters WHERE letter_id IN (SELECT value FROM json_each(?))"
COUNT = "SELECT count(*) AS letters, count(DISTINCT letter_id) AS different FROM letters"
LATEST = """
    SELECT seq, letter_id, channel, sender, recipient, created_at FROM letters
    WHERE (? IS NULL OR recipient = ?) ORDER BY seq DESC LIMIT 1
"""
READ = "SELECT raw FROM letters WHERE seq = ?"
FIND_ONE = "SELECT seq, letter_id, channel, sender, recipient, created_at FROM letters WHERE letter_id = ? ORDER BY seq LIMIT 1"
MESSAGE_ID = re.compile(rb"^message-id:\s*<([^@>\s]+)@", re.IGNORECASE | re.MULTILINE)


class Letter(Struct, frozen=True):
    """A letter as the book shows it; its text is read apart."""

    seq: int
    letter_id: str
    channel: str
    sender: str
    recipient: str
    created_at: str


class LetterPage(Struct, frozen=True):
    items: tuple[Letter, ...]
    next: int | None


class Count(Struct, frozen=True):
    """How many letters are in the book, and how many different ones."""

    letters: int
    different: int


class FindRequest(Struct, frozen=True, forbid_unknown_fields=True):
    ids: tuple[str, ...]


class Taken(Struct, frozen=True):
    """Something to bring to somebody."""

    letter_id: str
    channel: str
    sender: str
    recipient: str
    raw: bytes


def append_letter(db: sqlite3.Connection, taken: Taken) -> int:
    values = (taken.letter_id, taken.channel, taken.sender, taken.recipient, taken.raw, iso_now())
    return int(db.execute(APPEND, values).fetchone()[0])


def read_letters(db: sqlite3.Connection, after: int, limit: int) -> LetterPage:
    rows = db.execute(PAGE, (after, limit + 1)).fetchall()
    items = tuple(msgspec.convert(dict(row), Letter) for row in rows[:limit])
    return LetterPage(items, items[-1].seq if len(rows) > limit else None)


def find_letters(db: sqlite3.Connection, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Which of these letters are in the book."""
    return tuple(row[0] for row in db.execute(FIND, (msgspec.json.encode(ids).decode(),)))


def count_letters(db: sqlite3.Connection) -> Count:
    return msgspec.convert(dict(db.execute(COUNT).fetchone()), Count)


def find_latest(db: sqlite3.Connection, recipient: str | None) -> Letter:
    row = db.execute(LATEST, (recipient, recipient)).fetchone()
    if row is None:
        raise Refused(404, "not_found", "No letter to them")
    return msgspec.convert(dict(row), Letter)


def find_letter(db: sqlite3.Connection, letter_id: str) -> Letter:
    row = db.execute(FIND_ONE, (letter_id,)).fetchone()
    if row is None:
        raise Refused(404, "not_found", "No such letter")
    return msgspec.convert(dict(row), Letter)


def read_raw(db: sqlite3.Connection, seq: int) -> bytes:
    row = db.execute(READ, (seq,)).fetchone()
    if row is None:
        raise Refused(404, "not_found", "No such letter")
    return bytes(row[0])


def letter_id_in(raw: bytes) -> str:
    """The id by which its sender knows a letter: what its Message-ID has before the @."""
    found = MESSAGE_ID.search(raw, 0, raw.find(b"\r\n\r\n") + 2)
    return found[1].decode(errors="replace") if found else ""
