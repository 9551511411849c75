"""Where a seller's money goes: an owner says so, nobody reads the number again, and a change gives time to notice it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.payments.bank import (
    IBAN,
    assert_in_order,
    balance_of,
    earn,
    make_due,
    make_seller,
    open_connections,
    owner_of,
    pay_now,
    payouts_of,
    run_jobs,
    set_account,
    standing,
)
from tests.payments.money import announced
from tests.payments.outside import Outside

from souk import payments
from souk.app import Shop
from souk.kit import personal
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound
from souk.kit.events import Delivered
from souk.kit.ids import new_id
from souk.payments import consumers
from souk.payments.database import db
from souk.payments.events import PayoutAccountChanged
from souk.payments.payout_types import PayoutAccount, PayoutHeldBack, SetPayoutAccount
from souk.payments.settings import settings
from souk.users.events import SellerApproved, SellerSuspended, UserErased

OTHER_IBAN = "GB82 WEST 1234 5698 7654 32"


async def accounts_of(seller_id: UUID) -> tuple[PayoutAccount, ...]:
    with asked_by("seller", sells_for=(seller_id,)):
        return await payments.list_payout_accounts(seller_id)


async def hear(event: SellerApproved | SellerSuspended | UserErased) -> None:
    """The consumer of this event applies it."""
    consume = consumers.forget_payout_accounts if isinstance(event, UserErased) else consumers.pause_payouts
    async with db.transaction() as tx:
        await consume(tx, (Delivered(event, new_id(), datetime.now(UTC)),))


async def test_the_number_is_shown_by_its_end_and_told_to_nobody(shop: Shop) -> None:
    seller = new_id()
    made = await set_account(seller)
    assert (made.number, made.holder, made.country, made.currency) == ("****3000", "Lighthouse", "DE", "EUR")
    assert await accounts_of(seller) == (made,)
    [told] = await announced(PayoutAccountChanged)
    assert told.keys() == {"seller_id", "currency", "payable_from"}
    texts = await db.pool.fetch("SELECT payload::text AS text FROM payments.outbox")
    assert not any("3704" in row["text"] or "Lighthouse" in row["text"] for row in texts)


async def test_an_owner_sets_it_and_a_member_only_sees_it(shop: Shop) -> None:
    seller, wanted = new_id(), SetPayoutAccount("Lighthouse", IBAN, "DE", "EUR")
    with asked_by("seller", sells_for=(seller,)), pytest.raises(Forbidden):
        await payments.set_payout_account(seller, wanted)
    for stranger in (asked_by("buyer"), asked_by("seller", sells_for=(new_id(),)), owner_of(new_id())):
        with stranger:
            with pytest.raises(NotFound):
                await payments.set_payout_account(seller, wanted)
            with pytest.raises(NotFound):
                await payments.list_payout_accounts(seller)
    assert await accounts_of(seller) == ()
    with asked_by("admin"):
        await payments.set_payout_account(seller, wanted)
    assert len(await accounts_of(seller)) == 1


@pytest.mark.parametrize(
    ("number", "country", "currency", "field"),
    [
        ("DE89 3704 0044 0532 0130 01", "DE", "EUR", "number"),
        ("DEXX 3704 0044 0532 0130 00", "DE", "EUR", "number"),
        (IBAN, "FR", "EUR", "country"),
        ("1234", "US", "USD", "number"),
        ("12AB5678", "US", "USD", "number"),
        (IBAN, "DE", "ABC", "currency"),
    ],
)
async def test_what_is_no_account(shop: Shop, number: str, country: str, currency: str, field: str) -> None:
    with owner_of(seller := new_id()), pytest.raises(InvalidField) as refused:
        await payments.set_payout_account(seller, SetPayoutAccount("Lighthouse", number, country, currency))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("number", "country"), [(IBAN, "DE"), (OTHER_IBAN.lower(), "GB"), ("NO93 8601 1117 947", "NO"), ("000123456789", "US")]
)
async def test_what_is_one(shop: Shop, number: str, country: str) -> None:
    made = await set_account(new_id(), number, "USD", country)
    assert made.number == "****" + number.replace(" ", "").upper()[-4:]


async def test_a_change_holds_the_next_payout_back(bank: Outside) -> None:
    seller = await make_seller(5_000)
    settings.replace(payout_change_delay_s=3_600.0)
    await set_account(seller)
    assert len(await announced(PayoutAccountChanged)) == 1, "the same again is no change"
    changed = await set_account(seller, OTHER_IBAN, country="GB")
    assert timedelta(minutes=59) < changed.payable_from - datetime.now(UTC) <= timedelta(hours=1)
    await make_due()
    await run_jobs()
    with pytest.raises(PayoutHeldBack) as held:
        await pay_now(seller)
    assert held.value.payable_from == changed.payable_from
    assert (await payouts_of(seller), await balance_of(seller)) == ([], 5_000)
    await db.pool.execute("UPDATE payments.payout_account SET payable_from = now()")
    await make_due()
    await run_jobs()
    [payout] = await payouts_of(seller)
    assert (payout.status, payout.number) == ("paid", "****5432")


async def test_a_first_account_waits_like_a_changed_one(bank: Outside) -> None:
    settings.replace(payout_change_delay_s=3_600.0)
    seller = await make_seller(5_000)
    await run_jobs()
    assert await payouts_of(seller) == []


async def test_a_change_that_comes_while_money_is_on_its_way_does_not_redirect_it(bank: Outside) -> None:
    await bank.control(next="timeout_not_charged", on="transfer")
    seller = await make_seller(5_000)
    await run_jobs()
    await set_account(seller, OTHER_IBAN, country="GB")
    await make_due()
    await run_jobs()
    assert [(one.status, one.number) for one in await payouts_of(seller)] == [("paid", "****3000")]


async def test_changes_and_the_clock_at_once(bank: Outside) -> None:
    seller = await make_seller(5_000)
    await open_connections()
    numbers = [f"0001234567{place:02}" for place in range(16)]
    await asyncio.gather(*(run_jobs() for _ in range(4)), *(set_account(seller, number, "EUR", "US") for number in numbers))
    await make_due()
    await run_jobs()
    assert await standing(seller) == [("paid", 5_000, None)]
    await assert_in_order()


async def test_who_is_suspended_is_not_paid_by_itself(bank: Outside) -> None:
    seller, other = await make_seller(5_000), await make_seller(6_000)
    await hear(SellerSuspended(seller))
    await run_jobs()
    assert (await payouts_of(seller), len(await payouts_of(other))) == ([], 1)
    await hear(SellerApproved(seller, new_id()))
    await make_due()
    await run_jobs()
    assert await standing(seller) == [("paid", 5_000, None)]


async def test_who_leaves_takes_the_account_along(bank: Outside) -> None:
    anna, seller, other = new_id(), new_id(), await make_seller(6_000)
    with owner_of(seller, anna):
        await payments.set_payout_account(seller, SetPayoutAccount("Anna", IBAN, "DE", "EUR"))
    with asking(Caller(SYSTEM)):
        exported = (await personal.export_user_data(anna))["payments"]["payout_accounts"]
    assert [(one["holder"], one["number"]) for one in exported] == [("Anna", IBAN.replace(" ", ""))]  # type: ignore[attr-defined]
    await earn(seller, 5_000)
    await run_jobs()
    await hear(UserErased(anna))
    assert (await accounts_of(seller), len(await accounts_of(other))) == ((), 1)
    assert await standing(seller) == [("paid", 5_000, None)]
    rows = await db.pool.fetch("SELECT p::text AS text FROM payments.payout AS p WHERE seller_id = $1", seller)
    assert not any("Anna" in row["text"] or "3704" in row["text"] for row in rows)
