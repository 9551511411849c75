"""The double-entry ledger: accounts, and transfers between them by which all money moves.

A transfer is one row; a trigger moves the balances of both accounts in the same statement, each account once however many transfers
it brings. The shop's own accounts (a gateway's clearing, funds of orders) are hot: every sale touches them. They keep a balance
row all the same, because payments are settled in batches: a thousand sales a second are some dozens of updates of such a row, each
held only from the last statement of its transaction to the commit. Sums over the transfers instead would have to be snapshotted
before they grow; this way each balance is true at any moment and the database itself can refuse a wallet below zero.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from uuid import UUID, uuid5

import msgspec

from souk.kit.db import Database, Transaction, columns
from souk.kit.ids import new_id

# Any fixed UUID: an account's id follows from what it is, so that nobody has to look it up.
ACCOUNTS = UUID("7c7a7f0e-3f5b-4f0c-9a54-5d3e0b1a6f21")
# There are as many of these as there are users and sellers: no process remembers them.
OF_MANY = ("buyer_wallet", "wallet_held", "seller_balance")

OPEN_ACCOUNTS = """
    INSERT INTO payments.account (id, kind, owner, currency)
    SELECT u.id, u.kind, u.owner, u.currency
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS u (id, kind, owner, currency)
    ORDER BY u.id
    ON CONFLICT DO NOTHING
"""
POST_TRANSFERS = """
    INSERT INTO payments.transfer (cause_id, reference, id, kind, debit_id, credit_id, amount, currency)
    SELECT u.*
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::bigint[], $8::text[])
        AS u (cause_id, reference, id, kind, debit_id, credit_id, amount, currency)
    /* only */
    ON CONFLICT (cause_id, reference) DO NOTHING
"""
LOCK_BALANCES = """
    SELECT id, balance FROM payments.account
    WHERE id = ANY($1)
    ORDER BY kind <> 'buyer_wallet', id
    FOR NO KEY UPDATE
"""


class Account(msgspec.Struct, frozen=True):
    """Whose money it is, in one currency. `owner` is a gateway's or a bank's name, a user's or a seller's id, or empty for the shop."""

    kind: str
    owner: str
    currency: str

    @property
    def id(self) -> UUID:
        return _account_id(self)


@lru_cache(maxsize=4096)
def _account_id(account: Account) -> UUID:
    return uuid5(ACCOUNTS, f"{account.kind}:{account.owner}:{account.currency}")


def clearing(gateway: str, currency: str) -> Account:
    """What a gateway has taken for us and not paid out: below zero."""
    return Account("gateway_clearing", gateway, currency)


def wallet(user_id: UUID, currency: str) -> Account:
    """A user's money with us; never below zero."""
    return Account("buyer_wallet", str(user_id), currency)


def held(user_id: UUID, currency: str) -> Account:
    """What of a user's money is set aside; never below zero."""
    return Account("wallet_held", str(user_id), currency)


def order_funds(currency: str) -> Account:
    """Captured money that no seller has earned yet; never below zero."""
    return Account("order_funds", "", currency)


def refunds_due(currency: str) -> Account:
    """Money that is on its way back to buyers; never below zero."""
    return Account("refunds_due", "", currency)


def seller_balance(seller_id: UUID, currency: str) -> Account:
    """What we owe a seller; below zero what a seller owes us."""
    return Account("seller_balance", str(seller_id), currency)


def platform_revenue(currency: str) -> Account:
    """What the shop itself has earned."""
    return Account("platform_revenue", "", currency)


def tax_payable(currency: str) -> Account:
    """Tax that was collected for the authorities."""
    return Account("tax_payable", "", currency)


def promotion_expense(currency: str) -> Account:
    """What the shop took off prices at its own cost: below zero."""
    return Account("promotion_expense", "", currency)


def payouts_due(currency: str) -> Account:
    """Money that is on its way to sellers; never below zero."""
    return Account("payouts_due", "", currency)


def bank(name: str, currency: str) -> Account:
    """What went out to sellers through a bank and did not come back."""
    return Account("bank", name, currency)


def chargeback_expense(currency: str) -> Account:
    """What banks took back and no seller gives, and the gateways' fees for it: below zero."""
    return Account("chargeback_expense", "", currency)


def carriers_due(currency: str) -> Account:
    """What sellers gave for labels, which carriers want of the shop."""
    return Account("carriers_due", "", currency)


class Transfer(msgspec.Struct, frozen=True):
    """An amount above zero goes from `debit` to `credit`, once per cause and reference."""

    cause_id: UUID
    reference: str
    kind: str
    debit: Account
    credit: Account
    amount: int


async def post(tx: Transaction, transfers: Sequence[Transfer]) -> int:
    """Write transfers, in one statement; how many were new.

    It is to be the last statement of its transaction and the only posting in it: it takes the locks on the hot accounts. A
    wallet that would fall below zero is asyncpg's CheckViolationError: whoever debits one locks its balance and looks first.
    """
    if not transfers:
        return 0
    if new := find_unopened(tx.database, transfers):
        await tx.run(OPEN_ACCOUNTS, *values_of_accounts(new))
        # Accounts are never deleted, and those of the shop itself are few.
        tx.after_commit.append(partial(remember_opened, tx.database, new))
    return await tx.run(POST_TRANSFERS, *values_of(transfers))


async def open_accounts(database: Database, transfers: Sequence[Transfer]) -> None:
    """Have the accounts of these transfers, for a statement that posts them as one of its parts."""
    if new := find_unopened(database, transfers):
        async with database.transaction() as tx:
            await tx.run(OPEN_ACCOUNTS, *values_of_accounts(new))
        remember_opened(database, new)


def find_unopened(database: Database, transfers: Sequence[Transfer]) -> tuple[Account, ...]:
    """The accounts of which this process does not know that they are there."""
    accounts = {account for transfer in transfers for account in (transfer.debit, transfer.credit)}
    return tuple(account for account in accounts if account.id not in database.seen)


def remember_opened(database: Database, accounts: Sequence[Account]) -> None:
    database.seen.update(account.id for account in accounts if account.kind not in OF_MANY)


def values_of_accounts(accounts: Sequence[Account]) -> tuple[object, ...]:
    """What OPEN_ACCOUNTS takes."""
    return [account.id for account in accounts], *columns(accounts, "kind", "owner", "currency")


def values_of(transfers: Sequence[Transfer]) -> tuple[object, ...]:
    """What POST_TRANSFERS takes."""
    return (
        *columns(transfers, "cause_id", "reference"),
        [new_id() for _ in transfers],
        [transfer.kind for transfer in transfers],
        [transfer.debit.id for transfer in transfers],
        [transfer.credit.id for transfer in transfers],
        [transfer.amount for transfer in transfers],
        [transfer.debit.currency for transfer in transfers],
    )


class _Balance(msgspec.Struct, frozen=True):
    id: UUID
    balance: int


async def lock_balances(tx: Transaction, accounts: Sequence[Account]) -> dict[Account, int]:
    """What these accounts hold, locked until the end of the transaction; an account without a row holds 0."""
    rows = await tx.all(_Balance, LOCK_BALANCES, [account.id for account in accounts]) if accounts else ()
    known = {row.id: row.balance for row in rows}
    return {account: known.get(account.id, 0) for account in accounts}
