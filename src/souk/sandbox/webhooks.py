"""What the outside world tells the shop: events put in a queue of the same file as the money, signed as Standard Webhooks."""

import base64
import hashlib
import hmac
import sqlite3
import time

import msgspec
from msgspec import Struct, structs

from souk.sandbox.behaviours import Behaviour
from souk.sandbox.book import iso_now, make_id
from souk.sandbox.settings import SandboxSettings
from souk.sandbox.types import Charge, Checkout, Dispute, Scan, Tracker, Transfer

SCHEMA = """
    CREATE TABLE IF NOT EXISTS deliveries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL,
        event_type TEXT NOT NULL,
        payment_id TEXT NOT NULL,
        body BLOB NOT NULL,
        forged INTEGER NOT NULL DEFAULT 0,
        held INTEGER NOT NULL DEFAULT 0,
        after_seq INTEGER NOT NULL DEFAULT 0,
        due_at REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'sending', 'delivered', 'given_up')),
        last_answer TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS deliveries_open ON deliveries (due_at) WHERE status = 'waiting';
    CREATE INDEX IF NOT EXISTS deliveries_held ON deliveries (payment_id) WHERE held = 1;
"""
QUEUE = """
    INSERT INTO deliveries (event_id, event_type, payment_id, body, forged, held, due_at, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq
"""
RELEASE_HELD = "UPDATE deliveries SET held = 0, due_at = ?, after_seq = ? WHERE payment_id = ? AND held = 1 AND status = 'waiting'"
LIST = """
    SELECT seq, event_id, event_type, payment_id, status, attempts, last_answer, created_at FROM deliveries
    WHERE seq > ? ORDER BY seq LIMIT ?
"""


Told = Charge | Checkout | Dispute | Tracker | Transfer

# What comes before the news that are older, where news are out of order.
OVERTAKING = (".refunded", ".closed", ".returned")
FORGERS_KEY = b"a stranger who has no secret"


class Event(Struct, frozen=True):
    id: str
    type: str
    created_at: str
    data: Told


class DeliveryShown(Struct, frozen=True):
    seq: int
    event_id: str
    event_type: str
    payment_id: str
    status: str
    attempts: int
    last_answer: str
    created_at: str


class DeliveryPage(Struct, frozen=True):
    items: tuple[DeliveryShown, ...]
    next: int | None


class Outbox:
    """Queues an event in the transaction of its cause, with the bad habit that was asked for."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings

    def announce(self, db: sqlite3.Connection, event_type: str, data: Told, habit: Behaviour) -> tuple[int, ...]:
        """Answer the places in the queue whose first attempt tells the shop of this event."""
        if is_of_carrier(event_type) and not self.settings.carrier_webhook_url:
            return ()
        now = time.time()
        event = Event(make_id(db, "evt"), event_type, iso_now(), bend(data, habit))
        overtakes = event_type.endswith(OVERTAKING) or (is_of_carrier(event_type) and habit is not Behaviour.OUT_OF_ORDER)
        held = habit is Behaviour.OUT_OF_ORDER and not overtakes
        seq = queue(db, event, now + self._delay(habit, held), held=held)
        if overtakes:
            db.execute(RELEASE_HELD, (now, seq, data.id))
        if habit is Behaviour.DUPLICATE_WEBHOOK:
            queue(db, event, now + 2 * self.settings.webhook_delay_s)
        if habit is Behaviour.FORGED_SIGNATURE:
            queue(db, forge(db, event), now + self.settings.webhook_delay_s, forged=True)
        return (seq,)

    def _delay(self, habit: Behaviour, held: bool) -> float:
        if held:
            return self.settings.webhook_hold_s
        if habit is Behaviour.WEBHOOK_LATE:
            return self.settings.webhook_late_s
        return 0.0 if habit is Behaviour.WEBHOOK_BEFORE_RESPONSE else self.settings.webhook_delay_s


def queue(db: sqlite3.Connection, event: Event, due_at: float, held: bool = False, forged: bool = False) -> int:
    values = (event.id, event.type, event.data.id, msgspec.json.encode(event), forged, held, due_at, event.created_at)
    return int(db.execute(QUEUE, values).fetchone()[0])


def list_deliveries(db: sqlite3.Connection, after: int, limit: int) -> DeliveryPage:
    rows = db.execute(LIST, (after, limit + 1)).fetchall()
    items = tuple(msgspec.convert(dict(row), DeliveryShown) for row in rows[:limit])
    return DeliveryPage(items, items[-1].seq if len(rows) > limit else None)


def bend(data: Told, habit: Behaviour) -> Told:
    """Tell the wrong amount of a sale, or the wrong currency. The book and the API keep telling the right one.

    Of a transfer a wrong amount is true: the bank keeps a part of it.
    """
    if isinstance(data, Tracker):
        return data
    if habit is Behaviour.WRONG_AMOUNT and not isinstance(data, Transfer):
        wrong = data.amount - 1 if data.amount > 1 else data.amount + 1
        if isinstance(data, Dispute):
            return structs.replace(data, amount=wrong)
        return structs.replace(data, amount=wrong, amount_captured=wrong if data.amount_captured else 0)
    if habit is Behaviour.WRONG_CURRENCY:
        return structs.replace(data, currency="EUR" if data.currency != "EUR" else "USD")
    return data


def forge(db: sqlite3.Connection, event: Event) -> Event:
    """A stranger's lie: money came back, a dispute was won, a parcel arrived. A shop that believes it shows what nobody did."""
    if isinstance(event.data, Dispute):
        return Event(make_id(db, "evt"), "dispute.closed", event.created_at, structs.replace(event.data, status="won"))
    if isinstance(event.data, Transfer):
        return Event(make_id(db, "evt"), "transfer.returned", event.created_at, structs.replace(event.data, status="returned"))
    if isinstance(event.data, Tracker):
        scan = Scan(make_id(db, "sc"), "delivered", "Handed over", None, event.created_at)
        return structs.replace(event, id=make_id(db, "evt"), data=structs.replace(event.data, status=scan.status, scans=(scan,)))
    lie = structs.replace(event.data, amount_refunded=event.data.amount)
    return Event(make_id(db, "evt"), f"{event.type.split('.')[0]}.refunded", event.created_at, lie)


def is_of_carrier(event_type: str) -> bool:
    """Whether the carrier tells it, and not the card processor or the payment app."""
    return event_type.startswith("tracker.")


def read_secret(secret: str) -> bytes:
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("the webhook secret must be whsec_ and 24 to 64 bytes in base64")
    return key


def sign(key: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    mac = hmac.digest(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"
