"""Sellers with money to be paid out, the shop's side of it, and the bank's own word on what happened."""

import asyncio
from typing import Any
from uuid import UUID

from tests.conftest import asked_by
from tests.payments.money import balance
from tests.payments.outside import Outside

from souk import payments
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.kit.rules import check_rules
from souk.payments import bank_statements, ledger, paying_out, payouts
from souk.payments.database import db
from souk.payments.ledger import Transfer
from souk.payments.payout_types import PayOut, Payout, PayoutAccount, SetPayoutAccount

IBAN = "DE89 3704 0044 0532 0130 00"
CLOSED, RETURNED, ACCEPTED = "000111111113", "000111111116", "000222222227"
SILENT_PAID, SILENT_LOST, BROKEN_PAID, SHORT = "000333333335", "000333333336", "000333333337", "000444444440"


async def earn(seller_id: UUID, amount: int, currency: str = "EUR") -> None:
    """Goods of this seller that somebody paid left the store; below zero they came back."""
    funds, gateway = ledger.order_funds(currency), ledger.clearing("test", currency)
    mine, order_id = ledger.seller_balance(seller_id, currency), new_id()
    async with db.transaction() as tx:
        if amount > 0:
            paid = Transfer(order_id, "captured", "captured", gateway, funds, amount)
            await ledger.post(tx, (paid, Transfer(order_id, "earned", "earned", funds, mine, amount)))
        else:
            await ledger.post(tx, (Transfer(order_id, "clawed_back", "clawed_back", mine, gateway, -amount),))


def owner_of(seller_id: UUID, user_id: UUID | None = None) -> Any:
    """Whatever runs inside is asked for by an owner of this seller."""
    return asking(
        Caller(Principal("user", user_id or new_id(), ("seller",), (seller_id,), owned_seller_ids=(seller_id,)), request_id="test")
    )


async def set_account(seller_id: UUID, number: str = IBAN, currency: str = "EUR", country: str = "DE") -> PayoutAccount:
    with owner_of(seller_id):
        return await payments.set_payout_account(seller_id, SetPayoutAccount("Lighthouse", number, country, currency))


async def make_seller(amount: int = 5_000, number: str = IBAN, currency: str = "EUR") -> UUID:
    """A seller who is to be paid this at once."""
    seller_id = new_id()
    await set_account(seller_id, number, currency)
    if amount:
        await earn(seller_id, amount, currency)
    return seller_id


async def payouts_of(seller_id: UUID) -> list[Payout]:
    """A seller's payouts, newest first."""
    with asked_by("seller", sells_for=(seller_id,)):
        return list(await payments.list_payouts(seller_id, 100))


async def standing(seller_id: UUID) -> list[tuple[str, int, str | None]]:
    """How a seller's payouts stand, oldest first."""
    return [(one.status, one.amount.amount, one.reason) for one in reversed(await payouts_of(seller_id))]


async def balance_of(seller_id: UUID, currency: str = "EUR") -> int:
    return await balance(ledger.seller_balance(seller_id, currency))


async def pay_now(seller_id: UUID, currency: str = "EUR") -> Payout:
    with asking(Caller(SYSTEM)):
        return await payments.pay_seller_out(seller_id, PayOut(currency))


async def make_due() -> None:
    """A day has passed, and so has every pause before a question is asked again."""
    await db.pool.execute("UPDATE payments.payout_account SET due_at = greatest(payable_from, now() - interval '1 second')")
    await db.pool.execute("UPDATE payments.payout SET check_at = now() - interval '1 second' WHERE check_at IS NOT NULL")


async def open_connections() -> None:
    """Have every connection of the pool open, so that what begins together runs together: opening one takes longer than a payout."""
    await asyncio.gather(*(db.value("SELECT pg_sleep(0.2)") for _ in range(8)))


async def run_jobs() -> None:
    """What the clock does once."""
    await payouts.make_due_payouts()
    await paying_out.send_due_payouts()


async def ask_again() -> None:
    """Time has passed: the bank is asked about what is under way."""
    await db.pool.execute("UPDATE payments.payout SET check_at = now() - interval '1 second' WHERE check_at IS NOT NULL")
    await paying_out.send_due_payouts()


async def read_statement() -> None:
    await bank_statements.reconcile_if_it_answers()


async def statement_of(outside: Outside, payout: Payout) -> list[tuple[str, int]]:
    """What really happened to a payout's money."""
    lines: list[tuple[str, int]] = []
    after: int | None = 0
    while after is not None:
        page = await outside.ask("GET", f"/v1/statement?after={after}&limit=1000")
        lines += [(line["kind"], line["amount"]) for line in page["items"] if line["reference"] == str(payout.id)]
        after = page["next"]
    return lines


async def assert_in_order() -> None:
    """Every rule that payments keeps at any moment holds, but that bank and shop may differ."""
    with asking(Caller(SYSTEM)):
        verdicts = await check_rules("payments", settled=False)
    assert len(verdicts) > 12
    assert [one for one in verdicts if one.broken and one.id != "I6.gateways"] == []


def euros(amount: int) -> Money:
    return Money(amount, "EUR")
