"""Who buys hears of it live, goes on listening where they were when the server was away, and reads their feed: over the public API."""

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.journeys.client import Client
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order
from tests.journeys.processes import START_WITHIN_S

# Processes end and begin again here.
pytestmark = pytest.mark.timeout(300)


class Stream:
    """What somebody hears of their feed."""

    def __init__(self, buyer: Client) -> None:
        self.buyer = buyer
        self.last: str | None = None
        self.heard: list[dict[str, Any]] = []

    async def listen(self, kind: str, within_s: float = 30.0, query: str = "") -> dict[str, Any]:
        """The next message of a kind; a stream that breaks off is opened again, where it was."""
        async with asyncio.timeout(within_s):
            while True:
                try:
                    return await self._listen(kind, query)
                except (aiohttp.ClientError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.2)

    async def _listen(self, kind: str, query: str) -> dict[str, Any]:
        headers = {"Last-Event-ID": self.last} if self.last else {}
        if not query:
            headers["Authorization"] = self.buyer.headers["Authorization"]
        async with self.buyer.session.get(f"{self.buyer.url}/notifications/stream{query}", headers=headers) as answer:
            answer.raise_for_status()
            while True:
                block = (await answer.content.readuntil(b"\n\n")).decode()
                if not block:
                    raise aiohttp.ClientPayloadError("it has ended")
                fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
                if "data" not in fields:
                    continue
                self.last, message = fields["id"], msgspec.json.decode(fields["data"])
                assert message["id"] not in [one["id"] for one in self.heard]
                self.heard.append(message)
                if message["kind"] == kind:
                    return dict(message)


async def test_who_buys_hears_of_it_and_reads_it(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer, stranger = await shop.buyer(), await shop.buyer()
    shown = (await buyer.get("/notifications")).ok
    stream = Stream(buyer)
    stream.last = shown["position"]
    listening = asyncio.create_task(stream.listen("order_placed"))
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    told = await listening
    assert (told["link"], told["data"]["order_id"]) == (f"/shop/orders/{placed['id']}", placed["id"])
    feed = (await buyer.get("/notifications?unread=true")).ok
    assert told["id"] in [one["id"] for one in feed["items"]]
    assert (await stranger.post(f"/notifications/{told['id']}/read")).status == 404
    assert placed["id"] not in str((await stranger.get("/notifications")).ok)
    assert (await buyer.post(f"/notifications/{told['id']}/read")).ok["read_at"] is not None
    assert (await buyer.get("/notifications/unread-count")).ok["unread"] == feed["unread"] - 1
    assert (await stranger.get(f"/users/{buyer.id}/notifications")).status == 404
    history = (await buyer.get("/notifications/history?kind=order_placed")).ok["items"]
    assert {(one["channel"], one["status"]) for one in history} >= {("in_app", "sent")}


async def test_who_listens_goes_on_when_the_server_is_back(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer = await shop.buyer()
    stream = Stream(buyer)
    stream.last = (await buyer.get("/notifications")).ok["position"]
    listening = asyncio.create_task(stream.listen("order_shipped", 2 * START_WITHIN_S))
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    parcel = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    front = shop.processes.processes["edge" if shop.wire else "all"]
    front.kill()
    front.start()
    await asyncio.to_thread(front.wait_until_ready)
    (await market.seller.post(f"/shippings/{parcel['id']}/dispatch")).ok  # noqa: B018
    assert (await listening)["data"]["order_id"] == placed["id"]
    assert [one["kind"] for one in stream.heard].count("order_placed") == 1


async def test_who_listens_goes_on_when_notifications_are_back(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer = await shop.buyer()
    ticket = (await buyer.post("/notifications/stream-tickets")).ok["ticket"]
    stream = Stream(buyer)
    stream.last = (await buyer.get("/notifications")).ok["position"]
    listening = asyncio.create_task(stream.listen("order_placed", 2 * START_WITHIN_S, f"?ticket={ticket}" if shop.wire else ""))
    await asyncio.sleep(0.5)
    shop.kill("notifications")
    shop.restart("notifications")
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    assert (await listening)["data"]["order_id"] == placed["id"]


async def test_a_campaign_reaches_its_segment(shop: Shop) -> None:
    admin, buyer = await shop.admin(), await shop.buyer()
    words = {"en": {"subject": "Spring sale", "text": "Until Sunday."}}
    campaign = (await admin.post("/campaigns", {"name": "Spring", "words": words, "segment": {"user_ids": [str(buyer.id)]}})).ok
    assert (await buyer.get(f"/campaigns/{campaign['id']}")).status == 403
    preview = (await admin.get(f"/campaigns/{campaign['id']}/preview")).ok
    assert preview["subject"] == "Spring sale"
    (await admin.post(f"/campaigns/{campaign['id']}/schedule", {})).ok  # noqa: B018

    def is_planned(answer: Any) -> bool:
        return answer.ok["campaign"]["planned_at"] is not None

    # Whose address nobody has shown to be theirs is in no segment.
    report = (await admin.until(f"/campaigns/{campaign['id']}", is_planned)).ok
    assert (report["campaign"]["recipients"], report["counts"]) == (0, [])
