"""What happens is told: signed, in order, again when it fails, and to each endpoint as if there were no other."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError
from tests.waiting import until
from tests.webhooks.outside import Outside
from tests.webhooks.telling import SELLER, announced, as_seller, as_system, check_books, deliveries, happen, payout, settle, subscribe

from souk import app, webhooks
from souk.app import Shop
from souk.kit.ids import new_id
from souk.webhooks import sending
from souk.webhooks.database import db
from souk.webhooks.settings import settings
from souk.webhooks.types import WebhookChange

SENT = "payments.payout_sent"


def amounts(heard: list) -> list[int]:
    return [one.data["amount"]["amount"] for one in heard]


async def test_an_event_is_told_as_the_standard_says(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), "payments.*")
    event = payout(500)
    await happen(event)
    (heard,) = await outside.hears("/a", 1)
    heard.verify(opened.secret)
    assert heard.headers["content-type"] == "application/json"
    assert heard.told.keys() == {"type", "timestamp", "data"}
    assert heard.type == SENT
    assert heard.data == {"payout_id": str(event.payout_id), "seller_id": str(SELLER), "amount": {"amount": 500, "currency": "EUR"}}
    (done,) = await settle(opened.webhook.id, "delivered")
    assert heard.id == str(done.id)
    with as_seller():
        detail = await webhooks.get_webhook_delivery(opened.webhook.id, done.id)
    assert detail.body.encode() == heard.body
    assert [(one.number, one.status, one.error) for one in detail.attempts] == [(1, 200, None)]
    with pytest.raises(WebhookVerificationError):
        Webhook(opened.secret).verify(heard.body + b" ", heard.headers)
    await check_books()


async def test_what_fails_is_tried_again_and_what_comes_after_it_waits(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    outside.answer("/a", 500, "no\0pe")
    await happen(*(payout(amount) for amount in (1, 2, 3)))
    await outside.hears("/a", 2)
    assert amounts(outside.heard["/a"])[:2] == [1, 1]
    outside.answer("/a", 204)
    first, *_ = await settle(opened.webhook.id, "delivered", "delivered", "delivered")
    assert len({one.id for one in outside.heard["/a"] if one.data["amount"]["amount"] == 1}) == 1
    assert list(dict.fromkeys(amounts(outside.heard["/a"]))) == [1, 2, 3]
    with as_seller():
        attempts = (await webhooks.get_webhook_delivery(opened.webhook.id, first.id)).attempts
    assert [one.status for one in attempts] == [500] * (first.attempts - 1) + [204]
    assert attempts[0].answer == "nope"
    for one in outside.heard["/a"]:
        one.verify(opened.secret)
    await check_books()


async def test_what_fails_too_often_is_left_behind_and_the_next_goes_on(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    refused: list[int] = []

    async def refuse_the_first(request: web.Request) -> web.Response:
        amount = (await request.json())["data"]["amount"]["amount"]
        refused.append(amount)
        return web.Response(status=400 if amount == 1 else 200)

    outside.answers["/a"] = refuse_the_first
    await happen(payout(1), payout(2))
    failed, _ = await settle(opened.webhook.id, "failed", "delivered")
    assert refused == [1] * 4 + [2]
    assert failed.attempts == 4
    with as_seller():
        assert (await webhooks.get_webhook(opened.webhook.id)).failing_since is None
    await check_books()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(sending_shop: Shop, outside: Outside, status: int) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    outside.answer("/a", status, Location=outside.url("/b"))
    await happen(payout(1))
    await settle(opened.webhook.id, "failed")
    assert outside.heard["/b"] == []
    await check_books()


async def test_who_is_gone_is_told_no_more(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    outside.answer("/a", 410)
    await happen(payout(1), payout(2))
    await settle(opened.webhook.id, "failed", "waiting")
    with as_seller():
        shown = await webhooks.get_webhook(opened.webhook.id)
        assert (shown.status, shown.disabled_reason, shown.waiting) == ("disabled", "gone", 1)
    assert await announced() == [{"webhook_id": str(opened.webhook.id), "seller_id": str(SELLER), "reason": "gone"}]
    await happen(payout(3))
    other = await subscribe(outside.url("/b"), SENT)
    await happen(payout(4))
    await outside.hears("/b", 1)
    assert amounts(outside.heard["/a"]) == [1]
    outside.answer("/a", 200)
    with as_seller():
        await webhooks.change_webhook(opened.webhook.id, WebhookChange(status="active"))
    await settle(opened.webhook.id, "failed", "delivered")
    assert amounts(outside.heard["/a"]) == [1, 2]
    await settle(other.webhook.id, "delivered")
    await check_books()


async def test_who_has_failed_for_days_is_told_no_more(sending_shop: Shop, outside: Outside) -> None:
    settings.replace(retries_s=(0.05,) * 100)
    opened = await subscribe(outside.url("/a"), SENT)
    outside.answer("/a", 503)
    await happen(payout(1))
    await outside.hears("/a", 2)
    with as_seller():
        assert (await webhooks.get_webhook(opened.webhook.id)).failing_since is not None
    async with db.transaction() as tx:
        await tx.run("UPDATE webhooks.webhook SET failing_since = failing_since - interval '5 days'")

    async def is_disabled() -> bool:
        with as_seller():
            return (await webhooks.get_webhook(opened.webhook.id)).disabled_reason == "failing"

    await until(is_disabled)
    assert [one["reason"] for one in await announced()] == ["failing"]
    await check_books()


async def test_who_hangs_delays_nobody_else(sending_shop: Shop, outside: Outside) -> None:
    slow, quick = await subscribe(outside.url("/slow"), SENT), await subscribe(outside.url("/quick"), SENT)
    released = outside.hang("/slow")
    await happen(*(payout(amount) for amount in range(50)))
    await settle(quick.webhook.id, *["delivered"] * 50)
    assert amounts(outside.heard["/quick"]) == list(range(50))
    assert len(outside.heard["/slow"]) == 1
    assert [one.attempts for one in await deliveries(slow.webhook.id)] == [0] * 50
    released.set()
    await settle(slow.webhook.id, *["delivered"] * 50)
    assert amounts(outside.heard["/slow"]) == list(range(50))
    await check_books()


async def test_many_who_hang_have_places_of_their_own(whole_shop: Shop, impatient: None, outside: Outside) -> None:
    settings.replace(in_flight=4, timeout_s=0.3, retries_s=(0.05,) * 100)
    async with app.at_work(whole_shop):
        hanging = [await subscribe(outside.url(f"/hang/{number}"), SENT) for number in range(12)]
        for number in range(12):
            outside.hang(f"/hang/{number}")
        await happen(payout(0))

        async def all_have_failed() -> bool:
            return await db.value("SELECT count(*) FROM webhooks.webhook WHERE NOT steady") == len(hanging)

        await until(all_have_failed)
        quick = await subscribe(outside.url("/quick"), SENT)
        before = sum(len(outside.heard[f"/hang/{number}"]) for number in range(12))
        for amount in range(30):
            await happen(payout(amount))
        await settle(quick.webhook.id, *["delivered"] * 30)
        # One place for twelve that hang: a few tries of theirs fit into the time of thirty messages, were they sent one by one or not.
        assert sum(len(outside.heard[f"/hang/{number}"]) for number in range(12)) >= before
        assert outside.most_at_once["/quick"] == 1
        assert sum(outside.at_once[f"/hang/{number}"] for number in range(12)) <= 1


async def test_one_message_at_a_time_and_each_in_its_place(sending_shop: Shop, outside: Outside) -> None:
    opened = [await subscribe(outside.url(f"/{number}"), SENT) for number in range(5)]
    for first in range(0, 100, 10):
        await asyncio.gather(*(happen(payout(amount)) for amount in range(first, first + 10)))
    for one in opened:
        await settle(one.webhook.id, *["delivered"] * 100)
    for number, one in enumerate(opened):
        heard = outside.heard[f"/{number}"]
        assert outside.most_at_once[f"/{number}"] == 1
        assert [message.id for message in heard] == [str(done.id) for done in await deliveries(one.webhook.id)]
    assert len({tuple(message.id for message in outside.heard[f"/{number}"]) for number in range(5)}) == 1
    await check_books()


async def test_a_long_queue_lets_others_go_first(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    await happen(*(payout(amount) for amount in range(sending.AT_ONE_TURN + 20)))
    await outside.hears("/a", sending.AT_ONE_TURN + 20)

    async def is_done() -> bool:
        with as_seller():
            return (await webhooks.get_webhook(opened.webhook.id)).waiting == 0

    await until(is_done)
    assert amounts(outside.heard["/a"]) == list(range(sending.AT_ONE_TURN + 20))
    assert await db.value("SELECT turn FROM webhooks.webhook") > 1
    await check_books()


async def test_who_wants_to_be_left_alone_is_left_alone(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    outside.answer("/a", 429, Retry_After="3600")
    await happen(payout(1))

    async def has_failed() -> bool:
        return [one.attempts for one in await deliveries(opened.webhook.id)] == [1]

    await until(has_failed)
    wait_s = await db.value("SELECT extract(epoch FROM due_at - now())::int FROM webhooks.webhook")
    assert 3500 <= wait_s <= 3600
    outside.answer("/a", 200)
    with as_seller():
        await webhooks.send_test(opened.webhook.id)
    await settle(opened.webhook.id, "delivered", "delivered")
    assert [one.type for one in outside.heard["/a"]] == [SENT, SENT, "webhooks.ping"]


async def test_an_endpoint_that_is_removed_while_it_is_told(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    released = outside.hang("/a")
    await happen(payout(1), payout(2))
    await outside.hears("/a", 1)
    with as_seller():
        await webhooks.remove_webhook(opened.webhook.id)
    released.set()
    other = await subscribe(outside.url("/b"), SENT)
    await happen(payout(3))
    await settle(other.webhook.id, "delivered")
    assert len(outside.heard["/a"]) == 1
    assert await db.value("SELECT count(*) FROM webhooks.secret") == 1
    await check_books()


async def test_a_pause_ends_with_what_waited_before_it(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    released = outside.hang("/a")
    await happen(payout(1), payout(2))
    await outside.hears("/a", 1)
    with as_seller():
        await webhooks.change_webhook(opened.webhook.id, WebhookChange(status="paused"))
    released.set()
    await settle(opened.webhook.id, "delivered", "waiting")
    marker = await subscribe(outside.url("/b"), SENT)
    await happen(payout(3))
    await settle(marker.webhook.id, "delivered")
    with as_seller():
        await webhooks.change_webhook(opened.webhook.id, WebhookChange(status="active"))
    await settle(opened.webhook.id, "delivered", "delivered")
    assert amounts(outside.heard["/a"]) == [1, 2]
    await check_books()


async def test_what_cannot_be_signed_is_not_sent(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    async with db.transaction() as tx:
        await tx.run("UPDATE webhooks.secret SET sealed = sealed || '\\x00'")
    await happen(payout(1))
    (failed,) = await settle(opened.webhook.id, "failed")
    with as_system():
        detail = await webhooks.get_webhook_delivery(opened.webhook.id, failed.id)
    assert {one.error for one in detail.attempts} == {"secret_unreadable"}
    assert outside.heard["/a"] == []


async def test_nobody_subscribed_is_nothing_written(sending_shop: Shop, outside: Outside) -> None:
    await subscribe(outside.url("/other"), SENT, seller_id=new_id())
    await happen(*(payout(amount) for amount in range(20)))
    mine = await subscribe(outside.url("/mine"), SENT)
    await happen(payout(1))
    await settle(mine.webhook.id, "delivered")
    assert await db.value("SELECT count(*) FROM webhooks.delivery") == 1
    assert outside.heard["/other"] == []


async def test_two_secrets_sign_while_one_is_replaced(sending_shop: Shop, outside: Outside) -> None:
    opened = await subscribe(outside.url("/a"), SENT)
    with as_seller():
        fresh = await webhooks.rotate_webhook_secret(opened.webhook.id)
    await happen(payout(1))
    (heard,) = await outside.hears("/a", 1)
    assert fresh.secret != opened.secret
    for secret in (opened.secret, fresh.secret):
        heard.verify(secret)
    async with db.transaction() as tx:
        await tx.run("UPDATE webhooks.secret SET expires_at = expires_at - interval '24 hours'")
    await happen(payout(2))
    _, heard = await outside.hears("/a", 2)
    heard.verify(fresh.secret)
    with pytest.raises(WebhookVerificationError):
        heard.verify(opened.secret)
    await settle(opened.webhook.id, "delivered", "delivered")
    await check_books()


async def test_answers_that_are_huge_slow_or_broken(sending_shop: Shop, outside: Outside) -> None:
    settings.replace(timeout_s=0.5, retries_s=(0.05,))
    sent: list[int] = []

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                sent.append(65536)
        except (ConnectionError, aiohttp.ClientError):
            return response

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"sl")
        await asyncio.sleep(60)
        return response

    async def swell(request: web.Request) -> web.Response:
        return web.Response(headers={"X-Long": "x" * 100_000})

    outside.answers |= {"/flood": flood, "/drip": drip, "/swell": swell}
    flooding, dripping, swelling = [await subscribe(outside.url(path), SENT) for path in ("/flood", "/drip", "/swell")]
    await happen(payout(1))
    await settle(flooding.webhook.id, "delivered")
    await settle(dripping.webhook.id, "delivered")
    await settle(swelling.webhook.id, "failed")
    assert await db.value("SELECT max(length(answer)) FROM webhooks.attempt") == 1024
    assert await db.value("SELECT array_agg(DISTINCT error) FROM webhooks.attempt WHERE status IS NULL") == ["broken_off"]
    assert sum(sent) < 50_000_000
