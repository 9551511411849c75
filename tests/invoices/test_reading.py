"""Who sees which documents, that none of them changes, and what stays of somebody who leaves."""

import asyncpg
import pytest
from tests.conftest import asked_by
from tests.invoices.billing import BUYER, Sale, order_many, sell, send
from tests.orders.market import as_buyer, as_guest, as_system, buy

from souk import carts, invoices, orders, users
from souk.app import Shop
from souk.invoices.database import db
from souk.kit.callers import Caller, asking
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.kit.personal import export_user_data


@pytest.fixture
async def sale(shop: Shop) -> Sale:
    return await sell()


async def test_who_may_see_an_invoice(sale: Sale) -> None:
    mugs, bowls = await sale.bill(sale.mugs), await sale.bill(sale.bowls)
    for who in (as_buyer(BUYER), as_system()):
        with who:
            assert await invoices.get_invoice(mugs.id) == mugs
            assert await invoices.list_invoices_of_order(sale.id) == (mugs, bowls)
    with asked_by("buyer", sells_for=(sale.mugs,)):
        assert await invoices.list_invoices_of_order(sale.id) == (mugs,)
        assert (await invoices.list_invoices_of_seller(sale.mugs, None, 10, None)).items == (mugs,)
    strangers = (
        as_buyer(new_id()), as_guest("a-token"), asked_by("buyer", sells_for=(new_id(),)), asking(Caller()),
    )  # fmt: skip
    for stranger in strangers:
        with stranger:
            for reading in (
                invoices.get_invoice(mugs.id),
                invoices.read_invoice_file(mugs.id, None),
                invoices.list_invoices_of_order(sale.id),
                invoices.list_invoices_of_seller(sale.mugs, None, 10, None),
            ):
                with pytest.raises(NotFound):
                    await reading
    with asked_by("buyer", sells_for=(sale.bowls,)), pytest.raises(NotFound):
        await invoices.get_invoice(mugs.id)


async def test_a_guests_invoice_answers_to_the_token_of_the_order(sale: Sale) -> None:
    with as_guest():
        cart = await carts.create_cart(carts.NewCart((carts.NewItem("MUG", 1),)))
    with as_guest(cart.token):
        order = await orders.place_order(buy(cart.id, email="guest@example.com"))
    await send(order.id)
    with as_system():
        (invoice,) = await invoices.issue_invoices((invoices.SoldPart(order.id, sale.mugs),))
    with as_guest(cart.token):
        assert await invoices.get_invoice(invoice.id) == invoice
        assert await invoices.list_invoices_of_order(order.id) == (invoice,)
    for token in (None, "another-token"):
        with as_guest(token), pytest.raises(NotFound):
            await invoices.get_invoice(invoice.id)


async def test_an_order_that_was_not_supplied_has_none_for_who_may_see_it(sale: Sale) -> None:
    with as_buyer(BUYER):
        assert await invoices.list_invoices_of_order(sale.id) == ()
    with as_buyer(new_id()), pytest.raises(NotFound):
        await invoices.list_invoices_of_order(sale.id)


async def test_a_sellers_documents_page_by_page_and_year_by_year(sale: Sale) -> None:
    with as_system():
        issued = await invoices.issue_invoices(tuple(await order_many(sale, 5)))
    year, found, cursor = issued[0].content.issued_on.year, [], None
    with asked_by("buyer", sells_for=(sale.mugs,)):
        for count in (2, 2, 1):
            page = await invoices.list_invoices_of_seller(sale.mugs, year, 2, cursor)
            assert len(page.items) == count
            found, cursor = [*found, *page.items], page.next
        assert cursor is None
        assert sorted(found, key=lambda one: one.id) == found
        assert {one.id for one in found} == {one.id for one in issued}
        assert (await invoices.list_invoices_of_seller(sale.mugs, None, 10, None)).items == tuple(found)
        for other_year in (year - 1, year + 1):
            assert (await invoices.list_invoices_of_seller(sale.mugs, other_year, 10, None)).items == ()


@pytest.mark.parametrize("table", ["invoice", "number"])
@pytest.mark.parametrize("change", ["UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {}"])
async def test_what_was_issued_is_never_changed(sale: Sale, table: str, change: str) -> None:
    await sale.bill(sale.mugs)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await db.pool.execute(change.format(f"invoices.{table}"))


async def test_who_leaves_takes_a_copy_along_and_the_invoice_stays_as_it_is(working_shop: Shop) -> None:
    sale = await sell()
    with as_system():
        await users.register_users((users.NewUser(id=BUYER, email=f"{BUYER}@buyers.example"),))
    invoice = await sale.bill(sale.mugs)
    with as_buyer(BUYER):
        (copy,) = (await export_user_data(BUYER))["invoices"]["invoices"]  # type: ignore[misc]
        assert (copy["id"], copy["content"]["buyer"]["name"]) == (str(invoice.id), "Ada")
    with as_system():
        await users.erase_user(BUYER)
        assert await invoices.get_invoice(invoice.id) == invoice
