"""A parcel gets its label from a carrier, is followed on its way, and arrives, over the public API."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.journeys.client import together
from tests.journeys.conftest import Shop
from tests.journeys.market import Market, fill_cart, open_market, order

from souk.sandbox.webhooks import FORGERS_KEY, sign

SENDER = {"name": "Lighthouse", "line1": "Hafenstr. 7", "city": "Leipzig", "postal_code": "04109", "country": "DE"}


async def pull(shop: Shop, path: str, body: dict[str, Any]) -> None:
    """A string of the world outside."""
    headers = {"Authorization": f"Bearer {shop.sandbox.settings['api_key']}"}
    async with shop.session.post(f"{shop.sandbox.url}/control/{path}", json=body, headers=headers) as answer:
        assert answer.status < 300, await answer.text()


async def pack(market: Market, placed: dict[str, Any]) -> dict[str, Any]:
    (await market.seller.put(f"/shipping-senders/{market.seller_id}", SENDER)).ok  # noqa: B018
    parcel: dict[str, Any] = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    return parcel


async def test_pack_buy_a_label_dispatch_and_follow_until_it_arrives(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer, stranger = await shop.buyer(), await shop.buyer()
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"], 2))).ok
    parcel = await pack(market, placed)
    where = f"/shippings/{parcel['id']}"
    labels = await together(*(market.seller.post(f"{where}/label", {"weight_g": 750}) for _ in range(5)))
    assert {label.ok["status"] for label in labels} <= {"asked", "bought"}
    bought = await market.seller.until(f"{where}/label/purchase", lambda answer: answer.ok["status"] == "bought")
    paper = await market.seller.get(f"{where}/label")
    assert paper.headers["content-type"] == "application/pdf"
    today, currency = datetime.now(UTC).date(), bought.ok["price"]["currency"]
    statement = f"/sellers/{market.seller_id}/statements?currency={currency}&from={today}&until={today + timedelta(days=1)}"
    await market.seller.until(statement, lambda answer: "label" in [one["kind"] for one in answer.ok["items"]])
    sent = (await market.seller.post(f"{where}/dispatch")).ok
    assert sent["tracking_number"] == bought.ok["tracking_number"]
    await pull(shop, "clock", {"advance_s": 3 * 86_400})
    await buyer.until(f"{where}/tracking", lambda answer: answer.ok["tracking_status"] == "delivered")
    assert (await buyer.get(where)).ok["status"] == "delivered"
    await buyer.until(f"/orders/{placed['id']}", lambda answer: answer.ok["fulfillment_status"] == "delivered")
    for refused in await together(
        stranger.get(f"{where}/tracking"),
        stranger.get(f"{where}/label"),
        buyer.get(f"{where}/label"),
        buyer.post(f"{where}/label", {}),
        stranger.delete(f"{where}/label"),
        stranger.get(f"/shipping-senders/{market.seller_id}"),
    ):
        assert refused.status == 404


async def test_a_guest_follows_their_parcel_and_a_forger_moves_none(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    guest = shop.visitor()
    placed = (await order(guest, await fill_cart(guest, goods["sku"]), email="ada@example.com")).ok
    parcel = await pack(market, placed)
    where = f"/shippings/{parcel['id']}"
    (await market.seller.post(f"{where}/label", {"weight_g": 750})).ok  # noqa: B018
    bought = (await market.seller.until(f"{where}/label/purchase", lambda answer: answer.ok["status"] == "bought")).ok
    batch = {"ids": [parcel["id"], placed["id"]]}
    answers = (await market.seller.post("/shippings/dispatch", batch)).ok["items"]
    assert [(one["status"], one["refusal"]) for one in answers] == [("dispatched", None), (None, "not_found")]
    scan = {"id": "sc_1", "status": "delivered", "message": "", "city": None, "occurred_at": "2027-01-01T00:00:00Z"}
    body = json.dumps({"type": "tracker.updated", "data": {"tracking_number": bought["tracking_number"], "scans": [scan]}}).encode()
    now = int(time.time())
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(now), "webhook-signature": sign(FORGERS_KEY, "evt_1", now, body)}
    headers["content-type"] = "application/json"
    async with shop.session.post(f"{shop.url}/shippings/webhooks/sandbox", data=body, headers=headers) as answer:
        assert answer.status == 401
        assert (await answer.json())["code"] == "shipping.webhook_forged"
    guest.headers["Souk-Token"] = placed.get("token") or guest.headers["Souk-Token"]
    seen = await guest.until(f"{where}/tracking", lambda told: told.ok["tracking_status"] == "pre_transit")
    assert [one["status"] for one in seen.ok["events"]] == ["pre_transit"]
    assert (await shop.visitor().get(f"{where}/tracking")).status == 401
