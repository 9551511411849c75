"""What was bought is packed, sent and arrives, over the public API."""

from tests.journeys.client import together
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order


async def test_pack_dispatch_and_deliver_in_two_parcels(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer = await shop.buyer()
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"], 3))).ok
    line = placed["items"][0]["id"]
    packing = {"order_id": placed["id"], "items": [{"line_id": line, "quantity": 2}]}
    first = (await market.seller.post("/shippings", packing, Idempotency_Key="box-1")).ok
    assert (await market.seller.post("/shippings", packing, Idempotency_Key="box-1")).ok["id"] == first["id"]
    assert (first["status"], first["address"]["city"], first["lines"][0]["quantity"]) == ("packed", "Berlin", 2)
    second = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    assert (await market.seller.post("/shippings", {"order_id": placed["id"]})).code == "orders.not_packable"
    sent = {"carrier": "Fast", "tracking_number": "FA-1", "weight_g": 750}
    answers = await together(*(market.seller.post(f"/shippings/{first['id']}/dispatch", sent) for _ in range(3)))
    assert {(one.ok["status"], one.ok["tracking_number"]) for one in answers} == {("dispatched", "FA-1")}
    await buyer.until(f"/orders/{placed['id']}", lambda answer: answer.ok["fulfillment_status"] == "partial")
    (await market.seller.post(f"/shippings/{second['id']}/dispatch")).ok  # noqa: B018
    await buyer.until(f"/orders/{placed['id']}", lambda answer: answer.ok["fulfillment_status"] == "fulfilled")
    await market.seller.until(
        f"/stores/{market.store_id}/stock/{goods['sku']}", lambda answer: (answer.ok["on_hand"], answer.ok["reserved"]) == (7, 0)
    )
    for parcel in (first, second):
        (await market.seller.post(f"/shippings/{parcel['id']}/deliver")).ok  # noqa: B018
    await buyer.until(f"/orders/{placed['id']}", lambda answer: answer.ok["fulfillment_status"] == "delivered")
    seen = (await buyer.get(f"/shippings?order_id={placed['id']}")).ok["items"]
    assert {(one["id"], one["status"]) for one in seen} == {(first["id"], "delivered"), (second["id"], "delivered")}
    listed = (await market.seller.get(f"/shippings?seller_id={market.seller_id}&limit=1")).ok
    assert [one["id"] for one in listed["items"]] == [first["id"]]
    assert listed["next"]
    assert (await buyer.post(f"/orders/{placed['id']}/cancel")).code == "orders.not_cancellable"


async def test_another_sees_no_parcel(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer, stranger = await shop.buyer(), await shop.buyer()
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    parcel = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    for answer in await together(
        stranger.get(f"/shippings/{parcel['id']}"),
        stranger.post(f"/shippings/{parcel['id']}/dispatch"),
        buyer.post(f"/shippings/{parcel['id']}/dispatch"),
        buyer.delete(f"/shippings/{parcel['id']}"),
        stranger.get(f"/shippings?seller_id={market.seller_id}"),
        stranger.post("/shippings", {"order_id": placed["id"]}),
    ):
        assert answer.status == 404
    assert (await stranger.get(f"/shippings?order_id={placed['id']}")).ok["items"] == []
    assert (await market.seller.delete(f"/shippings/{parcel['id']}")).ok["status"] == "canceled"
