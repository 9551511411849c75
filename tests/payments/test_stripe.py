"""Stripe's own SDK against localstripe: charges, declines, questions to the buyer, refunds, webhooks, and silence."""

import asyncio
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from tests.payments.conftest import PATIENCE, listening
from tests.payments.money import announced, balance, close, give_back, look_up, open_order, pay
from tests.payments.outside import until
from tests.ports import find_free_port

from souk import payments
from souk.app import Shop
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.ids import new_id
from souk.payments import jobs, ledger, reconciling
from souk.payments.database import db
from souk.payments.events import PaymentCaptured, PaymentRefunded
from souk.payments.gateways.stripe import _BookedCharge, _Intent, read_booked_charge
from souk.payments.settings import settings
from souk.payments.types import Payment, Webhook, WebhookForged, WebhookReceipt

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

    async def flush(self) -> None:
        """Stripe has nothing any more."""
        await self.session.delete(f"{self.base}/_config/data")

    async def get(self, path: str) -> Any:
        async with self.session.get(self.base + path, headers={"Authorization": "Bearer sk_test_1"}) as answer:
            return await answer.json()

    async def enter(self, card: str) -> str:
        """The token of a card."""
        card_form = {"card[number]": card, "card[exp_month]": "12", "card[exp_year]": "2034", "card[cvc]": "123"}
        return str((await self.post("/v1/payment_methods", type="card", **card_form))["id"])

    async def charge(self, reference: str, amount: int = 10_000) -> str:
        """Somebody charges a card at Stripe without us; the id of the intent."""
        form = {"amount": str(amount), "currency": "eur", "payment_method": await self.enter(VISA), "confirm": "true"}
        return str((await self.post("/v1/payment_intents", **form, **{"metadata[reference]": reference}))["id"])

    async def amounts(self, kind: str) -> list[int]:
        """What was charged or refunded at Stripe, which shows three at a time."""
        return sorted(one["amount"] for one in (await self.get(f"/v1/{kind}"))["data"])

    async def lose_answer(self, path: str) -> None:
        """The next request there is done, its answer comes when nobody waits any more, and no webhook is heard."""
        settings.replace(gateway_timeout_s=1.5, stripe_webhook_secrets=())
        await self.post(f"/_config/lose?path={path}")

    async def decide(self, intent_id: str, approve: bool) -> None:
        secret = (await self.get(f"/v1/payment_intents/{intent_id}"))["client_secret"]
        await self.post(f"/v1/payment_intents/{intent_id}/_authenticate", client_secret=secret, success=str(approve).lower())


@pytest.fixture
async def browser(shop: Shop, stripe_url: str) -> AsyncIterator[Browser]:
    port = find_free_port()
    settings.replace(**PATIENCE | {"gateway_timeout_s": 3.0})
    settings.replace(stripe_url=stripe_url, stripe_secret_key="sk_test_1", stripe_webhook_secrets=(SECRET,))
    async with listening(port) as door, aiohttp.ClientSession() as session:
        browser, end = Browser(stripe_url, session), time.monotonic() + 20

        async def answers() -> bool:
            try:
                await browser.get("/v1/balance")
            except aiohttp.ClientError:
                assert time.monotonic() < end
                return False
            return True

        await until(answers, 20)
        await browser.flush()
        await browser.post("/_config/webhooks/souk", url=f"{door}/payments/webhooks/stripe", secret=SECRET)
        yield browser


async def intent_of(order: Payment) -> str:
    return str(await db.value("SELECT gateway_id FROM payments.attempt WHERE payment_id = $1 ORDER BY created_at DESC", order.id))


async def look_again() -> None:
    await db.pool.execute("UPDATE payments.attempt SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.settle_open_attempts()
    await db.pool.execute("UPDATE payments.refund SET check_at = now() WHERE check_at IS NOT NULL")
    await reconciling.retry_refunds()


async def discrepancies() -> list[tuple[UUID | None, str]]:
    with asking(Caller(SYSTEM)):
        listed = await payments.list_discrepancies(100)
    return [(one.payment_id, one.reason) for one in reversed(listed) if one.source == "book"]


async def attempt_of(order: Payment) -> str:
    return f"{order.id}.{await db.value('SELECT id FROM payments.attempt WHERE payment_id = $1', order.id)}"


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
    await look_again()
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


async def test_a_refund_waits_for_the_right_key(browser: Browser) -> None:
    order = await open_order()
    await pay(order, await browser.enter(VISA))
    settings.replace(stripe_secret_key="pk_not_a_secret_key")
    assert (await give_back(order, 4_000)).status == "pending"
    settings.replace(stripe_secret_key="sk_test_1")
    await look_again()
    assert (await look_up(order)).refunded.amount == 4_000


async def test_nobody_is_there(shop: Shop) -> None:
    settings.replace(stripe_url=f"http://127.0.0.1:{find_free_port()}", stripe_secret_key="sk_test_1")
    order = await open_order()
    declined = await pay(order, "pm_1")
    assert (declined.status, declined.decline_code) == ("declined", "gateway_unavailable")


def sign(body: bytes, at: float, secret: str = SECRET) -> dict[str, str]:
    return {"stripe-signature": f"t={int(at)},v1={hmac.digest(secret.encode(), b'%d.%b' % (int(at), body), 'sha256').hex()}"}


async def hear(headers: dict[str, str], body: bytes) -> WebhookReceipt:
    return await payments.receive_webhook(Webhook("stripe", headers, body))


async def test_a_webhook_is_taken_once_and_only_from_stripe(shop: Shop) -> None:
    dead = f"http://127.0.0.1:{find_free_port()}"
    settings.replace(stripe_url=dead, stripe_secret_key="sk_test_1", stripe_webhook_secrets=("whsec_of_last_year", SECRET))
    order = await open_order()
    await pay(order, "pm_1")
    intent = {"id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 10_000, "currency": "eur"}
    intent["metadata"] = {"reference": await attempt_of(order)}
    body = json.dumps({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "data": {"object": intent}}).encode()
    now = time.time()
    forged = [
        ({}, body),
        ({"stripe-signature": f"t={int(now)},v1=00"}, body),
        (sign(body, now, "a guess"), body),
        (sign(body, now), body.replace(b"10000", b"10001")),
        (sign(body, now - 600), body),
    ]
    for headers, told in forged:
        with pytest.raises(WebhookForged):
            await hear(headers, told)
    assert (await look_up(order)).status == "declined"
    assert (await hear(sign(body, now), body)).status == "applied"
    assert (await look_up(order)).status == "captured"
    assert (await hear(sign(body, now), body)).status == "repeated"
    assert len(await announced(PaymentCaptured)) == 1


async def test_the_same_attempt_is_one_intent(browser: Browser) -> None:
    order, token, attempt_id = await open_order(), await browser.enter(VISA), new_id()
    first = await pay(order, token, attempt_id=attempt_id)
    assert await pay(order, token, attempt_id=attempt_id) == first
    intents = (await browser.get("/v1/payment_intents?limit=100"))["data"]
    assert len([one for one in intents if one["metadata"].get("reference") == f"{order.id}.{attempt_id}"]) == 1


async def test_an_intent_whose_answer_is_lost_is_found_by_its_key(browser: Browser) -> None:
    order, token, attempt_id = await open_order(), await browser.enter(VISA), new_id()
    await browser.lose_answer("/v1/payment_intents")
    assert (await pay(order, token, attempt_id=attempt_id)).status == "pending"
    assert await browser.amounts("charges") == []
    assert (await pay(order, token, attempt_id=attempt_id)).status == "captured"
    assert await browser.amounts("payment_intents") == [10_000]


async def test_an_intent_whose_answer_is_lost_and_that_nobody_asks_for_charges_nothing(browser: Browser) -> None:
    order = await open_order()
    await browser.lose_answer("/v1/payment_intents")
    assert (await pay(order, await browser.enter(VISA))).status == "pending"
    await look_again()
    assert ((await look_up(order)).status, (await look_up(order)).decline_code) == ("declined", "not_charged")
    assert await browser.amounts("charges") == []


async def test_a_charge_whose_answer_is_lost_is_looked_up(browser: Browser) -> None:
    order = await open_order()
    await browser.lose_answer("/confirm")
    assert (await pay(order, await browser.enter(VISA))).status == "pending"
    await look_again()
    assert (await look_up(order)).status == "captured"
    assert await browser.amounts("charges") == [10_000]


async def test_an_attempt_that_stripe_does_not_have_is_declined(browser: Browser) -> None:
    order = await open_order()
    assert (await pay(order, await browser.enter(ASKS))).status == "requires_action"
    await browser.flush()
    await look_again()
    assert ((await look_up(order)).status, (await look_up(order)).decline_code) == ("declined", "not_charged")


async def test_the_same_refund_is_one_refund(browser: Browser) -> None:
    order, refund_id = await open_order(), new_id()
    await pay(order, await browser.enter(VISA))
    first = await give_back(order, 4_000, refund_id)
    assert await give_back(order, 4_000, refund_id) == first
    assert await browser.amounts("refunds") == [4_000]


async def test_a_refund_whose_answer_is_lost_is_found_even_when_its_key_is_forgotten(browser: Browser) -> None:
    order = await open_order()
    await pay(order, await browser.enter(VISA))
    await browser.lose_answer("/v1/refunds")
    assert (await give_back(order, 4_000)).status == "pending"
    await browser.post("/_config/forget")
    await look_again()
    assert (await look_up(order)).refunded.amount == 4_000
    assert await browser.amounts("refunds") == [4_000]


async def test_a_book_that_agrees(browser: Browser) -> None:
    orders = [await open_order() for _ in range(4)]
    for order in orders:
        await pay(order, await browser.enter(VISA))
    await give_back(orders[0], 4_000)
    await pay(await open_order(), await browser.enter(DECLINED))
    assert await jobs.reconcile_books() >= 5  # the last minute is read twice when a second passes meanwhile
    assert await discrepancies() == []
    assert [(await look_up(order)).status for order in orders] == ["partially_refunded", "captured", "captured", "captured"]
    assert (len(await announced(PaymentCaptured)), len(await announced(PaymentRefunded))) == (4, 1)


async def test_what_the_book_has_and_we_do_not(browser: Browser) -> None:
    stranger = new_id()
    till = await browser.charge("till 4")
    await browser.charge(f"{stranger}.{new_id()}")
    await browser.post("/v1/refunds", payment_intent=till)
    await jobs.reconcile_books()
    await jobs.reconcile_books()
    nobodys, unknown = (None, "no payment of ours"), (stranger, "no attempt of ours")
    assert sorted(await discrepancies(), key=str) == sorted([nobodys, nobodys, unknown], key=str)
    assert await balance(ledger.clearing("stripe", "EUR")) == 0


async def test_what_the_book_has_otherwise(browser: Browser) -> None:
    order = await open_order()
    await pay(order, await browser.enter(VISA))
    await browser.charge(await attempt_of(order), 700)
    await browser.charge(await attempt_of(order))
    await jobs.reconcile_books()
    told = ["10000 EUR were asked for, 700 EUR told of", "captured twice at the gateway"]
    assert sorted(await discrepancies(), key=str) == [(order.id, reason) for reason in told]
    assert (await look_up(order)).captured.amount == 10_000


async def missing() -> list[UUID | None]:
    """What is not in the book, which is read up to the last whole second."""
    await asyncio.sleep(1)
    await jobs.reconcile_books()
    with asking(Caller(SYSTEM)):
        return [one.payment_id for one in await payments.list_discrepancies(100) if one.source == "ledger"]


async def test_what_we_have_and_the_book_has_not(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "MARGIN_S", 0.0)
    orders = [await open_order() for _ in range(2)]
    for order in orders:
        await pay(order, await browser.enter(VISA))
    await give_back(orders[0], 4_000)
    assert await missing() == []
    lost = await open_order()
    await pay(lost, await browser.enter(VISA))
    await browser.flush()
    assert await missing() == [lost.id]


@pytest.mark.parametrize(
    ("status", "stands", "told"), [("succeeded", True, "captured"), ("pending", True, "pending"), ("failed", False, "")]
)
def test_a_charge_that_is_on_its_way_stands_in_the_book(status: str, stands: bool, told: str) -> None:
    reference = f"{new_id()}.{new_id()}"
    intent = _Intent("pi_1", "processing", 10_000, "eur", {"reference": reference})
    charge = _BookedCharge("ch_1", status, status == "succeeded", 10_000, "eur", 1, intent)
    assert charge.stands is stands
    if stands:
        [news] = read_booked_charge(charge).attempts
        assert (str(news.reference), news.status) == (reference, told)


async def test_a_charge_that_only_the_book_tells_of(browser: Browser) -> None:
    order = await open_order()
    await browser.lose_answer("/confirm")
    assert (await pay(order, await browser.enter(VISA))).status == "pending"
    await jobs.reconcile_books()
    assert (await look_up(order)).status == "captured"
    assert await discrepancies() == []


async def test_a_refund_that_somebody_made_over_there(browser: Browser) -> None:
    order = await open_order()
    await pay(order, await browser.enter(VISA))
    await browser.post("/v1/refunds", payment_intent=await intent_of(order), amount="2500")
    await jobs.reconcile_books()
    await jobs.reconcile_books()
    assert ((await look_up(order)).status, (await look_up(order)).refunded.amount) == ("partially_refunded", 2_500)
    assert len(await announced(PaymentRefunded)) == 1
    assert await discrepancies() == []


async def test_a_book_that_cannot_be_read_is_read_on_later(browser: Browser) -> None:
    order = await open_order()
    await pay(order, await browser.enter(VISA))
    settings.replace(stripe_secret_key="pk_not_a_secret_key")
    assert await jobs.reconcile_books() == 0
    assert await db.value("SELECT count(*) FROM payments.book_position") == 0
    settings.replace(stripe_secret_key="sk_test_1")
    assert await jobs.reconcile_books() >= 1
