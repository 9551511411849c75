"""Money that a card's bank takes back some day, and how the bank decides in the end, as the card processor sees it."""

import sqlite3
import time
from typing import Literal

import msgspec
from msgspec import Struct

from souk.sandbox.behaviours import Behaviour
from souk.sandbox.book import Subject, append_operation, iso_at, iso_now, make_id, sum_operations
from souk.sandbox.refusals import Refused, not_found
from souk.sandbox.types import Dispute, DisputeRequest
from souk.sandbox.webhooks import Outbox

SCHEMA = """
    CREATE TABLE IF NOT EXISTS disputes (
        id TEXT PRIMARY KEY,
        charge_id TEXT NOT NULL,
        reference TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('planned', 'open', 'won', 'lost')),
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        reason TEXT NOT NULL,
        fee INTEGER NOT NULL CHECK (fee >= 0),
        outcome TEXT CHECK (outcome IN ('won', 'lost')),
        behaviour TEXT NOT NULL,
        opens_at REAL NOT NULL,
        closes_at REAL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS disputes_of_charge ON disputes (charge_id);
    CREATE INDEX IF NOT EXISTS disputes_to_come ON disputes (opens_at) WHERE status IN ('planned', 'open');
"""
PLAN = "INSERT INTO disputes VALUES (?, ?, ?, 'planned', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ONE = "SELECT * FROM disputes WHERE id = ?"
OF_CHARGE = "SELECT id FROM disputes WHERE charge_id = ? AND status <> 'planned' ORDER BY opens_at, id LIMIT 100"
SUM_PLANNED = "SELECT coalesce(sum(amount), 0) FROM disputes WHERE charge_id = ? AND status = 'planned'"
TURN = "UPDATE disputes SET status = ?, updated_at = ? WHERE id = ?"
TO_OPEN = "SELECT id FROM disputes WHERE status = 'planned' AND opens_at <= ? ORDER BY opens_at, id LIMIT 500"
TO_CLOSE = "SELECT id, outcome FROM disputes WHERE status = 'open' AND closes_at <= ? ORDER BY closes_at, id LIMIT 500"
NEXT = """
    SELECT min(due) FROM (
        SELECT min(opens_at) AS due FROM disputes WHERE status = 'planned'
        UNION ALL SELECT min(closes_at) FROM disputes WHERE status = 'open')
"""
SHIFT = "UPDATE disputes SET opens_at = opens_at - ?, closes_at = closes_at - ? WHERE status IN ('planned', 'open')"

EVIDENCE_WITHIN_S = 7 * 86_400
# What a token asks for: a dispute that the bank decides like this, or that stays open.
OUTCOMES: dict[Behaviour, Literal["won", "lost"] | None] = {
    Behaviour.DISPUTED: None,
    Behaviour.DISPUTED_WON: "won",
    Behaviour.DISPUTED_LOST: "lost",
}


class DisputeRow(Struct, frozen=True):
    id: str
    charge_id: str
    reference: str
    status: str
    amount: int
    currency: str
    reason: str
    fee: int
    outcome: str | None
    behaviour: Behaviour
    opens_at: float
    closes_at: float | None
    created_at: str
    updated_at: str

    @property
    def subject(self) -> Subject:
        return Subject(self.charge_id, self.reference, self.currency)


def plan_dispute(db: sqlite3.Connection, outbox: Outbox, subject: Subject, asked: DisputeRequest) -> DisputeRow:
    """Have a charge be disputed, now or later; never for more than was captured and is not taken back, or to be."""
    taken = sum_operations(db, subject.id, "dispute") - sum_operations(db, subject.id, "dispute_won")
    left = sum_operations(db, subject.id, "capture") - taken - int(db.execute(SUM_PLANNED, (subject.id,)).fetchone()[0])
    amount = left if asked.amount is None else asked.amount
    if not 0 < amount <= left:
        raise Refused(422, "dispute_above_captured", f"At most {left} {subject.currency} can be disputed")
    fee = outbox.settings.dispute_fee if asked.fee is None else asked.fee
    opens_at = time.time() + asked.opens_in_s
    closes_at = None if asked.outcome is None else opens_at + asked.closes_in_s
    dispute_id, now = make_id(db, "dp"), iso_now()
    facts = (amount, subject.currency, asked.reason, fee, asked.outcome, asked.behaviour, opens_at, closes_at, now, now)
    db.execute(PLAN, (dispute_id, subject.id, subject.reference, *facts))
    return find_row(db, dispute_id)


def plan_by_token(db: sqlite3.Connection, outbox: Outbox, subject: Subject, habit: Behaviour) -> None:
    """A charge whose token says so is disputed a while later."""
    if habit in OUTCOMES:
        settings = outbox.settings
        asked = DisputeRequest(opens_in_s=settings.dispute_after_s, outcome=OUTCOMES[habit], closes_in_s=settings.dispute_decided_after_s)
        plan_dispute(db, outbox, subject, asked)


def advance_disputes(db: sqlite3.Connection, outbox: Outbox) -> float | None:
    """Open and close what is due, and answer when the next one is."""
    now = time.time()
    for due in db.execute(TO_OPEN, (now,)).fetchall():
        open_dispute(db, outbox, find_row(db, due[0]))
    for due in db.execute(TO_CLOSE, (now,)).fetchall():
        close_dispute(db, outbox, due[0], due[1])
    following = db.execute(NEXT).fetchone()[0]
    return None if following is None else float(following)


def open_dispute(db: sqlite3.Connection, outbox: Outbox, row: DisputeRow) -> None:
    """The bank takes the money, and the processor its fee."""
    append_operation(db, "dispute", row.subject, row.amount, row.id)
    if row.fee:
        append_operation(db, "dispute_fee", row.subject, row.fee, row.id)
    db.execute(TURN, ("open", iso_now(), row.id))
    outbox.announce(db, "dispute.opened", read_dispute(db, row.id), row.behaviour)


def close_dispute(db: sqlite3.Connection, outbox: Outbox, dispute_id: str, outcome: str) -> Dispute:
    """The bank decides, once."""
    row = find_row(db, dispute_id)
    if row.status != "open":
        raise Refused(409, "wrong_status", f"The dispute is {row.status}")
    append_operation(db, f"dispute_{outcome}", row.subject, row.amount, row.id)
    db.execute(TURN, (outcome, iso_now(), row.id))
    told = read_dispute(db, dispute_id)
    outbox.announce(db, "dispute.closed", told, row.behaviour)
    return told


def pass_time(db: sqlite3.Connection, seconds: float) -> None:
    """So much time passes at once for all disputes that are to come or to be decided."""
    db.execute(SHIFT, (seconds, seconds))


def find_row(db: sqlite3.Connection, dispute_id: str) -> DisputeRow:
    found = db.execute(ONE, (dispute_id,)).fetchone()
    if found is None:
        raise not_found(dispute_id)
    return msgspec.convert(dict(found), DisputeRow)


def read_dispute(db: sqlite3.Connection, dispute_id: str) -> Dispute:
    row = find_row(db, dispute_id)
    return Dispute(
        id=row.id,
        charge_id=row.charge_id,
        reference=row.reference,
        status=row.status,
        amount=row.amount,
        currency=row.currency,
        reason=row.reason,
        fee=row.fee,
        evidence_due_at=iso_at(row.opens_at + EVIDENCE_WITHIN_S),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def find_disputes(db: sqlite3.Connection, charge_id: str) -> tuple[Dispute, ...]:
    return tuple(read_dispute(db, row[0]) for row in db.execute(OF_CHARGE, (charge_id,)).fetchall())
