"""Stripe's own SDK against localstripe: charges, declines, questions to the buyer, refunds, webhooks, and silence."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.payments.conftest import PATIENCE, listening
from tests.payments.money import balance, close, give_back, look_up, open_order, pay
from tests.payments.outside import until
from tests.ports import find_free_port

from souk import payments
from souk.app import Shop
from souk.kit.ids import new_id
from souk.payments import ledger, reconciling
from souk.payments.database import db
from souk.payments.settings import settings
from souk.payments.types import Payment, Webhook, WebhookForged

pytest.importorskip("localstripe", reason="localstripe is not installed")

ROOT = Path(__file__).parents[2]
SECRET = "whsec_of_the_test"
VISA, ASKS, DECLINED = "4242424242424242", "4000002500003155", "4000000000000341"


@pytest.fixture(scope="module")
def stripe_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """localstripe as a process of its own."""
    port, home = find_free_port(), tmp_path_factory.mktemp("localstripe")
    path = os.pathsep.join((str(ROOT), *sys.path))
    command = [sys.executable, "-m", "tests.payments.localstripe_server", str(port)]
    environment = {**os.environ, "PYTHONPATH": path}
    with (home / "log").open("wb") as log, subprocess.Popen(command, cwd=home, env=environment, stderr=log) as process:
        yield f"http://127.0.0.1:{port}"
        process.kill()


class Browser:
    """The buyer's browser, which talks to Stripe and not to us."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base, self.session = base, session

    async def post(self, path: str, **form: str) -> Any:
        async with self.session.post(self.base + path, data=form, headers={"Authorization": "Bearer sk_test_1"}) as answer:
            return await answer.json(content_type=None)

    async def get(self, path: str) -> Any:
        async with self.session.get(self.base + path, headers={"Authorization": "Bearer sk_test_1"}) as answer:
            return await answer.json()

    async def enter(self, card: str) -> str:
        """The token of a card."""
        card_form = {"card[number]": card, "card[exp_month]": "12", "card[exp_year]": "2034", "card[cvc]": "123"}
        return str((await self.post("/v1/payment_methods", type="card", **card_form))["id"])

    async def decide(self, intent_id: str, approve: bool) -> None:
        secret = (await self.get(f"/v1/payment_intents/{intent_id}"))["client_secret"]
        await self.post(f"/v1/payment_intents/{intent_id}/_authenticate", client_secret=secret, success=str(approve).lower())


@pytest.fixture
async def browser(shop: Shop, stripe_url: str) -> AsyncIterator[Browser]:
    port = find_free_port()
    settings.replace(**PATIENCE | {"gateway_timeout_s": 3.0})
    settings.replace(stripe_url=stripe_url, stripe_secret_key="sk_test_1", stripe_webhook_secrets=(SECRET,))
    async with listening(shop, port) as door, aiohttp.ClientSession() as session:
        browser, end = Browser(stripe_url, session), time.monotonic() + 20

        async def answers() -> bool:
            try:
                await browser.get("/v1/balance")
            except aiohttp.ClientError:
                assert time.monotonic() < end
                return False
            return True

        await until(answers, 20)
        await browser.post("/_config/webhooks/souk", url=f"{door}/payments/webhooks/stripe", secret=SECRET)
        yield browser


async def intent_of(order: Payment) -> str:
    return str(await db.value("SELECT gateway_id FROM payments.attempt WHERE payment_id = $1 ORDER BY created_at DESC", order.id))


async def test_a_card_is_charged_and_the_webhook_says_so(browser: Browser) -> None:
    order = await open_order(12_900)
    paid = await pay(order, await browser.enter(VISA))
    assert (paid.status, paid.method, paid.captured.amount) == ("captured", "card", 12_900)
    intent = await browser.get(f"/v1/payment_intents/{await intent_of(order)}")
    assert (intent["amount"], intent["currency"], intent["status"]) == (12_900, "eur", "succeeded")
    assert intent["metadata"]["reference"].startswith(str(order.id))
    assert await balance(ledger.clearing("stripe", "EUR")) == -12_900

    async def heard() -> bool:
        return bool(await db.value("SELECT count(*) FROM payments.gateway_event WHERE payment_id = $1", order.id))

    await until(heard)
    assert (await look_up(order)).captured.amount == 12_900


async def test_a_declined_card(browser: Browser) -> None:
    order = await open_order()
    declined = await pay(order, await browser.enter(DECLINED))
    assert (declined.status, declined.decline_code) == ("declined", "card_declined")
    assert (await pay(order, "pm_unknown")).status == "declined"
    assert (await pay(order, await browser.enter(VISA))).status == "captured"


@pytest.mark.parametrize(("approve", "status"), [(True, "captured"), (False, "declined")])
async def test_a_card_that_asks_the_buyer(browser: Browser, approve: bool, status: str) -> None:
    order = await open_order()
    asked = await pay(order, await browser.enter(ASKS))
    assert asked.status == "requires_action"
    assert asked.next_action is not None
    assert asked.next_action.redirect_url.startswith("http://stripe.test/pi_")
    await browser.decide(await intent_of(order), approve)
    await db.pool.execute("UPDATE payments.attempt SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.settle_open_attempts()
    assert (await look_up(order)).status == status


async def test_the_question_of_a_closed_order_is_withdrawn(browser: Browser) -> None:
    order = await open_order()
    await pay(order, await browser.enter(ASKS))
    assert (await close(order)).status == "voided"
    assert (await browser.get(f"/v1/payment_intents/{await intent_of(order)}"))["status"] == "canceled"


async def test_refunds(browser: Browser) -> None:
    order = await open_order(10_000)
    await pay(order, await browser.enter(VISA))
    assert (await give_back(order, 4_000)).status == "succeeded"
    assert (await close(order)).status == "refunded"
    made = await browser.get(f"/v1/refunds?payment_intent={await intent_of(order)}")
    assert sorted(refund["amount"] for refund in made["data"]) == [4_000, 6_000]
    assert await balance(ledger.clearing("stripe", "EUR")) == 0


async def test_a_wrong_key_charges_nobody(browser: Browser) -> None:
    order, token = await open_order(), await browser.enter(VISA)
    settings.replace(stripe_secret_key="pk_not_a_secret_key")
    assert (await pay(order, token)).status == "declined"


async def test_nobody_is_there(shop: Shop) -> None:
    settings.replace(stripe_url=f"http://127.0.0.1:{find_free_port()}", stripe_secret_key="sk_test_1")
    order = await open_order()
    declined = await pay(order, "pm_1")
    assert (declined.status, declined.decline_code) == ("declined", "gateway_unavailable")


async def test_a_forged_webhook(shop: Shop) -> None:
    settings.replace(stripe_secret_key="sk_test_1", stripe_webhook_secrets=(SECRET,))
    for signature in ("", "t=1,v1=00", f"t={int(time.time())},v1=00"):
        with pytest.raises(WebhookForged):
            await payments.receive_webhook(Webhook("stripe", {"stripe-signature": signature}, b"{}"))


async def test_the_same_attempt_is_one_intent(browser: Browser) -> None:
    order, token, attempt_id = await open_order(), await browser.enter(VISA), new_id()
    first = await pay(order, token, attempt_id=attempt_id)
    assert await pay(order, token, attempt_id=attempt_id) == first
    intents = (await browser.get("/v1/payment_intents?limit=100"))["data"]
    assert len([one for one in intents if one["metadata"].get("reference") == f"{order.id}.{attempt_id}"]) == 1
