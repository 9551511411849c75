"""A payment is written once, as it came out, when its first attempts are made together with it."""

import random
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import pytest
from tests.batches import in_processes
from tests.payments.money import announced, balance, fill_wallet

from souk.app import Shop
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.charging import Begin, Begun, begin_attempts
from souk.payments.database import db
from souk.payments.events import PaymentCaptured
from souk.payments.new_payments import derive, new_case, open_payments
from souk.payments.records import FIND_PAYMENT, Attempt, Changes, PaymentRow, write
from souk.payments.types import ChargeRequest, OpenPayment

pytestmark = pytest.mark.usefixtures("test_gateway")

Status = Literal["pending", "requires_action", "captured", "surplus", "declined"]


def opening_of(amount: int = 1_000) -> OpenPayment:
    return OpenPayment(new_id(), new_id(), None, Money(amount, "EUR"), (), datetime.now(UTC) + timedelta(minutes=15))


def first_attempt(opening: OpenPayment, method: str = "card", token: str | None = "tok_visa") -> Begin:
    return Begin(ChargeRequest(opening.order_id, method, token, None, opening.order_id), opening)


def some_attempts(dice: random.Random, opening: OpenPayment) -> list[Attempt]:
    """Attempts of every kind; one of them at the most brought the money."""
    statuses: list[Status] = [status for status in get_args(Status) if status != "captured"]
    kinds = dice.choices(statuses, k=dice.randint(0, 4)) + ["captured"] * dice.randint(0, 1)
    dice.shuffle(kinds)
    amount = opening.amount.amount
    return [
        Attempt(opening.order_id, new_id(), "test", f"way{n}", amount, "EUR", kind, None, f"code{n}", f"https://{n}.test", b"")
        for n, kind in enumerate(kinds)
    ]


async def test_what_a_new_payment_says_is_what_the_database_would_derive(shop: Shop) -> None:
    dice = random.Random(7)
    cases = {one.order_id: (one, some_attempts(dice, one)) for one in (opening_of() for _ in range(300))}
    async with db.transaction() as tx:
        await open_payments(tx, [one for one, _ in cases.values()])
        changes = Changes()
        for opening, attempts in cases.values():
            changes.touched[opening.order_id] = None
            for attempt in attempts:
                changes.put_attempt(new_case(opening), attempt)
        rows = (await write(tx, changes)).payments
        for order_id, (opening, attempts) in cases.items():
            row, ours = rows[order_id], derive(opening.amount.amount, attempts)
            assert (row.captured, row.status, row.method, row.decline_code, row.redirect_url) == (
                ours.captured, ours.status, ours.method, ours.decline_code, ours.redirect_url,
            )  # fmt: skip
        assert {row.status for row in rows.values()} == {"none", "pending", "requires_action", "captured", "declined"}
        # No money was booked for them, so they are not to stay in the books.
        await tx.run("DELETE FROM payments.attempt")
        await tx.run("DELETE FROM payments.payment")


async def test_one_batch_of_new_and_known_payments(shop: Shop) -> None:
    """One is there already, one was declined, two are new and one of those has no money in its wallet."""
    known, declined, new, poor = opening_of(), opening_of(), opening_of(), opening_of()
    assert new.user_id and poor.user_id
    await fill_wallet(new.user_id, 5_000)
    async with db.transaction() as tx:
        await open_payments(tx, [known])
    batch = [
        first_attempt(known),
        first_attempt(declined, token="tok_declined"),
        first_attempt(new, "wallet", None),
        first_attempt(poor, "wallet", None),
        Begin(ChargeRequest(declined.order_id, "card", "tok_visa", None, new_id())),
    ]
    answers = await in_processes(db, begin_attempts, [batch])
    assert all(isinstance(answer, Begun) for answer in answers)
    for answer in answers:
        assert isinstance(answer, Begun)
        assert answer.payment == await db.maybe(PaymentRow, FIND_PAYMENT, answer.payment.id)
    assert [answer.payment.status for answer in answers if isinstance(answer, Begun)] == [
        "captured", "captured", "captured", "declined", "captured",
    ]  # fmt: skip
    assert await balance(ledger.wallet(new.user_id, "EUR")) == 4_000
    at_once = {event["order_id"]: event["at_once"] for event in await announced(PaymentCaptured)}
    assert at_once == {str(known.order_id): False, str(declined.order_id): True, str(new.order_id): True}


async def test_processes_that_meet_at_new_payments_take_the_money_once(shop: Shop) -> None:
    openings = [opening_of() for _ in range(12)]
    dice = random.Random(5)
    answers = await in_processes(
        db, begin_attempts, [[first_attempt(one) for one in dice.sample(openings, len(openings))] for _ in range(8)]
    )
    assert all(isinstance(answer, Begun) and answer.payment.status == "captured" for answer in answers)
    assert await balance(ledger.order_funds("EUR")) == 12_000
    assert len(await announced(PaymentCaptured)) == 12


async def test_a_new_payment_that_is_refused_is_there_all_the_same(shop: Shop) -> None:
    opening = opening_of()
    (answer,) = await in_processes(db, begin_attempts, [[first_attempt(opening, "no_such_way")]])
    assert not isinstance(answer, Begun)
    assert await db.value("SELECT status FROM payments.payment WHERE id = $1", opening.order_id) == "none"
