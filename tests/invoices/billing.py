"""What tests of invoices need: orders of which something was sent, and who asks."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from tests.orders.market import as_buyer, as_system, buy, fill_cart, make_seller, open_market, put_on_sale

from souk import invoices, orders
from souk.invoices.database import db
from souk.kit.ids import new_id
from souk.orders.database import db as orders_db

BUYER = new_id()
# As if it had been packed and dispatched.
LEAVE = """
    WITH left_over AS (
        UPDATE orders.order_line SET packed = quantity - canceled, shipped = quantity - canceled WHERE order_id = $1
        RETURNING order_id, seller_id, id, quantity
    )
    INSERT INTO orders.parcel (order_id, id, seller_id, status, lines, dispatched_at)
    SELECT order_id, gen_random_uuid(), seller_id, 'dispatched', jsonb_build_array(jsonb_build_object('line_id', id, 'quantity', quantity)),
           $2
    FROM left_over
"""
NUMBERS = "SELECT counter FROM invoices.number WHERE seller_id = $1 AND series = $2 AND year = $3 ORDER BY counter"
SUPPLIED_AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


class Sale:
    """A paid order of three mugs of one seller and two bowls of another."""

    def __init__(self, order: orders.Order, mugs: UUID, bowls: UUID) -> None:
        self.order = order
        self.mugs = mugs
        self.bowls = bowls

    @property
    def id(self) -> UUID:
        return self.order.id

    def part(self, seller_id: UUID) -> invoices.SoldPart:
        return invoices.SoldPart(self.id, seller_id)

    def line(self, seller_id: UUID) -> orders.OrderItem:
        return next(item for item in self.order.items if item.seller_id == seller_id)

    async def bill(self, seller_id: UUID) -> invoices.Invoice:
        """The invoice of this seller's part."""
        with as_system():
            (invoice,) = await invoices.issue_invoices((self.part(seller_id),))
        return invoice


async def sell(*, sent: bool = True) -> Sale:
    await open_market()
    mugs, bowls = await make_seller("Mugs"), await make_seller("Bowls")
    await put_on_sale("MUG", 1200, 1000, mugs)
    await put_on_sale("BOWL", 800, 1000, bowls)
    return Sale(await order_goods(sent=sent), mugs, bowls)


async def order_goods(*, sent: bool = True) -> orders.Order:
    cart_id = await fill_cart(BUYER, ("MUG", 3), ("BOWL", 2))
    with as_buyer(BUYER):
        order = await orders.place_order(buy(cart_id))
    if sent:
        await send(order.id)
    return order


async def send(order_id: UUID) -> None:
    """All of an order has left that was not cancelled."""
    await orders_db.pool.execute(LEAVE, order_id, SUPPLIED_AT)


async def order_many(sale: Sale, count: int) -> list[invoices.SoldPart]:
    """So many more orders of the same goods: what was sent of them of the seller of mugs."""
    more = await asyncio.gather(*(order_goods() for _ in range(count)))
    return [invoices.SoldPart(order.id, sale.mugs) for order in more]


async def numbers_of(seller_id: UUID, series: str = "invoice") -> list[int]:
    """The numbers that this year's documents of a seller bear."""
    return [row["counter"] for row in await db.pool.fetch(NUMBERS, seller_id, series, datetime.now(UTC).year)]
