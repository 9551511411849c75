"""Labels sold and parcels carried, as the carrier sees it: each reference has one label, and its parcel moves by the carrier's clock."""

import base64
import sqlite3
import time

import msgspec
from msgspec import Struct

from souk.sandbox.behaviours import Behaviour, Moods, Operated
from souk.sandbox.book import iso_at, iso_now, make_id
from souk.sandbox.documents import make_document
from souk.sandbox.refusals import Refused, not_found
from souk.sandbox.types import Done, Label, LabelRequest, Offer, OfferRequest, Scan, ScanRequest, Tracker
from souk.sandbox.webhooks import Outbox

SCHEMA = """
    CREATE TABLE IF NOT EXISTS labels (
        id TEXT PRIMARY KEY,
        reference TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL CHECK (status IN ('bought', 'voided')),
        tracking_number TEXT NOT NULL UNIQUE,
        service TEXT NOT NULL,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        origin TEXT NOT NULL,
        destination TEXT NOT NULL,
        stage INTEGER NOT NULL DEFAULT 0,
        bought_at REAL NOT NULL,
        due_at REAL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS labels_on_their_way ON labels (due_at) WHERE due_at IS NOT NULL;
    CREATE TABLE IF NOT EXISTS scans (
        id TEXT PRIMARY KEY,
        label_id TEXT NOT NULL REFERENCES labels (id),
        status TEXT NOT NULL,
        message TEXT NOT NULL,
        city TEXT,
        occurred_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS scans_of_label ON scans (label_id, occurred_at);
"""
SELL = """
    INSERT INTO labels (id, reference, status, tracking_number, service, amount, currency, origin, destination, bought_at, due_at,
                        created_at, updated_at)
    VALUES (?, ?, 'bought', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
BY_ID = "SELECT * FROM labels WHERE id = ?"
BY_REFERENCE = "SELECT * FROM labels WHERE reference = ?"
BY_NUMBER = "SELECT * FROM labels WHERE tracking_number = ?"
DUE = "SELECT * FROM labels WHERE due_at <= ? ORDER BY due_at LIMIT 500"
NEXT_DUE = "SELECT min(due_at) FROM labels WHERE due_at IS NOT NULL"
GO_ON = "UPDATE labels SET stage = ?, due_at = ?, updated_at = ? WHERE id = ?"
VOID = "UPDATE labels SET status = 'voided', due_at = NULL, updated_at = ? WHERE id = ?"
NOTE_SCAN = "INSERT INTO scans VALUES (?, ?, ?, ?, ?, ?)"
SCANS = "SELECT id, status, message, city, occurred_at FROM scans WHERE label_id = ? ORDER BY occurred_at, id"
MOVED = "SELECT count(*) FROM scans WHERE label_id = ? AND status <> 'pre_transit'"
AHEAD = "SELECT CAST(value AS REAL) FROM marks WHERE name = 'carrier_ahead_s'"
PUT_AHEAD = """
    INSERT INTO marks VALUES ('carrier_ahead_s', ?)
    ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS REAL) + CAST(excluded.value AS REAL) AS TEXT)
"""

# Nobody lives there.
UNDELIVERABLE = "00000"
PRICES = {"standard": (420, 3), "express": (990, 1)}
# When after the sale of the label a parcel gets where: at its origin or its destination.
ITINERARY = (
    (0.0, "pre_transit", "The label was made", "origin"),
    (7_200.0, "in_transit", "Handed in", "origin"),
    (72_000.0, "in_transit", "Arrived at the depot", "destination"),
    (93_600.0, "out_for_delivery", "On the van", "destination"),
    (108_000.0, "delivered", "Handed over, signed by A. NEIGHBOUR", "destination"),
)
FINAL = frozenset({"delivered", "return_to_sender", "cancelled"})


class LabelRow(Struct, frozen=True):
    id: str
    reference: str
    status: str
    tracking_number: str
    service: str
    amount: int
    currency: str
    origin: str
    destination: str
    stage: int
    bought_at: float
    due_at: float | None
    created_at: str
    updated_at: str


def offer(asked: OfferRequest) -> tuple[Offer, ...]:
    return tuple(Offer(service, price_of(service, asked.weight_g), asked.currency, days) for service, (_, days) in PRICES.items())


def price_of(service: str, weight_g: int) -> int:
    return PRICES[service][0] + 2 * (weight_g // 100)


def sell_label(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, asked: LabelRequest) -> Done:
    """Sell a label, once per reference: who asks again under another key gets the one that they have."""
    found = db.execute(BY_REFERENCE, (asked.reference,)).fetchone()
    if found is not None:
        return Done(200, read_label(found))
    if habit is Behaviour.DECLINED or asked.recipient.postal_code == UNDELIVERABLE:
        raise Refused(422, "address_undeliverable", "We do not deliver there")
    if asked.service not in PRICES:
        raise Refused(422, "service_unknown", f"No such service: {asked.service}")
    label_id, now, ours = make_id(db, "lb"), iso_now(), carrier_time(db)
    number = f"SX{int(label_id.removeprefix('lb_'), 16) % 10**12:012d}XX"
    price = price_of(asked.service, asked.weight_g)
    places = (asked.sender.city, asked.recipient.city)
    db.execute(SELL, (label_id, asked.reference, number, asked.service, price, asked.currency, *places, ours, ours, now, now))
    return Done(201, read_label(db.execute(BY_ID, (label_id,)).fetchone()))


def void_label(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, label_id: str) -> Done:
    """Take a label back that was not used. Again changes nothing."""
    row = find_label(db, BY_ID, label_id)
    if row.status == "voided":
        return Done(200, show_label(row))
    if habit is Behaviour.DECLINED or db.execute(MOVED, (label_id,)).fetchone()[0]:
        raise Refused(409, "label_used", "The parcel is on its way")
    db.execute(VOID, (iso_now(), label_id))
    return Done(200, show_label(find_label(db, BY_ID, label_id)))


def find_labels(db: sqlite3.Connection, reference: str) -> tuple[Label, ...]:
    return tuple(read_label(row) for row in db.execute(BY_REFERENCE, (reference,)))


def read_tracker(db: sqlite3.Connection, tracking_number: str) -> Tracker:
    return track(db, find_label(db, BY_NUMBER, tracking_number))


def advance(db: sqlite3.Connection, outbox: Outbox, moods: Moods, seconds: float) -> float:
    """Put the carrier's clock forward and move what is due by it; what time it is there now."""
    db.execute(PUT_AHEAD, (str(seconds),))
    move_parcels(db, outbox, moods)
    return carrier_time(db)


def move_parcels(db: sqlite3.Connection, outbox: Outbox, moods: Moods) -> float | None:
    """Take every parcel to where it is by now, step by step; when the next one is due, in our seconds."""
    now = carrier_time(db)
    while due := [msgspec.convert(dict(row), LabelRow) for row in db.execute(DUE, (now,)).fetchall()]:
        for row in due:
            take_step(db, outbox, moods, row)
    following = db.execute(NEXT_DUE).fetchone()[0]
    return None if following is None else float(following) - (now - time.time())


def take_step(db: sqlite3.Connection, outbox: Outbox, moods: Moods, row: LabelRow) -> None:
    after_s, status, message, where = ITINERARY[row.stage]
    following = row.stage + 1
    due_at = row.bought_at + ITINERARY[following][0] if following < len(ITINERARY) else None
    db.execute(GO_ON, (following, due_at, iso_now(), row.id))
    city = row.origin if where == "origin" else row.destination
    note_scan(db, outbox, moods, row, Scan("", status, message, city, iso_at(row.bought_at + after_s)))


def scan_parcel(db: sqlite3.Connection, outbox: Outbox, moods: Moods, asked: ScanRequest) -> Tracker:
    """Something happens to a parcel that is not on its itinerary."""
    row = find_label(db, BY_NUMBER, asked.tracking_number)
    if asked.status in FINAL:
        db.execute(GO_ON, (row.stage, None, iso_now(), row.id))
    at = asked.occurred_at or iso_at(carrier_time(db))
    return note_scan(db, outbox, moods, row, Scan("", asked.status, asked.message, asked.city or row.destination, at))


def note_scan(db: sqlite3.Connection, outbox: Outbox, moods: Moods, row: LabelRow, scan: Scan) -> Tracker:
    db.execute(NOTE_SCAN, (make_id(db, "sc"), row.id, scan.status, scan.message, scan.city, scan.occurred_at))
    told = track(db, row)
    outbox.announce(db, "tracker.updated", told, moods.take(Operated.SCAN) or Behaviour.OK)
    return told


def track(db: sqlite3.Connection, row: LabelRow) -> Tracker:
    scans = tuple(msgspec.convert(dict(one), Scan) for one in db.execute(SCANS, (row.id,)))
    return Tracker(row.id, row.tracking_number, row.reference, scans[-1].status if scans else "unknown", scans)


def find_label(db: sqlite3.Connection, statement: str, key: str) -> LabelRow:
    found = db.execute(statement, (key,)).fetchone()
    if found is None:
        raise not_found(key)
    return msgspec.convert(dict(found), LabelRow)


def read_label(row: sqlite3.Row) -> Label:
    return show_label(msgspec.convert(dict(row), LabelRow))


def show_label(row: LabelRow) -> Label:
    paper = make_document(("SANDBOX CARRIER", row.service.upper(), row.tracking_number, f"to {row.destination}"))
    document = base64.b64encode(paper).decode()
    facts = (row.tracking_number, row.service, row.amount, row.currency)
    return Label(row.id, row.reference, row.status, *facts, document, row.created_at, row.updated_at)


def carrier_time(db: sqlite3.Connection) -> float:
    """What the carrier's clock shows, which a test may have put forward."""
    ahead = db.execute(AHEAD).fetchone()
    return time.time() + (float(ahead[0]) if ahead else 0.0)
