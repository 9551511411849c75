"""The merchant's account at a bank: transfers that are done at once or later, refused or sent back, and its statement."""

import sqlite3
import time

import msgspec
from msgspec import Struct

from souk.sandbox.behaviours import Behaviour
from souk.sandbox.book import iso_now, make_id
from souk.sandbox.refusals import not_found
from souk.sandbox.settings import SandboxSettings
from souk.sandbox.types import Done, StatementLine, StatementPage, Transfer, TransferRequest
from souk.sandbox.webhooks import Outbox

SCHEMA = """
    CREATE TABLE IF NOT EXISTS transfers (
        id TEXT PRIMARY KEY,
        status TEXT NOT NULL CHECK (status IN ('accepted', 'paid', 'refused', 'returned')),
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        reference TEXT NOT NULL,
        behaviour TEXT NOT NULL,
        reason TEXT,
        due_at REAL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS transfers_of_reference ON transfers (reference);
    CREATE INDEX IF NOT EXISTS transfers_due ON transfers (due_at) WHERE due_at IS NOT NULL;
    CREATE TABLE IF NOT EXISTS statement_lines (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL CHECK (kind IN ('sent', 'returned')),
        transfer_id TEXT NOT NULL,
        reference TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        created_at TEXT NOT NULL,
        UNIQUE (transfer_id, kind)
    ) STRICT;
    CREATE TRIGGER IF NOT EXISTS lines_stay BEFORE UPDATE ON statement_lines BEGIN SELECT RAISE(ABORT, 'append-only'); END;
    CREATE TRIGGER IF NOT EXISTS lines_last BEFORE DELETE ON statement_lines BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
CREATE = "INSERT INTO transfers VALUES (?, 'accepted', ?, ?, ?, ?, NULL, ?, ?, ?)"
ONE = "SELECT * FROM transfers WHERE id = ?"
OF_REFERENCE = "SELECT * FROM transfers WHERE reference = ? ORDER BY created_at, id LIMIT 100"
TURN = "UPDATE transfers SET status = ?, reason = ?, due_at = ?, updated_at = ? WHERE id = ?"
OVERDUE = "SELECT * FROM transfers WHERE due_at <= ? ORDER BY due_at LIMIT 1000"
NEXT_DUE = "SELECT min(due_at) FROM transfers WHERE due_at IS NOT NULL"
APPEND = """
    INSERT INTO statement_lines (id, kind, transfer_id, reference, amount, currency, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
PAGE = "SELECT * FROM statement_lines WHERE seq > ? ORDER BY seq LIMIT ?"

CLOSED, UNDELIVERABLE = "account_closed", "account_not_found"


class TransferRow(Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    reference: str
    behaviour: Behaviour
    reason: str | None
    due_at: float | None
    created_at: str
    updated_at: str


def create_transfer(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, settings: SandboxSettings, asked: TransferRequest) -> Done:
    """Send money. Whether it is the same transfer again is for the idempotency key to say, as with every call."""
    transfer_id, now = make_id(db, "tr"), iso_now()
    # A bank on the way keeps a part of it for itself.
    amount = asked.amount - 1 if habit is Behaviour.WRONG_AMOUNT and asked.amount > 1 else asked.amount
    due_at = time.time() + settings.bank_settle_s if habit is Behaviour.ACCEPTED else None
    db.execute(CREATE, (transfer_id, amount, asked.currency, asked.reference, habit, due_at, now, now))
    row = find_row(db, transfer_id)
    if habit is Behaviour.ACCEPTED:
        return Done(201, as_transfer(row))
    if habit is Behaviour.DECLINED:
        return Done(201, *turn(db, outbox, row, "refused", reason=CLOSED))
    # What is told out of order has news that can overtake each other.
    back_at = time.time() + settings.bank_return_s if habit in (Behaviour.RETURNED, Behaviour.OUT_OF_ORDER) else None
    return Done(201, *pay(db, outbox, row, back_at))


def carry_on(db: sqlite3.Connection, outbox: Outbox) -> float | None:
    """Do what is due with transfers on their way, and answer when the next one is."""
    for found in db.execute(OVERDUE, (time.time(),)).fetchall():
        row = msgspec.convert(dict(found), TransferRow)
        if row.status == "accepted":
            pay(db, outbox, row)
        else:
            append_line(db, "returned", row)
            turn(db, outbox, row, "returned", reason=UNDELIVERABLE)
    following = db.execute(NEXT_DUE).fetchone()[0]
    return None if following is None else float(following)


def pay(db: sqlite3.Connection, outbox: Outbox, row: TransferRow, back_at: float | None = None) -> tuple[Transfer, tuple[int, ...]]:
    """The money leaves the account; it may come back later."""
    append_line(db, "sent", row)
    return turn(db, outbox, row, "paid", due_at=back_at)


def turn(
    db: sqlite3.Connection, outbox: Outbox, row: TransferRow, status: str, reason: str | None = None, due_at: float | None = None
) -> tuple[Transfer, tuple[int, ...]]:
    db.execute(TURN, (status, reason, due_at, iso_now(), row.id))
    told = read_transfer(db, row.id)
    return told, outbox.announce(db, f"transfer.{status}", told, row.behaviour)


def append_line(db: sqlite3.Connection, kind: str, row: TransferRow) -> None:
    db.execute(APPEND, (make_id(db, "line"), kind, row.id, row.reference, row.amount, row.currency, iso_now()))


def read_statement(db: sqlite3.Connection, after: int, limit: int) -> StatementPage:
    rows = db.execute(PAGE, (after, limit + 1)).fetchall()
    items = tuple(msgspec.convert(dict(row), StatementLine) for row in rows[:limit])
    return StatementPage(items, items[-1].seq if len(rows) > limit else None)


def read_transfer(db: sqlite3.Connection, transfer_id: str) -> Transfer:
    return as_transfer(find_row(db, transfer_id))


def find_transfers(db: sqlite3.Connection, reference: str) -> tuple[Transfer, ...]:
    return tuple(as_transfer(msgspec.convert(dict(row), TransferRow)) for row in db.execute(OF_REFERENCE, (reference,)).fetchall())


def find_row(db: sqlite3.Connection, transfer_id: str) -> TransferRow:
    found = db.execute(ONE, (transfer_id,)).fetchone()
    if found is None:
        raise not_found(transfer_id)
    return msgspec.convert(dict(found), TransferRow)


def as_transfer(row: TransferRow) -> Transfer:
    """What is told of a transfer: not to whom it goes, which only the merchant has to know."""
    return Transfer(row.id, row.status, row.amount, row.currency, row.reference, row.reason, row.created_at, row.updated_at)
