"""The page in the buyer's browser, for cards and for the app."""

import pytest

from souk.sandbox.pages import page_of, price_of
from souk.sandbox.types import Checkout


async def test_a_card_that_requires_action_is_approved(merchant, receiver):
    charge_id = (await merchant.charge("tok_requires_action", return_url="http://shop.test/back")).body["id"]
    page = await merchant.get(f"/pay/{charge_id}")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'<form method="post" action="/pay/{charge_id}/approve">' in page.text
    assert "129.00 USD" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    clicked = await merchant.post(f"/pay/{charge_id}/approve")
    assert (clicked.status, clicked.headers["location"]) == (303, "http://shop.test/back")
    [heard] = await receiver.wait_for(charge_id, 1)
    assert (heard.event["type"], heard.event["data"]["status"]) == ("charge.succeeded", "succeeded")
    again = await merchant.post(f"/pay/{charge_id}/approve")
    assert again.status == 303
    assert await merchant.book_of(charge_id) == [("authorize", 12900), ("capture", 12900)]
    decided = await merchant.get(f"/pay/{charge_id}")
    assert "<form" not in decided.text
    assert "succeeded" in decided.text


async def test_a_card_that_requires_action_is_refused(merchant, receiver):
    charge_id = (await merchant.charge("tok_requires_action", return_url="http://shop.test/back")).body["id"]
    assert (await merchant.post(f"/pay/{charge_id}/refuse")).status == 303
    [heard] = await receiver.wait_for(charge_id, 1)
    assert heard.event["type"] == "charge.declined"
    assert heard.event["data"]["decline_code"] == "authentication_refused"
    assert (await merchant.post(f"/pay/{charge_id}/approve")).status == 409


async def test_approval_of_a_two_step_sale_sets_money_aside(merchant, receiver):
    charge_id = (await merchant.charge("tok_requires_action", capture=False)).body["id"]
    clicked = await merchant.post(f"/pay/{charge_id}/approve")
    assert (clicked.status, "authorized" in clicked.text) == (200, True), "without a way back the buyer stays and reads"
    [heard] = await receiver.wait_for(charge_id, 1)
    assert heard.event["type"] == "charge.authorized"


async def test_an_approval_after_the_merchant_took_it_back_changes_nothing(merchant):
    charge_id = (await merchant.charge("tok_requires_action")).body["id"]
    await merchant.post(f"/v1/charges/{charge_id}/void")
    assert (await merchant.post(f"/pay/{charge_id}/approve")).status == 409
    assert await merchant.book_of(charge_id) == []


@pytest.mark.parametrize("payment_id", ["ch_no", "co_no", "x"])
async def test_an_unknown_payment_is_not_found(merchant, payment_id):
    assert (await merchant.get(f"/pay/{payment_id}")).status == 404
    assert (await merchant.post(f"/pay/{payment_id}/approve")).status == 404


async def test_what_the_merchant_wrote_is_escaped(merchant):
    evil = '<img src=x onerror="alert(1)">'
    checkout = (await merchant.checkout(reference=evil, return_url='http://shop.test/"><script>')).body
    page = await merchant.get(f"/pay/{checkout['id']}")
    assert "&lt;img src=x onerror=&quot;" in page.text
    await merchant.post(f"/v1/checkouts/{checkout['id']}/cancel")
    decided = await merchant.get(f"/pay/{checkout['id']}")
    assert 'href="http://shop.test/&quot;&gt;&lt;script&gt;"' in decided.text
    assert "<img" not in page.text + decided.text
    assert "<script" not in page.text + decided.text


def test_braces_in_a_reference_are_only_text():
    fields = {"amount_captured": 0, "amount_refunded": 0, "redirect_url": "", "refunds": (), "expires_at": "", "created_at": ""}
    checkout = Checkout("co_1", "created", 5, "JPY", "{0} {title}", return_url="http://x", updated_at="", **fields)
    assert "{0} {title}" in page_of(checkout)


@pytest.mark.parametrize(
    ("amount", "currency", "price"),
    [(5, "USD", "0.05 USD"), (123456, "EUR", "1,234.56 EUR"), (500, "JPY", "500 JPY"), (1234, "KWD", "1.234 KWD")],
)
def test_prices_have_the_digits_of_their_currency(amount, currency, price):
    assert price_of(amount, currency) == price
