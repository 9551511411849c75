"""Money goes between the balance of a seller and the wallet of who owns the seller, and never more than is there."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import pytest
from tests.conftest import asked_by
from tests.payments.holding import euros, wallet_of
from tests.payments.money import announced, balance, fill_wallet

from souk import payments
from souk.app import Shop
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.events import WalletCredited
from souk.payments.wallet_types import InsufficientFunds, MoveMoney, WalletTransfer


class Team(msgspec.Struct, frozen=True):
    """A seller with an owner and a member."""

    seller: UUID
    owner: UUID
    member: UUID


@pytest.fixture
async def team(shop: Shop) -> AsyncIterator[Team]:
    """A seller who has earned fifty euros."""
    seller = new_id()
    await earn(seller, 5_000)
    return Team(seller, new_id(), new_id())


async def earn(seller: UUID, cents: int) -> None:
    """A seller earns so much, or owes it."""
    way = (ledger.clearing("test", "EUR"), ledger.seller_balance(seller, "EUR"))
    debit, credit = way if cents > 0 else way[::-1]
    async with db.transaction() as tx:
        await ledger.post(tx, (ledger.Transfer(new_id(), "earned", "earned", debit, credit, abs(cents)),))


async def move(user_id: UUID, team: Team, cents: int, *, to_seller: bool = False) -> WalletTransfer:
    owned = (team.seller,) if user_id == team.owner else ()
    with asking(Caller(Principal("user", user_id, ("seller",), (team.seller,), owned_seller_ids=owned))):
        return await payments.move_money(MoveMoney(team.seller, euros(cents), to_seller))


async def test_an_owner_takes_what_the_seller_has(team: Team) -> None:
    moved = await move(team.owner, team, 3_000)
    assert (moved.from_seller_id, moved.to_user_id, moved.to_seller_id, moved.amount) == (team.seller, team.owner, None, euros(3_000))
    assert await wallet_of(team.owner) == (3_000, 0, 3_000)
    assert await balance(ledger.seller_balance(team.seller, "EUR")) == 2_000
    assert [event["user_id"] for event in await announced(WalletCredited)] == [str(team.owner)]
    with pytest.raises(InsufficientFunds) as refused:
        await move(team.owner, team, 2_001)
    assert refused.value.balance == euros(2_000)


async def test_an_owner_pays_what_the_seller_owes(team: Team) -> None:
    await earn(team.seller, -5_700)
    await fill_wallet(team.owner, 1_000)
    with pytest.raises(InsufficientFunds) as refused:
        await move(team.owner, team, 1)
    assert refused.value.balance == euros(-700)
    moved = await move(team.owner, team, 700, to_seller=True)
    assert (moved.from_seller_id, moved.to_user_id, moved.to_seller_id) == (None, None, team.seller)
    assert await balance(ledger.seller_balance(team.seller, "EUR")) == 0
    assert await wallet_of(team.owner) == (300, 0, 300)
    with pytest.raises(InsufficientFunds):
        await move(team.owner, team, 301, to_seller=True)


async def test_owners_only(team: Team) -> None:
    for to_seller in (False, True):
        with pytest.raises(Forbidden):
            await move(team.member, team, 1, to_seller=to_seller)
        with asked_by("seller", user_id=team.owner), pytest.raises(NotFound):
            await payments.move_money(MoveMoney(team.seller, euros(1), to_seller))
        with asked_by("admin"), pytest.raises(NotFound):
            await payments.move_money(MoveMoney(team.seller, euros(1), to_seller))
        with pytest.raises(Unauthenticated):
            await payments.move_money(MoveMoney(team.seller, euros(1), to_seller))
        for cents in (0, -5):
            with pytest.raises(InvalidField):
                await move(team.owner, team, cents, to_seller=to_seller)
    assert await balance(ledger.seller_balance(team.seller, "EUR")) == 5_000


async def test_the_same_key_moves_once(team: Team) -> None:
    with asking(
        Caller(Principal("user", team.owner, ("seller",), (team.seller,), owned_seller_ids=(team.seller,)), idempotency_key="a-key")
    ):
        moved = await asyncio.gather(*(payments.move_money(MoveMoney(team.seller, euros(3_000))) for _ in range(16)))
    assert len(set(moved)) == 1
    assert await wallet_of(team.owner) == (3_000, 0, 3_000)


async def test_many_who_take_at_once(team: Team) -> None:
    await fill_wallet(team.owner, 5_000)
    tabs = [move(team.owner, team, 2_000, to_seller=number % 2 == 1) for number in range(32)]
    answers = await asyncio.gather(*tabs, return_exceptions=True)
    assert all(isinstance(one, InsufficientFunds) for one in answers if isinstance(one, BaseException)), answers
    left, (total, _, _) = await balance(ledger.seller_balance(team.seller, "EUR")), await wallet_of(team.owner)
    assert (left >= 0, total >= 0, left + total) == (True, True, 10_000)
    await asyncio.gather(*(move(team.owner, team, 2_000) for _ in range(32)), return_exceptions=True)
    assert 0 <= await balance(ledger.seller_balance(team.seller, "EUR")) < 2_000
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
