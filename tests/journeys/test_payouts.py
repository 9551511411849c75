"""A seller says where their money is to go, and sees what they have, over the public API."""

import csv
import io

from tests.journeys.client import together
from tests.journeys.conftest import Shop
from tests.journeys.market import open_market

ACCOUNT = {"holder": "Lighthouse Goods", "number": "DE89 3704 0044 0532 0130 00", "country": "DE", "currency": "EUR"}


async def test_an_owner_sets_the_account_and_a_member_may_when_they_own_it_too(shop: Shop) -> None:
    market = await open_market(shop)
    here, helper, stranger = f"/sellers/{market.seller_id}", await shop.buyer(), await shop.buyer()
    set_account = f"{here}/payout-account"
    made = (await market.seller.put(set_account, ACCOUNT)).ok
    assert (made["number"], made["holder"]) == ("****3000", "Lighthouse Goods")
    assert made["payable_from"] > made["created_at"]
    (await market.seller.post(f"{here}/members", {"user_id": str(helper.id)})).ok  # noqa: B018
    await helper.refresh()
    assert (await helper.put(set_account, ACCOUNT | {"number": "000123456789"})).status == 403
    assert (await helper.get(set_account)).ok["items"] == [made]
    (await market.seller.patch(f"{here}/members/{helper.id}", {"role": "owner"})).ok  # noqa: B018
    await helper.refresh()
    changed = (await helper.put(set_account, ACCOUNT | {"number": "000123456789", "country": "US"})).ok
    assert (changed["number"], changed["payable_from"] > made["payable_from"]) == ("****6789", True)
    wrong = await market.seller.put(set_account, ACCOUNT | {"number": "DE89 3704 0044 0532 0130 01"})
    assert (wrong.status, wrong.code) == (422, "invalid_field")
    for answer in await together(*(stranger.get(f"{here}/{path}") for path in ("payout-account", "balance", "payouts"))):
        assert answer.status == 404
    assert (await stranger.put(set_account, ACCOUNT)).status == 404


async def test_who_has_sold_nothing_has_empty_books(shop: Shop) -> None:
    market = await open_market(shop)
    here = f"/sellers/{market.seller_id}"
    assert (await market.seller.get(f"{here}/balance")).ok["items"] == []
    assert (await market.seller.get(f"{here}/payouts")).ok == {"items": [], "next": None}
    statement = (await market.seller.get(f"{here}/statements?currency=EUR&from=2026-01-01&until=2026-02-01")).ok
    assert (statement["opening"], statement["closing"], statement["items"]) == (*[{"amount": 0, "currency": "EUR"}] * 2, [])
    sheet = await market.seller.get(f"{here}/statements?currency=EUR", Accept="text/csv")
    assert sheet.headers["content-type"].startswith("text/csv")
    assert [row["kind"] for row in csv.DictReader(io.StringIO(sheet.content.decode()))] == ["opening_balance", "closing_balance"]
    refused = await (await shop.admin()).post(f"{here}/payouts", {"currency": "EUR"}, Idempotency_Key="now")
    assert refused.code == "payments.no_payout_account"
