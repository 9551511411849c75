"""What a purchase makes people hear of: its buyer, its seller and those who run the shop, each of their own and as they want it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.journeys.client import Client
from tests.journeys.conftest import Shop
from tests.journeys.market import fill_cart, open_market, order

Kinds = Counter[tuple[str, str]]


async def told(somebody: Client, *kinds: str, about: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """What somebody was told, or will be, as soon as these kinds are among it, and something about each of these."""

    def has_all(rows: list[dict[str, Any]]) -> bool:
        spoken_of = all(any(one.items() <= row["content"].items() for row in rows) for one in about)
        return spoken_of and set(kinds) <= {row["kind"] for row in rows}

    answer = await somebody.until("/auth/me/export", lambda answer: has_all(answer.ok["notifications"]["messages"]))
    found: list[dict[str, Any]] = answer.ok["notifications"]["messages"]
    return found


async def test_buyer_and_seller_hear_of_their_purchase_once_each(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(3, threshold=2)
    buyer, stranger = await shop.buyer(), await shop.buyer()
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"], 2))).ok
    parcel = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    for step in ("dispatch", "deliver"):
        (await market.seller.post(f"/shippings/{parcel['id']}/{step}")).ok  # noqa: B018
    rows = await told(buyer, "order_placed", "order_shipped", "order_delivered")
    about = [row for row in rows if row["content"].get("order_id") == placed["id"]]
    kinds = Counter((row["kind"], row["channel"]) for row in about)
    expected = ("order_placed", "order_shipped", "order_delivered")
    assert kinds == dict.fromkeys(((kind, channel) for kind in expected for channel in ("email", "in_app")), 1)
    for row in about:
        assert row["content"]["number"] == str(placed["number"])
        assert [item["quantity"] for item in row["content"]["items"]] == [2]
    assert next(row["content"]["total"] for row in about if row["kind"] == "order_placed") == placed["total"]
    # Once when nothing was there yet, and once when it had been bought.
    low = [{"sku": goods["sku"], "available": available} for available in (0, 1)]
    theirs = await told(market.seller, "seller_order_placed", "seller_stock_low", "seller_approved", about=low)
    assert Counter(row["channel"] for row in theirs if row["kind"] == "seller_order_placed") == {"email": 1, "in_app": 1}
    others = {row["kind"] for row in await told(stranger, "welcome", "verify_email")}
    assert others == {"welcome", "verify_email"}
    assert "buyers.example" not in str([row["content"] for row in rows + theirs])


async def test_what_somebody_does_not_want_is_kept_with_the_reason_and_not_sent(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(5)
    buyer = await shop.buyer()
    wanted = {"notifications": {"order_updates": {"email": False}}, "quiet_hours": {"from": "00:00", "to": "23:59"}}
    shown = (await buyer.put(f"/users/{buyer.id}/preferences", wanted)).ok
    assert (shown["quiet_hours"], shown["digests"]) == (wanted["quiet_hours"], {})
    assert (await buyer.put(f"/users/{buyer.id}/preferences", {"quiet_hours": {"from": "24:00", "to": "7"}})).status == 422
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    (await buyer.post(f"/orders/{placed['id']}/cancel")).ok  # noqa: B018
    rows = [row for row in await told(buyer, "order_placed", "order_cancelled", "order_refunded") if row["topic"] == "order_updates"]
    assert {(row["status"], row["reason"]) for row in rows if row["channel"] == "email"} == {("suppressed", "opted_out")}
    assert {row["reason"] for row in rows if row["channel"] == "in_app"} == {None}
    await told(market.seller, "seller_items_cancelled")
    (await buyer.delete("/auth/me")).ok  # noqa: B018
