"""What leaves is invoiced, and its buyer and its seller download the document, over the public API."""

import io
from datetime import UTC, datetime

from pypdf import PdfReader
from tests.journeys.client import Client, together
from tests.journeys.conftest import Shop
from tests.journeys.market import Market, fill_cart, open_market, order

PROFILE = {
    "legal_name": "Lighthouse Ltd",
    "line1": "Harbour 1",
    "city": "Leipzig",
    "postal_code": "04109",
    "country": "DE",
    "prefix": "LIGHT",
}


async def buy_and_dispatch(market: Market, buyer: Client) -> str:
    """An order of three pieces, all of which have left; its id."""
    goods = await market.put_on_sale(10)
    more = {} if "Authorization" in buyer.headers else {"email": "guest@example.com"}
    placed = (await order(buyer, await fill_cart(buyer, goods["sku"], 3), **more)).ok
    parcel = (await market.seller.post("/shippings", {"order_id": placed["id"]})).ok
    (await market.seller.post(f"/shippings/{parcel['id']}/dispatch")).ok  # noqa: B018
    return str(placed["id"])


async def test_an_invoice_from_the_parcel_to_the_file(shop: Shop) -> None:
    market = await open_market(shop)
    profile = f"/sellers/{market.seller_id}/invoice-profile"
    assert (await market.seller.get(profile)).status == 404
    assert (await market.seller.put(profile, PROFILE)).ok["legal_name"] == "Lighthouse Ltd"
    buyer, stranger = await shop.buyer(), await shop.buyer()
    order_id = await buy_and_dispatch(market, buyer)
    listed = await buyer.until(f"/orders/{order_id}/invoices", lambda answer: len(answer.ok["items"]) == 1, within_s=10.0)
    (invoice,) = listed.ok["items"]
    assert invoice["number"] == f"LIGHT-{datetime.now(UTC).year}-000001"
    assert invoice["total"] == {"amount": 4100, "currency": "USD"}
    assert (await buyer.get(f"/invoices/{invoice['id']}")).ok == (await market.seller.get(f"/invoices/{invoice['id']}")).ok == invoice
    file = await buyer.get(f"/invoices/{invoice['id']}/pdf")
    assert (file.status, file.headers["content-type"]) == (200, "application/pdf")
    assert invoice["number"] in file.headers["content-disposition"]
    text = PdfReader(io.BytesIO(file.content)).pages[0].extract_text()
    for part in (invoice["number"], "Lighthouse Ltd", "Ada", "10115 Berlin", "$41.00"):
        assert part in text
    assert (await buyer.get(f"/orders/{order_id}/invoices", Accept="application/pdf")).content == file.content
    again = await buyer.get(f"/invoices/{invoice['id']}/pdf", If_None_Match=file.headers["etag"])
    assert (again.status, again.content) == (304, b"")
    page = (await market.seller.get(f"/sellers/{market.seller_id}/invoices?year={datetime.now(UTC).year}")).ok
    assert [one["id"] for one in page["items"]] == [invoice["id"]]
    for answer in await together(
        stranger.get(f"/orders/{order_id}/invoices"),
        stranger.get(f"/invoices/{invoice['id']}"),
        stranger.get(f"/invoices/{invoice['id']}/pdf"),
        stranger.get(f"/invoices/{invoice['id']}/pdf", If_None_Match=file.headers["etag"]),
        stranger.get(f"/sellers/{market.seller_id}/invoices"),
        stranger.get(profile),
        stranger.put(profile, PROFILE),
    ):
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await shop.visitor().get(f"/invoices/{invoice['id']}/pdf")).status == 401


async def test_a_guest_downloads_it_with_the_token_of_the_order(shop: Shop) -> None:
    market = await open_market(shop)
    guest = shop.visitor()
    order_id = await buy_and_dispatch(market, guest)
    listed = await guest.until(f"/orders/{order_id}/invoices", lambda answer: len(answer.ok["items"]) == 1, within_s=10.0)
    path = f"/invoices/{listed.ok['items'][0]['id']}/pdf"
    assert (await guest.get(path)).content.startswith(b"%PDF-")
    assert (await guest.get(path, Souk_Token="another-token-than-that-of-the-order")).status == 404
