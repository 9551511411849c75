"""How money came into a wallet and left it: entries, newest first, and statements, in which balances run along.

What is set aside is still its user's, so holding and giving back are no movements; what is posted of a hold is one.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.errors import InvalidField
from souk.kit.ids import first_id, moment_of
from souk.kit.money import Money, to_major
from souk.kit.personal import exports_user_data
from souk.kit.spreadsheets import escape, write_line
from souk.payments import ledger, payout_accounts
from souk.payments.database import db
from souk.payments.holds import find_holds
from souk.payments.wallet_types import StatementLine, StatementRequest, WalletEntry, WalletStatement
from souk.payments.wallets import find_balances

# $1 is the account of what can be spent, $2 of what is held. Index scans that are each in order, so that the first page of a long
# history reads a page and not the history.
LIST_ENTRIES = """
    SELECT * FROM (
        (SELECT t.id, t.kind, -t.amount AS amount, t.currency, t.cause_id, t.created_at FROM payments.transfer AS t
         WHERE t.debit_id = $1 AND t.credit_id <> $2 AND ($3::uuid IS NULL OR t.id < $3) ORDER BY t.id DESC LIMIT $4)
        UNION ALL
        (SELECT t.id, t.kind, t.amount, t.currency, t.cause_id, t.created_at FROM payments.transfer AS t
         WHERE t.credit_id = $1 AND t.debit_id <> $2 AND ($3::uuid IS NULL OR t.id < $3) ORDER BY t.id DESC LIMIT $4)
        UNION ALL
        (SELECT t.id, t.kind, -t.amount AS amount, t.currency, t.cause_id, t.created_at FROM payments.transfer AS t
         WHERE t.debit_id = $2 AND t.credit_id <> $1 AND ($3::uuid IS NULL OR t.id < $3) ORDER BY t.id DESC LIMIT $4)
    ) AS entry
    ORDER BY id DESC
    LIMIT $4
"""
LIST_LINES = """
    SELECT * FROM (
        (SELECT t.id, t.kind, -t.amount AS amount, t.cause_id FROM payments.transfer AS t
         WHERE t.debit_id = $1 AND t.credit_id <> $2 AND t.id >= $3 AND t.id < $4 ORDER BY t.id LIMIT $5)
        UNION ALL
        (SELECT t.id, t.kind, t.amount, t.cause_id FROM payments.transfer AS t
         WHERE t.credit_id = $1 AND t.debit_id <> $2 AND t.id >= $3 AND t.id < $4 ORDER BY t.id LIMIT $5)
        UNION ALL
        (SELECT t.id, t.kind, -t.amount AS amount, t.cause_id FROM payments.transfer AS t
         WHERE t.debit_id = $2 AND t.credit_id <> $1 AND t.id >= $3 AND t.id < $4 ORDER BY t.id LIMIT $5)
    ) AS line
    ORDER BY id
    LIMIT $5
"""
# Counted back from the balance of now, so that a statement costs what happened since it begins, and not the whole history.
FIND_BALANCES_THEN = """
    SELECT now.balance - coalesce(sum(m.amount), 0)::bigint AS opening,
           now.balance - coalesce(sum(m.amount) FILTER (WHERE m.id >= $3), 0)::bigint AS before_page,
           now.balance - coalesce(sum(m.amount) FILTER (WHERE m.id >= $4), 0)::bigint AS closing
    FROM (SELECT coalesce(sum(balance), 0)::bigint AS balance FROM payments.account WHERE id = ANY($1)) AS now
    LEFT JOIN (
        SELECT t.id, CASE WHEN t.credit_id = ANY($1) THEN t.amount ELSE 0 END - CASE WHEN t.debit_id = ANY($1) THEN t.amount ELSE 0 END
        FROM payments.transfer AS t
        WHERE t.id >= $2 AND (t.debit_id = ANY($1) OR t.credit_id = ANY($1))
    ) AS m (id, amount) ON true
    GROUP BY now.balance
"""

LAST_ID = 2**128 - 1
MOST_EXPORTED = 10_000
MOST_IN_A_FILE = 10_000


class _Entry(msgspec.Struct, frozen=True):
    id: UUID
    kind: str
    amount: int
    currency: str
    cause_id: UUID
    created_at: datetime


class _Line(msgspec.Struct, frozen=True):
    id: UUID
    kind: str
    amount: int
    cause_id: UUID


class _BalancesThen(msgspec.Struct, frozen=True):
    opening: int
    before_page: int
    closing: int


@exports_user_data
async def export_wallet(user_id: UUID) -> Mapping[str, object]:
    """A user's balances, their newest movements and holds, and the bank accounts that they have set for sellers.

    Movements are books: who leaves leaves them under an id that names nobody.
    """
    balances = await find_balances(user_id)
    entries = [await find_entries(user_id, one.balance.currency, MOST_EXPORTED) for one in balances]
    holds = await find_holds(user_id, MOST_EXPORTED)
    return {
        "wallet": balances,
        "wallet_entries": [entry for those in entries for entry in those],
        "wallet_holds": holds,
        "payout_accounts": await payout_accounts.find_set_by(user_id),
    }


@exposed()
async def list_wallet_entries(currency: str, limit: int, before: UUID | None = None) -> tuple[WalletEntry, ...]:
    """Movements of the caller's wallet in one currency, newest first; raises Unauthenticated."""
    return await find_entries(caller().principal.require_user(), currency, limit, before)


async def find_entries(user_id: UUID, currency: str, limit: int, before: UUID | None = None) -> tuple[WalletEntry, ...]:
    """Movements of a wallet, newest first."""
    rows = await db.search(_Entry, LIST_ENTRIES, *accounts_of(user_id, currency), before, limit)
    return tuple(
        WalletEntry(row.id, row.kind, Money(row.amount, row.currency), row.cause_id, row.created_at, row.created_at) for row in rows
    )


@exposed()
async def get_wallet_statement(request: StatementRequest, limit: int) -> WalletStatement:
    """The movements of the caller's wallet in a period, oldest first, with the balance after each, all as of one moment.

    The opening balance and all movements of the period, on however many pages, make the closing balance. Changes nothing. Raises
    Unauthenticated, InvalidField.
    """
    accounts = accounts_of(caller().principal.require_user(), request.currency)
    if request.begins_at >= request.ends_at:
        raise InvalidField("from", "is to lie before until")
    begin, end = (first_id(moment.timestamp()) for moment in (request.begins_at, request.ends_at))
    page = begin if request.after is None else UUID(int=min(request.after.int + 1, LAST_ID))
    async with db.transaction(isolation="repeatable_read", readonly=True) as tx:
        balances = await tx.one(_BalancesThen, FIND_BALANCES_THEN, list(accounts), begin, page, end)
        rows = await tx.all(_Line, LIST_LINES, *accounts, page, end, limit)
    return WalletStatement(
        currency=request.currency,
        begins_at=request.begins_at,
        ends_at=request.ends_at,
        opening_balance=Money(balances.opening, request.currency),
        closing_balance=Money(balances.closing, request.currency),
        items=run_balances(rows, balances.before_page, request.currency),
    )


def accounts_of(user_id: UUID, currency: str) -> tuple[UUID, UUID]:
    """Where a user's money lies: what can be spent, and what is held."""
    return ledger.wallet(user_id, currency).id, ledger.held(user_id, currency).id


def run_balances(rows: tuple[_Line, ...], balance: int, currency: str) -> tuple[StatementLine, ...]:
    """Movements, each with the balance after it. It was booked when its id was made, by which the period is cut."""
    lines: list[StatementLine] = []
    for row in rows:
        balance += row.amount
        lines.append(
            StatementLine(row.id, row.kind, Money(row.amount, currency), Money(balance, currency), row.cause_id, moment_of(row.id))
        )
    return tuple(lines)


def write_statement(statement: WalletStatement) -> bytes:
    """A statement as CSV, amounts in major units, between a line for the opening balance and one for the closing balance."""
    header = write_line(("kind", "booked_at", "amount", "balance", "currency", "cause_id", "id"))
    first = to_cells("opening_balance", statement.begins_at, statement.opening_balance)
    last = to_cells("closing_balance", statement.ends_at, statement.closing_balance)
    lines = [to_cells(line.kind, line.booked_at, line.balance, line) for line in statement.items]
    return b"".join([header, *map(write_line, (first, *lines, last))])


def to_cells(kind: str, moment: datetime, balance: Money, line: StatementLine | None = None) -> tuple[str, ...]:
    """A row of a statement's file. Amounts are numbers, with their sign; whatever is text is kept from being a formula."""
    amount = to_major(line.amount.amount, line.amount.currency) if line else ""
    ids = (str(line.cause_id), str(line.id)) if line else ("", "")
    return escape(kind), moment.isoformat(), amount, to_major(balance.amount, balance.currency), escape(balance.currency), *ids
