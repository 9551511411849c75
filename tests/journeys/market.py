"""What the journeys of buyers need: a seller with a store and goods, and an address."""

import secrets
from typing import Any

from tests.journeys.client import Answer, Client
from tests.journeys.conftest import Shop

ADDRESS = {"name": "Ada", "line1": "1 Main St", "city": "Berlin", "postal_code": "10115", "country": "DE"}
CARD = {"method": "card", "token": "tok_visa"}


class Market:
    """An approved seller and their store, in a shop that ships everywhere and knows a coupon."""

    def __init__(self, shop: Shop, seller: Client, seller_id: str, store_id: str) -> None:
        self.shop = shop
        self.seller = seller
        self.seller_id = seller_id
        self.store_id = store_id

    async def put_on_sale(self, pieces: int, cents: int = 1200, threshold: int | None = None) -> dict[str, Any]:
        """A new product with one variant, when the shop shows its stock."""
        sku = f"SKU-{secrets.token_hex(6)}"
        variant = {"sku": sku, "prices": [{"amount": cents, "currency": "USD"}], "weight_g": 300}
        product: dict[str, Any] = (
            await self.seller.post(
                "/products", {"name": f"Mug {sku}", "status": "published", "variants": [variant], "seller_id": self.seller_id}
            )
        ).ok
        if threshold is not None:
            (await self.seller.put(f"/stores/{self.store_id}/stock/{sku}/threshold", {"threshold": threshold})).ok  # noqa: B018
        (await self.count(sku, pieces)).ok  # noqa: B018
        await self.shop.visitor().until(f"/products/{product['id']}", lambda answer: answer.ok["stock_available"] == pieces)
        return {"id": product["id"], "sku": sku}

    async def count(self, sku: str, pieces: int) -> Answer:
        """The seller counts so many pieces of a SKU in the store."""
        return await self.seller.put(f"/stores/{self.store_id}/stock/{sku}", {"on_hand": pieces})

    async def on_hand(self, sku: str) -> dict[str, Any]:
        """What lies in the store of a SKU."""
        stock: dict[str, Any] = (await self.seller.get(f"/stores/{self.store_id}/stock/{sku}")).ok
        return stock


async def open_market(shop: Shop) -> Market:
    """A new seller with an empty store."""
    admin = await shop.admin()
    if not (await admin.get("/shipping-zones")).ok["items"]:
        rate = {"price": {"amount": 500, "currency": "USD"}}
        standard = {"option": "standard", "name": "Standard", "days_min": 2, "days_max": 4, "rates": [rate]}
        express = standard | {"option": "express", "name": "Express", "rates": [{"price": {"amount": 1500, "currency": "USD"}}]}
        (await admin.post("/shipping-zones", {"name": "World", "methods": [standard, express]})).ok  # noqa: B018
        (await admin.post("/tax-rates", {"country": "DE", "name": "VAT", "rate_ppm": 190_000})).ok  # noqa: B018
    seller = await shop.buyer()
    seller_id = (await seller.post("/sellers", {"name": "Lighthouse"})).ok["id"]
    (await admin.post(f"/sellers/{seller_id}/approve")).ok  # noqa: B018
    await seller.refresh()
    store_id = (await seller.post("/stores", {"name": "Leipzig", "country": "DE", "seller_id": seller_id})).ok["id"]
    return Market(shop, seller, seller_id, store_id)


async def fill_cart(buyer: Client, sku: str, quantity: int = 1) -> str:
    """A new cart of this buyer, or guest."""
    answer = await buyer.post("/carts", {"items": [{"sku": sku, "quantity": quantity}]})
    cart = answer.ok
    if "Authorization" not in buyer.headers:
        buyer.headers["Souk-Token"] = answer.headers["souk-token"]
    return str(cart["id"])


async def order(buyer: Client, cart_id: str, payment: dict[str, Any] | None = CARD, key: str | None = None, **more: object) -> Answer:
    """Order a cart."""
    body = {"cart_id": cart_id, "shipping_address": ADDRESS, **({"payment": payment} if payment else {}), **more}
    return await buyer.post("/orders", body, Idempotency_Key=key)
