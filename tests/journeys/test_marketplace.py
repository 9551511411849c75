"""Goods of three sellers in one cart: one cancels, one ships in two parcels, a piece comes back damaged, a bank takes the money back."""

from typing import Any

import pytest
from tests.journeys.client import Client
from tests.journeys.conftest import Shop
from tests.journeys.market import ADDRESS, CARD, Market, open_market
from tests.waiting import until

A_MONTH_S = 30 * 86_400
ACCOUNT = {"holder": "Lighthouse Goods", "number": "000123456789", "country": "US", "currency": "USD"}


class Story:
    """An order of a pot for 20.00, three mugs for 10.00 and two bowls for 15.00; each seller ships for 5.00, and 19 % of tax is in all."""

    def __init__(self, shop: Shop, buyer: Client, sellers: dict[str, Market], order: dict[str, Any]) -> None:
        self.shop = shop
        self.buyer = buyer
        self.sellers = sellers
        self.order = order

    def line(self, goods: str) -> str:
        return next(item["id"] for item in self.order["items"] if item["seller_id"] == self.sellers[goods].seller_id)

    async def send(self, goods: str, pieces: int) -> dict[str, Any]:
        """Pieces of a seller leave in a parcel."""
        seller = self.sellers[goods].seller
        packing = {"order_id": self.order["id"], "items": [{"line_id": self.line(goods), "quantity": pieces}]}
        parcel: dict[str, Any] = (await seller.post("/shippings", packing)).ok
        return (await seller.post(f"/shippings/{parcel['id']}/dispatch", {"carrier": "Fast", "tracking_number": "FA-1"})).ok

    async def is_told(self, status: str, payment: str, refunded: int) -> None:
        """Wait until the buyer sees this of the order, and of the money."""
        await self.buyer.until(
            f"/orders/{self.order['id']}",
            lambda answer: (answer.ok["fulfillment_status"], answer.ok["payment_status"]) == (status, payment),
        )
        await self.buyer.until(f"/payments/{self.order['id']}", lambda answer: answer.ok["refunded"]["amount"] == refunded)

    async def have(self, **cents: int) -> None:
        """Wait until the sellers have these balances; then all books agree."""
        for goods, expected in cents.items():
            market = self.sellers[goods]
            path = f"/sellers/{market.seller_id}/balance"
            await market.seller.until(path, lambda answer, expected=expected: balance_in(answer.ok) == expected)  # type: ignore[misc]
        report = (await (await self.shop.admin()).get("/audit")).ok
        assert [rule for rule in report["rules"] if not rule["holds"]] == []

    async def dispute(self) -> str:
        """The buyer's bank is going to take the whole payment back in a month, and the shop does not win."""
        (charge,) = (await self.outside("GET", f"/v1/charges?reference={self.order['id']}.{self.order['id']}"))["items"]
        told = {"opens_in_s": A_MONTH_S, "reason": "product_not_received"}
        return str((await self.outside("POST", f"/control/charges/{charge['id']}/disputes", told))["id"])

    async def outside(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.shop.sandbox.settings['api_key']}"}
        async with self.shop.session.request(method, f"{self.shop.sandbox.url}{path}", json=body, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
            told: dict[str, Any] = await answer.json()
            return told


def balance_in(body: dict[str, Any]) -> int:
    return next((one["balance"]["amount"] for one in body["items"] if one["balance"]["currency"] == "USD"), 0)


@pytest.fixture
async def story(shop: Shop) -> Story:
    sellers = {goods: await open_market(shop) for goods in ("pots", "mugs", "bowls")}
    skus = {
        goods: (await market.put_on_sale(10, cents))["sku"]
        for (goods, market), cents in zip(sellers.items(), (2000, 1000, 1500), strict=True)
    }
    buyer = await shop.buyer()
    items = [{"sku": skus[goods], "quantity": quantity} for goods, quantity in (("pots", 1), ("mugs", 3), ("bowls", 2))]
    cart = (await buyer.post("/carts", {"items": items})).ok
    placed = (await buyer.post("/orders", {"cart_id": cart["id"], "shipping_address": ADDRESS, "payment": CARD})).ok
    assert (placed["status"], placed["total"]["amount"], len(placed["parts"])) == ("placed", 2000 + 3000 + 3000 + 3 * 500, 3)
    return Story(shop, buyer, sellers, placed)


async def test_three_sellers_in_one_cart(story: Story) -> None:
    await story.have(pots=0, mugs=0, bowls=0)

    # The potter cancels: 20.00 and the shipping go back, and nobody else feels it.
    potter = story.sellers["pots"].seller
    (await potter.post(f"/orders/{story.order['id']}/cancel", {"reason": "broken in the kiln"})).ok  # noqa: B018
    await story.is_told("unfulfilled", "partially_refunded", 2500)
    await story.have(pots=0, mugs=0, bowls=0)

    # Two mugs leave, then the third. 30.00 with 4.79 of tax in them, less 10 % of 25.21, and the shipping: 5.00 less 0.80 of tax.
    await story.send("mugs", 2)
    await story.have(mugs=2000 - 319 - 168 + 420, bowls=0)
    await story.send("mugs", 1)
    await story.have(mugs=3000 - 479 - 252 + 420, bowls=0)
    await story.is_told("partial", "partially_refunded", 2500)

    # Two bowls leave; one comes back damaged, and cannot be sold again.
    await story.send("bowls", 2)
    await story.is_told("fulfilled", "partially_refunded", 2500)
    await story.have(bowls=3000 - 479 - 252 + 420)
    wanted = {"items": [{"line_id": story.line("bowls"), "quantity": 1, "reason": "damaged"}]}
    (back,) = (await story.buyer.post(f"/orders/{story.order['id']}/returns", wanted, Idempotency_Key="back")).ok["items"]
    bowls = story.sellers["bowls"].seller
    assert (await bowls.patch(f"/returns/{back['id']}", {"status": "approved"})).ok["status"] == "approved"
    arrived = {"status": "received", "items": [{"line_id": story.line("bowls"), "quantity": 1, "resellable": 0}]}
    assert (await bowls.patch(f"/returns/{back['id']}", arrived)).ok["refund"]["amount"] == 1500
    await story.buyer.until(f"/returns/{back['id']}", lambda answer: answer.ok["status"] == "refunded")
    await story.is_told("fulfilled", "partially_refunded", 2500 + 1500)
    await story.have(mugs=3000 - 479 - 252 + 420, bowls=1500 - 239 - 126 + 420)

    # The mugs' seller is paid out; a month later the buyer's bank takes the payment back: who sold gives it, and may owe the shop.
    mugs = story.sellers["mugs"]
    (await mugs.seller.put(f"/sellers/{mugs.seller_id}/payout-account", ACCOUNT)).ok  # noqa: B018
    await paid_out(story, mugs)
    await story.have(mugs=0, bowls=1500 - 239 - 126 + 420)
    await story.dispute()
    await story.outside("POST", "/control/time", {"pass_s": A_MONTH_S})
    await story.is_told("fulfilled", "refunded", 9500)
    await story.have(pots=0, mugs=-(3000 - 479 - 252 + 420), bowls=0)
    (share,) = (await mugs.seller.get(f"/sellers/{mugs.seller_id}/chargebacks")).ok["items"]
    assert (share["reason"], share["debited"]["amount"]) == ("product_not_received", 3000 - 479 - 252 + 420)
    timeline = [one["type"] for one in (await story.buyer.get(f"/orders/{story.order['id']}/timeline")).ok["items"]]
    assert timeline[0] == "placed"
    assert {"items_canceled", "refunded", "parcel_dispatched", "return_requested", "return_received", "chargeback"} <= set(timeline)


async def paid_out(story: Story, market: Market) -> None:
    """An admin pays a seller out as soon as the account may be used, and the bank has done it."""
    admin, path = await story.shop.admin(), f"/sellers/{market.seller_id}/payouts"

    async def pay() -> bool:
        return (await admin.post(path, {"currency": "USD"})).status == 201

    await until(pay)
    await market.seller.until(path, lambda answer: [one["status"] for one in answer.ok["items"]] == ["paid"])
