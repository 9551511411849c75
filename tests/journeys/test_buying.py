"""Shoppers find something, buy it, change their mind, and fight for the last piece: in one process and over the wire."""

import secrets
from typing import Any

import aiohttp
from tests.journeys.client import Client, together
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order


def is_placed(answer: Any) -> bool:
    return bool(answer.ok["status"] == "placed")


async def test_find_put_in_a_cart_with_a_coupon_and_pay_by_card(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    code = f"TEN{secrets.token_hex(4)}"
    admin = await shop.admin()
    (await admin.post("/coupons", {"name": "Ten", "kind": "percentage", "rate_ppm": 100_000, "code": code})).ok  # noqa: B018
    buyer = await shop.buyer()
    found = (await buyer.get(f"/products/search?q={goods['sku']}")).ok["items"]
    assert [product["id"] for product in found] == [goods["id"]]
    assert (await buyer.post(f"/products/{goods['id']}/views")).status == 201
    cart_id = await fill_cart(buyer, goods["sku"], 2)
    cart = (await buyer.post(f"/carts/{cart_id}/coupon", {"code": code})).ok
    assert (cart["subtotal"]["amount"], cart["discount"]["amount"], cart["tax"]) == (2400, 240, None)
    placed = (await order(buyer, cart_id, key="first")).ok
    assert (placed["status"], placed["payment_status"], placed["coupon"]) == ("placed", "paid", code.upper())
    assert placed["total"]["amount"] == 2400 - 240 + 500
    assert placed["tax"]["amount"] == round(2660 * 19 / 119)
    assert (await order(buyer, cart_id, key="first")).ok["id"] == placed["id"]
    stock = await market.on_hand(goods["sku"])
    assert (stock["on_hand"], stock["reserved"], stock["available"]) == (10, 2, 8)
    activity = await buyer.until(f"/users/{buyer.id}/activity", lambda answer: len(answer.ok["items"]) == 2)
    assert {(entry["activity_type"], entry.get("product_id"), entry.get("order_id")) for entry in activity.ok["items"]} == {
        ("view", goods["id"], None),
        ("purchase", None, placed["id"]),
    }


async def test_pay_out_of_the_wallet(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer = await shop.buyer()
    poor = (await order(buyer, await fill_cart(buyer, goods["sku"]), {"method": "wallet"}, key="poor")).ok
    assert (poor["status"], poor["payment"]["status"]) == ("draft", "declined")
    deposit = {"amount": {"amount": 5000, "currency": "USD"}, "method": "card", "token": "tok_visa"}
    (await buyer.post("/wallet/deposits", deposit, Idempotency_Key="deposit")).ok  # noqa: B018
    paid = (await buyer.post("/payments", {"order_id": poor["id"], "method": "wallet"})).ok
    assert paid["status"] == "captured"
    await buyer.until(f"/orders/{poor['id']}", is_placed)
    (balance,) = (await buyer.get("/wallet")).ok["balances"]
    assert balance["balance"]["amount"] == 5000 - poor["total"]["amount"]


async def begin_in_the_app(shop: Shop, buyer: Client, sku: str) -> tuple[dict[str, Any], str]:
    """An order that waits for its buyer in the third party's app, and where that is."""
    payment = {"method": "redirect", "return_url": "http://127.0.0.1:9/back"}
    waiting = (await order(buyer, await fill_cart(buyer, sku), payment)).ok
    assert (waiting["status"], waiting["payment"]["status"]) == ("draft", "requires_action")
    return waiting, waiting["next_action"]["redirect_url"]


async def test_a_third_partys_app_approves(shop: Shop) -> None:
    goods = await (await open_market(shop)).put_on_sale(10)
    buyer = await shop.buyer()
    waiting, page = await begin_in_the_app(shop, buyer, goods["sku"])
    async with shop.session.post(f"{page}/approve", allow_redirects=False) as answer:
        assert answer.status == 303
    placed = (await buyer.until(f"/orders/{waiting['id']}", is_placed)).ok
    assert placed["payment_status"] == "paid"


async def test_a_third_partys_app_refuses_and_another_way_is_taken(shop: Shop) -> None:
    goods = await (await open_market(shop)).put_on_sale(10)
    buyer = await shop.buyer()
    waiting, page = await begin_in_the_app(shop, buyer, goods["sku"])
    express = {"shipping_option": "express"}
    too_late = await buyer.patch(f"/orders/{waiting['id']}", express)
    assert (too_late.status, too_late.code) == (409, "orders.payment_under_way")
    async with shop.session.post(f"{page}/refuse", allow_redirects=False) as answer:
        assert answer.status == 303
    await buyer.until(f"/orders/{waiting['id']}", lambda answer: answer.ok["payment"]["status"] == "declined")
    assert (await buyer.patch(f"/orders/{waiting['id']}", express)).ok["total"]["amount"] == waiting["total"]["amount"] + 1000
    assert (await buyer.post("/payments", {"order_id": waiting["id"], "method": "card", "token": "tok_visa"})).ok["status"] == "captured"
    await buyer.until(f"/orders/{waiting['id']}", is_placed)


async def test_a_buyer_who_never_comes_back_loses_the_order_and_nobody_else_does(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(1)
    buyer = await shop.buyer()
    waiting, _ = await begin_in_the_app(shop, buyer, goods["sku"])
    assert (await market.on_hand(goods["sku"]))["available"] == 0
    await buyer.until(f"/orders/{waiting['id']}", lambda answer: answer.ok["status"] == "rejected", within_s=60)
    assert (await market.on_hand(goods["sku"]))["available"] == 1
    assert is_placed(await order(buyer, waiting["cart_id"], key="again"))


async def test_a_declined_card_and_then_another(shop: Shop) -> None:
    goods = await (await open_market(shop)).put_on_sale(10)
    buyer = await shop.buyer()
    waiting = (await order(buyer, await fill_cart(buyer, goods["sku"]), {"method": "card", "token": "tok_declined"})).ok
    assert (waiting["status"], waiting["payment"]["status"]) == ("draft", "declined")
    assert (await buyer.post("/payments", {"order_id": waiting["id"], "method": "card", "token": "tok_visa"})).ok["status"] == "captured"
    await buyer.until(f"/orders/{waiting['id']}", is_placed)


async def test_two_buyers_after_the_last_piece(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(1)
    buyers = [await shop.buyer() for _ in range(4)]
    carts = [await fill_cart(buyer, goods["sku"]) for buyer in buyers]
    answers = await together(*(order(buyer, cart_id) for buyer, cart_id in zip(buyers, carts, strict=True)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert {answer.code for answer in answers if answer.status == 409} == {"inventory.out_of_stock"}
    stock = await market.on_hand(goods["sku"])
    assert (stock["on_hand"], stock["reserved"]) == (1, 1)


async def test_the_same_order_placed_twice_at_once(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer = await shop.buyer()
    cart_id = await fill_cart(buyer, goods["sku"])
    with_key = await together(*(order(buyer, cart_id, key="twice") for _ in range(4)), *(order(buyer, cart_id) for _ in range(4)))
    assert len({answer.ok["id"] for answer in with_key}) == 1
    assert (await market.on_hand(goods["sku"]))["reserved"] == 1


async def test_cancel_and_get_the_money_back(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer = await shop.buyer()
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    assert (await buyer.post(f"/orders/{placed['id']}/cancel", {"reason": "changed my mind"})).ok["status"] == "canceled"
    await buyer.until(f"/orders/{placed['id']}", lambda answer: answer.ok["payment_status"] == "refunded")
    payment = (await buyer.get(f"/payments/{placed['id']}")).ok
    assert payment["refunded"] == payment["captured"] == placed["total"]
    assert (await market.on_hand(goods["sku"]))["available"] == 10
    assert (await buyer.delete(f"/orders/{placed['id']}")).ok["status"] == "canceled"


async def test_a_guest_buys_with_an_email_address_and_a_token(shop: Shop) -> None:
    goods = await (await open_market(shop)).put_on_sale(10)
    guest = shop.visitor()
    cart_id = await fill_cart(guest, goods["sku"])
    assert (await order(guest, cart_id)).code == "orders.email_missing"
    placed = (await order(guest, cart_id, email="guest@example.com")).ok
    assert placed["status"] == "placed"
    assert (await guest.get(f"/orders/{placed['id']}")).status == 200
    assert (await shop.visitor().get(f"/orders/{placed['id']}")).status == 401
    assert (await shop.visitor().get(f"/orders/{placed['id']}", Souk_Token="another-token")).status == 404


async def test_what_is_anothers_is_not_there(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer, stranger = await shop.buyer(), await shop.buyer()
    cart_id = await fill_cart(buyer, goods["sku"])
    placed = (await order(buyer, cart_id)).ok
    for path in (f"/carts/{cart_id}", f"/orders/{placed['id']}", f"/orders/{placed['id']}/timeline", f"/payments/{placed['id']}"):
        assert (await stranger.get(path)).status == 404, path
    assert (await stranger.get(f"/stores/{market.store_id}")).status == 404
    assert (await order(stranger, cart_id)).status == 404
    assert (await market.seller.get(f"/orders/{placed['id']}")).ok["email"] is None


async def test_selling_below_the_threshold_raises_one_alert(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(5, threshold=3)
    for _ in range(3):
        buyer = await shop.buyer()
        assert is_placed(await order(buyer, await fill_cart(buyer, goods["sku"])))
    alerts = await market.seller.until("/inventory/alerts", lambda answer: bool(answer.ok["items"]))
    assert [(alert["sku"], alert["store_id"]) for alert in alerts.ok["items"]] == [(goods["sku"], market.store_id)]


async def test_a_context_dies_in_the_middle_and_comes_back(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer = await shop.buyer()
    cart_id = await fill_cart(buyer, goods["sku"])
    shop.kill("inventory")
    if shop.wire:
        answer = await order(buyer, cart_id, key="patient")
        assert (answer.status, answer.code) == (503, "unavailable")
    shop.restart("inventory")
    try:
        placed = await order(buyer, cart_id, key="patient")
    except aiohttp.ClientError:
        # The connection was one to the process that died. That is what the key is for.
        placed = await order(buyer, cart_id, key="patient")
    assert is_placed(placed)
    assert (await order(buyer, cart_id, key="patient")).ok["id"] == placed.ok["id"]
    assert (await market.on_hand(goods["sku"]))["reserved"] == 1
