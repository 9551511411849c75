"""Who may subscribe to what and where: sellers for themselves, admins for the shop; secrets are shown once and lie sealed."""

import asyncio
import re
from datetime import UTC, datetime

import pytest
from tests.conftest import asked_by
from tests.webhooks.telling import SELLER, as_admin, as_seller, check_books, subscribe

from souk import webhooks
from souk.app import Shop
from souk.kit.callers import ANONYMOUS, Caller, asking
from souk.kit.errors import Forbidden, InvalidField, NotFound, Unauthenticated
from souk.kit.ids import new_id
from souk.webhooks import signing
from souk.webhooks.database import db
from souk.webhooks.settings import place, settings
from souk.webhooks.types import NewWebhook, TooManySecrets, TooManyWebhooks, WebhookChange, WebhookInactive

NOW = datetime.now(UTC)
URL = "https://hooks.seller.example/souk"

OTHERS = (
    webhooks.get_webhook,
    lambda one: webhooks.change_webhook(one, WebhookChange(status="paused")),
    webhooks.remove_webhook,
    webhooks.rotate_webhook_secret,
    webhooks.send_test,
    lambda one: webhooks.retry_delivery(one, new_id()),
    lambda one: webhooks.retry_failed_deliveries(one, NOW),
    lambda one: webhooks.list_webhook_deliveries(one, None, 10, None),
    lambda one: webhooks.get_webhook_delivery(one, new_id()),
)


async def test_a_seller_subscribes_changes_and_ends_it(shop: Shop) -> None:
    opened = await subscribe(URL, "orders.*", "payments.payout_sent", "orders.*")
    assert opened.secret.startswith("whsec_")
    webhook = opened.webhook
    assert (webhook.seller_id, webhook.url, webhook.status, webhook.waiting) == (SELLER, URL, "active", 0)
    assert webhook.events == ("orders.*", "payments.payout_sent")
    with as_seller():
        assert await webhooks.get_webhook(webhook.id) == webhook
        assert (await webhooks.list_webhooks(None, 10, None)).items == (webhook,)
        changed = await webhooks.change_webhook(webhook.id, WebhookChange(description="ours", events=("*",), status="paused"))
        assert (changed.description, changed.events, changed.status, changed.url) == ("ours", ("*",), "paused", URL)
        with pytest.raises(WebhookInactive, match="paused"):
            await webhooks.send_test(webhook.id)
        await webhooks.remove_webhook(webhook.id)
        with pytest.raises(NotFound):
            await webhooks.get_webhook(webhook.id)
        assert (await webhooks.list_webhooks(None, 10, None)).items == ()
    await check_books()


@pytest.mark.parametrize("what", range(len(OTHERS)))
async def test_nobody_comes_near_anothers_webhook(shop: Shop, what: int) -> None:
    mine, shops = await subscribe(URL), await subscribe(URL, seller_id=None)
    for webhook_id, who in ((mine.webhook.id, as_seller(new_id())), (shops.webhook.id, as_seller()), (mine.webhook.id, asked_by("buyer"))):
        with who, pytest.raises(NotFound):
            await OTHERS[what](webhook_id)
    with asking(Caller(ANONYMOUS)), pytest.raises(NotFound):
        await OTHERS[what](mine.webhook.id)


async def test_the_shops_own_are_its_admins(shop: Shop) -> None:
    mine, shops = await subscribe(URL), await subscribe(URL, "users.user_registered", seller_id=None)
    with as_admin():
        assert (await webhooks.list_webhooks(None, 10, None)).items == (shops.webhook,)
        assert (await webhooks.list_webhooks(SELLER, 10, None)).items == (mine.webhook,)
        await webhooks.remove_webhook(mine.webhook.id)
    new = NewWebhook(URL, ("*",))
    with asking(Caller(ANONYMOUS)), pytest.raises(Unauthenticated):
        await webhooks.create_webhook(new)
    with asked_by("buyer"), pytest.raises(Forbidden):
        await webhooks.create_webhook(new)
    with as_seller(), pytest.raises(NotFound):
        await webhooks.create_webhook(NewWebhook(URL, ("*",), seller_id=new_id()))
    with as_seller(), pytest.raises(NotFound):
        await webhooks.list_webhooks(new_id(), 10, None)


@pytest.mark.parametrize("event", ["users.user_registered", "orders.order_paid", "orders.order", "pricing.*", "webhooks.ping"])
async def test_a_seller_subscribes_to_nothing_that_is_not_told_to_sellers(shop: Shop, event: str) -> None:
    with pytest.raises(InvalidField, match=re.escape(event)):
        await subscribe(URL, "orders.*", event)
    opened = await subscribe(URL)
    with as_seller(), pytest.raises(InvalidField):
        await webhooks.change_webhook(opened.webhook.id, WebhookChange(events=(event,)))


async def test_the_types_say_what_is_for_sellers(shop: Shop) -> None:
    types = {one.name: one for one in await webhooks.list_event_types()}
    assert types["orders.order_placed"].for_sellers and not types["orders.order_paid"].for_sellers
    assert all(one.description.endswith(".") for one in types.values())
    for one in types.values():
        await subscribe_or_not(one.name, one.for_sellers)


async def subscribe_or_not(name: str, for_sellers: bool) -> None:
    with as_seller():
        try:
            opened = await webhooks.create_webhook(NewWebhook(URL, (name,)))
        except InvalidField:
            assert not for_sellers
            return
        assert for_sellers
        await webhooks.remove_webhook(opened.webhook.id)


async def test_the_same_request_again_makes_one_and_shows_the_same_secret(shop: Shop) -> None:
    new = NewWebhook(URL, ("*",))

    async def create() -> webhooks.OpenedWebhook:
        with as_seller(key="my-webhook"):
            return await webhooks.create_webhook(new)

    first, *others = await asyncio.gather(*(create() for _ in range(8)))
    assert {one.secret for one in others} == {first.secret}
    with as_seller():
        assert len((await webhooks.list_webhooks(None, 10, None)).items) == 1
    for _ in range(2):
        with as_seller(key="my-rotation"):
            rotated = await webhooks.rotate_webhook_secret(first.webhook.id)
    assert rotated.secret != first.secret
    assert await db.value("SELECT count(*) FROM webhooks.secret") == 2
    await check_books()


async def test_no_secret_lies_open_in_the_database(shop: Shop) -> None:
    with as_seller(key="a-key"):
        opened = await webhooks.create_webhook(NewWebhook(URL, ("*",)))
    key = opened.secret.removeprefix("whsec_")
    dumped = await db.value("SELECT string_agg(sealed::text, '') FROM webhooks.secret")
    dumped += await db.value("SELECT string_agg(encode(answer, 'escape'), '') FROM webhooks.idempotency_key")
    assert key not in dumped and key.encode().hex() not in dumped
    assert oct((place.now.home / "secrets" / "webhooks").stat().st_mode)[-3:] == "600"
    sealed = await db.value("SELECT sealed FROM webhooks.secret")
    assert signing.sign_message(opened.webhook.id, [sealed], "1", "1", b"") != ""
    assert signing.sign_message(new_id(), [sealed], "1", "1", b"") == ""


async def test_a_secret_that_signs_is_never_dropped_for_a_new_one(shop: Shop) -> None:
    opened = await subscribe(URL)
    with as_seller():
        for _ in range(signing.MOST_SECRETS - 1):
            await webhooks.rotate_webhook_secret(opened.webhook.id)
        with pytest.raises(TooManySecrets):
            await webhooks.rotate_webhook_secret(opened.webhook.id)
        async with db.transaction() as tx:
            await tx.run("UPDATE webhooks.secret SET expires_at = expires_at - interval '1 day'")
        await webhooks.rotate_webhook_secret(opened.webhook.id)
    assert await db.value("SELECT count(*) FROM webhooks.secret") == 2
    await check_books()


@pytest.mark.parametrize("seller_id", [SELLER, None])
async def test_an_owner_has_so_many_however_many_are_made_at_once(shop: Shop, seller_id: object) -> None:
    settings.replace(per_owner=3)
    answers = await asyncio.gather(*(subscribe(URL, seller_id=seller_id) for _ in range(16)), return_exceptions=True)
    assert sum(isinstance(one, TooManyWebhooks) for one in answers) == 13
    await subscribe(URL, seller_id=new_id())
