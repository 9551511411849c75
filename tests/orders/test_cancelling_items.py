"""Pieces that are cancelled cost the buyer nothing, and stock, money and coupon go back once, whoever does what at the same moment."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.audit.history import is_settled
from tests.conftest import asked_by
from tests.orders.market import as_buyer, as_system, available, buy, fill_cart
from tests.orders.test_parcels import BUYER, Sale, as_seller, sell
from tests.waiting import until

from souk import orders, payments
from souk.app import Shop
from souk.kit.errors import InvalidField, NotFound
from souk.kit.idempotency import IdempotencyKeyReused
from souk.kit.ids import new_id
from souk.orders.database import db
from souk.orders.types import CancelOrder, LinePieces, NotCancellable, TooMuchCanceled
from souk.payments import ledger
from souk.payments.database import db as payments_db


@pytest.fixture
async def sale(working_shop: Shop) -> AsyncIterator[Sale]:
    """Three mugs of one seller for 12.00 and two bowls of another for 8.00, each with 5.00 of shipping; and books in order in the end."""
    yield await sell()
    await until(is_settled)


def pieces(sale: Sale, seller_id: object, quantity: int) -> CancelOrder:
    return CancelOrder("not needed", (LinePieces(sale.line(seller_id), quantity),))


async def cancel(sale: Sale, request: CancelOrder) -> orders.Order:
    with as_buyer(BUYER):
        return await orders.cancel_order(sale.order.id, request)


async def is_refunded(sale: Sale, cents: int) -> None:
    async def is_so() -> bool:
        with as_system():
            return (await payments.get_payment(sale.order.id)).refunded.amount == cents

    await until(is_so)


async def has_available(sku: str, expected: int) -> None:
    async def is_so() -> bool:
        return await available(sku) == expected

    await until(is_so)


async def balance(seller_id: object) -> int:
    account = ledger.seller_balance(seller_id, "USD")
    return int(await payments_db.value("SELECT balance FROM payments.account WHERE id = $1", account.id) or 0)


async def test_what_somebody_types_is_told_to_nobody(sale: Sale) -> None:
    await cancel(sale, pieces(sale, sale.mugs, 1))
    await is_refunded(sale, 1200)
    assert await payments_db.value("SELECT reason FROM payments.refund WHERE payment_id = $1", sale.order.id) == "canceled"
    told = "SELECT payload ->> 'reason' FROM orders.outbox WHERE type = 'orders.ItemsCancelled' AND payload ->> 'order_id' = $1"
    assert await payments_db.value(told, str(sale.order.id)) == "buyer"


async def test_a_mug_is_cancelled_and_the_rest_is_sent(sale: Sale) -> None:
    order = await cancel(sale, pieces(sale, sale.mugs, 1))
    assert (order.status, order.fulfillment_status) == ("placed", "unfulfilled")
    assert next(item.canceled for item in order.items if item.seller_id == sale.mugs) == 1
    await is_refunded(sale, 1200)
    await has_available("MUG", 8)
    for seller_id in (sale.mugs, sale.bowls):
        await sale.dispatch(await sale.pack(seller_id))
    await sale.is_seen_as("fulfilled", "fulfilled", "fulfilled")
    assert (await sale.look()).payment_status == "partially_refunded"


async def test_a_seller_cancels_their_part_and_it_ends_with_its_shipping(sale: Sale) -> None:
    with as_seller(sale.bowls):
        await orders.cancel_order(sale.order.id, CancelOrder("broken in the kiln"))
    await is_refunded(sale, 2 * 800 + 500)
    await sale.is_seen_as("unfulfilled", "unfulfilled", "canceled")
    await has_available("BOWL", 10)
    await sale.dispatch(await sale.pack(sale.mugs))
    await sale.is_seen_as("fulfilled", "fulfilled", "canceled")
    with as_seller(sale.bowls), pytest.raises(NotCancellable):
        await orders.cancel_order(sale.order.id, CancelOrder("again"))


async def test_the_last_piece_that_is_cancelled_ends_the_order(sale: Sale) -> None:
    with as_seller(sale.bowls):
        await orders.cancel_order(sale.order.id, CancelOrder())
    order = await cancel(sale, pieces(sale, sale.mugs, 3))
    assert (order.status, order.fulfillment_status) == ("canceled", "canceled")
    await is_refunded(sale, sale.order.total.amount)
    await has_available("MUG", 10)


async def test_the_last_seller_who_cancels_ends_the_order(sale: Sale) -> None:
    for seller_id in (sale.mugs, sale.bowls):
        with as_seller(seller_id):
            await orders.cancel_order(sale.order.id, CancelOrder("closed for good"))
    order = await sale.look()
    assert (order.status, order.payment_status) == ("canceled", "refunded")
    await is_refunded(sale, sale.order.total.amount)


async def test_who_gave_all_of_it_back_before_an_order_is_cancelled_has_it_again(sale: Sale) -> None:
    with as_system():
        await payments.refund(payments.RefundPayment(new_id(), sale.order.id, None, "for the trouble"))
    assert (await balance(sale.mugs), await balance(sale.bowls)) != (0, 0)
    with as_buyer(BUYER):
        order = await orders.cancel_order(sale.order.id, CancelOrder("not needed"))
    assert (order.status, order.payment_status) == ("canceled", "refunded")
    assert (await balance(sale.mugs), await balance(sale.bowls)) == (0, 0)
    await is_refunded(sale, sale.order.total.amount)


async def test_what_is_left_after_a_parcel_can_be_cancelled(sale: Sale) -> None:
    await sale.dispatch(await sale.pack(sale.mugs, 2))
    await sale.is_seen_as("partial", "partial", "unfulfilled")
    with pytest.raises(TooMuchCanceled):
        await cancel(sale, pieces(sale, sale.mugs, 2))
    await cancel(sale, pieces(sale, sale.mugs, 1))
    with as_seller(sale.bowls):
        await orders.cancel_order(sale.order.id, CancelOrder())
    await sale.is_seen_as("fulfilled", "fulfilled", "canceled")
    await is_refunded(sale, 1200 + 2 * 800 + 500)
    await has_available("MUG", 8)


async def test_a_packed_parcel_is_unpacked_if_its_pieces_are_needed(sale: Sale) -> None:
    kept, opened = await sale.pack(sale.bowls), await sale.pack(sale.mugs, 2)
    await cancel(sale, pieces(sale, sale.mugs, 1))
    assert await sale.counted() == [(2, 0, 0, 1), (2, 0, 0, 0)]
    await cancel(sale, pieces(sale, sale.mugs, 1))
    with as_system():
        assert (await sale.shipment(opened)).status == "canceled"
        assert (await sale.shipment(kept)).status == "packed"
    assert await sale.counted() == [(0, 0, 0, 2), (2, 0, 0, 0)]


async def test_no_more_is_unpacked_than_is_needed(sale: Sale) -> None:
    parcels = [await sale.pack(sale.mugs, 1) for _ in range(3)]
    await cancel(sale, pieces(sale, sale.mugs, 1))
    with as_system():
        assert [(await sale.shipment(parcel)).status for parcel in parcels] == ["packed", "packed", "canceled"]
    await cancel(sale, pieces(sale, sale.mugs, 2))
    assert await sale.counted() == [(0, 0, 0, 3), (0, 0, 0, 0)]


async def test_a_refused_cancellation_unpacks_nothing(sale: Sale) -> None:
    packed = await sale.pack(sale.mugs, 3)
    with pytest.raises(TooMuchCanceled):
        await cancel(sale, pieces(sale, sale.mugs, 4))
    with as_system():
        assert (await sale.shipment(packed)).status == "packed"


async def test_who_may_cancel_what(sale: Sale) -> None:
    with asked_by("buyer"), pytest.raises(NotFound):
        await orders.cancel_order(sale.order.id, pieces(sale, sale.mugs, 1))
    with as_seller(new_id()), pytest.raises(NotFound):
        await orders.cancel_order(sale.order.id, CancelOrder())
    with as_seller(sale.bowls), pytest.raises(InvalidField):
        await orders.cancel_order(sale.order.id, pieces(sale, sale.mugs, 1))
    with as_seller(sale.bowls), pytest.raises(NotFound):
        await orders.cancel_order(sale.order.id, CancelOrder(seller_id=sale.mugs))
    with pytest.raises(InvalidField):
        await cancel(sale, CancelOrder(items=(LinePieces(new_id(), 1),)))
    assert await sale.counted() == [(0, 0, 0, 0), (0, 0, 0, 0)]


async def test_a_request_with_a_key_cancels_once(sale: Sale) -> None:
    with as_buyer(BUYER, "a-key-of-mine"):
        answers = await asyncio.gather(*(orders.cancel_order(sale.order.id, pieces(sale, sale.mugs, 1)) for _ in range(8)))
    assert {answer.id for answer in answers} == {sale.order.id}
    assert await sale.counted() == [(0, 0, 0, 1), (0, 0, 0, 0)]
    await is_refunded(sale, 1200)


async def test_a_key_is_for_one_order_and_keeps_nothing_of_its_buyer(sale: Sale) -> None:
    cart_id = await fill_cart(BUYER, ("MUG", 1), ("BOWL", 1))
    request = CancelOrder(seller_id=sale.bowls)
    with as_buyer(BUYER):
        other = await orders.place_order(buy(cart_id))
    with as_buyer(BUYER, "a-key-of-mine"):
        for _ in range(2):
            canceled = await orders.cancel_order(sale.order.id, request)
            assert [item.canceled for item in canceled.items] == [0, 2]
        with pytest.raises(IdempotencyKeyReused):
            await orders.cancel_order(other.id, request)
    with as_buyer(BUYER):
        assert [item.canceled for item in (await orders.get_order(other.id)).items] == [0, 0]
    assert b"Main St" not in await db.value("SELECT string_agg(answer, '') FROM orders.idempotency_key")


async def test_a_request_that_comes_again_later_unpacks_nothing(sale: Sale) -> None:
    with as_buyer(BUYER, "a-key-of-mine"):
        await orders.cancel_order(sale.order.id, pieces(sale, sale.mugs, 1))
        packed = await sale.pack(sale.mugs)
    with as_buyer(BUYER, "a-key-of-mine"):
        await orders.cancel_order(sale.order.id, pieces(sale, sale.mugs, 1))
    with as_system():
        assert (await sale.shipment(packed)).status == "packed"
    assert await sale.counted() == [(2, 0, 0, 1), (0, 0, 0, 0)]


async def test_32_cancel_pack_and_send_at_once(sale: Sale) -> None:
    """Whoever comes first: each piece is sent or paid back, none both and none neither."""

    async def send() -> None:
        await sale.dispatch(await sale.pack(sale.mugs, 1))

    async def give_up() -> None:
        await cancel(sale, pieces(sale, sale.mugs, 1))

    with_all = [send() if number % 2 else give_up() for number in range(32)]
    await asyncio.gather(*with_all, return_exceptions=True)
    with as_seller(sale.bowls):
        await orders.cancel_order(sale.order.id, CancelOrder())

    async def is_counted() -> bool:
        (packed, shipped, _, canceled), _ = await sale.counted()
        return shipped == packed and shipped + canceled == 3

    await until(is_counted)
    (_, shipped, _, canceled), _ = await sale.counted()
    freight = 0 if shipped else 500
    await is_refunded(sale, canceled * 1200 + freight + 2 * 800 + 500)
    await has_available("MUG", 7 + canceled)

    async def is_earned() -> bool:
        return await balance(sale.mugs) > 0 or shipped == 0

    await until(is_earned)
