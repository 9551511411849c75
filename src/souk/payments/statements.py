"""Statements of sellers: what their balance was, every movement of a period, and what it came to."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from uuid import UUID

import msgspec

from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField
from souk.kit.ids import first_id, moment_of
from souk.kit.money import Money, add_up, to_major
from souk.kit.spreadsheets import escape, write_line
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.payout_accounts import require_team
from souk.payments.payout_booking import KINDS
from souk.payments.payout_types import Cause, StatementEntry, StatementPage, StatementWanted

# The account is read backwards, from what it holds now: a statement of last month need not add up what was years before.
SUM_UP = """
    WITH movement AS (
        SELECT t.id, -t.amount AS amount FROM payments.transfer AS t WHERE t.debit_id = $1 AND t.id >= $2
        UNION ALL
        SELECT t.id, t.amount FROM payments.transfer AS t WHERE t.credit_id = $1 AND t.id >= $2
    ), moved AS (
        SELECT coalesce(sum(amount), 0)::bigint AS since, coalesce(sum(amount) FILTER (WHERE id < $3), 0)::bigint AS within FROM movement
    )
    SELECT coalesce(a.balance, 0) - moved.since AS opening, coalesce(a.balance, 0) - moved.since + moved.within AS closing
    FROM moved LEFT JOIN payments.account AS a ON a.id = $1
"""
LIST_ENTRIES = """
    SELECT * FROM (
        (SELECT t.id, t.kind, -t.amount AS amount, t.cause_id FROM payments.transfer AS t
         WHERE t.debit_id = $1 AND t.id > $2 AND t.id >= $3 AND t.id < $4 ORDER BY t.id LIMIT $5)
        UNION ALL
        (SELECT t.id, t.kind, t.amount, t.cause_id FROM payments.transfer AS t
         WHERE t.credit_id = $1 AND t.id > $2 AND t.id >= $3 AND t.id < $4 ORDER BY t.id LIMIT $5)
    ) AS entry
    ORDER BY id
    LIMIT $5
"""

ROWS_AT_ONCE = 500
FIRST = UUID(int=0)
# Movements that are not of an order or a payout.
OTHER_CAUSES: dict[str, Cause] = {"moved": "transfer", "hold_posted": "hold"}
HEADER = ("booked_at", "kind", "amount", "currency", "cause", "cause_id")


class _Sums(msgspec.Struct, frozen=True):
    opening: int
    closing: int


class _Entry(msgspec.Struct, frozen=True):
    id: UUID
    kind: str
    amount: int
    cause_id: UUID


@exposed(timeout=30.0)
async def read_statement(wanted: StatementWanted, limit: int, after: UUID | None = None) -> StatementPage:
    """A part of a seller's statement, oldest movements first: all of them lie between its opening and its closing balance.

    Both and the movements are of one moment. Changes nothing. Raises InvalidField, and NotFound for anybody but the team and admins.
    """
    check_period(wanted)
    async with db.transaction(isolation="repeatable_read", readonly=True) as tx:
        account = ledger.seller_balance(wanted.seller_id, wanted.currency)
        sums = await tx.one(_Sums, SUM_UP, account.id, first_of(wanted.since), first_of(wanted.until))
        entries = await find_entries(tx, wanted, limit, after)
    return StatementPage(wanted.seller_id, Money(sums.opening, wanted.currency), Money(sums.closing, wanted.currency), entries)


@exposed(timeout=30.0)
async def list_statement_entries(wanted: StatementWanted, limit: int, after: UUID) -> tuple[StatementEntry, ...]:
    """More movements of a statement, for who has its balances: those are not added up once more. Raises as read_statement does."""
    check_period(wanted)
    async with db.transaction(readonly=True) as tx:
        return await find_entries(tx, wanted, limit, after)


def check_period(wanted: StatementWanted) -> None:
    """Raises NotFound for anybody but the team and admins, InvalidField for a period that ends before it begins."""
    require_team(wanted.seller_id)
    if wanted.until < wanted.since:
        raise InvalidField("until", "is to be no earlier than from")


async def find_entries(tx: Transaction, wanted: StatementWanted, limit: int, after: UUID | None) -> tuple[StatementEntry, ...]:
    """Movements of a period, oldest first."""
    account = ledger.seller_balance(wanted.seller_id, wanted.currency)
    rows = await tx.all(_Entry, LIST_ENTRIES, account.id, after or FIRST, first_of(wanted.since), first_of(wanted.until), limit)
    return tuple(show_entry(row, wanted.currency) for row in rows)


def first_of(day: date) -> UUID:
    """The smallest id of a day (UTC)."""
    return first_id(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def show_entry(row: _Entry, currency: str) -> StatementEntry:
    """A movement as the seller sees it. It was booked when its id was made, by which periods are told apart."""
    return StatementEntry(row.id, moment_of(row.id), row.kind, Money(row.amount, currency), cause_of(row.kind), row.cause_id)


def cause_of(kind: str) -> Cause:
    """What a movement is about, and `cause_id` the id of."""
    if kind in KINDS.values():
        return "payout"
    return OTHER_CAUSES.get(kind, "order")


async def write_statement(wanted: StatementWanted, first: StatementPage) -> AsyncIterator[bytes]:
    """A statement as CSV: opening balance, movements, closing balance, in major units. The closing one is what the rows add up to."""
    yield write_line(HEADER)
    yield write_line((wanted.since.isoformat(), "opening_balance", show_amount(first.opening), wanted.currency, "", ""))
    total, entries = first.opening, first.items
    while entries:
        total = add_up((total, *(entry.amount for entry in entries)), wanted.currency)
        yield b"".join(write_line(to_cells(entry)) for entry in entries)
        entries = await list_statement_entries(wanted, ROWS_AT_ONCE, entries[-1].id)
    yield write_line((wanted.until.isoformat(), "closing_balance", show_amount(total), wanted.currency, "", ""))


def to_cells(entry: StatementEntry) -> tuple[str, ...]:
    money = entry.amount
    return entry.booked_at.isoformat(), escape(entry.kind), show_amount(money), money.currency, entry.cause, str(entry.cause_id)


def show_amount(money: Money) -> str:
    return to_major(money.amount, money.currency)
