"""What other shops sold although it was gone: their public failures with stock, replayed against ours at two processes at once."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.batches import in_processes
from tests.journeys.client import Client, together
from tests.journeys.known_failures.conftest import (
    Crowd,
    fill_carts,
    ids_of,
    new_code,
    order_as_guest,
    order_together,
    refill_carts,
    refusals_of,
)
from tests.journeys.market import CARD, Market, fill_cart, open_market, order
from tests.torture import TORTURE, rounds

from souk import inventory, orders
from souk.inventory import reservations
from souk.inventory.database import db
from souk.kit.errors import DomainError
from souk.kit.ids import new_id
from souk.kit.money import Money

pytestmark = pytest.mark.timeout(3600 if TORTURE else 300)

SOLD_OUT = (409, "inventory.out_of_stock")
COUNTED_AND_HELD = """
    SELECT s.reserved, coalesce(sum(l.quantity) FILTER (WHERE r.status IN ('held', 'confirmed')), 0)
    FROM inventory.stock AS s
    LEFT JOIN inventory.reservation_line AS l ON l.sku = s.sku AND l.store_id = s.store_id
    LEFT JOIN inventory.reservation AS r ON r.order_id = l.order_id
    WHERE s.sku = $1 GROUP BY s.reserved
"""
END_HOLD = "UPDATE inventory.reservation SET expires_at = now() - interval '1 second' WHERE order_id = $1"


async def levels(market: Market, sku: str) -> tuple[int, int]:
    """What lies in the store, and what of it is set aside."""
    stock = await market.on_hand(sku)
    return stock["on_hand"], stock["reserved"]


def ask(market: Market, sku: str, *quantities: int) -> inventory.ReserveStock:
    """An order with a line for each of these quantities of one SKU."""
    return inventory.ReserveStock(new_id(), tuple(inventory.StockLine(sku, UUID(market.seller_id), quantity) for quantity in quantities))


async def test_two_buyers_of_the_last_piece_and_one_gets_it(crowd: Crowd) -> None:
    """R1: saleor #543, spree #3792, vendure #3508, nopCommerce #8085, django-shop #888: the last piece was sold to both."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(1))["sku"]
    buyers = crowd.guests(64)
    carts = await fill_carts(buyers, sku)
    for sold in range(1, 1 + rounds(3, 200)):
        (await market.count(sku, sold)).ok  # noqa: B018
        answers = await order_together(buyers, carts)
        assert len(ids_of(answers)) == 1
        assert refusals_of(answers) == {SOLD_OUT: 63}
        assert await levels(market, sku) == (sold, sold)
        await refill_carts(buyers, carts, answers, sku)
    await crowd.check_books()


async def test_two_lines_of_an_order_that_share_their_stock_are_one_demand(crowd: Crowd) -> None:
    """R2: medusa #16502: two lines that share one item in stock were each checked alone."""
    market = await open_market(crowd.shop)
    goods = await market.put_on_sale(3)
    sku = goods["sku"]
    async with crowd.inside("inventory", "orders"):
        for _ in range(rounds(2, 200)):
            (await market.count(sku, 3)).ok  # noqa: B018
            assert [await reserve(ask(market, sku, 2, 2))] == [inventory.OutOfStock]
            assert await levels(market, sku) == (3, 0)
            (await market.count(sku, 7)).ok  # noqa: B018
            asked = [ask(market, sku, 2, 2) for _ in range(32)]
            answers = await asyncio.gather(*(reserve(one) for one in asked))
            assert (answers.count(inventory.Reservation), answers.count(inventory.OutOfStock)) == (1, 31)
            assert await levels(market, sku) == (7, 4)
            await asyncio.gather(*(inventory.release_stock(inventory.ReleaseStock(one.order_id)) for one in asked))
        (await market.count(sku, 3)).ok  # noqa: B018
        assert await reserve_in_an_order(crowd, market, goods) == inventory.OutOfStock
        assert await levels(market, sku) == (3, 0)
        (await market.count(sku, 4)).ok  # noqa: B018
        assert await reserve_in_an_order(crowd, market, goods) is None
        assert await levels(market, sku) == (0, 0)
    await crowd.check_books()


async def reserve(asked: inventory.ReserveStock) -> type[object]:
    """What comes of a reservation."""
    try:
        return type(await inventory.reserve_stock(asked))
    except DomainError as refusal:
        return type(refusal)


async def reserve_in_an_order(crowd: Crowd, market: Market, goods: dict[str, Any]) -> type[object] | None:
    """What comes of an order of two lines of two pieces each, which is shipped at once: a refusal, or nothing."""
    variant = (await crowd.shop.visitor().get(f"/products/{goods['id']}")).ok["variants"][0]["id"]
    of_two = orders.RecordedLine(UUID(goods["id"]), UUID(variant), UUID(market.seller_id), goods["sku"], "Two mugs", 2, Money(1200, "USD"))
    made = orders.RecordOrder(order_id=new_id(), placed_at=datetime.now(UTC), currency="USD", lines=(of_two, of_two))
    try:
        await orders.record_order(made)
    except DomainError as refusal:
        return type(refusal)
    return None


async def test_a_variant_that_comes_into_a_cart_twice_is_one_demand(crowd: Crowd) -> None:
    """R3: vendure #1028, #2702: the same variant twice in one order was sold beyond its stock."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(3))["sku"]
    buyers = crowd.guests(32)
    for sold in range(2, 2 + 2 * rounds(2, 200), 2):
        # An odd piece is left over: nobody gets one of their two.
        (await market.count(sku, sold + 1)).ok  # noqa: B018
        carts = [await fill_cart_with(buyer, [sku, sku] if number % 3 else [sku]) for number, buyer in enumerate(buyers)]
        await together(*(buyers[number].post(f"/carts/{carts[number]}/items", {"sku": sku}) for number in range(0, len(buyers), 3)))
        answers = await order_together(buyers, carts)
        (placed,) = (answer.ok for answer in answers if answer.status == 201)
        assert [(line["sku"], line["quantity"], line["total"]["amount"]) for line in placed["items"]] == [(sku, 2, 2400)]
        assert refusals_of(answers) == {SOLD_OUT: 31}
        assert await levels(market, sku) == (sold + 1, sold)
    await crowd.check_books()


async def test_two_carts_of_one_buyer_do_not_share_a_piece(crowd: Crowd) -> None:
    """R3 once more, as it looks where a cart has one line per variant: the second demand is in another cart of the same buyer."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(3))["sku"]
    buyer = await crowd.shop.buyer()
    tabs = crowd.tabs(buyer, 8)
    carts = [await fill_cart(tab, sku, 2) for tab in tabs]
    answers = await together(*(order(tab, cart_id) for tab, cart_id in zip(tabs, carts, strict=True)))
    assert len(ids_of(answers)) == 1
    assert refusals_of(answers) == {SOLD_OUT: 7}
    assert await levels(market, sku) == (3, 2)
    await crowd.check_books()


async def test_a_refused_line_leaves_nothing_of_its_order_behind(crowd: Crowd) -> None:
    """R4: medusa #16825: stock was refused while the other steps went well; an order was left over, and two were made of one piece."""
    market, other = await open_market(crowd.shop), await open_market(crowd.shop)
    scarce, plenty = (await market.put_on_sale(1))["sku"], (await other.put_on_sale(1000))["sku"]
    terms = {"name": "Ten", "kind": "percentage", "rate_ppm": 100_000, "code": new_code("ten")}
    coupon = (await (await crowd.shop.admin()).post("/coupons", terms)).ok
    buyers = crowd.guests(16)
    for sold in range(1, 1 + rounds(2, 200)):
        (await market.count(scarce, sold)).ok  # noqa: B018
        carts = await fill_carts(buyers, plenty)
        await together(*(buyer.post(f"/carts/{cart_id}/items", {"sku": scarce}) for buyer, cart_id in zip(buyers, carts, strict=True)))
        ids = [str(new_id()) for _ in buyers]
        answers = await together(
            *(
                order_as_guest(buyer, cart_id, id=order_id, coupon=coupon["code"])
                for buyer, cart_id, order_id in zip(buyers, carts, ids, strict=True)
            )
        )
        (placed,) = ids_of(answers)
        assert refusals_of(answers) == {SOLD_OUT: 15}
        movements = await crowd.movements_of(*ids)
        for buyer, order_id in zip(buyers, ids, strict=True):
            shown = (await buyer.get(f"/orders/{order_id}")).ok
            assert (shown["status"], shown["payment_status"]) == (("placed", "paid") if order_id == placed else ("rejected", "none"))
            assert len(movements[order_id]) == (order_id == placed)
        assert await levels(market, scarce) == (sold, sold)
        assert await levels(other, plenty) == (1000, sold)
        assert (await (await crowd.shop.admin()).get(f"/coupons/{coupon['id']}")).ok["uses"] == sold
    await crowd.check_books()


async def test_reservations_without_a_lock_around_them_never_exceed_the_stock(crowd: Crowd) -> None:
    """R5: medusa #16569: reserving without the workflow's lock oversubscribed, and the counter drifted away from the rows."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10))["sku"]
    buyers = crowd.guests(16)
    carts = await fill_carts(buyers, sku)
    come, go = inventory.reserve_stock.batcher._work, inventory.release_stock.batcher._work
    async with crowd.hosting("inventory"), crowd.rows("inventory") as connection:
        for _ in range(rounds(2, 200)):
            _, taken = await levels(market, sku)
            (await market.count(sku, taken + 10)).ok  # noqa: B018
            asked = [ask(market, sku, 1) for _ in range(32)]
            direct, bought = await asyncio.gather(in_processes(db, come, [[one] for one in asked]), order_together(buyers, carts))
            held = [one for one in direct if isinstance(one, inventory.Reservation)]
            assert len(held) + len(ids_of(bought)) == 10
            assert [type(one) for one in direct].count(inventory.OutOfStock) == 32 - len(held)
            assert {(answer.status, answer.code) for answer in bought if answer.status != 201} <= {SOLD_OUT}
            assert tuple(await connection.fetchrow(COUNTED_AND_HELD, sku)) == (taken + 10, taken + 10)
            await in_processes(db, go, [[inventory.ReleaseStock(one.order_id)] for one in held for _ in range(4)])
            left = taken + 10 - len(held)
            assert tuple(await connection.fetchrow(COUNTED_AND_HELD, sku)) == (left, left)
            await refill_carts(buyers, carts, bought, sku)
    await crowd.check_books()


async def test_who_pays_when_the_stock_is_gone_gets_the_money_back_without_asking(crowd: Crowd) -> None:
    """R6: vendure #3065, OpenFoodNetwork #3925: three paid for one piece, three were charged, one got it."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(1))["sku"]
    for sold in range(1, 1 + rounds(1, 200)):
        (await market.count(sku, sold)).ok  # noqa: B018
        buyers = crowd.guests(4)
        waiting = [await hold_for_a_moment(crowd, buyer, sku) for buyer in buyers]
        ids = [one["id"] for one in waiting]
        in_the_app = [one["next_action"]["redirect_url"] for one in waiting[:2]]
        card = [{**CARD, "order_id": order_id} for order_id in ids[2:]]
        await asyncio.gather(
            *(crowd.outside.visit(url, "approve") for url in in_the_app),
            *(buyer.post("/payments", one) for buyer, one in zip(buyers[2:], card, strict=True)),
        )
        for buyer, order_id in zip(buyers, ids, strict=True):
            await buyer.until(f"/orders/{order_id}", lambda answer: answer.ok["payment_status"] in ("paid", "refunded"), within_s=60)
        shown = [(await buyer.get(f"/orders/{order_id}")).ok["status"] for buyer, order_id in zip(buyers, ids, strict=True)]
        assert sorted(shown) == ["placed", "rejected", "rejected", "rejected"]
        total = waiting[0]["total"]["amount"]
        for status, moved in zip(shown, (await crowd.movements_of(*ids)).values(), strict=True):
            assert moved == [("capture", total)] + [("refund", total)] * (status == "rejected")
        assert await levels(market, sku) == (sold, sold)
    await crowd.check_books()


async def hold_for_a_moment(crowd: Crowd, buyer: Client, sku: str) -> dict[str, Any]:
    """An order that waits for its payment, whose time to keep its stock is over."""
    way = {"method": "redirect", "return_url": "http://127.0.0.1:9/back"}
    waiting: dict[str, Any] = (await order_as_guest(buyer, await fill_cart(buyer, sku), payment=way)).ok
    async with crowd.hosting("inventory"), crowd.rows("inventory") as connection:
        await connection.execute(END_HOLD, UUID(waiting["id"]))
        await reservations.release_expired()
    assert waiting["status"] == "draft"
    return waiting


async def test_a_seller_who_counts_fewer_pieces_is_not_sold_more(crowd: Crowd) -> None:
    """R14: vendure #1355, #1738: an admin lowered the stock between cart and payment, and the buyer paid for what was not there."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(3))["sku"]
    (buyer,) = crowd.guests(1)
    cart_id, order_id = await fill_cart(buyer, sku, 3), str(new_id())
    (await market.count(sku, 2)).ok  # noqa: B018
    refused = await order_as_guest(buyer, cart_id, id=order_id)
    assert (refused.status, refused.code) == SOLD_OUT
    assert refused.body["shortages"] == [{"sku": sku, "asked": 3, "available": 2}]
    assert (await crowd.movements_of(order_id))[order_id] == []
    buyers, tabs = crowd.guests(32), crowd.tabs(market.seller, 8)
    path = f"/stores/{market.store_id}/stock/{sku}"
    for _ in range(rounds(2, 200)):
        carts = await fill_carts(buyers, sku)
        _, taken = await levels(market, sku)
        (await market.count(sku, taken + 20)).ok  # noqa: B018
        answers = await together(
            *(order_as_guest(buyer, cart_id) for buyer, cart_id in zip(buyers, carts, strict=True)),
            *(tab.put(path, {"on_hand": taken + 10}) for tab in tabs),
        )
        bought, counted = answers[:32], answers[32:]
        assert {answer.status if answer.status == 200 else answer.code for answer in counted} <= {200, "inventory.stock_reserved"}
        on_hand, reserved = await levels(market, sku)
        assert on_hand == taken + (10 if any(answer.status == 200 for answer in counted) else 20)
        assert reserved == on_hand == taken + len(ids_of(bought))
    await crowd.check_books()


async def test_a_piece_that_waits_for_its_payment_cannot_be_counted_away(crowd: Crowd) -> None:
    """R14, between order and payment: what is set aside stays there until the buyer has paid."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(3))["sku"]
    (buyer,) = crowd.guests(1)
    waiting = (await order_as_guest(buyer, await fill_cart(buyer, sku, 3), payment={**CARD, "token": "tok_declined"})).ok
    answers = await together(*(market.count(sku, pieces) for pieces in (0, 1, 2) for _ in range(4)))
    assert refusals_of(answers) == {(409, "inventory.stock_reserved"): 12}
    assert (answers[0].body["on_hand"], answers[0].body["reserved"]) == (3, 3)
    assert (await buyer.post("/payments", {**CARD, "order_id": waiting["id"]})).ok["status"] == "captured"
    await buyer.until(f"/orders/{waiting['id']}", lambda answer: answer.ok["status"] == "placed")
    await crowd.check_books()


async def test_the_same_skus_in_any_order_never_wait_for_each_other(crowd: Crowd) -> None:
    """R17: medusa PR 11403: a cart with one lock key twice waited for itself. Carts of the same SKUs come and go here in every order."""
    market = await open_market(crowd.shop)
    skus = [(await market.put_on_sale(100_000))["sku"] for _ in range(6)]
    dice = random.Random(17)
    buyers, admins = crowd.guests(32), crowd.tabs(await crowd.shop.admin(), 32)
    placed: list[str] = []

    def shuffle() -> list[str]:
        # Each SKU comes twice, the second time at another place.
        return dice.sample(skus, 6) + dice.sample(skus, 6)

    async with crowd.hosting("inventory"):
        for _ in range(rounds(3, 200)):
            carts = [await fill_cart_with(buyer, shuffle()) for buyer in buyers]
            coming = (order_as_guest(buyer, cart_id) for buyer, cart_id in zip(buyers, carts, strict=True))
            cancelling = (admin.post(f"/orders/{order_id}/cancel") for admin, order_id in zip(admins, placed, strict=False))
            answers, _ = await asyncio.gather(together(*coming, *cancelling), reserve_and_release(market, [shuffle() for _ in range(32)]))
            assert {answer.status for answer in answers[:32]} == {201}
            assert {answer.status for answer in answers[32:]} <= {200}
            placed = ids_of(answers[:32])
            assert await crowd.count_deadlocks() == crowd.deadlocks
    assert [await levels(market, sku) for sku in skus] == [(100_000, 32 * 2)] * 6
    await crowd.check_books()


async def fill_cart_with(buyer: Client, skus: list[str]) -> str:
    """A new cart with a piece of each of these, in this order."""
    made = await buyer.post("/carts", {"items": [{"sku": sku} for sku in skus]})
    buyer.headers["Souk-Token"] = made.headers["souk-token"]
    return str(made.ok["id"])


async def reserve_and_release(market: Market, orders_of: list[list[str]]) -> None:
    """Orders of these SKUs come and go, each through a process of its own."""
    come, go = inventory.reserve_stock.batcher._work, inventory.release_stock.batcher._work
    seller_id = UUID(market.seller_id)
    asked = [inventory.ReserveStock(new_id(), tuple(inventory.StockLine(sku, seller_id, 1) for sku in skus)) for skus in orders_of]
    reserved = await in_processes(db, come, [[one] for one in asked])
    assert [type(one) for one in reserved] == [inventory.Reservation] * len(asked)
    await in_processes(db, go, [[inventory.ReleaseStock(one.order_id)] for one in asked])
