"""What goes back is credited once, under a number of its own series, and never for more than was invoiced."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import asyncpg
import pytest
from tests.conftest import asked_by
from tests.invoices.billing import BUYER, Sale, numbers_of, sell
from tests.orders.market import as_buyer, as_system
from tests.waiting import until

from souk import invoices, orders, shipping
from souk.app import Shop
from souk.invoices.database import db
from souk.invoices.types import CreditTooLarge, LineNotInvoiced, NotInvoiced
from souk.kit.errors import Forbidden, InvalidField, Unauthenticated
from souk.kit.ids import new_id
from souk.kit.money import Money

MUG, MUG_TAX = 1200, 191
CREDITED = "SELECT credited, credited_tax FROM invoices.credit"
# Whether invoices has heard of what came back.
HEARD = """
    SELECT EXISTS (SELECT FROM orders.outbox AS o JOIN invoices.consumer_position AS p ON p.source = 'orders'
                   WHERE p.consumer = 'invoices.credit_returned_pieces' AND o.type = 'orders.ReturnReceived'
                     AND (p.xid, p.id) >= (o.xid, o.id))
"""


def give_back(sale: Sale, mugs: int, *, shipping: int = 0, refund_id: UUID | None = None, **more: object) -> invoices.IssueCreditNote:
    """The request to credit so many mugs, and shipping with its tax."""
    line = invoices.CreditedLine(sale.line(sale.mugs).id, "MUG", mugs, mugs * MUG, mugs * MUG_TAX)
    tax = mugs * MUG_TAX + round(shipping * 19 / 119)
    values = {"lines": (line,), "shipping": shipping, "total": mugs * MUG + shipping, "tax": tax} | more
    return invoices.IssueCreditNote(order_id=sale.id, refund_id=refund_id or new_id(), seller_id=sale.mugs, **values)  # type: ignore[arg-type]


async def has_left(sale: Sale, mugs: int) -> bool:
    with as_buyer(BUYER):
        return next(item for item in (await orders.get_order(sale.id)).items if item.seller_id == sale.mugs).shipped == mugs


async def has_heard_of_a_return() -> bool:
    return bool(await db.value(HEARD))


async def documents_are(sale: Sale, wanted: list[tuple[str, int]]) -> bool:
    """Whether these are the documents of an order, by their kind and total."""
    with as_buyer(BUYER):
        return [(one.kind, one.total.amount) for one in await invoices.list_invoices_of_order(sale.id)] == wanted


async def credit(request: invoices.IssueCreditNote) -> invoices.Invoice:
    with as_system():
        return await invoices.issue_credit_note(request)


@pytest.fixture
async def sale(shop: Shop) -> Sale:
    sold = await sell()
    await sold.bill(sold.mugs)
    return sold


async def test_a_credit_note_names_what_it_corrects(sale: Sale) -> None:
    invoice, note = await sale.bill(sale.mugs), await credit(give_back(sale, 1, shipping=500))
    year = datetime.now(UTC).year
    assert (note.kind, note.number, note.invoice_id) == ("credit_note", f"CN-{year}-000001", invoice.id)
    assert note.content.corrects is not None
    assert (note.content.corrects.number, note.content.buyer) == (invoice.number, invoice.content.buyer)
    assert (note.total.amount, note.tax.amount, note.content.net) == (1700, 271, 1429)
    (line,) = note.content.lines
    assert (line.quantity, line.unit_price, line.discount, line.total) == (1, 1200, 0, 1200)
    assert await numbers_of(sale.mugs) == await numbers_of(sale.mugs, "credit_note") == [1]


async def test_what_comes_back_before_the_rest_has_left_is_credited_when_it_is_invoiced(working_shop: Shop) -> None:
    sale = await sell(sent=False)
    with asked_by("buyer", sells_for=(sale.mugs,)):
        first = await orders.pack_parcel(orders.NewParcel(sale.id, items=(orders.LinePieces(sale.line(sale.mugs).id, 1),)))
        second = await orders.pack_parcel(orders.NewParcel(sale.id))
        await shipping.dispatch_shipment(first.id, shipping.Consignment())
    await until(partial(has_left, sale, 1))
    with as_system():
        back = orders.RecordedPieces("MUG", Money(MUG, "USD"), 1)
        await orders.record_return(orders.RecordReturn(new_id(), sale.id, sale.mugs, (back,)))
    await until(has_heard_of_a_return)
    with asked_by("buyer", sells_for=(sale.mugs,)):
        await shipping.dispatch_shipment(second.id, shipping.Consignment())
    await until(partial(documents_are, sale, [("invoice", 4100), ("credit_note", MUG)]))
    assert await db.value("SELECT count(*) FROM invoices.credit_due") == 0


async def test_the_same_refund_is_credited_once(sale: Sale) -> None:
    request = give_back(sale, 1)
    first, *others = await asyncio.gather(*(credit(request) for _ in range(8)))
    assert set(others) == {first}
    assert await numbers_of(sale.mugs, "credit_note") == [1]
    assert tuple(await db.pool.fetchrow(CREDITED)) == (1200, 191)


async def test_32_refunds_at_once_credit_what_there_is(sale: Sale) -> None:
    answers = await asyncio.gather(*(credit(give_back(sale, 1)) for _ in range(32)), return_exceptions=True)
    assert sum(isinstance(answer, invoices.Invoice) for answer in answers) == 3
    assert sum(isinstance(answer, CreditTooLarge | LineNotInvoiced) for answer in answers) == 29
    assert await numbers_of(sale.mugs, "credit_note") == [1, 2, 3]
    assert tuple(await db.pool.fetchrow(CREDITED)) == (3600, 573)


async def test_never_more_than_the_invoice(sale: Sale) -> None:
    await credit(give_back(sale, 2, shipping=500))
    with pytest.raises(CreditTooLarge) as refused:
        await credit(give_back(sale, 1, shipping=1))
    assert (refused.value.asked, refused.value.left) == (1201, 1200)
    with pytest.raises(LineNotInvoiced):
        await credit(give_back(sale, 2, lines=(invoices.CreditedLine(sale.line(sale.mugs).id, "MUG", 2, 5, 0),), total=5, tax=0))
    with pytest.raises(LineNotInvoiced):
        await credit(give_back(sale, 1, lines=(invoices.CreditedLine(sale.line(sale.bowls).id, "BOWL", 1, 5, 0),), total=5, tax=0))
    with pytest.raises(InvalidField, match="tax"):
        await credit(give_back(sale, 1, tax=400, lines=(invoices.CreditedLine(sale.line(sale.mugs).id, "MUG", 1, 1200, 400),)))
    await credit(give_back(sale, 1, tax=MUG_TAX))
    with pytest.raises(CreditTooLarge):
        await credit(give_back(sale, 0, shipping=1))
    assert await numbers_of(sale.mugs, "credit_note") == [1, 2]


async def test_sql_holds_the_limit_too(sale: Sale) -> None:
    await credit(give_back(sale, 1))
    with pytest.raises(asyncpg.CheckViolationError, match="never_credited_above_the_invoice"):
        await db.pool.execute("UPDATE invoices.credit SET credited = total + 1")


async def test_sums_that_do_not_add_up(sale: Sale) -> None:
    for wrong, field in (({"total": 1201}, "total"), ({"tax": 190}, "tax"), ({"tax": 192}, "tax")):
        with pytest.raises(InvalidField, match=field):
            await credit(give_back(sale, 1, **wrong))
    assert await numbers_of(sale.mugs, "credit_note") == []


async def test_what_was_not_invoiced_is_not_credited(shop: Shop) -> None:
    sold = await sell()
    with pytest.raises(NotInvoiced):
        await credit(give_back(sold, 1))
    await sold.bill(sold.bowls)
    with pytest.raises(NotInvoiced):
        await credit(give_back(sold, 1))
    assert await numbers_of(sold.mugs, "credit_note") == []


async def test_who_may_credit(sale: Sale) -> None:
    for who in (as_buyer(BUYER), asked_by("buyer", sells_for=(sale.mugs,))):
        with who, pytest.raises(Forbidden):
            await invoices.issue_credit_note(give_back(sale, 1))
    with pytest.raises(Unauthenticated):
        await invoices.issue_credit_note(give_back(sale, 1))
