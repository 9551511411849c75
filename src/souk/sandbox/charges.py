"""Cards charged, set aside, captured, let go and refunded, as the card processor sees it."""

import sqlite3

import msgspec
from msgspec import Struct

from souk.sandbox.behaviours import Behaviour
from souk.sandbox.book import Subject, append_operation, append_refund, iso_now, list_refunds, make_id, sum_operations
from souk.sandbox.disputes import DisputeRow, open_dispute, plan_by_token, plan_dispute
from souk.sandbox.refusals import Refused, not_found
from souk.sandbox.types import Charge, ChargeRequest, DisputeRequest, Done, MoveRequest
from souk.sandbox.webhooks import Outbox

SCHEMA = """
    CREATE TABLE IF NOT EXISTS charges (
        id TEXT PRIMARY KEY,
        status TEXT NOT NULL CHECK (status IN ('requires_action', 'authorized', 'succeeded', 'declined', 'voided')),
        amount INTEGER NOT NULL CHECK (amount > 0),
        currency TEXT NOT NULL,
        reference TEXT NOT NULL,
        capture INTEGER NOT NULL,
        behaviour TEXT NOT NULL,
        decline_code TEXT,
        redirect_url TEXT,
        return_url TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS charges_of_reference ON charges (reference);
"""
CREATE = "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ONE = "SELECT * FROM charges WHERE id = ?"
OF_REFERENCE = "SELECT id FROM charges WHERE reference = ? ORDER BY created_at DESC, id LIMIT 100"
TURN = "UPDATE charges SET status = ?, decline_code = ?, updated_at = ? WHERE id = ?"

DECLINE_CODES = ("insufficient_funds", "card_declined", "expired_card", "do_not_honor")


class ChargeRow(Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    reference: str
    capture: int
    behaviour: Behaviour
    decline_code: str | None
    redirect_url: str | None
    return_url: str | None
    created_at: str
    updated_at: str

    @property
    def subject(self) -> Subject:
        return Subject(self.id, self.reference, self.currency)


def create_charge(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, asked: ChargeRequest, pay_url: str) -> Done:
    charge_id, now = make_id(db, "ch"), iso_now()
    redirect_url = pay_url + charge_id if habit is Behaviour.REQUIRES_ACTION else None
    facts = (asked.amount, asked.currency, asked.reference, asked.capture, habit)
    # Written as waiting for the buyer, and turned at once unless it does: one way in for every charge.
    db.execute(CREATE, (charge_id, "requires_action", *facts, None, redirect_url, asked.return_url, now, now))
    if habit is Behaviour.DECLINED:
        code = DECLINE_CODES[int(charge_id[-4:], 16) % len(DECLINE_CODES)]
        return Done(201, *decline(db, outbox, charge_id, code))
    if habit is Behaviour.REQUIRES_ACTION:
        return Done(201, read_charge(db, charge_id))
    return Done(201, *take_money(db, outbox, find_row(db, charge_id)))


def capture_charge(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, charge_id: str, asked: MoveRequest) -> Done:
    """Take what was set aside, or a part of it, once. The rest is let go."""
    row = find_row(db, charge_id, "authorized")
    refuse_declined(habit, "capture_declined")
    amount = row.amount if asked.amount is None else asked.amount
    if amount > row.amount:
        raise Refused(422, "capture_above_authorized", f"At most {row.amount} {row.currency} can be captured")
    append_operation(db, "capture", row.subject, amount, asked.reference)
    plan_by_token(db, outbox, row.subject, row.behaviour)
    turn(db, charge_id, "succeeded")
    told = read_charge(db, charge_id)
    # The token's habit concerns the webhooks of the sale, and a two-step sale ends here.
    told_with = row.behaviour if habit is Behaviour.OK else habit
    deliveries = outbox.announce(db, "charge.succeeded", told, told_with)
    return Done(200, told, deliveries, webhooks_first=told_with is Behaviour.WEBHOOK_BEFORE_RESPONSE)


def void_charge(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, charge_id: str, asked: MoveRequest) -> Done:
    row = find_row(db, charge_id, "authorized", "requires_action")
    refuse_declined(habit, "void_declined")
    if asked.amount not in (None, row.amount):
        raise Refused(422, "void_in_part", "A charge is voided in full")
    if row.status == "authorized":
        append_operation(db, "void", row.subject, row.amount, asked.reference)
    turn(db, charge_id, "voided")
    told = read_charge(db, charge_id)
    return Done(200, told, outbox.announce(db, "charge.voided", told, habit))


def refund_charge(db: sqlite3.Connection, habit: Behaviour, outbox: Outbox, charge_id: str, asked: MoveRequest) -> Done:
    row = find_row(db, charge_id, "succeeded")
    refuse_declined(habit, "refund_declined")
    refund = append_refund(db, row.subject, asked)
    db.execute(TURN, (row.status, None, iso_now(), charge_id))
    return Done(201, refund, outbox.announce(db, "charge.refunded", read_charge(db, charge_id), habit))


def dispute_charge(db: sqlite3.Connection, outbox: Outbox, charge_id: str, asked: DisputeRequest) -> DisputeRow:
    """The buyer complains to their bank, now or later."""
    planned = plan_dispute(db, outbox, find_row(db, charge_id, "succeeded").subject, asked)
    if not asked.opens_in_s:
        open_dispute(db, outbox, planned)
    return planned


def approve_charge(db: sqlite3.Connection, outbox: Outbox, charge_id: str) -> tuple[Charge, tuple[int, ...]]:
    """The buyer said yes. Saying it again, or after a refusal, changes nothing."""
    row = find_row(db, charge_id)
    if row.status != "requires_action":
        return read_charge(db, charge_id), ()
    return take_money(db, outbox, row)


def refuse_charge(db: sqlite3.Connection, outbox: Outbox, charge_id: str) -> tuple[Charge, tuple[int, ...]]:
    if find_row(db, charge_id).status != "requires_action":
        return read_charge(db, charge_id), ()
    return decline(db, outbox, charge_id, "authentication_refused")


def take_money(db: sqlite3.Connection, outbox: Outbox, row: ChargeRow) -> tuple[Charge, tuple[int, ...]]:
    append_operation(db, "authorize", row.subject, row.amount)
    if row.capture:
        append_operation(db, "capture", row.subject, row.amount)
        plan_by_token(db, outbox, row.subject, row.behaviour)
    status = "succeeded" if row.capture else "authorized"
    turn(db, row.id, status)
    told = read_charge(db, row.id)
    return told, outbox.announce(db, f"charge.{status}", told, row.behaviour)


def decline(db: sqlite3.Connection, outbox: Outbox, charge_id: str, code: str) -> tuple[Charge, tuple[int, ...]]:
    turn(db, charge_id, "declined", code)
    told = read_charge(db, charge_id)
    return told, outbox.announce(db, "charge.declined", told, Behaviour.OK)


def refuse_declined(habit: Behaviour, code: str) -> None:
    if habit is Behaviour.DECLINED:
        raise Refused(402, code, "The card's bank refuses")


def turn(db: sqlite3.Connection, charge_id: str, status: str, decline_code: str | None = None) -> None:
    db.execute(TURN, (status, decline_code, iso_now(), charge_id))


def find_row(db: sqlite3.Connection, charge_id: str, *allowed: str) -> ChargeRow:
    found = db.execute(ONE, (charge_id,)).fetchone()
    if found is None:
        raise not_found(charge_id)
    row = msgspec.convert(dict(found), ChargeRow)
    if allowed and row.status not in allowed:
        raise Refused(409, "wrong_status", f"The charge is {row.status}")
    return row


def read_charge(db: sqlite3.Connection, charge_id: str) -> Charge:
    row = find_row(db, charge_id)
    return Charge(
        id=row.id,
        status=row.status,
        amount=row.amount,
        currency=row.currency,
        reference=row.reference,
        amount_captured=sum_operations(db, charge_id, "capture"),
        amount_refunded=sum_operations(db, charge_id, "refund"),
        decline_code=row.decline_code,
        redirect_url=row.redirect_url,
        return_url=row.return_url,
        refunds=list_refunds(db, charge_id),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def find_charges(db: sqlite3.Connection, reference: str) -> tuple[Charge, ...]:
    return tuple(read_charge(db, row[0]) for row in db.execute(OF_REFERENCE, (reference,)).fetchall())
