"""What was delivered is reviewed, its rating stands on its page, and who waits for stock stops waiting, over the public API."""

from typing import Any
from uuid import uuid4

from tests.journeys.client import Client, together
from tests.journeys.conftest import Shop
from tests.journeys.market import Market, fill_cart, open_market, order
from tests.waiting import until

WRONG = (
    {"rating": 0}, {"rating": 6}, {"rating": "5"}, {"rating": 4.5}, {}, {"rating": 5, "comment": "x" * 5001},
    {"rating": 5, "display_name": " "}, {"rating": 5, "comment": "a\0b"}, {"rating": 5, "verified": True}, {"rating": 5, "title": None},
)  # fmt: skip
PRAISE = {"rating": 4, "title": "Warm", "comment": "Keeps my <tea> warm.", "display_name": "Ada"}


async def deliver(market: Market, buyer: Client, goods: dict[str, Any]) -> None:
    """The buyer orders the goods, and receives them."""
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"]))).ok
    parcel = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    for step in ("dispatch", "deliver"):
        (await market.seller.post(f"/shippings/{parcel['id']}/{step}")).ok  # noqa: B018


async def post_review(buyer: Client, goods: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The review, as soon as the shop knows that the parcel has arrived."""
    last: list[Any] = []

    async def look() -> bool:
        last[:] = [await buyer.post(f"/products/{goods['id']}/reviews", body)]
        return last[0].status != 403

    await until(look)
    review: dict[str, Any] = last[0].ok
    return review


async def test_buy_receive_and_review(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    page, path = f"/products/{goods['id']}", f"/products/{goods['id']}/reviews"
    buyer, stranger = await shop.buyer(), await shop.buyer()
    version = (await shop.visitor().get(page)).ok["version"]
    assert (await buyer.post(path, PRAISE)).code == "reviews.not_purchased"
    assert {answer.status for answer in await together(*(buyer.post(path, wrong) for wrong in WRONG))} == {422}
    await deliver(market, buyer, goods)
    review = await post_review(buyer, goods, PRAISE)
    assert {name: review[name] for name in PRAISE} == PRAISE
    assert (review["verified"], review["status"]) == (True, "published")
    assert (await buyer.post(path, PRAISE)).ok["id"] == review["id"]
    assert (await buyer.post(path, PRAISE | {"rating": 1})).code == "reviews.already_reviewed"
    assert (await stranger.post(path, PRAISE)).code == "reviews.not_purchased"
    assert (await shop.visitor().post(path, PRAISE)).status == 401
    seen = await shop.visitor().until(page, lambda answer: answer.ok["rating"] == {"average": 4.0, "count": 1}, within_s=5.0)
    assert seen.ok["version"] == version
    listed = await shop.visitor().get(path)
    assert [one["comment"] for one in listed.ok["items"]] == [PRAISE["comment"]]
    assert str(buyer.id) not in str(listed.ok)
    assert (await shop.visitor().get(path, If_None_Match=listed.headers["etag"])).status == 304
    assert (await stranger.patch(f"{path}/{review['id']}", {"rating": 1})).status == 404
    assert (await stranger.delete(f"{path}/{review['id']}")).status == 404
    (await buyer.patch(f"{path}/{review['id']}", {"rating": 2})).ok  # noqa: B018
    summary = (await shop.visitor().get(f"{path}/summary")).ok
    assert (summary["average"], summary["stars"][3]) == (2.0, {"rating": 2, "count": 1})
    await shop.visitor().until(page, lambda answer: answer.ok["rating"] == {"average": 2.0, "count": 1}, within_s=5.0)
    (await buyer.delete(f"{path}/{review['id']}")).ok  # noqa: B018
    await shop.visitor().until(page, lambda answer: answer.ok["rating"] == {"average": None, "count": 0}, within_s=5.0)


async def test_votes_replies_and_what_an_admin_decides(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(10)
    buyer, reader = await shop.buyer(), await shop.buyer()
    await deliver(market, buyer, goods)
    review = await post_review(buyer, goods, {"rating": 1, "comment": "It broke."})
    one, listed = f"/reviews/{review['id']}", f"/products/{goods['id']}/reviews"
    answers = await together(*(reader.post(f"{one}/votes", {"helpful": True}) for _ in range(8)))
    assert {answer.ok["helpful"] for answer in answers} == {1}
    assert (await reader.delete(f"{one}/votes")).ok["helpful"] == 0
    assert (await buyer.post(f"{one}/votes")).code == "reviews.own_review"
    assert (await market.seller.post(f"{one}/votes")).code == "reviews.own_goods"
    assert (await reader.post(f"{one}/reply", {"comment": "Mine."})).status == 404
    (await market.seller.post(f"{one}/reply", {"comment": "We are sorry."})).ok  # noqa: B018
    (await market.seller.patch(f"{one}/reply", {"comment": "We send another."})).ok  # noqa: B018
    shown = (await shop.visitor().get(listed)).ok["items"]
    assert [each["reply"]["comment"] for each in shown] == ["We send another."]
    of_seller = (await market.seller.get(f"/reviews?seller_id={market.seller_id}")).ok["items"]
    assert [each["id"] for each in of_seller] == [review["id"]]
    assert (await reader.get(f"/reviews?seller_id={market.seller_id}")).status == 404
    admin = await shop.admin()
    for reporter in (reader, await shop.buyer(), await shop.buyer()):
        (await reporter.post(f"{one}/reports", {"reason": "spam"})).ok  # noqa: B018
    assert (await reader.get("/reviews/queue")).status == 403
    waiting = (await admin.get("/reviews/queue?limit=100")).ok["items"]
    assert [len(each["reported"]) for each in waiting if each["id"] == review["id"]] == [3]
    assert (await admin.post(f"{one}/approve")).ok["status"] == "published"
    assert (await admin.delete(f"{listed}/{review['id']}")).status == 422
    assert (await reader.post(f"{one}/reject", {"reason": "no"})).status == 403
    (await admin.post(f"{one}/reject", {"reason": "off the topic"})).ok  # noqa: B018
    assert (await shop.visitor().get(listed)).ok["items"] == []
    assert (await shop.visitor().get(f"{listed}/{review['id']}")).status == 404
    assert [each["reason"] for each in (await buyer.get("/reviews")).ok["items"]] == ["off the topic"]


async def test_favorites(shop: Shop) -> None:
    market = await open_market(shop)
    first, second = await market.put_on_sale(1), await market.put_on_sale(1)
    buyer = await shop.buyer()
    for goods in (first, second):
        answers = await together(*(buyer.post("/favorites", {"product_id": goods["id"]}) for _ in range(8)))
        assert {(answer.status, answer.ok["product_id"]) for answer in answers} == {(201, goods["id"])}
    page = (await buyer.get("/favorites?limit=1")).ok
    rest = (await buyer.get(f"/favorites?limit=1&cursor={page['next']}")).ok
    assert [one["product_id"] for one in page["items"] + rest["items"]] == [second["id"], first["id"]]
    (await buyer.delete(f"/favorites/{first['id']}")).ok  # noqa: B018
    assert (await buyer.get(f"/favorites/{first['id']}")).status == 404
    assert (await (await shop.buyer()).get("/favorites")).ok["items"] == []
    assert (await shop.visitor().get("/favorites")).status == 401
    (await market.seller.delete(f"/products/{second['id']}")).ok  # noqa: B018
    await buyer.until("/favorites", lambda answer: answer.ok["items"] == [])


async def test_back_in_stock(shop: Shop) -> None:
    market = await open_market(shop)
    goods = await market.put_on_sale(1)
    buyer = await shop.buyer()
    path = f"/products/{goods['id']}/back-in-stock"

    async def is_known() -> bool:
        return (await buyer.post(path)).code == "inventory.in_stock"

    await until(is_known)
    assert (await buyer.post(path, {"sku": "another"})).status == 404
    assert (await buyer.post(f"/products/{uuid4()}/back-in-stock")).status == 404
    assert (await shop.visitor().post(path)).status == 401
    other = await shop.buyer()
    (await order(other, await fill_cart(other, goods["sku"]))).ok  # noqa: B018
    assert (await buyer.post(path, {"sku": goods["sku"]})).ok["sku"] == goods["sku"]
    (await buyer.post(path)).ok  # noqa: B018
    assert len((await buyer.get("/inventory/subscriptions")).ok["items"]) == 1
    (await buyer.delete(path)).ok  # noqa: B018
    assert (await buyer.get("/inventory/subscriptions")).ok["items"] == []
    (await buyer.post(path)).ok  # noqa: B018
    receiving = {"kind": "receive", "sku": goods["sku"], "quantity": 5, "reason": "delivery"}
    (await market.seller.post(f"/stores/{market.store_id}/movements", receiving, Idempotency_Key=f"in-{goods['sku']}")).ok  # noqa: B018
    await buyer.until("/inventory/subscriptions", lambda answer: answer.ok["items"] == [])
