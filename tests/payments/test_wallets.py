"""A wallet: money comes in by deposit, goes out to pay and to others, and is never spent twice."""

import asyncio
import random

import pytest
from tests.conftest import asked_by
from tests.payments.money import BACK, announced, balance, check_books, fill_wallet, give_back, open_order, pay
from tests.payments.outside import Outside, until

from souk import payments
from souk.app import Shop
from souk.kit import personal
from souk.kit.callers import Caller, Principal, asking
from souk.kit.errors import InvalidField, Unauthenticated
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.database import db
from souk.payments.events import PaymentCaptured, WalletCredited
from souk.payments.types import DepositMoney, MethodNotOffered, PaymentNotFound
from souk.payments.wallet_types import InsufficientFunds, SendMoney, WalletNotFound

TEN = Money(1_000, "EUR")


@pytest.mark.usefixtures("test_gateway")
class TestDeposits:
    async def test_money_is_paid_in(self, shop: Shop) -> None:
        anna = new_id()
        with asked_by("buyer", user_id=anna):
            paid_in = await payments.deposit_money(DepositMoney(TEN, "card", "tok_visa"))
            assert (paid_in.status, paid_in.amount, paid_in.captured) == ("captured", TEN, TEN)
            assert [one.balance for one in (await payments.get_wallet()).balances] == [TEN]
            assert await payments.get_payment(paid_in.id) == paid_in
        assert [event["user_id"] for event in await announced(WalletCredited)] == [str(anna)]
        assert await announced(PaymentCaptured) == []
        with asked_by("buyer"), pytest.raises(PaymentNotFound):
            await payments.get_payment(paid_in.id)

    async def test_a_user_takes_the_wallets_book_along(self, shop: Shop) -> None:
        anna = new_id()
        with asked_by("buyer", user_id=anna):
            await payments.deposit_money(DepositMoney(TEN, "card", "tok_visa"))
            taken = (await personal.export_user_data(anna))["payments"]
        assert [one["balance"] for one in taken["wallet"]] == [{"amount": 1_000, "currency": "EUR"}]  # type: ignore[attr-defined]
        assert [one["kind"] for one in taken["wallet_entries"]] == ["deposit"]  # type: ignore[attr-defined]

    async def test_a_declined_card_pays_nothing_in(self, shop: Shop) -> None:
        with asked_by("buyer"):
            assert (await payments.deposit_money(DepositMoney(TEN, "card", "tok_declined"))).status == "declined"
            assert (await payments.get_wallet()).balances == ()

    async def test_the_same_key_pays_in_once(self, shop: Shop) -> None:
        who = Caller(Principal("user", new_id(), ("buyer",)), idempotency_key="a-key")
        with asking(who):
            request = DepositMoney(TEN, "card", "tok_visa")
            twins = await asyncio.gather(*(payments.deposit_money(request) for _ in range(16)))
            assert len(set(twins)) == 1
            assert [one.balance for one in (await payments.get_wallet()).balances] == [TEN]
            with pytest.raises(IdempotencyKeyReused):
                await payments.deposit_money(DepositMoney(Money(2_000, "EUR"), "card", "tok_visa"))

    async def test_what_cannot_be_paid_in(self, shop: Shop) -> None:
        with asked_by("buyer"):
            for amount in (Money(0, "EUR"), Money(-5, "EUR"), Money(5, "XQX")):
                with pytest.raises(InvalidField):
                    await payments.deposit_money(DepositMoney(amount, "card", "tok_visa"))
            with pytest.raises(MethodNotOffered):
                await payments.deposit_money(DepositMoney(TEN, "wallet"))
        with pytest.raises(Unauthenticated):
            await payments.deposit_money(DepositMoney(TEN, "card", "tok_visa"))

    async def test_a_deposit_is_no_order_to_refund(self, shop: Shop) -> None:
        with asked_by("buyer"):
            paid_in = await payments.deposit_money(DepositMoney(TEN, "card", "tok_visa"))
        with pytest.raises(PaymentNotFound):
            await give_back(paid_in)


async def test_a_deposit_by_another_app(outside: Outside) -> None:
    with asked_by("buyer"):
        asked = await payments.deposit_money(DepositMoney(TEN, "redirect", return_url=BACK))
        assert asked.next_action is not None
        assert (await payments.get_wallet()).balances == ()
        await outside.visit(asked.next_action.redirect_url, "approve")

        async def is_there() -> bool:
            return [one.balance for one in (await payments.get_wallet()).balances] == [TEN]

        await until(is_there)


async def test_every_entry_of_a_wallet_is_listed(shop: Shop) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 10_000)
    await fill_wallet(ben, 500)
    order = await open_order(4_000, anna)
    await pay(order, None, "wallet")
    await give_back(order, 1_500)
    with asked_by("buyer", user_id=anna):
        await payments.send_money(SendMoney(ben, TEN))
        entries = await payments.list_wallet_entries("EUR", 10)
        assert [(one.kind, one.amount.amount) for one in entries] == [
            ("sent", -1_000),
            ("refunded", 1_500),
            ("captured", -4_000),
            ("filled", 10_000),
        ]
        assert sum(one.amount.amount for one in entries) == (await payments.get_wallet()).balances[0].balance.amount
        first = await payments.list_wallet_entries("EUR", 3)
        assert first + await payments.list_wallet_entries("EUR", 3, first[-1].id) == entries
        assert await payments.list_wallet_entries("USD", 10) == ()
    with asked_by("buyer"):
        assert await payments.list_wallet_entries("EUR", 10) == ()


async def test_money_is_sent_to_somebody_who_has_a_wallet(shop: Shop) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 1_500)
    with asked_by("buyer", user_id=anna):
        with pytest.raises(WalletNotFound):
            await payments.send_money(SendMoney(ben, TEN))
        await fill_wallet(ben, 1)
        assert (await payments.send_money(SendMoney(ben, TEN))).amount == TEN
        with pytest.raises(InsufficientFunds) as refused:
            await payments.send_money(SendMoney(ben, TEN))
        assert refused.value.balance == Money(500, "EUR")
        with pytest.raises(WalletNotFound):
            await payments.send_money(SendMoney(ben, Money(1, "USD")))
        with pytest.raises(InvalidField):
            await payments.send_money(SendMoney(anna, TEN))
        with pytest.raises(InvalidField):
            await payments.send_money(SendMoney(ben, Money(-1, "EUR")))
    assert await balance(ledger.wallet(ben, "EUR")) == 1_001


async def test_the_same_key_sends_once(shop: Shop) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 5_000)
    await fill_wallet(ben, 1)
    with asking(Caller(Principal("user", anna, ("buyer",)), idempotency_key="a-key")):
        sent = await asyncio.gather(*(payments.send_money(SendMoney(ben, TEN)) for _ in range(16)))
    assert len(set(sent)) == 1
    assert await balance(ledger.wallet(anna, "EUR")) == 4_000


async def test_one_wallet_and_two_tabs(shop: Shop) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 10_000)
    await fill_wallet(ben, 1)
    orders = [await open_order(6_000, anna) for _ in range(8)]

    async def send() -> object:
        with asked_by("buyer", user_id=anna):
            return await payments.send_money(SendMoney(ben, Money(6_000, "EUR")))

    answers = await asyncio.gather(*(pay(order, None, "wallet") for order in orders), *(send() for _ in range(8)), return_exceptions=True)
    spent = [one for one in answers if not isinstance(one, Exception) and getattr(one, "status", "sent") in ("captured", "sent")]
    assert len(spent) == 1
    assert await balance(ledger.wallet(anna, "EUR")) == 4_000


async def test_the_bank_keeps_its_total(shop: Shop) -> None:
    dice = random.Random(2)
    users = [new_id() for _ in range(8)]
    for user in users:
        await fill_wallet(user, 125)
    read_total = "SELECT sum(balance) FROM payments.account WHERE kind = 'buyer_wallet'"
    seen: set[int] = set()

    async def send() -> None:
        for _ in range(25):
            sender, receiver = dice.sample(users, 2)
            with asked_by("buyer", user_id=sender):
                try:
                    await payments.send_money(SendMoney(receiver, Money(dice.randint(1, 60), "EUR")))
                except InsufficientFunds:
                    continue

    async def watch() -> None:
        for _ in range(50):
            seen.add(int(await db.value(read_total)))
            await check_books()

    await asyncio.gather(watch(), *(send() for _ in range(16)))
    assert seen == {1_000}
    assert await db.value("SELECT min(balance) >= 0 FROM payments.account WHERE kind = 'buyer_wallet'")
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
