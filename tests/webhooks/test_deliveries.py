"""What became of deliveries is shown to who owns the webhook, and what is wanted again is sent again, behind what waits."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.webhooks.outside import Outside
from tests.webhooks.telling import as_seller, check_books, deliveries, happen, payout, settle, subscribe

from souk import webhooks
from souk.app import Shop
from souk.kit.errors import NotFound
from souk.kit.ids import new_id
from souk.webhooks.settings import settings
from souk.webhooks.types import WebhookChange, WebhookInactive

SENT = "payments.payout_sent"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def amounts(outside: Outside, path: str) -> list[int]:
    return [one.data["amount"]["amount"] for one in outside.heard[path] if one.type == SENT]


async def test_one_is_sent_again_with_the_id_it_had(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    await happen(payout(1), payout(2))
    first, second = await settle(opened.webhook.id, "delivered", "delivered")
    with as_seller():
        again = await webhooks.retry_delivery(opened.webhook.id, first.id)
    assert (again.id, again.status, again.attempts) == (first.id, "waiting", 1)
    _, moved = await settle(opened.webhook.id, "delivered", "delivered")
    assert (moved.id, moved.attempts) == (first.id, 2)
    assert [one.id for one in outside.heard["/a"]] == [str(first.id), str(second.id), str(first.id)]
    with as_seller(), pytest.raises(NotFound):
        await webhooks.retry_delivery(opened.webhook.id, new_id())
    await check_books()


async def test_the_same_wish_again_sends_it_once(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    await happen(payout(1))
    (first,) = await settle(opened.webhook.id, "delivered")
    for _ in range(3):
        with as_seller(key="once-more"):
            await webhooks.retry_delivery(opened.webhook.id, first.id)
        await settle(opened.webhook.id, "delivered")
    for _ in range(3):
        with as_seller(key="a-ping"):
            await webhooks.send_test(opened.webhook.id)
    await settle(opened.webhook.id, "delivered", "delivered")
    assert [one.type for one in outside.heard["/a"]] == [SENT, SENT, "webhooks.ping"]
    outside.heard["/a"][-1].verify(opened.secret)
    assert outside.heard["/a"][-1].data == {"webhook_id": str(opened.webhook.id)}


async def test_all_that_failed_since_a_time_is_sent_again_in_its_order(sending_shop: Shop, outside: Outside) -> None:
    settings.replace(retries_s=(0.02,))
    opened = await subscribe(outside.url("/a"), SENT)
    outside.answer("/a", 500)
    await happen(*(payout(amount) for amount in range(5)))
    await settle(opened.webhook.id, *["failed"] * 5)
    outside.answer("/a", 200)
    await happen(payout(5))
    await settle(opened.webhook.id, *["failed"] * 5, "delivered")
    outside.heard["/a"].clear()
    with as_seller():
        assert (await webhooks.retry_failed_deliveries(opened.webhook.id, datetime.now(UTC) + timedelta(hours=1))).count == 0
        assert (await webhooks.retry_failed_deliveries(opened.webhook.id, LONG_AGO)).count == 5
        await settle(opened.webhook.id, *["delivered"] * 6)
        assert (await webhooks.retry_failed_deliveries(opened.webhook.id, LONG_AGO)).count == 0
    assert amounts(outside, "/a") == [0, 1, 2, 3, 4]
    await check_books()


async def test_what_is_wanted_again_fails_again_after_as_many_tries(sending_shop: Shop, outside: Outside) -> None:
    settings.replace(retries_s=(0.02, 0.02))
    opened = await subscribe(outside.url("/a"), SENT)
    outside.answer("/a", 500)
    await happen(payout(1))
    (failed,) = await settle(opened.webhook.id, "failed")
    with as_seller():
        await webhooks.retry_delivery(opened.webhook.id, failed.id)
        await outside.hears("/a", 6)
        (again,) = await settle(opened.webhook.id, "failed")
        detail = await webhooks.get_webhook_delivery(opened.webhook.id, failed.id)
    assert (failed.attempts, again.attempts) == (3, 6)
    assert [one.number for one in detail.attempts] == [1, 2, 3, 4, 5, 6]
    await check_books()


async def test_nothing_is_sent_again_to_who_is_told_no_more(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    await happen(payout(1))
    (first,) = await settle(opened.webhook.id, "delivered")
    with as_seller():
        await webhooks.change_webhook(opened.webhook.id, WebhookChange(status="paused"))
        for refused in (
            webhooks.retry_delivery(opened.webhook.id, first.id),
            webhooks.retry_failed_deliveries(opened.webhook.id, LONG_AGO),
            webhooks.send_test(opened.webhook.id),
        ):
            with pytest.raises(WebhookInactive):
                await refused
    assert [one.status for one in await deliveries(opened.webhook.id)] == ["delivered"]


async def test_deliveries_are_listed_in_pages_by_what_became_of_them(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    await happen(*(payout(amount) for amount in range(7)))
    done = await settle(opened.webhook.id, *["delivered"] * 7)
    released = outside.hang("/a")
    await happen(payout(7))
    await settle(opened.webhook.id, *["delivered"] * 7, "waiting")
    seen: list[object] = []
    cursor: str | None = None
    with as_seller():
        while True:
            page = await webhooks.list_webhook_deliveries(opened.webhook.id, "delivered", 3, cursor)
            seen += page.items
            if (cursor := page.next) is None:
                break
        assert seen == list(reversed(done))
        assert len((await webhooks.list_webhook_deliveries(opened.webhook.id, "waiting", 10, None)).items) == 1
        assert (await webhooks.list_webhook_deliveries(opened.webhook.id, "failed", 10, None)).items == ()
        assert (await webhooks.get_webhook(opened.webhook.id)).waiting == 1
    released.set()
