"""Our books and a gateway's, compared in both directions: what we have and it has not is a discrepancy, until somebody closes it."""

import asyncio
from uuid import UUID

import pytest
from tests.conftest import asked_by
from tests.payments.money import close, fill_wallet, give_back, look_up, open_order, pay
from tests.payments.outside import Outside, until
from tests.payments.test_behaviours import discrepancies, heard, settle

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Forbidden, Unauthenticated
from souk.kit.ids import new_id
from souk.payments import reconciling
from souk.payments.database import db
from souk.payments.gateways.gateway import AttemptNews, News, Reference, RefundNews
from souk.payments.news import tell
from souk.payments.settings import settings
from souk.payments.types import BookReading, Discrepancy, DiscrepancyStatus, Payment


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was booked before a book was read is looked for in it."""
    monkeypatch.setattr(reconciling, "MARGIN_S", 0.0)


async def believe_captured(outside: Outside) -> Payment:
    """An order of which the gateway has taken no money, and we believe that it has."""
    order = await open_order()
    assert (await pay(order, "tok_timeout_not_charged")).status == "pending"
    [attempt_id] = [row["id"] for row in await db.pool.fetch("SELECT id FROM payments.attempt WHERE payment_id = $1", order.id)]
    news = AttemptNews(Reference(order.id, attempt_id), "captured", "ch_of_nobody")
    assert await tell(News("answer", "sandbox", "a fault", attempts=(news,))) == "applied"
    assert (await look_up(order)).status == "captured"
    assert await outside.book_of(order.id) == []
    return order


async def believe_refunded(outside: Outside) -> Payment:
    """An order of which the gateway has given nothing back, and we believe that it has."""
    order = await open_order()
    await pay(order)
    await outside.control(next="timeout_not_charged", on="refund")
    assert (await give_back(order, 4_000)).status == "pending"
    [refund_id] = [row["id"] for row in await db.pool.fetch("SELECT id FROM payments.refund WHERE payment_id = $1", order.id)]
    assert await tell(News("answer", "sandbox", "a fault", refunds=(RefundNews(order.id, refund_id, "succeeded", "re"),))) == "applied"
    assert (await look_up(order)).refunded.amount == 4_000
    assert await outside.book_of(order.id) == [("capture", 10_000)]
    return order


async def close_it(found: Discrepancy, reason: str = "asked the bank") -> Discrepancy:
    with asking(Caller(SYSTEM)):
        return await payments.close_discrepancy(found.id, reason)


# The processor is that of all tests: it may tell us of a charge of an earlier one, which is none of ours.
OPEN_OF_OURS = """
    SELECT d.source, d.reason, d.told FROM payments.discrepancy AS d
    WHERE d.closed_at IS NULL
      AND EXISTS (SELECT FROM payments.payment AS p WHERE p.id = d.payment_id OR strpos(d.told::text, p.id::text) > 0)
"""


async def listed(status: DiscrepancyStatus) -> set[UUID]:
    with asking(Caller(SYSTEM)):
        return {one.id for one in await payments.list_discrepancies(100, status=status)}


async def read_books() -> tuple[BookReading, ...]:
    with asking(Caller(SYSTEM)):
        return await payments.read_gateway_books()


@pytest.mark.usefixtures("no_margin")
async def test_what_the_book_has_too_is_no_discrepancy(outside: Outside) -> None:
    orders = [await open_order(user_id=new_id()) for _ in range(4)]
    for order in orders:
        await pay(order)
    await give_back(orders[0], 4_000)
    await give_back(orders[1], 4_000, to="wallet")
    await close(orders[2])
    await pay(await open_order(), "tok_declined")
    by_hand = await db.value("SELECT gateway_id FROM payments.attempt WHERE payment_id = $1", orders[3].id)
    await outside.ask("POST", f"/v1/charges/{by_hand}/refunds", {"amount": 2_500})
    in_the_app = await pay(await open_order(), None, "redirect")
    assert in_the_app.redirect_url is not None
    await outside.visit(in_the_app.redirect_url, "approve")
    await heard(in_the_app)
    await settle()
    await settle()
    assert await db.pool.fetch(OPEN_OF_OURS) == []
    known = {row["reference"].split(":")[0] for row in await db.pool.fetch("SELECT reference FROM payments.book_entry")}
    assert known == {"capture", "refund"}


@pytest.mark.usefixtures("no_margin")
async def test_captured_here_and_not_at_the_gateway(outside: Outside) -> None:
    order = await believe_captured(outside)
    await reconciling.reconcile_books()
    [found] = await discrepancies(order)
    assert (found.gateway, found.source, found.reason) == ("sandbox", "ledger", "not in the gateway's book")
    assert found.external_id == f"capture:{await db.value('SELECT id FROM payments.attempt WHERE payment_id = $1', order.id)}"
    assert (found.told["kind"], found.told["amount"]) == ("captured", {"amount": 10_000, "currency": "EUR"})
    await reconciling.reconcile_books()
    assert await discrepancies(order) == [found], "it is told once"


@pytest.mark.usefixtures("no_margin")
async def test_refunded_here_and_not_at_the_gateway(outside: Outside) -> None:
    order = await believe_refunded(outside)
    await reconciling.reconcile_books()
    [found] = await discrepancies(order)
    assert found.external_id == f"refund:{await db.value('SELECT id FROM payments.refund WHERE payment_id = $1', order.id)}"
    assert (found.told["kind"], found.told["amount"]) == ("refunded", {"amount": 4_000, "currency": "EUR"})


async def test_what_is_younger_than_the_margin_waits(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    order = await believe_captured(outside)
    await reconciling.reconcile_books()
    assert await discrepancies(order) == []
    monkeypatch.setattr(reconciling, "MARGIN_S", 0.0)
    await reconciling.reconcile_books()
    assert len(await discrepancies(order)) == 1


@pytest.mark.usefixtures("no_margin")
async def test_many_are_compared_page_by_page(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "PAGE", 3)
    missing = []
    for number in range(11):
        if number % 4 == 1:
            missing.append(await believe_captured(outside))
        else:
            await pay(await open_order())
    missing.append(await believe_refunded(outside))
    await reconciling.reconcile_books()
    with asking(Caller(SYSTEM)):
        found = await payments.list_discrepancies(100)
    assert sorted(one.payment_id or new_id() for one in found) == sorted(order.id for order in missing)


@pytest.mark.usefixtures("no_margin")
async def test_a_book_that_cannot_be_read_accuses_nobody(outside: Outside) -> None:
    order = await believe_captured(outside)
    await outside.control(down=True)
    assert await reconciling.reconcile_books() == 0
    assert await discrepancies(order) == []
    [reading] = await read_books()
    assert reading.gateway == "sandbox"
    assert reading.unread
    await outside.control(down=False)
    assert await read_books() == (BookReading("sandbox", None),)
    assert len(await discrepancies(order)) == 1


async def test_a_gateway_that_takes_too_long_is_said_to(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "LONGEST_READING_S", 0.1)
    await outside.control(latency_ms=250)
    assert await read_books() == (BookReading("sandbox", "not read within 0.1 seconds"),)


async def test_books_are_read_for_admins(shop: Shop) -> None:
    assert await read_books() == ()
    with asked_by("seller"), pytest.raises(Forbidden):
        await payments.read_gateway_books()
    with pytest.raises(Unauthenticated):
        await payments.read_gateway_books()


@pytest.mark.usefixtures("no_margin")
async def test_closing_says_who_and_why_once(outside: Outside) -> None:
    order = await believe_captured(outside)
    await reconciling.reconcile_books()
    [found] = await discrepancies(order)
    assert (found.closed_at, found.closed_by, found.close_reason) == (None, None, None)
    admin = new_id()
    with asked_by("admin", user_id=admin):
        closed, *others = await asyncio.gather(*(payments.close_discrepancy(found.id, "asked the bank") for _ in range(8)))
        assert (closed.closed_by, closed.close_reason) == (admin, "asked the bank")
        assert closed.closed_at == closed.updated_at > found.updated_at
        assert all(other == closed for other in others)
    assert await close_it(found, "another reason") == closed
    assert (await listed("open"), await listed("closed"), await listed("all")) == (set(), {found.id}, {found.id})
    await reconciling.reconcile_books()
    assert await listed("open") == set(), "what is closed stays so"


async def test_only_admins_close_and_only_what_is_there(shop: Shop) -> None:
    with asked_by("seller"), pytest.raises(Forbidden):
        await payments.close_discrepancy(new_id(), "mine")
    with asked_by("admin"), pytest.raises(payments.DiscrepancyNotFound):
        await payments.close_discrepancy(new_id(), "nobody's")


@pytest.mark.usefixtures("no_margin")
async def test_what_comes_late_into_the_book_closes_its_discrepancy(outside: Outside) -> None:
    order = await believe_captured(outside)
    await reconciling.reconcile_books()
    [found] = await discrepancies(order)
    reference = f"{order.id}.{found.external_id.removeprefix('capture:')}"
    sale = {"amount": 10_000, "currency": "EUR", "token": "tok_visa", "reference": reference}
    await outside.ask("POST", "/v1/charges", sale)
    await db.pool.execute("UPDATE payments.attempt SET gateway_id = NULL")  # or it were captured twice over there
    await reconciling.reconcile_books()
    assert await discrepancies(order) == []
    with asking(Caller(SYSTEM)):
        [closed] = await payments.list_discrepancies(10, status="closed")
    assert (closed.id, closed.closed_by, closed.close_reason) == (found.id, None, "the gateway's book agrees now")


async def test_an_entry_that_agrees_when_it_is_read_again_closes_its_discrepancy(outside: Outside) -> None:
    """It was read while our books were not what they are: of a backup, for instance."""
    order = await open_order()
    await pay(order)
    await db.pool.execute("UPDATE payments.attempt SET amount = 9999")
    await reconciling.reconcile_books()
    assert len([one for one in await discrepancies(order) if one.source == "book"]) == 1
    await db.pool.execute("UPDATE payments.attempt SET amount = 10000")
    await db.pool.execute("UPDATE payments.book_position SET position = (position::bigint - 2)::text")
    await reconciling.reconcile_books()
    await until(lambda: is_closed(order))


async def is_closed(order: Payment) -> bool:
    return [one for one in await discrepancies(order) if one.source == "book"] == []


@pytest.mark.usefixtures("no_margin")
async def test_the_wallet_and_the_test_gateway_have_no_book(outside: Outside) -> None:
    settings.replace(test_gateway=True)
    anna = new_id()
    await fill_wallet(anna, 10_000)
    orders = [await open_order(user_id=anna) for _ in range(2)]
    for order, method in zip(orders, ("wallet", "test"), strict=True):
        assert (await pay(order, method=method)).status == "captured"
        assert (await give_back(order, 4_000)).status == "succeeded"
    await reconciling.reconcile_books()
    assert [await discrepancies(order) for order in orders] == [[], []]
