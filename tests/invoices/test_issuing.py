"""What a seller supplies is invoiced once, as it was at that moment, under a number that follows the one before without a gap."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from tests.audit.history import is_settled
from tests.conftest import asked_by
from tests.invoices.billing import BUYER, SUPPLIED_AT, numbers_of, order_many, sell
from tests.orders.market import ADDRESS, as_buyer, as_system, buy, fill_cart, put_on_sale
from tests.quiet import is_quiet
from tests.waiting import until

from souk import app, invoices, orders, shipping, users
from souk.app import Settings, Shop
from souk.invoices.database import db
from souk.invoices.settings import day_of, settings
from souk.kit.db import CallInTransaction
from souk.kit.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from souk.kit.ids import new_id
from souk.kit.money import Money
from souk.pricing.settings import settings as pricing_settings

END_WRITERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%invoices.%' AND state <> 'idle'
"""
CANCEL = """
    UPDATE orders.order_line SET canceled = $3, packed = quantity - $3, shipped = quantity - $3 WHERE order_id = $1 AND seller_id = $2
"""
PROFILE = invoices.ProfileFields(
    legal_name="Mugs GmbH", line1="Hafen 1", city="Berlin", postal_code="10115", country="DE", vat_id="DE123456789", prefix="MUGS",
    footer="HRB 12345",
)  # fmt: skip


@pytest.fixture
async def wide_shop(dsn: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """The front doors work, on as many connections as there are callers."""
    shop = Shop(Settings(home=tmp_path, pool_size=32), dict.fromkeys(app.CONTEXTS, dsn), {})
    async with app.opened(shop):
        yield shop


# How many parcels of sellers' parts invoices has heard of.
CONSUMED = """
    SELECT count(*) FROM orders.outbox AS o JOIN invoices.consumer_position AS p ON p.source = 'orders'
    WHERE p.consumer = 'invoices.invoice_supplied_parts' AND o.type = 'orders.SaleEarned' AND (p.xid, p.id) >= (o.xid, o.id)
"""


@pytest.fixture
def one_year() -> int:
    return datetime.now(UTC).year


async def test_a_part_is_invoiced_when_its_last_parcel_has_left(working_shop: Shop) -> None:
    sale = await sell(sent=False)
    line = sale.line(sale.mugs)
    with asked_by("buyer", sells_for=(sale.mugs,)):
        first = await orders.pack_parcel(orders.NewParcel(sale.id, items=(orders.LinePieces(line.id, 1),)))
        second = await orders.pack_parcel(orders.NewParcel(sale.id))
        await shipping.dispatch_shipment(first.id, shipping.Consignment())

    async def are_heard(count: int) -> bool:
        return bool(await db.value(CONSUMED) == count)

    await until(lambda: are_heard(1))
    assert await numbers_of(sale.mugs) == []
    await db.pool.execute("UPDATE orders.parcel SET dispatched_at = dispatched_at - interval '3 days' WHERE status = 'dispatched'")
    with asked_by("buyer", sells_for=(sale.mugs,)):
        await shipping.dispatch_shipment(second.id, shipping.Consignment())
    await until(lambda: are_heard(2))
    assert await numbers_of(sale.mugs) == [1]
    assert await numbers_of(sale.bowls) == []
    invoice = await sale.bill(sale.mugs)
    assert invoice.content.supplied_on == invoice.content.issued_on, "when the last parcel left"


async def test_a_part_is_invoiced_when_the_rest_of_it_is_cancelled(working_shop: Shop) -> None:
    sale = await sell(sent=False)
    line = sale.line(sale.mugs)
    with asked_by("buyer", sells_for=(sale.mugs,)):
        parcel = await orders.pack_parcel(orders.NewParcel(sale.id, items=(orders.LinePieces(line.id, 1),)))
        await shipping.dispatch_shipment(parcel.id, shipping.Consignment())

    async def has_left() -> bool:
        with as_buyer(BUYER):
            return (await orders.get_order(sale.id)).fulfillment_status == "partial"

    await until(has_left)
    await db.pool.execute("UPDATE orders.parcel SET dispatched_at = dispatched_at - interval '3 days'")
    with asked_by("buyer", sells_for=(sale.mugs,)):
        await orders.cancel_order(sale.id, orders.CancelOrder("sold out"))

    async def is_invoiced() -> bool:
        with as_buyer(BUYER):
            return [one.total for one in await invoices.list_invoices_of_order(sale.id)] == [Money(1700, "USD")]

    await until(is_invoiced)
    invoice = await sale.bill(sale.mugs)
    assert invoice.content.supplied_on == day_of(datetime.now(UTC) - timedelta(days=3)), "when it left, not when the rest was cancelled"


async def test_what_leaves_last_is_a_gift(working_shop: Shop) -> None:
    sale = await sell(sent=False)
    await put_on_sale("GIFT", 0, 1000, sale.mugs)
    cart_id = await fill_cart(BUYER, ("MUG", 1), ("GIFT", 1))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    for sku in ("MUG", "GIFT"):
        line = next(item for item in order.items if item.sku == sku)
        with asked_by("buyer", sells_for=(sale.mugs,)):
            parcel = await orders.pack_parcel(orders.NewParcel(order.id, items=(orders.LinePieces(line.id, 1),)))
            await shipping.dispatch_shipment(parcel.id, shipping.Consignment())
        await until(is_quiet)  # the first parcel is heard of before the second leaves

    async def is_invoiced() -> bool:
        with as_buyer(BUYER):
            issued = await invoices.list_invoices_of_order(order.id)
        return [[(line.sku, line.total) for line in one.content.lines] for one in issued] == [[("MUG", 1200), ("GIFT", 0)]]

    await until(is_invoiced)
    await until(is_settled)


async def test_an_invoice_says_who_sold_what_to_whom(shop: Shop) -> None:
    sale = await sell()
    with as_system():
        await invoices.set_seller_profile(sale.mugs, PROFILE)
    invoice = await sale.bill(sale.mugs)
    assert invoice.number == f"MUGS-{datetime.now(UTC).year}-000001"
    content = invoice.content
    assert (content.seller.name, content.seller.vat_id, content.seller.city) == ("Mugs GmbH", "DE123456789", "Berlin")
    assert (content.buyer.name, content.buyer.postal_code) == (ADDRESS.name, ADDRESS.postal_code)
    assert (content.order_number, content.supplied_on, content.footer) == (sale.order.number, SUPPLIED_AT.date(), "HRB 12345")
    part = next(part for part in sale.order.parts if part.seller_id == sale.mugs)
    assert (invoice.total, invoice.tax) == (part.total, part.tax)
    (line,) = content.lines
    assert (line.sku, line.quantity, line.unit_price, line.tax_rate_ppm, line.total) == ("MUG", 3, 1200, 190_000, 3600)
    assert (content.shipping.total, content.shipping.tax_rate_ppm) == (500, 190_000)
    (rate,) = content.taxes
    assert (rate.tax_rate_ppm, rate.net + rate.tax, rate.tax) == (190_000, 4100, part.tax.amount)


async def test_tax_that_comes_on_top(shop: Shop) -> None:
    pricing_settings.replace(tax_excluded_in=("DE",))
    sale = await sell()
    invoice = await sale.bill(sale.mugs)
    part = next(part for part in sale.order.parts if part.seller_id == sale.mugs)
    assert (invoice.total, invoice.tax) == (part.total, part.tax) == (Money(4879, "USD"), Money(779, "USD"))
    assert (invoice.content.net, invoice.content.shipping.total, invoice.content.tax_included) == (4100, 595, False)


async def test_without_a_profile_the_sellers_name_stands_there(shop: Shop, one_year: int) -> None:
    sale = await sell()
    invoice = await sale.bill(sale.bowls)
    assert (invoice.number, invoice.content.seller) == (f"{one_year}-000001", msgspec.structs.replace(invoice.content.seller, name="Bowls"))
    assert invoice.content.seller.line1 is None


async def test_what_is_issued_stays_as_it_was(shop: Shop) -> None:
    sale = await sell()
    first = await sale.bill(sale.mugs)
    with as_system():
        await invoices.set_seller_profile(sale.mugs, PROFILE)
        await users.change_seller(sale.mugs, users.ChangeSeller(name="Cups"))
    settings.replace(language="de")
    assert await sale.bill(sale.mugs) == first
    assert (first.content.seller.name, first.content.language) == ("Mugs", "en")
    assert (await sale.bill(sale.bowls)).content.language == "de"
    assert await numbers_of(sale.mugs) == [1]


async def test_only_pieces_that_were_not_cancelled_are_on_it(shop: Shop) -> None:
    sale = await sell()
    await db.pool.execute(CANCEL, sale.id, sale.mugs, 1)
    await db.pool.execute(CANCEL, sale.id, sale.bowls, 2)
    invoice = await sale.bill(sale.mugs)
    (line,) = invoice.content.lines
    assert (line.quantity, line.total, line.tax) == (2, 2400, 383)
    assert invoice.total.amount == 2900
    with as_system():
        assert await invoices.issue_invoices((sale.part(sale.bowls), sale.part(sale.mugs))) == (invoice,)
    assert await numbers_of(sale.bowls) == []


async def test_32_invoices_of_one_seller_at_once(wide_shop: Shop) -> None:
    sale = await sell()
    parts = await order_many(sale, 32)
    with as_system():
        issued = await asyncio.gather(*(invoices.issue_invoices((part,)) for part in parts))
    assert await numbers_of(sale.mugs) == list(range(1, 33))
    by_number = sorted((invoice for (invoice,) in issued), key=lambda one: one.number)
    assert len({one.number for one in by_number}) == 32
    assert sorted(by_number, key=lambda one: one.issued_at) == by_number


async def test_32_callers_who_want_the_same_invoice(wide_shop: Shop) -> None:
    sale = await sell()
    with as_system():
        issued = await asyncio.gather(*(invoices.issue_invoices((sale.part(sale.mugs), sale.part(sale.bowls))) for _ in range(32)))
    assert len(set(issued)) == 1
    assert (await numbers_of(sale.mugs), await numbers_of(sale.bowls)) == ([1], [1])


async def test_connections_that_die_in_the_middle_leave_no_gap(wide_shop: Shop, dsn: str) -> None:
    sale = await sell()
    parts = await order_many(sale, 32)
    killer = await asyncpg.connect(dsn)
    killed = 0
    with as_system():
        tasks = [asyncio.create_task(invoices.issue_invoices((part,))) for part in parts]
        while not all(task.done() for task in tasks):
            killed += len(await killer.fetch(END_WRITERS))
            await asyncio.sleep(0.005)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [part for part, answer in zip(parts, answers, strict=True) if isinstance(answer, Unavailable)]
        numbers = await numbers_of(sale.mugs)
        assert killed > 0
        assert failed
        assert numbers == list(range(1, len(numbers) + 1))
        for part in failed:
            await invoices.issue_invoices((part,))
    await killer.close()
    assert await numbers_of(sale.mugs) == list(range(1, 33))


async def test_a_process_that_is_killed_leaves_no_gap(shop: Shop, dsn: str) -> None:
    sale = await sell()
    parts = await order_many(sale, 32)
    for wanted in (5, 11, 17):
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.invoices.process", dsn, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert worker.stdin and worker.stdout
        worker.stdin.write(msgspec.json.encode(parts) + b"\n")
        await worker.stdin.drain()
        for _ in range(wanted):
            assert await worker.stdout.readline() == b"issued\n"
        worker.kill()
        await worker.wait()
        numbers = await numbers_of(sale.mugs)
        assert numbers == list(range(1, len(numbers) + 1))
    with as_system():
        await invoices.issue_invoices(tuple(parts))
    assert await numbers_of(sale.mugs) == list(range(1, 33))


async def test_one_that_cannot_be_written_takes_no_number(shop: Shop) -> None:
    sale = await sell()
    first, second, third = await order_many(sale, 3)
    await db.pool.execute(f"ALTER TABLE invoices.invoice ADD CONSTRAINT planted CHECK (order_id <> '{second.order_id}')")
    with as_system():
        await invoices.issue_invoices((first,))
        with pytest.raises(asyncpg.CheckViolationError):
            await invoices.issue_invoices((second,))
        with pytest.raises(asyncpg.CheckViolationError):
            await invoices.issue_invoices((third, second))
        (invoice,) = await invoices.issue_invoices((third,))
    await db.pool.execute("ALTER TABLE invoices.invoice DROP CONSTRAINT planted")
    assert re.fullmatch(r"\d{4}-000002", invoice.number)
    assert await numbers_of(sale.mugs) == [1, 2]


async def test_the_year_is_that_of_the_shop(shop: Shop) -> None:
    new_years_eve = datetime(2026, 12, 31, 12, tzinfo=UTC)
    assert day_of(new_years_eve) == date(2026, 12, 31)
    settings.replace(timezone="Pacific/Auckland")
    assert day_of(new_years_eve) == date(2027, 1, 1)
    sale = await sell()
    here = day_of(datetime.now(UTC))
    assert (await sale.bill(sale.mugs)).content.issued_on in (here, day_of(datetime.now(UTC)))
    with pytest.raises(ValueError, match="Mars/Olympus"):
        settings.replace(timezone="Mars/Olympus")


async def test_a_new_year_begins_at_one_and_a_clock_that_goes_back_gives_no_earlier_time(shop: Shop, one_year: int) -> None:
    sale = await sell()
    later = datetime(one_year, 12, 31, 23, 59, 59, tzinfo=UTC)
    add = "INSERT INTO invoices.counter (seller_id, series, year, last, last_issued_at) VALUES ($1, 'invoice', $2, $3, $4)"
    await db.pool.execute(add, sale.mugs, one_year - 1, 41, datetime(one_year - 1, 12, 31, tzinfo=UTC))
    await db.pool.execute(add, sale.mugs, one_year, 7, later)
    invoice = await sale.bill(sale.mugs)
    assert (invoice.number, invoice.issued_at) == (f"{one_year}-000008", later)


async def test_who_may_have_invoices_issued(shop: Shop) -> None:
    sale = await sell()
    for who in (as_buyer(BUYER), asked_by("buyer", sells_for=(sale.mugs,))):
        with who:
            with pytest.raises(Forbidden):
                await invoices.issue_invoices((sale.part(sale.mugs),))
            with pytest.raises(Forbidden):
                await orders.read_invoice_facts((sale.id,))
    with pytest.raises(Unauthenticated):
        await invoices.issue_invoices((sale.part(sale.mugs),))
    with as_system(), pytest.raises(NotFound):
        await invoices.issue_invoices((invoices.SoldPart(new_id(), sale.mugs),))
    assert await numbers_of(sale.mugs) == []


async def test_nothing_is_issued_within_a_transaction(shop: Shop) -> None:
    sale = await sell()
    with as_system():
        async with db.transaction():
            with pytest.raises(CallInTransaction):
                await invoices.issue_invoices((sale.part(sale.mugs),))


async def test_sellers_number_each_for_themselves(shop: Shop) -> None:
    sale = await sell()
    with as_system():
        both: tuple[invoices.Invoice, ...] = await invoices.issue_invoices((sale.part(sale.bowls), sale.part(sale.mugs)))
    assert {one.seller_id: one.number[-6:] for one in both} == {sale.mugs: "000001", sale.bowls: "000001"}
