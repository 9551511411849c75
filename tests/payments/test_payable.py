"""What leaves a seller's balance, to their bank or to their owner's wallet, is decided under its lock and leaves once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from uuid import UUID

import pytest
from tests.payments.bank import (
    assert_in_order,
    balance_of,
    earn,
    euros,
    make_due,
    make_seller,
    open_connections,
    owner_of,
    pay_now,
    payouts_of,
)
from tests.payments.money import balance, fill_wallet
from tests.waiting import until

from souk import payments
from souk.app import Shop
from souk.kit.db import Transaction
from souk.kit.ids import new_id
from souk.payments import ledger, payouts, wallets
from souk.payments.database import db
from souk.payments.payout_types import NothingToPayOut
from souk.payments.settings import settings
from souk.payments.wallet_types import InsufficientFunds, MoveMoney


@pytest.fixture(autouse=True)
async def books_in_order(shop: Shop) -> AsyncIterator[None]:
    """Sellers are paid, and nobody asks their bank; whatever a test did, every rule of payments holds after it."""
    settings.replace(sandbox_bank_url="http://127.0.0.1:1", payout_change_delay_s=0.0)
    yield
    await assert_in_order()


async def somebody_waits(tx: Transaction) -> bool:
    return bool(await tx.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))


async def whereabouts(seller: UUID, owner: UUID) -> tuple[int, int, int]:
    """How much lies with the seller, with their owner, and on its way to the bank."""
    on_its_way = sum(one.amount.amount for one in await payouts_of(seller))
    return await balance_of(seller), await balance(ledger.wallet(owner, "EUR")), on_its_way


async def move(seller: UUID, owner: UUID, cents: int, *, to_seller: bool = False) -> None:
    with owner_of(seller, owner):
        await payments.move_money(MoveMoney(seller, euros(cents), to_seller))


async def pay_by_the_clock(seller: UUID) -> object:
    return await payouts.make_due_payouts()


@pytest.mark.parametrize("pay", [pay_by_the_clock, pay_now])
async def test_what_an_owner_is_just_taking_is_not_paid_out(pay: Callable[[UUID], Awaitable[object]]) -> None:
    seller, owner = await make_seller(5_000), new_id()
    taken = asyncio.Event()

    async def take() -> None:
        async with db.transaction() as tx:
            await wallets.move_own(tx, owner, MoveMoney(seller, euros(5_000)))
            taken.set()
            await until(partial(somebody_waits, tx))

    async def pay_meanwhile() -> None:
        await taken.wait()
        with suppress(NothingToPayOut):
            await pay(seller)

    await asyncio.gather(take(), pay_meanwhile())
    assert await whereabouts(seller, owner) == (0, 5_000, 0)


async def test_money_that_is_moved_and_paid_out_at_once_goes_one_way() -> None:
    seller, owner = await make_seller(0), new_id()
    await fill_wallet(owner, 700)
    await open_connections()

    async def carry(number: int) -> None:
        for turn in range(2):
            with suppress(InsufficientFunds):
                await move(seller, owner, 1_000 + number, to_seller=bool(turn))

    async def pay() -> None:
        for _ in range(4):
            await payouts.make_due_payouts()
            await make_due()

    for turn in range(1, 7):
        await earn(seller, 5_000)
        await make_due()
        await asyncio.gather(*(carry(number) for number in range(16)), pay())
        left, wallet, paid = await whereabouts(seller, owner)
        assert (left >= 0, wallet >= 0, left + wallet + paid) == (True, True, 5_000 * turn + 700)
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_what_is_too_young_for_the_bank_is_too_young_for_a_wallet() -> None:
    seller, owner = await make_seller(5_000), new_id()
    settings.replace(payout_delay_s=3_600.0)
    with pytest.raises(InsufficientFunds) as refused:
        await move(seller, owner, 1)
    assert refused.value.balance == euros(0)
    settings.replace(payout_delay_s=0.05)
    await asyncio.sleep(0.1)
    await move(seller, owner, 5_000)
    settings.replace(payout_delay_s=3_600.0)
    await move(seller, owner, 700, to_seller=True)  # to a seller it goes at any time
    assert await whereabouts(seller, owner) == (700, 4_300, 0)
