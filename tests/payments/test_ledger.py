"""Money moves as transfers between accounts, and in no other way."""

import asyncio
import random

import asyncpg
import pytest
from tests.payments.money import balance, check_books, fill_wallet

from souk.app import Shop
from souk.kit.ids import new_id
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.ledger import Account, Transfer

ANNA, BEN = new_id(), new_id()


async def post(*transfers: Transfer) -> int:
    async with db.transaction() as tx:
        return await ledger.post(tx, transfers)


def sale(amount: int, currency: str = "EUR") -> Transfer:
    return Transfer(new_id(), "sale", "sale", ledger.clearing("test", currency), ledger.order_funds(currency), amount)


async def test_a_transfer_moves_both_balances(shop: Shop) -> None:
    assert await post(sale(700), sale(300)) == 2
    assert await balance(ledger.clearing("test", "EUR")) == -1000
    assert await balance(ledger.order_funds("EUR")) == 1000


async def test_repeating_a_transfer_has_one_effect(shop: Shop) -> None:
    transfer = sale(700)
    assert [await post(transfer), await post(transfer, sale(300)), await post(transfer)] == [1, 1, 0]
    twins = await asyncio.gather(*(post(one) for one in [sale(100)] * 16))
    assert sum(twins) == 1
    assert await balance(ledger.order_funds("EUR")) == 1100


async def test_a_process_remembers_the_accounts_of_the_shop_and_of_nobody_else(shop: Shop) -> None:
    shops = ledger.tax_payable("EUR"), ledger.order_funds("EUR")
    many = ledger.wallet(new_id(), "EUR"), ledger.seller_balance(new_id(), "EUR")
    for number, account in enumerate((shops[1], *many)):
        await post(Transfer(new_id(), f"step {number}", "moved", shops[0], account, 1))
    assert {account.id for account in (*shops, *many)} & db.seen == {account.id for account in shops}


async def test_currencies_do_not_mix(shop: Shop) -> None:
    await post(sale(700), sale(300, "JPY"))
    assert await balance(ledger.order_funds("JPY")) == 300
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await post(Transfer(new_id(), "x", "x", ledger.order_funds("EUR"), ledger.refunds_due("JPY"), 100))


async def test_a_wallet_never_falls_below_zero(shop: Shop) -> None:
    await fill_wallet(ANNA, 100)
    with pytest.raises(asyncpg.CheckViolationError, match="never_below_zero"):
        await post(Transfer(new_id(), "x", "x", ledger.wallet(ANNA, "EUR"), ledger.order_funds("EUR"), 101))
    assert await balance(ledger.wallet(ANNA, "EUR")) == 100


async def test_nothing_written_is_changed(shop: Shop) -> None:
    await post(sale(700))
    for change in ("UPDATE %s SET amount = 1", "DELETE FROM %s", "TRUNCATE %s"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await db.pool.execute(change % "payments.transfer")


async def test_an_amount_is_above_zero(shop: Shop) -> None:
    for amount in (0, -1):
        with pytest.raises(asyncpg.CheckViolationError):
            await post(sale(amount))


async def test_money_does_not_go_in_a_circle(shop: Shop) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="from_one_to_another"):
        await post(Transfer(new_id(), "x", "x", ledger.order_funds("EUR"), ledger.order_funds("EUR"), 1))


async def test_crossing_transfers_of_many_accounts_do_not_deadlock_and_lose_nothing(shop: Shop) -> None:
    dice = random.Random(1)
    users = [new_id() for _ in range(8)]
    for user in users:
        await fill_wallet(user, 1_000_000)
    accounts: list[Account] = [ledger.wallet(user, "EUR") for user in users]
    accounts += [ledger.order_funds("EUR"), Account("platform_revenue", "", "EUR"), ledger.clearing("sandbox", "EUR")]
    await post(*(Transfer(new_id(), "x", "x", ledger.clearing("test", "EUR"), account, 1_000_000) for account in accounts))

    async def some() -> None:
        pairs = [dice.sample(accounts, 2) for _ in range(dice.randint(1, 6))]
        await post(*(Transfer(new_id(), "x", "x", debit, credit, dice.randint(1, 500)) for debit, credit in pairs))

    async def watch() -> None:
        for _ in range(20):
            await check_books()

    await asyncio.gather(watch(), *(some() for _ in range(300)))
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert await db.value("SELECT count(*) FROM payments.transfer") > 300
