"""Orders and payments say the same of refunds that a gateway refuses and that are given in another way, whoever gives them."""

from functools import partial

import pytest
from tests.audit.history import is_settled, order_mugs
from tests.orders.market import as_system
from tests.waiting import until

from souk import orders, payments
from souk.app import Shop
from souk.kit.ids import new_id
from souk.payments import Discrepancy, RefundPayment, booking
from souk.payments.database import db
from souk.payments.gateways.gateway import News, RefundNews
from souk.payments.news import tell


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked to give money back says nothing at first."""
    monkeypatch.setattr(booking, "INSTANT", ())


async def is_promised(order: orders.Order, refunds: int) -> bool:
    with as_system():
        return len(await payments.list_refunds(order.id)) == refunds


async def refuse(order: orders.Order) -> None:
    """The gateway says that it gives nothing back of all that it was asked for; whoever looks at it closes the case."""
    told = [RefundNews(order.id, one.id, "failed", code="expired") for one in await pending(order)]
    assert await tell(News("webhook", "test", f"refused:{order.id}", refunds=tuple(told))) == "refused"
    with as_system():
        for one in await discrepancies():
            await payments.close_discrepancy(one.id, "given back to the wallet")


async def pending(order: orders.Order) -> list[payments.Refund]:
    with as_system():
        return [one for one in await payments.list_refunds(order.id) if one.status == "pending"]


async def discrepancies() -> tuple[Discrepancy, ...]:
    with as_system():
        return await payments.list_discrepancies(10)


async def give_to_wallet(order: orders.Order) -> None:
    with as_system():
        given = await payments.refund(RefundPayment(new_id(), order.id, None, "the card has expired", "wallet"))
    assert given.status == "succeeded"


MOVED = """
    SELECT a.kind, sum(CASE WHEN t.credit_id = a.id THEN t.amount ELSE -t.amount END) AS moved
    FROM payments.transfer AS t JOIN payments.account AS a ON a.id IN (t.debit_id, t.credit_id)
    WHERE t.cause_id = $1 GROUP BY a.kind
"""


async def moved(order: orders.Order) -> dict[str, int]:
    """Whose the money of an order is."""
    return {row["kind"]: int(row["moved"]) for row in await db.pool.fetch(MOVED, order.id) if row["moved"]}


async def test_a_cancelled_order_whose_refund_is_refused_is_given_back_to_the_wallet(working_shop: Shop) -> None:
    order = await order_mugs(2)
    with as_system():
        await orders.cancel_order(order.id, orders.CancelOrder("changed my mind"))
    await refuse(order)
    await give_to_wallet(order)
    await until(is_settled, 20)
    assert await moved(order) == {"gateway_clearing": -order.total.amount, "buyer_wallet": order.total.amount}


async def test_cancelled_pieces_whose_refund_is_refused_are_given_back_to_the_wallet(working_shop: Shop) -> None:
    order = await order_mugs(2)
    [mugs] = [item for item in order.items if item.sku == "MUG"]
    with as_system():
        await orders.cancel_order(order.id, orders.CancelOrder("one is enough", (orders.LinePieces(mugs.id, 1),)))
    await until(partial(is_promised, order, 1), 20)
    [refused] = await pending(order)
    await refuse(order)
    with as_system():
        given = RefundPayment(new_id(), order.id, refused.amount, "the card has expired", "wallet")
        assert (await payments.refund(given)).status == "succeeded"
    await until(is_settled, 20)
    whole, back = order.total.amount, refused.amount.amount
    assert await moved(order) == {"gateway_clearing": -whole, "buyer_wallet": back, "order_funds": whole - back}
