"""Sellers and the shop's own programs are told of what happens, over the public API: each of their own part, and nobody of a person."""

from collections.abc import AsyncIterator

import pytest
from tests.journeys.client import Client
from tests.journeys.conftest import Shop
from tests.journeys.market import ADDRESS, CARD, Market, open_market
from tests.waiting import until
from tests.webhooks.outside import Outside, listening

CANARIES = {"name": "Zerafina Kanarienvogel", "line1": "77 Canary Wharf Lane", "phone_number": "+4915112345678"}
NOTE = "ring at the canary"


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    async with listening() as server:
        yield server


async def subscribe(owner: Client, url: str, *events: str, **more: object) -> dict[str, object]:
    opened: dict[str, object] = (await owner.post("/webhooks", {"url": url, "events": events, **more})).ok
    return opened


async def buy(buyer: Client, *skus: str) -> dict[str, object]:
    """An order of a piece of each, with words in it that are nobody else's."""
    cart = (await buyer.post("/carts", {"items": [{"sku": sku, "quantity": 1} for sku in skus]})).ok
    body = {"cart_id": cart["id"], "shipping_address": ADDRESS | CANARIES, "payment": CARD}
    placed: dict[str, object] = (await buyer.post("/orders", body)).ok
    return placed


async def test_each_seller_hears_of_their_part_of_a_purchase(shop: Shop, outside: Outside) -> None:
    ada, ben, other = await open_market(shop), await open_market(shop), await open_market(shop)
    mug, pot = await ada.put_on_sale(10, 1200), await ben.put_on_sale(10, 3000)
    secrets = {
        path: (await subscribe(market.seller, outside.url(path), "orders.*", "shipping.*", seller_id=market.seller_id))["secret"]
        for path, market in (("/ada", ada), ("/ben", ben), ("/other", other))
    }
    app = await subscribe(await shop.admin(), outside.url("/app"), "orders.order_placed")
    buyer = await shop.buyer(name=CANARIES["name"], phone_number=CANARIES["phone_number"])
    placed = await buy(buyer, mug["sku"], pot["sku"])
    await send(ada, placed)

    async def ada_has_heard_of_it() -> bool:
        # Facts of different contexts come in any order.
        return {"orders.order_placed", "shipping.shipment_delivered"} <= {one.type for one in outside.heard["/ada"]}

    await until(ada_has_heard_of_it)
    (bens,) = [one for one in await outside.hears("/ben", 1) if one.type == "orders.order_placed"]
    adas = next(one for one in outside.heard["/ada"] if one.type == "orders.order_placed")
    whole = [one for one in await outside.hears("/app", 1) if one.data["order_id"] == placed["id"]]
    assert [line["sku"] for line in adas.data["lines"]] == [mug["sku"]]
    assert adas.data["total"] == {"amount": 1200, "currency": "USD"}
    assert [line["sku"] for line in bens.data["lines"]] == [pot["sku"]]
    assert {line["sku"] for line in whole[0].data["lines"]} == {mug["sku"], pot["sku"]}
    assert adas.id == bens.id == whole[0].id
    assert outside.heard["/other"] == []
    assert pot["sku"] not in str([one.body for one in outside.heard["/ada"]])
    assert ben.seller_id not in str([one.body for one in outside.heard["/ada"]])
    for path, secret in (*secrets.items(), ("/app", app["secret"])):
        for one in outside.heard[path]:
            one.verify(str(secret))
    said = str([(one.body, one.headers) for heard in outside.heard.values() for one in heard])
    personal = (*CANARIES.values(), buyer.user["email"], "Berlin", "10115", buyer.headers["Authorization"])
    assert [canary for canary in personal if str(canary) in said] == []
    sellers_hear = str([one.body for path in ("/ada", "/ben") for one in outside.heard[path]])
    assert str(buyer.id) not in sellers_hear
    for webhook in (await (await shop.admin()).get("/webhooks")).ok["items"]:
        assert (await (await shop.admin()).delete(f"/webhooks/{webhook['id']}")).status == 204


async def send(market: Market, placed: dict[str, object]) -> None:
    """The seller's parcel leaves and arrives."""
    parcel = (await market.seller.post("/shippings", {"order_id": placed["id"], "seller_id": market.seller_id})).ok
    for step in ("dispatch", "deliver"):
        (await market.seller.post(f"/shippings/{parcel['id']}/{step}")).ok  # noqa: B018


async def test_a_seller_hears_that_an_order_is_cancelled(shop: Shop, outside: Outside) -> None:
    market = await open_market(shop)
    mug = await market.put_on_sale(10)
    await subscribe(market.seller, outside.url("/a"), "orders.order_placed", "orders.order_cancelled", "orders.items_cancelled")
    buyer = await shop.buyer()
    placed = await buy(buyer, mug["sku"])
    (await buyer.post(f"/orders/{placed['id']}/cancel", {"reason": NOTE})).ok  # noqa: B018
    heard = await outside.hears("/a", 2)
    assert [one.type for one in heard] == ["orders.order_placed", "orders.order_cancelled"]
    assert heard[1].data == {"order_id": placed["id"], "seller_id": market.seller_id, "reason": "buyer"}


async def test_a_seller_looks_after_a_webhook(shop: Shop, outside: Outside) -> None:
    market, stranger = await open_market(shop), await open_market(shop)
    seller = market.seller
    body = {"url": outside.url("/a"), "events": ["catalog.product_published"], "description": "ours"}
    opened = (await seller.post("/webhooks", body, Idempotency_Key="a-webhook-of-ours")).ok
    assert (await seller.post("/webhooks", body, Idempotency_Key="a-webhook-of-ours")).ok == opened
    path = f"/webhooks/{opened['webhook']['id']}"
    assert [one["id"] for one in (await seller.get("/webhooks")).ok["items"]] == [opened["webhook"]["id"]]
    assert "secret" not in (await seller.get(path)).ok
    outside.answer("/a", 500, "we are closed")
    await market.put_on_sale(1)
    await outside.hears("/a", 1)
    failing = await seller.until(f"{path}/deliveries", lambda answer: answer.ok["items"] and answer.ok["items"][0]["attempts"] > 0)
    one = failing.ok["items"][0]
    detail = (await seller.get(f"{path}/deliveries/{one['id']}")).ok
    assert (detail["attempts"][0]["status"], detail["attempts"][0]["answer"]) == (500, "we are closed")
    await seller.until(f"{path}/deliveries?status=failed", lambda answer: len(answer.ok["items"]) == 1)
    outside.answer("/a", 200)
    assert (await seller.post(f"{path}/redeliver", {"since": "2020-01-01T00:00:00Z"})).ok == {"count": 1}
    await seller.until(f"{path}/deliveries?status=delivered", lambda answer: len(answer.ok["items"]) == 1)
    fresh = (await seller.post(f"{path}/secret/rotate")).ok["secret"]
    assert (await seller.post(f"{path}/test")).ok["type"] == "webhooks.ping"
    await seller.until(f"{path}/deliveries?status=delivered", lambda answer: len(answer.ok["items"]) == 2)
    outside.heard["/a"][-1].verify(fresh)
    outside.heard["/a"][-1].verify(opened["secret"])
    (await seller.post(f"{path}/deliveries/{one['id']}/redeliver")).ok  # noqa: B018
    outside.answer("/a", 410)
    await seller.post(f"{path}/test")
    gone = await seller.until(path, lambda answer: answer.ok["status"] == "disabled")
    assert gone.ok["disabled_reason"] == "gone"
    assert (await seller.post(f"{path}/test")).code == "webhooks.inactive"
    outside.answer("/a", 200)
    assert (await seller.patch(path, {"status": "active"})).ok["status"] == "active"
    for who, status in ((stranger.seller, 404), (await shop.buyer(), 404), (shop.visitor(), 401)):
        assert (await who.get(path)).status == status
        assert (await who.delete(path)).status == status
    names = [one["name"] for one in (await seller.get("/webhooks/event-types")).ok["items"]]
    assert "orders.order_placed" in names
    assert (await seller.delete(path)).status == 204
    assert (await seller.get(path)).status == 404


WRONG = (
    {}, {"url": "https://a.example"}, {"url": "https://a.example", "events": []}, {"url": "nowhere", "events": ["*"]},
    {"url": "https://a.example/\n", "events": ["*"]}, {"url": "https://user@a.example/", "events": ["*"]},
    {"url": "https://a.example", "events": ["orders.nothing"]}, {"url": "https://a.example", "events": ["users.user_registered"]},
    {"url": "https://a.example/" + "x" * 2000, "events": ["*"]}, {"url": "ftp://a.example", "events": ["*"]},
    {"url": "https://a.example", "events": ["*"], "secret": "mine"},
)  # fmt: skip


async def test_what_cannot_be_subscribed_to_is_refused(shop: Shop) -> None:
    market = await open_market(shop)
    assert {(await market.seller.post("/webhooks", body)).status for body in WRONG} == {422}
    assert (await (await shop.buyer()).post("/webhooks", {"url": "https://a.example", "events": ["*"]})).status == 403
