"""The processor's own book: every movement of money, written once and never changed, from which a shop reconciles."""

import hashlib
import sqlite3
import time
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from souk.sandbox.refusals import Refused
from souk.sandbox.types import MoveRequest, Operation, Page, Refund

SCHEMA = """
    CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS operations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL CHECK (kind IN ('authorize', 'capture', 'refund', 'void',
                             'dispute', 'dispute_fee', 'dispute_won', 'dispute_lost')),
        payment_id TEXT NOT NULL,
        payment_reference TEXT NOT NULL,
        reference TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        created_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS operations_of_payment ON operations (payment_id);
    CREATE TRIGGER IF NOT EXISTS operations_stay BEFORE UPDATE ON operations BEGIN SELECT RAISE(ABORT, 'the book is append-only'); END;
    CREATE TRIGGER IF NOT EXISTS operations_last BEFORE DELETE ON operations BEGIN SELECT RAISE(ABORT, 'the book is append-only'); END;
    CREATE TRIGGER IF NOT EXISTS refunds_within_capture BEFORE INSERT ON operations WHEN NEW.kind = 'refund' BEGIN
        SELECT RAISE(ABORT, 'refunded above captured') WHERE NEW.amount
            + (SELECT coalesce(sum(amount), 0) FROM operations WHERE payment_id = NEW.payment_id AND kind = 'refund')
            > (SELECT coalesce(sum(amount), 0) FROM operations WHERE payment_id = NEW.payment_id AND kind = 'capture');
    END;
"""
COUNT_ON = """
    INSERT INTO marks VALUES ('sequence', '1')
    ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) RETURNING value
"""
APPEND = """
    INSERT INTO operations (id, kind, payment_id, payment_reference, reference, amount, currency, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *
"""
PAGE = "SELECT * FROM operations WHERE seq > ? ORDER BY seq LIMIT ?"
SUM = "SELECT coalesce(sum(amount), 0) FROM operations WHERE payment_id = ? AND kind = ?"
REFUNDS = "SELECT * FROM operations WHERE payment_id = ? AND kind = 'refund' ORDER BY seq"


class Subject(Struct, frozen=True):
    """The payment that an operation belongs to, be it a charge or a checkout."""

    id: str
    reference: str
    currency: str


def append_operation(db: sqlite3.Connection, kind: str, subject: Subject, amount: int, reference: str | None = None) -> Operation:
    values = (subject.id, subject.reference, reference or subject.reference, amount, subject.currency, iso_now())
    row = db.execute(APPEND, (make_id(db, "op"), kind, *values)).fetchone()
    return msgspec.convert(dict(row), Operation)


def read_book(db: sqlite3.Connection, after: int, limit: int) -> Page:
    rows = db.execute(PAGE, (after, limit + 1)).fetchall()
    items = tuple(msgspec.convert(dict(row), Operation) for row in rows[:limit])
    return Page(items, items[-1].seq if len(rows) > limit else None)


def sum_operations(db: sqlite3.Connection, payment_id: str, kind: str) -> int:
    return int(db.execute(SUM, (payment_id, kind)).fetchone()[0])


def list_refunds(db: sqlite3.Connection, payment_id: str) -> tuple[Refund, ...]:
    return tuple(as_refund(msgspec.convert(dict(row), Operation)) for row in db.execute(REFUNDS, (payment_id,)))


def append_refund(db: sqlite3.Connection, subject: Subject, asked: MoveRequest) -> Refund:
    """Give money back, never more than was captured: checked here, and once more by a trigger of the book."""
    disputed = sum_operations(db, subject.id, "dispute") - sum_operations(db, subject.id, "dispute_won")
    left = max(sum_operations(db, subject.id, "capture") - sum_operations(db, subject.id, "refund") - disputed, 0)
    amount = left if asked.amount is None else asked.amount
    if disputed and (left == 0 or amount > left):
        raise Refused(422, "charge_disputed", f"The bank took {disputed} {subject.currency} back; {left} can be refunded")
    if left == 0 or amount > left:
        raise Refused(422, "refund_above_captured", f"At most {left} {subject.currency} can be refunded")
    return as_refund(append_operation(db, "refund", subject, amount, asked.reference))


def as_refund(operation: Operation) -> Refund:
    fields = (operation.payment_id, operation.amount, operation.currency, operation.reference, operation.created_at)
    return Refund(operation.id.replace("op_", "re_", 1), *fields)


def mark_birth(db: sqlite3.Connection, birth: str) -> None:
    """Give a new book the grain from which its ids are made; an old one keeps its own."""
    db.execute("INSERT INTO marks VALUES ('birth', ?) ON CONFLICT DO NOTHING", (birth,))


def make_id(db: sqlite3.Connection, prefix: str) -> str:
    number = db.execute(COUNT_ON).fetchone()[0]
    birth = db.execute("SELECT value FROM marks WHERE name = 'birth'").fetchone()[0]
    return f"{prefix}_{hashlib.sha256(f'{birth}:{number}'.encode()).hexdigest()[:24]}"


def iso_now() -> str:
    return iso_at(time.time())


def iso_at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
