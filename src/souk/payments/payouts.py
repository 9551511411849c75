"""Payouts: what sellers have earned is set aside for their bank, by the clock or because an admin says so, and shown as it stands."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.banks import find_bank
from souk.payments.banks.bank import Destination
from souk.payments.database import db
from souk.payments.payable import lock_payable
from souk.payments.payout_accounts import SHOWN, mask, require_team
from souk.payments.payout_booking import PayoutRow, make_transfer
from souk.payments.payout_types import (
    NoBank,
    NoPayoutAccount,
    NothingToPayOut,
    PayOut,
    Payout,
    PayoutHeldBack,
    PayoutNotFound,
    SellerBalance,
    SellerBalances,
)
from souk.payments.settings import settings

COLUMNS = """id, seller_id, currency, amount, bank, status, destination, number_end, bank_id, reason, paid_at, created_at, updated_at,
    settle_reason"""
# Another process that is at the same sellers has locked their rows: it pays them.
LOCK_DUE = """
    SELECT seller_id, currency, holder, number, bank_code, country, payable_from > now() AS held_back, payable_from
    FROM payments.payout_account
    WHERE due_at <= now() AND NOT paused
    ORDER BY due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
"""
LOCK_ACCOUNT = """
    SELECT seller_id, currency, holder, number, bank_code, country, payable_from > now() AS held_back, payable_from
    FROM payments.payout_account WHERE seller_id = $1 AND currency = $2 FOR UPDATE
"""
# The next one of a seller's own times, however many of them were slept through.
MOVE_ON = """
    UPDATE payments.payout_account AS p
    SET due_at = p.due_at + make_interval(secs => $3 * (1 + floor(extract(epoch FROM now() - p.due_at)::float8 / $3))), updated_at = now()
    FROM unnest($1::uuid[], $2::text[]) AS u (seller_id, currency)
    WHERE (p.seller_id, p.currency) = (u.seller_id, u.currency)
"""
OPEN_PAYOUTS = f"""
    INSERT INTO payments.payout (id, seller_id, currency, amount, bank, destination, number_end, status, check_at)
    SELECT u.*, 'sending', now()
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::jsonb[], $7::text[])
        AS u (id, seller_id, currency, amount, bank, destination, number_end)
    RETURNING {COLUMNS}
"""
FIND_PAYOUT = f"SELECT {COLUMNS} FROM payments.payout WHERE id = $1 AND seller_id = $2"
LIST_PAYOUTS = f"""
    SELECT {COLUMNS} FROM payments.payout WHERE seller_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
FIND_BALANCE = "SELECT balance FROM payments.account WHERE id = $1"
FIND_BALANCES = """
    SELECT a.currency, a.balance, p.due_at,
           (SELECT coalesce(sum(o.amount), 0)::bigint FROM payments.payout AS o
            WHERE o.seller_id = $1 AND o.currency = a.currency AND o.check_at IS NOT NULL) AS under_way
    FROM payments.account AS a
    LEFT JOIN payments.payout_account AS p ON p.seller_id = $1 AND p.currency = a.currency AND NOT p.paused
    WHERE a.owner = $2 AND a.kind = 'seller_balance'
    ORDER BY a.currency
    LIMIT 500
"""

PAGE = 100


class DueAccount(msgspec.Struct, frozen=True):
    """A payout account, locked: whoever holds it decides about the seller's payouts of this currency."""

    seller_id: UUID
    currency: str
    holder: str
    number: str
    bank_code: str | None
    country: str
    held_back: bool
    payable_from: datetime

    @property
    def destination(self) -> Destination:
        return Destination(self.holder, self.number, self.bank_code, self.country)

    @property
    def balance(self) -> ledger.Account:
        return ledger.seller_balance(self.seller_id, self.currency)


class _Balance(msgspec.Struct, frozen=True):
    currency: str
    balance: int
    due_at: datetime | None
    under_way: int


async def make_due_payouts() -> int:
    """Set aside what sellers are to be paid by now, page by page; how many payouts were made. Two processes at it make each once."""
    bank = find_bank()
    if bank is None:
        return 0
    count, more = 0, True
    while more:
        async with db.transaction() as tx:
            due = await tx.all(DueAccount, LOCK_DUE, PAGE)
            await tx.run(MOVE_ON, *columns(due, "seller_id", "currency"), settings.now.payout_every_s)
            count += len(await make_payouts(tx, bank.name, due, settings.now.payout_minimum))
        more = len(due) == PAGE
    return count


async def make_payouts(tx: Transaction, bank: str, accounts: Sequence[DueAccount], minimum: int) -> tuple[PayoutRow, ...]:
    """Write a payout for each of these locked accounts of which at least so much may leave; the last call of its transaction."""
    dues = {ledger.payouts_due(account.currency) for account in accounts}
    payable = await lock_payable(tx, [account.balance for account in accounts], tuple(dues))
    paid = [account for account in accounts if payable[account.balance] >= minimum]
    if not paid:
        return ()
    made = await tx.all(
        PayoutRow,
        OPEN_PAYOUTS,
        [new_id() for _ in paid],
        *columns(paid, "seller_id", "currency"),
        [payable[account.balance] for account in paid],
        [bank for _ in paid],
        [account.destination for account in paid],
        [account.number[-SHOWN:] for account in paid],
    )
    await ledger.post(tx, [make_transfer(payout, "reserve") for payout in made])
    return made


@exposed()
async def pay_seller_out(seller_id: UUID, wanted: PayOut) -> Payout:
    """Pay out now what of a seller's balance is not too young, be it below the minimum; for admins. The same Idempotency-Key pays once.

    Raises NoBank, NoPayoutAccount, PayoutHeldBack a short time after the account was changed, and NothingToPayOut.
    """
    caller().principal.require_admin()
    bank = find_bank()
    if bank is None:
        raise NoBank
    name = bank.name

    async def pay(tx: Transaction) -> Payout:
        account = await tx.maybe(DueAccount, LOCK_ACCOUNT, seller_id, wanted.currency)
        if account is None:
            raise NoPayoutAccount(wanted.currency)
        if account.held_back:
            raise PayoutHeldBack(account.payable_from)
        made = await make_payouts(tx, name, (account,), minimum=1)
        if not made:
            balance = await tx.value(FIND_BALANCE, account.balance.id)
            raise NothingToPayOut(Money(balance or 0, wanted.currency))
        return show_payout(made[0])

    return await once(db, (seller_id, wanted), pay)


@exposed()
async def get_payout(seller_id: UUID, payout_id: UUID) -> Payout:
    """How a payout stands; raises PayoutNotFound, also for another's seller."""
    require_team(seller_id)
    row = await db.maybe(PayoutRow, FIND_PAYOUT, payout_id, seller_id)
    if row is None:
        raise PayoutNotFound
    return show_payout(row)


@exposed()
async def list_payouts(seller_id: UUID, limit: int, before: UUID | None = None) -> tuple[Payout, ...]:
    """A seller's payouts, newest first. Raises NotFound for anybody but the team and admins."""
    require_team(seller_id)
    return tuple(show_payout(row) for row in await db.search(PayoutRow, LIST_PAYOUTS, seller_id, before, limit))


@exposed()
async def get_seller_balances(seller_id: UUID) -> SellerBalances:
    """What a seller has with the shop, and when it is paid out. Raises NotFound for anybody but the team and admins."""
    require_team(seller_id)
    pays = find_bank() is not None
    rows = await db.all(_Balance, FIND_BALANCES, seller_id, str(seller_id))
    items = tuple(
        SellerBalance(Money(row.balance, row.currency), Money(row.under_way, row.currency), row.due_at if pays else None) for row in rows
    )
    return SellerBalances(seller_id, pays, settings.now.payout_minimum, items)


def show_payout(row: PayoutRow) -> Payout:
    """A payout as others see it."""
    return Payout(
        row.id,
        row.seller_id,
        row.money,
        row.status,
        mask(row.number_end),
        row.reason,
        row.paid_at,
        row.created_at,
        row.updated_at,
        row.settle_reason,
    )
