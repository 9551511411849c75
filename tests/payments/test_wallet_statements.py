"""A statement of a wallet: opening balance, movements with the balance after each, closing balance, and they always add up."""

import asyncio
import csv
import io
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.payments.holding import END, euros, hold, post, void
from tests.payments.money import fill_wallet, give_back, open_order, pay

from souk import payments
from souk.app import Shop
from souk.kit.errors import InvalidField, Unauthenticated
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import jobs
from souk.payments.database import db
from souk.payments.wallet_statements import write_statement
from souk.payments.wallet_types import SendMoney, StatementLine, StatementRequest, WalletStatement

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


async def send(sender: UUID, receiver: UUID, cents: int) -> None:
    with asked_by("buyer", user_id=sender):
        await payments.send_money(SendMoney(receiver, euros(cents)))


async def read(
    user_id: UUID, begins_at: datetime = BEGIN, ends_at: datetime | None = None, limit: int = 1_000, after: UUID | None = None
) -> WalletStatement:
    """The statement of a user's wallet; up to a moment that nothing has reached, if none is said."""
    end = ends_at or datetime.now(UTC) + timedelta(minutes=1)
    with asked_by("buyer", user_id=user_id):
        return await payments.get_wallet_statement(StatementRequest("EUR", begins_at, end, after), limit)


def check(statement: WalletStatement, before: Money | None = None) -> None:
    """Each line carries on from the one before it, from the opening balance to the closing balance if they are all there."""
    balance = before or statement.opening_balance
    for line in statement.items:
        balance += line.amount
        assert line.balance == balance
    if before is None:
        assert balance == statement.closing_balance


async def pause() -> datetime:
    """A moment between what was and what comes, by the millisecond of an id."""
    await asyncio.sleep(0.005)
    moment = datetime.now(UTC)
    await asyncio.sleep(0.005)
    return moment


async def test_everything_that_happens_in_a_wallet(shop: Shop) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 10_000)
    await fill_wallet(ben, 1)
    order = await open_order(4_000, anna)
    await pay(order, None, "wallet")
    noon = await pause()
    await give_back(order, 1_500, to="wallet")
    await send(anna, ben, 700)
    held, returned, over = await hold(anna, 1_000, ben), await hold(anna, 2_000, ben), await hold(anna, 300)
    await post(anna, held.id, 400)
    await void(ben, returned.id)
    await db.pool.execute(END, over.id)
    await jobs.expire_holds()
    night = await pause()
    await hold(anna, 50)
    whole, morning, evening = await read(anna), await read(anna, BEGIN, noon), await read(anna, noon, night)
    assert [(line.kind, line.amount.amount, line.balance.amount) for line in whole.items] == [
        ("filled", 10_000, 10_000),
        ("captured", -4_000, 6_000),
        ("refunded", 1_500, 7_500),
        ("sent", -700, 6_800),
        ("hold_posted", -400, 6_400),
    ]
    assert (whole.opening_balance, whole.closing_balance) == (euros(0), euros(6_400))
    assert (morning.items, evening.items) == (whole.items[:2], whole.items[2:])
    assert (morning.closing_balance, evening.opening_balance, evening.closing_balance) == (euros(6_000), euros(6_000), euros(6_400))
    for statement in (whole, morning, evening, await read(ben), await read(new_id())):
        check(statement)
    with asked_by("buyer", user_id=anna):
        assert (await payments.get_wallet()).balances[0].balance == whole.closing_balance
        entries = await payments.list_wallet_entries("EUR", 100)
    assert [(one.id, one.amount) for one in entries] == [(line.id, line.amount) for line in reversed(whole.items)]
    assert (await read(new_id())).items == ()


async def test_pages_carry_on(shop: Shop) -> None:
    anna, ben = new_id(), new_id()
    await fill_wallet(anna, 1_000)
    await fill_wallet(ben, 1)
    for cents in range(1, 8):
        await send(anna, ben, cents)
    end = await pause()
    whole = await read(anna, ends_at=end)
    await send(anna, ben, 100)
    lines: list[StatementLine] = []
    while True:
        page = await read(anna, ends_at=end, limit=3, after=lines[-1].id if lines else None)
        assert (page.opening_balance, page.closing_balance) == (euros(0), euros(972))
        check(page, lines[-1].balance if lines else page.opening_balance)
        lines += page.items
        if not page.items:
            break
    assert tuple(lines) == whole.items


async def test_a_statement_adds_up_while_the_wallet_is_used(shop: Shop) -> None:
    users = [new_id() for _ in range(4)]
    for user in users:
        await fill_wallet(user, 100_000)
    begin = await pause()
    dice, reads = random.Random(5), 0

    async def use() -> None:
        for _ in range(15):
            one, another = dice.sample(users, 2)
            if dice.random() < 0.5:
                await send(one, another, dice.randint(1, 50))
            else:
                held = await hold(one, dice.randint(2, 50), another)
                await dice.choice((post, void))(None, held.id)

    using = asyncio.gather(*(use() for _ in range(8)))
    while not using.done():
        for since in (BEGIN, begin):
            statement = await read(users[reads % 4], since)
            check(statement)
            assert all(line.balance.amount >= 0 for line in statement.items)
        reads += 1
    await using
    assert reads > 3
    assert sum([(await read(user)).closing_balance.amount for user in users]) == 400_000


async def test_what_is_no_period(shop: Shop) -> None:
    with pytest.raises(InvalidField):
        await read(new_id(), BEGIN, BEGIN)
    with pytest.raises(Unauthenticated):
        await payments.get_wallet_statement(StatementRequest("EUR", BEGIN, datetime.now(UTC)), 10)
    assert (await read(new_id(), datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC), after=UUID(int=2**128 - 1))).items == ()


def test_no_cell_of_a_file_is_a_formula() -> None:
    line = StatementLine(new_id(), "=HYPERLINK(1)", Money(-1_205, "EUR"), Money(95, "EUR"), new_id(), BEGIN)
    file = write_statement(WalletStatement("EUR", BEGIN, BEGIN + timedelta(days=1), euros(1_300), euros(95), (line,)))
    rows = list(csv.DictReader(io.StringIO(file.decode())))
    assert [(row["kind"], row["amount"], row["balance"], row["currency"]) for row in rows] == [
        ("opening_balance", "", "13.00", "EUR"),
        ("'=HYPERLINK(1)", "-12.05", "0.95", "EUR"),
        ("closing_balance", "", "0.95", "EUR"),
    ]
    assert (rows[1]["id"], rows[1]["cause_id"], rows[0]["booked_at"]) == (str(line.id), str(line.cause_id), "2020-01-01T00:00:00+00:00")
