"""A user's money with the shop: what is there, how it came and went, paying in, and sending to another user."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import InvalidField
from souk.kit.events import publish
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.kit.money import Money, known_currencies
from souk.kit.personal import exports_user_data
from souk.payments import ledger
from souk.payments.charging import pay
from souk.payments.database import db
from souk.payments.events import WalletCredited
from souk.payments.ledger import Transfer
from souk.payments.records import COLUMNS, PaymentRow, show_payment
from souk.payments.types import (
    ChargeRequest,
    DepositMoney,
    InsufficientFunds,
    Payment,
    SendMoney,
    Wallet,
    WalletBalance,
    WalletEntry,
    WalletNotFound,
    WalletTransfer,
)

DEPOSIT_OPEN_FOR = timedelta(hours=1)

FIND_BALANCES = """
    SELECT currency, balance AS amount, created_at, updated_at FROM payments.account
    WHERE owner = $1 AND kind = 'buyer_wallet'
    ORDER BY currency
    LIMIT 500
"""
# Two index scans that are each in order, so that the first page of a long history reads a page and not the history.
LIST_ENTRIES = """
    SELECT * FROM (
        (SELECT t.id, t.kind, -t.amount AS amount, t.currency, t.cause_id, t.created_at FROM payments.transfer AS t
         WHERE t.debit_id = $1 AND ($2::uuid IS NULL OR t.id < $2) ORDER BY t.id DESC LIMIT $3)
        UNION ALL
        (SELECT t.id, t.kind, t.amount, t.currency, t.cause_id, t.created_at FROM payments.transfer AS t
         WHERE t.credit_id = $1 AND ($2::uuid IS NULL OR t.id < $2) ORDER BY t.id DESC LIMIT $3)
    ) AS entry
    ORDER BY id DESC
    LIMIT $3
"""
OPEN_DEPOSIT = f"""
    INSERT INTO payments.payment AS p (id, kind, user_id, currency, amount, parts, expires_at)
    VALUES ($1, 'deposit', $2, $3, $4, '[]', $5)
    RETURNING {COLUMNS}
"""
HAS_WALLET = "SELECT EXISTS (SELECT FROM payments.account WHERE id = $1)"


# So far below the largest amount there is that a wallet does not reach that one.
MOST_AT_ONCE = 10**11
MOST_EXPORTED = 10_000


class _Balance(msgspec.Struct, frozen=True):
    currency: str
    amount: int
    created_at: datetime
    updated_at: datetime


class _Entry(msgspec.Struct, frozen=True):
    id: UUID
    kind: str
    amount: int
    currency: str
    cause_id: UUID
    created_at: datetime


@exposed()
async def get_wallet() -> Wallet:
    """The caller's balances; raises Unauthenticated."""
    user_id = caller().principal.require_user()
    return Wallet(user_id, await find_balances(user_id))


@exports_user_data
async def export_wallet(user_id: UUID) -> Mapping[str, object]:
    """A user's balances and their newest movements. They are books: who leaves leaves them under an id that names nobody."""
    balances = await find_balances(user_id)
    entries = [await find_entries(ledger.wallet(user_id, one.balance.currency), MOST_EXPORTED, None) for one in balances]
    return {"wallet": balances, "wallet_entries": [entry for those in entries for entry in those]}


async def find_balances(user_id: UUID) -> tuple[WalletBalance, ...]:
    """What a user's wallet holds, by currency."""
    rows = await db.all(_Balance, FIND_BALANCES, str(user_id))
    return tuple(WalletBalance(Money(row.amount, row.currency), row.created_at, row.updated_at) for row in rows)


@exposed()
async def list_wallet_entries(currency: str, limit: int, before: UUID | None = None) -> tuple[WalletEntry, ...]:
    """Movements of the caller's wallet in one currency, newest first; raises Unauthenticated."""
    return await find_entries(ledger.wallet(caller().principal.require_user(), currency), limit, before)


async def find_entries(account: ledger.Account, limit: int, before: UUID | None) -> tuple[WalletEntry, ...]:
    """Movements of a wallet, newest first."""
    rows = await db.search(_Entry, LIST_ENTRIES, account.id, before, limit)
    return tuple(
        WalletEntry(row.id, row.kind, Money(row.amount, row.currency), row.cause_id, row.created_at, row.created_at) for row in rows
    )


@exposed(timeout=30.0)
async def deposit_money(request: DepositMoney) -> Payment:
    """Pay money into the caller's wallet; it is there when the payment is captured.

    The same Idempotency-Key continues the same deposit. Raises Unauthenticated, InvalidField, MethodNotOffered.
    """
    user_id = caller().principal.require_user()
    check_amount(request.amount)

    async def open_deposit(tx: Transaction) -> Payment:
        amount, until = request.amount, datetime.now(UTC) + DEPOSIT_OPEN_FOR
        return show_payment(await tx.one(PaymentRow, OPEN_DEPOSIT, new_id(), user_id, amount.currency, amount.amount, until))

    opened = await once(db, request, open_deposit)
    # The first attempt has the deposit's id, so that it is the same attempt when the request comes again.
    return show_payment(await pay(ChargeRequest(opened.id, request.method, request.token, request.return_url, opened.id)))


@exposed()
async def send_money(request: SendMoney) -> WalletTransfer:
    """Move money from the caller's wallet to another user's, who has a wallet in this currency already.

    The same Idempotency-Key moves it once. Raises Unauthenticated, InvalidField, WalletNotFound, InsufficientFunds.
    """
    user_id = caller().principal.require_user()
    check_amount(request.amount)
    if request.to_user_id == user_id:
        raise InvalidField("to_user_id", "is to be somebody else")

    async def move(tx: Transaction) -> WalletTransfer:
        return await send(tx, user_id, request)

    return await once(db, request, move)


async def send(tx: Transaction, user_id: UUID, request: SendMoney) -> WalletTransfer:
    """Move money between two wallets."""
    amount = request.amount
    mine, theirs = ledger.wallet(user_id, amount.currency), ledger.wallet(request.to_user_id, amount.currency)
    if not await tx.value(HAS_WALLET, theirs.id):
        raise WalletNotFound
    balance = (await ledger.lock_balances(tx, (mine, theirs)))[mine]
    if balance < amount.amount:
        raise InsufficientFunds(Money(balance, amount.currency))
    transfer_id, now = new_id(), datetime.now(UTC)
    await publish(tx, WalletCredited(request.to_user_id, amount))
    await ledger.post(tx, (Transfer(transfer_id, "sent", "sent", mine, theirs, amount.amount),))
    return WalletTransfer(transfer_id, request.to_user_id, amount, now, now)


def check_amount(amount: Money) -> None:
    """Raise InvalidField unless it is money that can be moved."""
    if amount.amount <= 0:
        raise InvalidField("amount", "is to be above zero")
    if amount.amount > MOST_AT_ONCE:
        raise InvalidField("amount", f"is to be at most {MOST_AT_ONCE}")
    if amount.currency not in known_currencies():
        raise InvalidField("amount.currency", "is no currency")
