"""The bank's statement and our payouts, compared in both directions."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from uuid import UUID

import pytest
from tests.payments.bank import (
    assert_in_order,
    balance_of,
    make_seller,
    payouts_of,
    read_statement,
    run_jobs,
    standing,
)
from tests.sandbox.conftest import Sandbox

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.payments import bank_statements
from souk.payments.database import db
from souk.payments.settings import settings
from souk.payments.types import BookReading, Discrepancy


@pytest.fixture(autouse=True)
async def books_in_order(shop: Shop) -> AsyncIterator[None]:
    """Whatever a test did, every rule of payments holds after it."""
    yield
    await assert_in_order()


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was booked before the statement was read is looked for in it."""
    monkeypatch.setattr(bank_statements, "MARGIN_S", 0.0)


@pytest.fixture
def own_bank(own_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """A bank whose statement this test may falsify, and whose webhooks get lost."""
    sandbox = own_sandbox(bank_webhook_url="http://127.0.0.1:1/")
    settings.replace(sandbox_bank_url=sandbox.url, payout_change_delay_s=0.0)
    return sandbox


def falsify(sandbox: Sandbox, change: str, *values: object) -> None:
    """Change the bank's statement, as the bank cannot by itself."""
    with closing(sqlite3.connect(sandbox.home / "sandbox.db")) as book:
        book.execute("DROP TRIGGER IF EXISTS lines_last")
        book.execute("DROP TRIGGER IF EXISTS lines_stay")
        assert book.execute(change, values).rowcount == 1
        book.commit()


async def open_discrepancies() -> list[Discrepancy]:
    with asking(Caller(SYSTEM)):
        return [one for one in await payments.list_discrepancies(100) if one.gateway == "sandbox_bank"]


async def read_books() -> tuple[BookReading, ...]:
    with asking(Caller(SYSTEM)):
        return await payments.read_gateway_books()


async def ids_of(seller: UUID) -> UUID:
    [payout] = await payouts_of(seller)
    return payout.id


@pytest.mark.usefixtures("no_margin")
async def test_what_both_have_is_in_order(own_bank: Sandbox) -> None:
    sellers = [await make_seller(5_000 + number) for number in range(7)]
    await run_jobs()
    for _ in range(2):
        await read_statement()
    assert await open_discrepancies() == []
    assert {(await standing(seller))[0][0] for seller in sellers} == {"paid"}
    assert await db.value("SELECT count(*) FROM payments.book_entry WHERE starts_with(reference, 'payout:')") == 7


async def test_what_the_bank_did_unheard_is_booked_from_its_statement(own_bank: Sandbox) -> None:
    seller = await make_seller(5_000, "000333333335")
    await run_jobs()
    assert await standing(seller) == [("sending", 5_000, None)]
    await read_statement()
    assert await standing(seller) == [("paid", 5_000, None)]
    assert await open_discrepancies() == []


@pytest.mark.usefixtures("no_margin")
async def test_what_the_statement_lacks_is_found_and_resolves_itself(own_bank: Sandbox) -> None:
    seller = await make_seller(5_000)
    await run_jobs()
    falsify(own_bank, "UPDATE statement_lines SET reference = 'lost' WHERE kind = 'sent'")
    await read_statement()
    lost, foreign = sorted(await open_discrepancies(), key=lambda one: one.source, reverse=True)
    assert (lost.source, lost.reason, lost.payment_id) == ("ledger", "not in the bank's statement", await ids_of(seller))
    assert (foreign.source, foreign.reason, foreign.payment_id) == ("book", "no payout of ours", None)
    falsify(own_bank, "UPDATE statement_lines SET reference = ?, seq = seq + 1 WHERE kind = 'sent'", str(await ids_of(seller)))
    await read_statement()
    assert await open_discrepancies() == []
    assert (await standing(seller), await balance_of(seller)) == ([("paid", 5_000, None)], 0)


@pytest.mark.usefixtures("no_margin")
async def test_another_amount_and_a_second_transfer_are_found(own_bank: Sandbox) -> None:
    one, two = await make_seller(5_000), await make_seller(6_000)
    await run_jobs()
    first, second = await ids_of(one), await ids_of(two)
    falsify(own_bank, "UPDATE statement_lines SET amount = 4999 WHERE reference = ?", str(first))
    falsify(
        own_bank,
        """INSERT INTO statement_lines (id, kind, transfer_id, reference, amount, currency, created_at)
           SELECT 'line_twice', 'sent', 'tr_twice', reference, amount, currency, created_at FROM statement_lines WHERE reference = ?""",
        str(second),
    )
    for _ in range(2):
        await read_statement()
    found = {(told.payment_id, told.source, told.reason) for told in await open_discrepancies()}
    assert found == {
        (first, "book", "5000 EUR were to be sent, 4999 EUR told of"),
        (second, "book", "sent twice at the bank"),
    }


async def test_what_is_young_accuses_nobody(own_bank: Sandbox) -> None:
    await make_seller(5_000)
    await run_jobs()
    falsify(own_bank, "DELETE FROM statement_lines WHERE kind = 'sent'")
    await read_statement()
    assert await open_discrepancies() == []


async def test_a_long_statement_is_read_in_pages_and_once(own_bank: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("souk.payments.banks.sandbox.PAGE_SIZE", 3)
    monkeypatch.setattr(bank_statements, "MARGIN_S", 0.0)
    monkeypatch.setattr(bank_statements, "PAGE", 2)
    for number in range(8):
        await make_seller(5_000 + number)
    await run_jobs()
    assert await bank_statements.reconcile_if_it_answers() == 8
    assert await bank_statements.reconcile_if_it_answers() == 0
    assert await open_discrepancies() == []


async def test_a_bank_that_does_not_answer_is_told_of(own_bank: Sandbox) -> None:
    assert {one.gateway: one.unread for one in await read_books()}["sandbox_bank"] is None
    settings.replace(sandbox_bank_url="http://127.0.0.1:1")
    unread = {one.gateway: one.unread for one in await read_books()}["sandbox_bank"]
    assert unread is not None and "statement" in unread
    assert await bank_statements.reconcile_if_it_answers() == 0
