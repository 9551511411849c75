"""Money that is held is its owner's and cannot be spent, and each hold ends once: posted, voided, or expired."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.conftest import asked_by
from tests.orders.market import make_seller
from tests.payments.holding import END, euros, hold, let_time_end, post, void, wallet_of
from tests.payments.money import announced, balance, check_books, fill_wallet, open_order, pay
from tests.torture import rounds

from souk import payments
from souk.app import Shop
from souk.kit import personal
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import holds, ledger
from souk.payments.database import db
from souk.payments.events import HoldPosted, HoldReleased, MoneyHeld, WalletCredited
from souk.payments.settings import settings
from souk.payments.types import CurrencyMismatch
from souk.payments.wallet_types import (
    HoldMoney,
    HoldNotFound,
    HoldResolved,
    InsufficientFunds,
    PostHold,
    PostTooLarge,
    SendMoney,
    WalletNotFound,
)

ANNA, BEN = new_id(), new_id()
LATER = timedelta(hours=1)


@pytest.fixture(autouse=True)
async def wallets(shop: Shop) -> None:
    """Anna has ten euros, Ben has a cent."""
    await fill_wallet(ANNA, 1_000)
    await fill_wallet(BEN, 1)


async def test_what_is_held_is_there_and_cannot_be_spent() -> None:
    held = await hold(ANNA, 600, BEN)
    assert (held.status, held.amount, held.posted, held.resolved_at) == ("open", euros(600), euros(0), None)
    assert await wallet_of(ANNA) == (1_000, 600, 400)
    with asked_by("buyer", user_id=ANNA), pytest.raises(InsufficientFunds) as refused:
        await payments.send_money(SendMoney(BEN, euros(401)))
    assert refused.value.balance == euros(400)
    with pytest.raises(InsufficientFunds):
        await hold(ANNA, 401)
    assert (await pay(await open_order(500, ANNA), None, "wallet")).decline_code == "insufficient_funds"
    assert [event["to_user_id"] for event in await announced(MoneyHeld)] == [str(BEN)]


async def test_it_goes_to_whom_it_is_held_for() -> None:
    held = await hold(ANNA, 600, BEN)
    posted = await post(ANNA, held.id)
    assert (posted.status, posted.posted) == ("posted", euros(600))
    assert posted.resolved_at is not None
    assert (await wallet_of(ANNA), await wallet_of(BEN)) == ((400, 0, 400), (601, 0, 601))
    assert [event["amount"]["amount"] for event in await announced(HoldPosted)] == [600]
    assert [event["user_id"] for event in await announced(WalletCredited)] == [str(BEN)]


async def test_of_a_part_the_rest_comes_back() -> None:
    held = await hold(ANNA, 600, BEN)
    with pytest.raises(PostTooLarge) as refused:
        await post(ANNA, held.id, 601)
    assert refused.value.held == euros(600)
    assert (await post(ANNA, held.id, 250)).posted == euros(250)
    assert (await wallet_of(ANNA), await wallet_of(BEN)) == ((750, 0, 750), (251, 0, 251))


async def test_it_is_given_back() -> None:
    held = await hold(ANNA, 600, BEN)
    assert (await void(BEN, held.id)).status == "voided"
    assert await wallet_of(ANNA) == (1_000, 0, 1_000)
    assert [(event["hold_id"], event["expired"]) for event in await announced(HoldReleased)] == [(str(held.id), False)]


async def test_what_is_over_cannot_be_posted_even_before_the_job_has_passed() -> None:
    held = await hold(ANNA, 600, BEN)
    await db.pool.execute(END, held.id)
    with asked_by("buyer", user_id=BEN):
        assert (await payments.get_hold(held.id)).status == "expired"
    assert await wallet_of(ANNA) == (1_000, 600, 400)
    with pytest.raises(HoldResolved) as refused:
        await post(ANNA, held.id)
    assert (refused.value.outcome, refused.value.posted) == ("expired", euros(0))
    assert await wallet_of(ANNA) == (1_000, 0, 1_000), "who tries finds it over and gives it back"
    assert await holds.expire_holds() == 0


async def test_the_job_gives_back_what_is_over_and_nothing_else() -> None:
    over = [await hold(ANNA, 100) for _ in range(3)]
    await hold(ANNA, 100)
    await db.pool.execute("UPDATE payments.hold SET expires_at = now() WHERE id = ANY($1)", [one.id for one in over])
    assert (await holds.expire_holds(limit=2), await holds.expire_holds(limit=2), await holds.expire_holds()) == (2, 1, 0)
    assert await wallet_of(ANNA) == (1_000, 100, 900)
    assert [event["expired"] for event in await announced(HoldReleased)] == [True] * 3


async def test_who_loses_by_a_step_decides_on_it() -> None:
    for_ben, for_shop = await hold(ANNA, 100, BEN), await hold(ANNA, 100)
    for refused in (post(BEN, for_ben.id), void(ANNA, for_ben.id), post(ANNA, for_shop.id), void(ANNA, for_shop.id)):
        with pytest.raises(Forbidden):
            await refused
    for step in (post, void):
        for one in (for_ben, for_shop):
            with pytest.raises(HoldNotFound):
                await step(new_id(), one.id)
        with pytest.raises(HoldNotFound):
            await step(None, new_id())
    with pytest.raises(HoldNotFound):
        await void(BEN, for_shop.id)
    with asking(Caller()), pytest.raises(HoldNotFound):
        await payments.get_hold(for_ben.id)
    with asked_by("seller"), pytest.raises(HoldNotFound):
        await payments.get_hold(for_ben.id)
    assert await wallet_of(ANNA) == (1_000, 200, 800)
    assert ((await post(None, for_ben.id)).status, (await void(None, for_shop.id)).status) == ("posted", "voided")


async def test_what_is_held_for_the_shop_is_the_shops_or_a_sellers() -> None:
    seller = await make_seller()
    first, second = await hold(ANNA, 300), await hold(ANNA, 500)
    await post(None, first.id, 200)
    with asking(Caller(SYSTEM)):
        given = await payments.post_hold(PostHold(second.id, new_id(), to_seller_id=seller))
        with pytest.raises(NotFound):
            await payments.post_hold(PostHold((await hold(ANNA, 50)).id, new_id(), to_seller_id=new_id()))
        with pytest.raises(InvalidField):
            await payments.post_hold(PostHold((await hold(ANNA, 50, BEN)).id, new_id(), to_seller_id=seller))
    assert given.to_seller_id == seller
    assert await balance(ledger.platform_revenue("EUR")) == 200
    assert await balance(ledger.seller_balance(seller, "EUR")) == 500
    with asked_by("buyer", user_id=ANNA), pytest.raises(Forbidden):
        await payments.post_hold(PostHold(second.id, new_id(), to_seller_id=seller))


async def test_the_same_resolution_again_is_the_same_answer() -> None:
    posted, voided, one, another = await hold(ANNA, 300, BEN), await hold(ANNA, 300, BEN), new_id(), new_id()
    first = await post(ANNA, posted.id, 200, one)
    assert [await post(ANNA, posted.id, 200, one) for _ in range(3)] == [first] * 3
    with pytest.raises(IdempotencyKeyReused):
        await post(ANNA, posted.id, 100, one)
    for late in (post(ANNA, posted.id, 200, another), post(None, posted.id), void(BEN, posted.id)):
        with pytest.raises(HoldResolved) as refused:
            await late
        assert (refused.value.outcome, refused.value.posted) == ("posted", euros(200))
    assert await void(BEN, voided.id, one) == await void(BEN, voided.id, one)
    with pytest.raises(HoldResolved, match="voided already"):
        await void(BEN, voided.id, another)


async def test_the_same_hold_again_is_the_same_hold() -> None:
    hold_id = new_id()
    twins = await asyncio.gather(*(hold(ANNA, 600, BEN, hold_id) for _ in range(16)))
    assert len(set(twins)) == 1
    assert await wallet_of(ANNA) == (1_000, 600, 400)
    for other in (
        hold(ANNA, 601, BEN, hold_id),
        hold(ANNA, 600, None, hold_id),
        hold(ANNA, 600, BEN, hold_id, minutes=5),
        hold(BEN, 1, ANNA, hold_id),
    ):
        with pytest.raises(IdempotencyKeyReused):
            await other
    await post(ANNA, hold_id)
    assert (await hold(ANNA, 600, BEN, hold_id)).status == "posted"


async def test_the_same_hold_again_when_its_time_is_over() -> None:
    hold_id = new_id()
    first = await hold(ANNA, 600, BEN, hold_id, minutes=0.005)
    await asyncio.sleep(0.4)
    again = await hold(ANNA, 600, BEN, hold_id, minutes=0.005)
    assert (first.status, again.status, again.expires_at) == ("open", "expired", first.expires_at)


async def test_two_users_who_make_the_same_id() -> None:
    await fill_wallet(BEN, 1_000)
    hold_id = new_id()
    answers = await asyncio.gather(hold(ANNA, 600, None, hold_id), hold(BEN, 600, None, hold_id), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Hold", "IdempotencyKeyReused"]
    assert sum([(await wallet_of(user))[1] for user in (ANNA, BEN)]) == 600


async def test_the_same_key_holds_once() -> None:
    request = HoldMoney(euros(600), datetime.now(UTC) + LATER, BEN)
    with asking(Caller(Principal("user", ANNA, ("buyer",)), idempotency_key="a-key")):
        twins = await asyncio.gather(*(payments.hold_money(request) for _ in range(16)))
    assert len(set(twins)) == 1
    assert await wallet_of(ANNA) == (1_000, 600, 400)


async def test_what_cannot_be_held() -> None:
    now = datetime.now(UTC)
    settings.replace(longest_hold_days=2)
    bad = [
        HoldMoney(euros(0), now + LATER),
        HoldMoney(euros(-1), now + LATER),
        HoldMoney(Money(5, "XQX"), now + LATER),
        HoldMoney(euros(1), now),
        HoldMoney(euros(1), now + timedelta(days=2, minutes=1)),
        HoldMoney(euros(1), now + LATER, to_user_id=ANNA),
        HoldMoney(euros(1), now + LATER, id=uuid4()),
    ]
    with asked_by("buyer", user_id=ANNA):
        for request in bad:
            with pytest.raises(InvalidField):
                await payments.hold_money(request)
        with pytest.raises(WalletNotFound):
            await payments.hold_money(HoldMoney(euros(1), now + LATER, new_id()))
        with pytest.raises(InsufficientFunds):
            await payments.hold_money(HoldMoney(Money(1, "USD"), now + LATER))
        await payments.hold_money(HoldMoney(euros(1), now + timedelta(days=2)))
    with pytest.raises(Unauthenticated):
        await payments.hold_money(HoldMoney(euros(1), now + LATER))
    held = await hold(ANNA, 100, BEN)
    with asked_by("buyer", user_id=ANNA):
        with pytest.raises(CurrencyMismatch):
            await payments.post_hold(PostHold(held.id, new_id(), Money(100, "USD")))
        for cents in (0, -1):
            with pytest.raises(InvalidField):
                await payments.post_hold(PostHold(held.id, new_id(), euros(cents)))
    assert await wallet_of(ANNA) == (1_000, 101, 899)


async def test_holds_are_listed_for_both_sides() -> None:
    first, second, third = [await hold(ANNA, 100, to) for to in (BEN, None, BEN)]
    done = await void(BEN, first.id)
    await db.pool.execute(END, second.id)
    with asked_by("buyer", user_id=ANNA):
        assert [one.id for one in await payments.list_holds(10)] == [third.id, second.id, first.id]
        assert [one.id for one in await payments.list_holds(1, third.id)] == [second.id]
        for status, expected in (("open", third), ("expired", second), ("voided", first)):
            assert [one.id for one in await payments.list_holds(10, None, status)] == [expected.id]
        assert [one["id"] for one in (await personal.export_user_data(ANNA))["payments"]["wallet_holds"]] == [  # type: ignore[attr-defined]
            str(one.id) for one in (third, second, first)
        ]
    with asked_by("buyer", user_id=BEN):
        assert await payments.list_holds(10) == (third, done)
    with asked_by("buyer"):
        assert await payments.list_holds(10) == ()
        with pytest.raises(Forbidden):
            await payments.list_holds(10, for_shop=True)
    with asked_by("admin"):
        assert [one.id for one in await payments.list_holds(10, for_shop=True)] == [second.id]
        assert [one.id for one in await payments.list_holds(10, status="expired", for_shop=True)] == [second.id]
        assert await payments.list_holds(10, status="open", for_shop=True) == ()
        assert await payments.list_holds(10, second.id, for_shop=True) == ()


async def test_many_who_resolve_at_once() -> None:
    """Sixteen post, sixteen void, and the time ends: one of them all has it."""
    for _ in range(rounds(3, 50)):
        await fill_wallet(ANNA, 100)
        held = await hold(ANNA, 100, BEN)
        before = await wallet_of(ANNA)
        asked = [post(ANNA, held.id, 60) for _ in range(16)] + [void(BEN, held.id) for _ in range(16)]
        answers = await asyncio.gather(let_time_end(held.id), *random.sample(asked, len(asked)), return_exceptions=True)
        done = [one for one in answers[1:] if not isinstance(one, BaseException)]
        assert all(isinstance(one, HoldResolved) for one in answers[1:] if isinstance(one, BaseException)), answers
        with asking(Caller(SYSTEM)):
            now = await payments.get_hold(held.id)
        assert len(done) == (now.status in ("posted", "voided"))
        gone = 60 if now.status == "posted" else 0
        assert await wallet_of(ANNA) == (before[0] - gone, 0, before[0] - gone)


async def test_one_wallet_and_many_tabs() -> None:
    """R9: 32 payments, holds and sends of one wallet at the same moment spend no more than is there."""
    anna = new_id()
    for turn in range(rounds(3, 30)):
        await fill_wallet(anna, 10_000 - (await balance(ledger.wallet(anna, "EUR")) if turn else 0))
        orders = [await open_order(3_000, anna) for _ in range(11)]

        async def send() -> object:
            with asked_by("buyer", user_id=anna):
                return await payments.send_money(SendMoney(BEN, euros(3_000)))

        tabs = [*(pay(order, None, "wallet") for order in orders), *(hold(anna, 3_000) for _ in range(11)), *(send() for _ in range(10))]
        answers = await asyncio.gather(*random.sample(tabs, len(tabs)), return_exceptions=True)
        assert all(isinstance(one, InsufficientFunds) for one in answers if isinstance(one, BaseException)), answers
        spent = [
            one for one in answers if not isinstance(one, BaseException) and getattr(one, "status", "sent") in ("captured", "open", "sent")
        ]
        assert (len(tabs), len(spent)) == (32, 3)
        assert (await wallet_of(anna))[2] == 1_000
        await check_books()


async def hold_and_end(dice: random.Random, user: UUID, cents: int, another: UUID) -> None:
    """Money is held, and then posted, in part or in full, or given back."""
    held = await hold(user, cents, another)
    match dice.randrange(3):
        case 0:
            await post(user, held.id)
        case 1:
            await post(user, held.id, (cents + 1) // 2)
        case _:
            await void(another, held.id)


async def test_the_bank_keeps_its_total_while_money_is_sent_and_held() -> None:
    """C-04: eight wallets, sixteen who send, hold, post and void; whoever looks finds as much as there was."""
    users = [new_id() for _ in range(8)]
    for user in users:
        await fill_wallet(user, 125)
    read_total = """
        SELECT sum(balance)::bigint AS total, min(balance)::bigint AS least FROM payments.account
        WHERE kind IN ('buyer_wallet', 'wallet_held') AND owner = ANY($1)
    """

    async def work(dice: random.Random) -> int:
        done = 0
        for _ in range(rounds(20, 2_000)):
            one, another = dice.sample(users, 2)
            cents = dice.randint(1, 60)
            try:
                if dice.random() < 0.4:
                    with asked_by("buyer", user_id=one):
                        await payments.send_money(SendMoney(another, euros(cents)))
                else:
                    await hold_and_end(dice, one, cents, another)
            except InsufficientFunds:
                continue
            done += 1
        return done

    working, seen = asyncio.gather(*(work(random.Random(number)) for number in range(16))), 0
    while not working.done():
        (row,) = await db.pool.fetch(read_total, [str(user) for user in users])
        assert (row["total"], row["least"] >= 0) == (1_000, True)
        shown = await wallet_of(users[seen % 8])
        assert shown[0] == shown[1] + shown[2]
        seen += 1
    assert (sum(await working) > 100, seen > 3) == (True, True)
    assert sum([(await wallet_of(user))[0] for user in users]) == 1_000
    assert await db.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
