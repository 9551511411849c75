"""A bank takes back what was paid for parcels that have left, over the public API: order, payment and seller tell the same."""

from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order


async def test_a_bank_takes_the_money_back_and_the_shop_wins(shop: Shop) -> None:
    market, admin, buyer = await open_market(shop), await shop.admin(), await shop.buyer()
    goods = await market.put_on_sale(10)
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"], 3))).ok
    parcel = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    (await market.seller.post(f"/shippings/{parcel['id']}/dispatch")).ok  # noqa: B018
    path, shown = f"/payments/{placed['id']}/chargebacks", f"/orders/{placed['id']}"
    told = {"amount": placed["total"], "reason": "product_not_received", "evidence_due_at": "2030-01-01T00:00:00Z"}
    first, again = [(await admin.post(path, told, Idempotency_Key="case-7")).ok for _ in range(2)]
    assert first == again
    await buyer.until(shown, lambda answer: answer.ok["payment_status"] == "refunded")
    assert (await buyer.get(f"/payments/{placed['id']}")).ok["status"] == "refunded"
    [share] = (await market.seller.get(f"/sellers/{market.seller_id}/chargebacks")).ok["items"]
    assert (share["id"], share["order_id"], share["status"]) == (first["id"], placed["id"], "open")
    assert (share["reason"], share["evidence_due_at"]) == ("product_not_received", "2030-01-01T00:00:00Z")
    assert (share["amount"], share["debited"]["amount"] > 0) == (placed["total"], True)
    assert (await buyer.get(f"/sellers/{market.seller_id}/chargebacks")).status == 404
    assert (await market.seller.get(path)).status == 403
    assert (await admin.post(f"/payments/chargebacks/{first['id']}/close", {"won": True})).ok["status"] == "won"
    await buyer.until(shown, lambda answer: answer.ok["payment_status"] == "paid")
    timeline = (await buyer.get(f"{shown}/timeline")).ok["items"]
    assert [one["type"] for one in timeline if one["type"].startswith("charge")] == ["chargeback", "chargeback_won"]
    assert "refunded" not in {one["type"] for one in timeline}
