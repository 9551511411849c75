"""Where sellers want their money: set by an owner, shown masked, and not paid to for a while after a change."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import Forbidden, InvalidField, NotFound
from souk.kit.events import publish
from souk.kit.money import known_currencies
from souk.payments.database import db
from souk.payments.events import PayoutAccountChanged
from souk.payments.payout_types import PayoutAccount, SetPayoutAccount
from souk.payments.settings import settings

COLUMNS = "seller_id, currency, holder, number, country, payable_from, created_at, updated_at"
# Where nothing changes nothing is held back.
SET_ACCOUNT = f"""
    INSERT INTO payments.payout_account AS p (seller_id, currency, holder, number, bank_code, country, user_id, payable_from, due_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, moment.payable_from, moment.payable_from
    FROM (SELECT now() + make_interval(secs => $8) AS payable_from) AS moment
    ON CONFLICT (seller_id, currency) DO UPDATE SET
        holder = excluded.holder, number = excluded.number, bank_code = excluded.bank_code, country = excluded.country,
        user_id = excluded.user_id, payable_from = excluded.payable_from, due_at = greatest(p.due_at, excluded.payable_from),
        updated_at = now()
    WHERE (p.holder, p.number, p.bank_code, p.country)
        IS DISTINCT FROM (excluded.holder, excluded.number, excluded.bank_code, excluded.country)
    RETURNING {COLUMNS}
"""
FIND_ACCOUNT = f"SELECT {COLUMNS} FROM payments.payout_account WHERE seller_id = $1 AND currency = $2"
FIND_ACCOUNTS = f"SELECT {COLUMNS} FROM payments.payout_account WHERE seller_id = $1 ORDER BY currency LIMIT 500"
FIND_SET_BY = f"SELECT {COLUMNS} FROM payments.payout_account WHERE user_id = $1 ORDER BY seller_id, currency LIMIT 10000"
FORGET_SET_BY = "DELETE FROM payments.payout_account WHERE user_id = ANY($1)"
PAUSE = "UPDATE payments.payout_account SET paused = $2, updated_at = now() WHERE seller_id = $1 AND paused <> $2"

IBAN_MODULUS = 97
SHOWN = 4


class AccountRow(msgspec.Struct, frozen=True):
    """A payout account as its row says, with the whole number: for the bank and for whoever has set it."""

    seller_id: UUID
    currency: str
    holder: str
    number: str
    country: str
    payable_from: datetime
    created_at: datetime
    updated_at: datetime


@exposed()
async def set_payout_account(seller_id: UUID, wanted: SetPayoutAccount) -> PayoutAccount:
    """Say where a seller's money of one currency is to go; for its owners and admins. Setting the same again changes nothing.

    After a change nothing is paid for a while, a day by default, and PayoutAccountChanged tells of it without the number. Raises
    InvalidField, Forbidden for a member who is no owner, and NotFound for anybody else.
    """
    who = caller().principal
    require_team(seller_id)
    if not who.controls(seller_id):
        raise Forbidden
    number = check_account(wanted)
    values = (wanted.holder.strip(), number, wanted.bank_code, wanted.country, who.user_id, settings.now.payout_change_delay_s)
    async with db.transaction() as tx:
        changed = await tx.maybe(AccountRow, SET_ACCOUNT, seller_id, wanted.currency, *values)
        if changed is None:
            return show_account(await tx.one(AccountRow, FIND_ACCOUNT, seller_id, wanted.currency))
        await publish(tx, PayoutAccountChanged(seller_id, wanted.currency, changed.payable_from))
    return show_account(changed)


@exposed()
async def list_payout_accounts(seller_id: UUID) -> tuple[PayoutAccount, ...]:
    """Where a seller's money goes, one account per currency, the numbers masked. Raises NotFound for anybody but the team and admins."""
    require_team(seller_id)
    return tuple(show_account(row) for row in await db.all(AccountRow, FIND_ACCOUNTS, seller_id))


async def find_set_by(user_id: UUID) -> tuple[AccountRow, ...]:
    """The accounts that this user has set, as they have set them."""
    return await db.all(AccountRow, FIND_SET_BY, user_id)


async def forget_set_by(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Drop the accounts that these people have set. Their sellers are not paid until somebody says anew where to."""
    await tx.run(FORGET_SET_BY, list(user_ids))


async def pause(tx: Transaction, seller_id: UUID, paused: bool) -> None:
    """Stop paying a seller by itself, or begin again."""
    await tx.run(PAUSE, seller_id, paused)


def require_team(seller_id: UUID) -> None:
    """Raises NotFound for anybody but the seller's team and admins."""
    if not caller().principal.manages(seller_id):
        raise NotFound


def show_account(row: AccountRow) -> PayoutAccount:
    """An account as others see it."""
    return PayoutAccount(
        row.seller_id, row.currency, row.holder, mask(row.number[-SHOWN:]), row.country, row.payable_from, row.created_at, row.updated_at
    )


def mask(end: str) -> str:
    """The last characters of an account number, marked as such."""
    return f"****{end}"


def check_account(wanted: SetPayoutAccount) -> str:
    """The number as banks write it; raises InvalidField for one that cannot be."""
    if wanted.currency not in known_currencies():
        raise InvalidField("currency", "is no currency")
    if not wanted.holder.strip():
        raise InvalidField("holder", "is missing")
    number = wanted.number.replace(" ", "").upper()
    if not SHOWN < len(number) <= 34:
        raise InvalidField("number", "has 5 to 34 letters and digits")
    if number[:2].isalpha():
        check_iban(number, wanted.country)
    elif wanted.bank_code is None and not number.isdecimal():
        raise InvalidField("number", "is neither an IBAN nor made of digits")
    return number


def check_iban(number: str, country: str) -> None:
    """Raises InvalidField unless this is an IBAN (ISO 13616) of this country, by its check digits."""
    if not number[2:4].isdecimal() or int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % IBAN_MODULUS != 1:
        raise InvalidField("number", "is no IBAN: its check digits do not fit")
    if number[:2] != country:
        raise InvalidField("country", f"is not that of the IBAN, {number[:2]}")
