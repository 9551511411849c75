"""A user's money with the shop: what is there, paying in, sending to another user, and moving between a wallet and one's seller."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import Forbidden, InvalidField, NotFound
from souk.kit.events import publish
from souk.kit.idempotency import once
from souk.kit.ids import new_id
from souk.kit.money import Money, known_currencies
from souk.payments import ledger
from souk.payments.charging import pay
from souk.payments.database import db
from souk.payments.events import WalletCredited
from souk.payments.ledger import Transfer
from souk.payments.payable import lock_payable
from souk.payments.records import COLUMNS, PaymentRow, show_payment
from souk.payments.types import ChargeRequest, DepositMoney, Payment
from souk.payments.wallet_types import (
    InsufficientFunds,
    MoveMoney,
    SendMoney,
    Wallet,
    WalletBalance,
    WalletNotFound,
    WalletTransfer,
)

DEPOSIT_OPEN_FOR = timedelta(hours=1)

# In one statement, so that what is held and what is not are of one moment.
FIND_BALANCES = """
    SELECT currency, sum(balance)::bigint AS amount, coalesce(sum(balance) FILTER (WHERE kind = 'wallet_held'), 0)::bigint AS held,
           min(created_at) AS created_at, max(updated_at) AS updated_at
    FROM payments.account
    WHERE owner = $1 AND kind IN ('buyer_wallet', 'wallet_held')
    GROUP BY currency
    ORDER BY currency
    LIMIT 500
"""
OPEN_DEPOSIT = f"""
    INSERT INTO payments.payment AS p (id, kind, user_id, currency, amount, parts, expires_at)
    VALUES ($1, 'deposit', $2, $3, $4, '[]', $5)
    RETURNING {COLUMNS}
"""
HAS_WALLET = "SELECT EXISTS (SELECT FROM payments.account WHERE id = $1)"

# So far below the largest amount there is that a wallet does not reach that one.
MOST_AT_ONCE = 10**11


class _Balance(msgspec.Struct, frozen=True):
    currency: str
    amount: int
    held: int
    created_at: datetime
    updated_at: datetime


@exposed()
async def get_wallet() -> Wallet:
    """The caller's balances; raises Unauthenticated."""
    user_id = caller().principal.require_user()
    return Wallet(user_id, await find_balances(user_id))


async def find_balances(user_id: UUID) -> tuple[WalletBalance, ...]:
    """What a user's wallet holds, by currency."""
    rows = await db.all(_Balance, FIND_BALANCES, str(user_id))
    return tuple(
        WalletBalance(
            balance=Money(row.amount, row.currency),
            held=Money(row.held, row.currency),
            available=Money(row.amount - row.held, row.currency),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
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


@exposed()
async def move_money(request: MoveMoney) -> WalletTransfer:
    """Move money from the balance of a seller whom the caller owns to the caller's wallet, or back to pay what the seller owes.

    The same Idempotency-Key moves it once. Raises Unauthenticated, InvalidField, InsufficientFunds, NotFound for another's seller
    or one who may not sell, and Forbidden for who is in the team and does not own it.
    """
    principal = caller().principal
    user_id = principal.require_user()
    check_amount(request.amount)
    if not principal.sells_for(request.seller_id):
        raise NotFound
    if request.seller_id not in principal.owned_seller_ids:
        raise Forbidden

    async def move(tx: Transaction) -> WalletTransfer:
        return await move_own(tx, user_id, request)

    return await once(db, request, move)


async def move_own(tx: Transaction, user_id: UUID, request: MoveMoney) -> WalletTransfer:
    """Move money between a wallet and a seller's balance: never more than is there, nor out of the balance what no bank would get yet."""
    amount, seller_id = request.amount, request.seller_id
    mine, sellers = ledger.wallet(user_id, amount.currency), ledger.seller_balance(seller_id, amount.currency)
    if request.to_seller:
        way, there = (mine, sellers), (await ledger.lock_balances(tx, (mine, sellers)))[mine]
    else:
        way, there = (sellers, mine), (await lock_payable(tx, (sellers,), (mine,)))[sellers]
    if there < amount.amount:
        raise InsufficientFunds(Money(there, amount.currency))
    transfer_id, now = new_id(), datetime.now(UTC)
    if request.to_seller:
        answer = WalletTransfer(transfer_id, None, amount, now, now, to_seller_id=seller_id)
    else:
        await publish(tx, WalletCredited(user_id, amount))
        answer = WalletTransfer(transfer_id, user_id, amount, now, now, from_seller_id=seller_id)
    await ledger.post(tx, (Transfer(transfer_id, "moved", "moved", *way, amount.amount),))
    return answer


def check_amount(amount: Money) -> None:
    """Raise InvalidField unless it is money that can be moved."""
    if amount.amount <= 0:
        raise InvalidField("amount", "is to be above zero")
    if amount.amount > MOST_AT_ONCE:
        raise InvalidField("amount", f"is to be at most {MOST_AT_ONCE}")
    if amount.currency not in known_currencies():
        raise InvalidField("amount.currency", "is no currency")
