"""Payments that a buyer approves or refuses in a third party's app, or forgets there until they expire."""

import sqlite3
import time

import msgspec
from msgspec import Struct

from souk.sandbox.behaviours import Behaviour
from souk.sandbox.book import Subject, append_operation, append_refund, iso_at, iso_now, list_refunds, make_id, sum_operations
from souk.sandbox.refusals import Refused, not_found
from souk.sandbox.types import Checkout, CheckoutRequest, Done, MoveRequest
from souk.sandbox.webhooks import Outbox

SCHEMA = """
    CREATE TABLE IF NOT EXISTS checkouts (
        id TEXT PRIMARY KEY,
        status TEXT NOT NULL CHECK (status IN ('created', 'succeeded', 'refused', 'expired', 'canceled')),
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        reference TEXT NOT NULL,
        behaviour TEXT NOT NULL,
        redirect_url TEXT NOT NULL,
        return_url TEXT NOT NULL,
        expires_at REAL NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS checkouts_of_reference ON checkouts (reference);
    CREATE INDEX IF NOT EXISTS checkouts_open ON checkouts (expires_at) WHERE status = 'created';
"""
CREATE = "INSERT INTO checkouts VALUES (?, 'created', ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ONE = "SELECT * FROM checkouts WHERE id = ?"
OF_REFERENCE = "SELECT id FROM checkouts WHERE reference = ? ORDER BY created_at DESC, id LIMIT 100"
TURN = "UPDATE checkouts SET status = ?, updated_at = ? WHERE id = ?"
OVERDUE = "SELECT id FROM checkouts WHERE status = 'created' AND expires_at <= ? ORDER BY expires_at LIMIT 500"
NEXT_EXPIRY = "SELECT min(expires_at) FROM checkouts WHERE status = 'created'"

EVENTS = {"succeeded": "checkout.approved", "refused": "checkout.refused", "expired": "checkout.expired"}


class CheckoutRow(Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    reference: str
    behaviour: Behaviour
    redirect_url: str
    return_url: str
    expires_at: float
    created_at: str
    updated_at: str

    @property
    def subject(self) -> Subject:
        return Subject(self.id, self.reference, self.currency)


class Place(Struct, frozen=True):
    """Where the buyer is sent, and how long the app waits for a buyer of whom the merchant says nothing."""

    pay_url: str
    ttl_s: float


def create_checkout(db: sqlite3.Connection, habit: Behaviour, asked: CheckoutRequest, place: Place) -> Done:
    checkout_id, now = make_id(db, "co"), iso_now()
    expires_at = time.time() + (place.ttl_s if asked.expires_in_s is None else asked.expires_in_s)
    facts = (asked.amount, asked.currency, asked.reference, habit, place.pay_url + checkout_id, asked.return_url)
    db.execute(CREATE, (checkout_id, *facts, expires_at, now, now))
    return Done(201, read_checkout(db, checkout_id))


def approve_checkout(db: sqlite3.Connection, outbox: Outbox, checkout_id: str) -> tuple[Checkout, tuple[int, ...]]:
    """The buyer said yes in time. Saying it again, or too late, changes nothing that was decided."""
    row = find_row(db, checkout_id)
    if row.status != "created":
        return read_checkout(db, checkout_id), ()
    if row.expires_at <= time.time():
        return close_checkout(db, outbox, row, "expired")
    # A buyer who approves may still have an empty account.
    return close_checkout(db, outbox, row, "refused" if row.behaviour is Behaviour.DECLINED else "succeeded")


def refuse_checkout(db: sqlite3.Connection, outbox: Outbox, checkout_id: str) -> tuple[Checkout, tuple[int, ...]]:
    row = find_row(db, checkout_id)
    if row.status != "created":
        return read_checkout(db, checkout_id), ()
    return close_checkout(db, outbox, row, "expired" if row.expires_at <= time.time() else "refused")


def cancel_checkout(db: sqlite3.Connection, habit: Behaviour, checkout_id: str) -> Done:
    """The merchant takes its question back. It knows that it did, so there is no webhook."""
    find_row(db, checkout_id, "created")
    if habit is Behaviour.DECLINED:
        raise Refused(402, "cancel_declined", "The app refuses")
    db.execute(TURN, ("canceled", iso_now(), checkout_id))
    return Done(200, read_checkout(db, checkout_id))


def refund_checkout(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, checkout_id: str, asked: MoveRequest) -> Done:
    row = find_row(db, checkout_id, "succeeded")
    if habit is Behaviour.DECLINED:
        raise Refused(402, "refund_declined", "The app refuses")
    refund = append_refund(db, row.subject, asked)
    db.execute(TURN, (row.status, iso_now(), checkout_id))
    return Done(201, refund, outbox.announce(db, "checkout.refunded", read_checkout(db, checkout_id), habit))


def expire_checkouts(db: sqlite3.Connection, outbox: Outbox) -> float | None:
    """Close what nobody came back to, and answer when the next one is due."""
    for overdue in db.execute(OVERDUE, (time.time(),)).fetchall():
        close_checkout(db, outbox, find_row(db, overdue[0]), "expired")
    following = db.execute(NEXT_EXPIRY).fetchone()[0]
    return None if following is None else float(following)


def close_checkout(db: sqlite3.Connection, outbox: Outbox, row: CheckoutRow, status: str) -> tuple[Checkout, tuple[int, ...]]:
    if status == "succeeded":
        append_operation(db, "authorize", row.subject, row.amount)
        append_operation(db, "capture", row.subject, row.amount)
    db.execute(TURN, (status, iso_now(), row.id))
    told = read_checkout(db, row.id)
    return told, outbox.announce(db, EVENTS[status], told, row.behaviour)


def find_row(db: sqlite3.Connection, checkout_id: str, *allowed: str) -> CheckoutRow:
    found = db.execute(ONE, (checkout_id,)).fetchone()
    if found is None:
        raise not_found(checkout_id)
    row = msgspec.convert(dict(found), CheckoutRow)
    if allowed and row.status not in allowed:
        raise Refused(409, "wrong_status", f"The checkout is {row.status}")
    return row


def read_checkout(db: sqlite3.Connection, checkout_id: str) -> Checkout:
    row = find_row(db, checkout_id)
    return Checkout(
        id=row.id,
        status=row.status,
        amount=row.amount,
        currency=row.currency,
        reference=row.reference,
        amount_captured=sum_operations(db, checkout_id, "capture"),
        amount_refunded=sum_operations(db, checkout_id, "refund"),
        redirect_url=row.redirect_url,
        return_url=row.return_url,
        refunds=list_refunds(db, checkout_id),
        expires_at=iso_at(row.expires_at),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def find_checkouts(db: sqlite3.Connection, reference: str) -> tuple[Checkout, ...]:
    return tuple(read_checkout(db, row[0]) for row in db.execute(OF_REFERENCE, (reference,)).fetchall())
