"""What other shops lost, or sold at another price, between cart and order: their public failures with carts and coupons, replayed."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from tests.journeys.client import Answer, Client, together
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
from tests.journeys.market import ADDRESS, CARD, fill_cart, open_market, order
from tests.torture import TORTURE, rounds

from souk import pricing
from souk.kit.ids import new_id

pytestmark = pytest.mark.timeout(3600 if TORTURE else 300)

USED_UP = (409, "pricing.coupon_used_up")
CLOSED = (409, "carts.closed")
DECLINED = {**CARD, "token": "tok_declined"}


def lines_of(shown: dict[str, Any]) -> dict[str, int]:
    """How many pieces of what."""
    return {line["sku"]: line["quantity"] for line in shown["items"]}


async def test_what_comes_into_the_cart_during_the_checkout_is_not_in_the_order(crowd: Crowd) -> None:
    """R10: spree #11286: an item came into the cart during the checkout; the old total was paid, the new cart was delivered."""
    market = await open_market(crowd.shop)
    mug, cup = [(await market.put_on_sale(10_000, cents))["sku"] for cents in (1200, 700)]
    sold = {mug: 0, cup: 0}
    for _ in range(rounds(4, 200)):
        (buyer,) = crowd.guests(1)
        cart_id, order_id = await fill_cart(buyer, mug), str(new_id())
        tabs, path = crowd.tabs(buyer, 16), f"/carts/{cart_id}/items"
        answers = await together(
            *(tab.post(path, {"sku": mug}) for tab in tabs[:3]),
            *(tab.post(path, {"sku": cup}) for tab in tabs[3:6]),
            *(order_as_guest(tab, cart_id, id=order_id, key=order_id) for tab in tabs[6:8]),
            *(tab.post(path, {"sku": sku}) for tab, sku in zip(tabs[8:], (mug, cup) * 4, strict=True)),
        )
        placed, twin = answers[6].ok, answers[7].ok
        added = answers[:6] + answers[8:]
        assert (placed["id"], placed["status"], lines_of(placed)) == (order_id, "placed", lines_of(twin))
        check_total(placed)
        assert {answer.code for answer in added if answer.status != 201} <= {"carts.closed"}
        shown = (await buyer.get(f"/orders/{order_id}")).ok
        assert (lines_of(shown), shown["total"]) == (lines_of(placed), placed["total"])
        assert (await crowd.movements_of(order_id))[order_id] == [("capture", placed["total"]["amount"])]
        for sku, quantity in lines_of(placed).items():
            sold[sku] += quantity
        await buyer.until(f"/carts/{cart_id}", lambda answer: answer.ok["status"] == "ordered")
        assert refusals_of([await buyer.post(path, {"sku": cup})]) == {CLOSED: 1}
    assert {sku: (await market.on_hand(sku))["reserved"] for sku in sold} == sold
    await crowd.check_books()


def check_total(placed: dict[str, Any]) -> None:
    """What is paid is what its lines and its shipping cost."""
    assert all(line["total"]["amount"] == line["unit_price"]["amount"] * line["quantity"] for line in placed["items"])
    assert placed["total"]["amount"] == sum(line["total"]["amount"] for line in placed["items"]) + 500


async def test_an_order_that_waits_for_its_payment_is_paid_as_it_was(crowd: Crowd) -> None:
    """R10, after the order: what comes into its cart while it waits changes neither its lines nor its total."""
    market = await open_market(crowd.shop)
    mug, cup = [(await market.put_on_sale(100, cents))["sku"] for cents in (1200, 700)]
    (buyer,) = crowd.guests(1)
    cart_id = await fill_cart(buyer, mug)
    waiting = (await order_as_guest(buyer, cart_id, payment=DECLINED)).ok
    tabs = crowd.tabs(buyer, 8)
    await together(
        *(tab.post(f"/carts/{cart_id}/items", {"sku": cup}) for tab in tabs[:7]),
        tabs[7].post("/payments", {**CARD, "order_id": waiting["id"]}),
    )
    placed = (await buyer.until(f"/orders/{waiting['id']}", lambda answer: answer.ok["status"] == "placed")).ok
    assert (lines_of(placed), placed["total"]) == ({mug: 1}, waiting["total"])
    assert (await crowd.movements_of(placed["id"]))[placed["id"]] == [("capture", 1700)]
    await crowd.check_books()


async def test_a_total_that_the_buyer_has_not_seen_is_not_charged(crowd: Crowd) -> None:
    """R10, before the order: another tab fills the cart after the buyer has seen what it costs."""
    market = await open_market(crowd.shop)
    mug, cup = [(await market.put_on_sale(100, cents))["sku"] for cents in (1200, 700)]
    (buyer,) = crowd.guests(1)
    cart_id, order_id = await fill_cart(buyer, mug), str(new_id())
    seen = (await buyer.post("/quotes", {"cart_id": cart_id, "shipping_address": ADDRESS})).ok["total"]
    tabs = crowd.tabs(buyer, 8)
    await together(*(tab.post(f"/carts/{cart_id}/items", {"sku": cup}) for tab in tabs))
    answers = await together(*(order_as_guest(tab, cart_id, id=order_id, expected_total=seen) for tab in tabs))
    assert refusals_of(answers) == {(409, "orders.total_changed"): 8}
    assert (await crowd.movements_of(order_id))[order_id] == []
    now = answers[0].body["total"]
    placed = (await order_as_guest(buyer, cart_id, id=order_id, expected_total=now)).ok
    assert (placed["status"], placed["total"], lines_of(placed)) == ("placed", now, {mug: 1, cup: 8})
    await crowd.check_books()


async def make_coupon(crowd: Crowd, **limits: int) -> dict[str, Any]:
    """A coupon of ten per cent with these limits."""
    terms = {"name": "Ten", "kind": "percentage", "rate_ppm": 100_000, "code": new_code("ten")}
    coupon: dict[str, Any] = (await (await crowd.shop.admin()).post("/coupons", terms | limits)).ok
    return coupon


async def uses_of(crowd: Crowd, coupon: dict[str, Any]) -> int:
    return int((await (await crowd.shop.admin()).get(f"/coupons/{coupon['id']}")).ok["uses"])


async def test_a_coupon_for_one_order_is_redeemed_once(crowd: Crowd) -> None:
    """R11: oscar #2101 and #4580, saleor PR 15862, Sylius CVE-2026-31824, Shopper CVE-2026-47741: many redeemed a single-use code."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000))["sku"]
    buyers = crowd.guests(32)
    carts = await fill_carts(buyers, sku)
    for _ in range(rounds(3, 200)):
        coupon = await make_coupon(crowd, usage_limit=1)
        answers = await order_together(buyers, carts, coupon=coupon["code"])
        (placed,) = (answer.ok for answer in answers if answer.status == 201)
        assert (placed["status"], placed["discount"]["amount"]) == ("placed", 120)
        assert refusals_of(answers) == {USED_UP: 31}
        assert await uses_of(crowd, coupon) == 1
        await refill_carts(buyers, carts, answers, sku)
    await crowd.check_books()


async def test_a_coupon_for_each_buyer_is_redeemed_once_by_each(crowd: Crowd) -> None:
    """R11 for the limit per buyer: the counter of the buyer was never raised. A guest is known by their address."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000))["sku"]
    buyers = [*crowd.tabs(await crowd.shop.buyer(), 12), *crowd.guests(12)]
    carts = await fill_carts(buyers, sku)
    for _ in range(rounds(2, 200)):
        coupon = await make_coupon(crowd, usage_limit_per_buyer=1)
        one_address = {"coupon": coupon["code"], "email": "the-same@guests.example"}
        answers = await together(*(order(one, cart_id, **one_address) for one, cart_id in zip(buyers, carts, strict=True)))
        for same in (answers[:12], answers[12:]):
            assert len(ids_of(same)) == 1
            assert refusals_of(same) == {USED_UP: 11}
        assert await uses_of(crowd, coupon) == 2
        await refill_carts(buyers, carts, answers, sku)
        again = await together(*(order(one, cart_id, **one_address) for one, cart_id in zip(buyers, carts, strict=True)))
        assert refusals_of(again) == {USED_UP: 24}
    await crowd.check_books()


async def test_an_order_that_does_not_come_about_gives_its_coupon_back_once(crowd: Crowd) -> None:
    """R11 for what is refused: many cancel at once an order that waits, others find no stock; the coupon is whole again, and stays so."""
    market = await open_market(crowd.shop)
    sku, gone = (await market.put_on_sale(10_000))["sku"], (await market.put_on_sale(0))["sku"]
    buyers = crowd.guests(16)
    for _ in range(rounds(2, 200)):
        coupon = await make_coupon(crowd, usage_limit=2)
        with_coupon = {"coupon": coupon["code"]}
        (buyer,) = crowd.guests(1)
        waiting = (await order_as_guest(buyer, await fill_cart(buyer, sku), payment=DECLINED, **with_coupon)).ok
        assert (waiting["status"], await uses_of(crowd, coupon)) == ("draft", 1)
        tabs = crowd.tabs(buyer, 8)
        refused = await fill_carts(buyers, gone)
        answers = await together(
            *(tab.post(f"/orders/{waiting['id']}/cancel") for tab in tabs),
            *(order_as_guest(one, cart_id, **with_coupon) for one, cart_id in zip(buyers, refused, strict=True)),
        )
        assert {answer.status for answer in answers[:8]} <= {200, 503}
        assert ids_of(answers[8:]) == []
        await buyer.until(f"/orders/{waiting['id']}", lambda answer: answer.ok["status"] == "canceled")
        assert await uses_of(crowd, coupon) == 0
        carts = await fill_carts(buyers, sku)
        assert len(ids_of(await order_together(buyers, carts, **with_coupon))) == 2
        async with crowd.inside("pricing"):
            again = pricing.RestoreCoupon(UUID(waiting["id"]))
            await asyncio.gather(*(pricing.restore_coupon(again) for _ in range(8)))
        assert await uses_of(crowd, coupon) == 2
    await crowd.check_books()


async def test_fifty_that_add_to_a_cart_at_once_lose_nothing(crowd: Crowd) -> None:
    """R13: vendure #2187, #3398: of fifty additions at once some were acknowledged and lost."""
    market = await open_market(crowd.shop)
    skus = [(await market.put_on_sale(10_000))["sku"] for _ in range(3)]
    buyer = await crowd.shop.buyer()
    tabs = crowd.tabs(buyer, 50)
    for _ in range(rounds(2, 200)):
        cart_id = (await buyer.post("/carts", {})).ok["id"]
        path = f"/carts/{cart_id}/items"
        wanted = [skus[number % 3] for number in range(50)]
        answers = await together(*(tab.post(path, {"sku": sku}) for tab, sku in zip(tabs, wanted, strict=True)))
        assert {answer.status for answer in answers} == {201}
        assert lines_of((await buyer.get(f"/carts/{cart_id}")).ok) == {sku: wanted.count(sku) for sku in skus}
        # Now each comes twice, with a key: what is repeated is not added again.
        keys = [str(new_id()) for _ in range(25)] * 2
        answers = await together(*(tab.post(path, {"sku": skus[0]}, Idempotency_Key=key) for tab, key in zip(tabs, keys, strict=True)))
        assert {answer.status for answer in answers} == {201}
        assert lines_of((await buyer.get(f"/carts/{cart_id}")).ok)[skus[0]] == wanted.count(skus[0]) + 25
    await crowd.check_books()


async def test_a_full_line_takes_what_fits_and_no_more(crowd: Crowd) -> None:
    """R13 at the limit: of fifty additions nine fit, nine are acknowledged, and nine are there."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000))["sku"]
    buyer = await crowd.shop.buyer()
    cart_id = await fill_cart(buyer, sku, 990)
    answers = await together(*(tab.post(f"/carts/{cart_id}/items", {"sku": sku}) for tab in crowd.tabs(buyer, 50)))
    assert refusals_of(answers) == {(409, "carts.too_many_pieces"): 41}
    assert lines_of((await buyer.get(f"/carts/{cart_id}")).ok) == {sku: 999}
    await crowd.check_books()


async def test_a_customer_has_one_cart_to_fill(crowd: Crowd) -> None:
    """R15: vendure #4152: a customer had two active carts after two requests at once, and items were in the one that nobody saw."""
    market = await open_market(crowd.shop)
    skus = [(await market.put_on_sale(10_000))["sku"] for _ in range(8)]
    for _ in range(rounds(2, 200)):
        buyer = await crowd.shop.buyer()
        tabs = crowd.tabs(buyer, 8)
        # Who signs in on many devices brings a guest's cart from each of them.
        guests = crowd.guests(8)
        carts = [await fill_cart(guest, sku) for guest, sku in zip(guests, skus, strict=True)]
        claims = zip(tabs, guests, carts, strict=True)
        answers = await together(*(tab.post(f"/carts/{cart_id}/merge", None, Souk_Token=token_of(guest)) for tab, guest, cart_id in claims))
        assert {answer.status for answer in answers} == {200}
        current = (await buyer.get("/carts/current")).ok
        assert lines_of(current) == dict.fromkeys(skus, 1)
        kept = (await buyer.get("/carts")).ok["items"]
        assert [cart["id"] for cart in kept if cart["status"] == "active"] == [current["id"]]
    await crowd.check_books()


def token_of(guest: Client) -> str:
    return guest.headers["Souk-Token"]


async def test_a_repeated_request_makes_one_cart_and_a_cart_makes_one_order(crowd: Crowd) -> None:
    """R15 for what is repeated: 32 requests under one key are one cart, 32 orders of it are one order, with a key or without."""
    market = await open_market(crowd.shop)
    sku = (await market.put_on_sale(10_000))["sku"]
    buyer = await crowd.shop.buyer()
    tabs = crowd.tabs(buyer, 32)
    for sold in range(1, 1 + rounds(2, 200)):
        key, body = str(new_id()), {"items": [{"sku": sku}]}
        (cart_id,) = {answer.ok["id"] for answer in await together(*(tab.post("/carts", body, Idempotency_Key=key) for tab in tabs))}
        answers: list[Answer] = await together(*(order(tab, cart_id, key=key if number % 2 else None) for number, tab in enumerate(tabs)))
        assert len({answer.ok["id"] for answer in answers}) == 1
        assert (await market.on_hand(sku))["reserved"] == sold
        await buyer.until(f"/carts/{cart_id}", lambda answer: answer.ok["status"] == "ordered")
        assert (await buyer.get("/carts/current")).status == 404
    await crowd.check_books()
