"""Disputes as Stripe tells of them: webhooks signed as it signs them, about intents of localstripe, which has no disputes itself."""

import json
import time

import pytest
from tests.payments.money import balance, look_up, open_order, pay
from tests.payments.test_chargebacks import expense, listed
from tests.payments.test_stripe import VISA, Browser, browser, hear, intent_of, sign, stripe_url

from souk import payments
from souk.kit.callers import SYSTEM, Caller, asking
from souk.kit.errors import Unavailable
from souk.kit.money import Money
from souk.payments import ledger
from souk.payments.settings import settings
from souk.payments.types import Payment, WebhookForged

__all__ = ["browser", "stripe_url"]

# What moves at Stripe: the money and the fee go, and come back if the dispute is won.
GONE = {"amount": -10_000, "fee": 1_500, "currency": "eur", "net": -11_500, "type": "adjustment"}
BACK = {"amount": 10_000, "fee": -1_500, "currency": "eur", "net": 11_500, "type": "adjustment"}
DUE = 1_893_456_000


@pytest.fixture
async def paid(browser: Browser) -> Payment:
    order = await open_order()
    assert (await pay(order, await browser.enter(VISA))).status == "captured"
    return order


async def tell(order: Payment, kind: str, status: str, *moves: dict[str, object], intent: str | None = None, **more: object) -> str:
    """Stripe sends an event of a dispute."""
    dispute = {
        "id": "du_1", "object": "dispute", "amount": 10_000, "currency": "eur", "charge": "ch_1", "reason": "fraudulent", "status": status,
        "payment_intent": intent or await intent_of(order), "balance_transactions": moves, "metadata": {}, "is_charge_refundable": False,
        "evidence_details": {"due_by": DUE, "has_evidence": False, "past_due": False, "submission_count": 0}, **more,
    }  # fmt: skip
    event = {"id": f"evt_{time.time_ns()}", "object": "event", "type": f"charge.dispute.{kind}", "data": {"object": dispute}}
    body = json.dumps(event).encode()
    return (await hear(sign(body, time.time()), body)).status


@pytest.mark.parametrize("won", [True, False])
async def test_as_stripe_documents_it(paid: Payment, won: bool) -> None:
    assert await tell(paid, "created", "needs_response", GONE) == "applied"
    assert await tell(paid, "funds_withdrawn", "needs_response", GONE) == "applied"
    [found] = await listed(paid)
    assert (found.gateway, found.external_id, found.status, found.reason) == ("stripe", "du_1", "open", "fraudulent")
    assert (found.amount.amount, found.fee.amount) == (10_000, 1_500)
    assert found.evidence_due_at is not None
    assert found.evidence_due_at.timestamp() == DUE
    assert await balance(ledger.clearing("stripe", "EUR")) == 1_500
    if won:
        assert await tell(paid, "closed", "won", GONE) == "applied"
        assert await tell(paid, "funds_reinstated", "won", GONE, BACK) == "applied"
    else:
        assert await tell(paid, "closed", "lost", GONE) == "applied"
    assert await balance(ledger.clearing("stripe", "EUR")) == (-10_000 if won else 1_500)
    assert (await expense(), (await look_up(paid)).status) == ((0, "captured") if won else (-1_500, "refunded"))
    assert [one.status for one in await listed(paid)] == ["won" if won else "lost"]


async def test_in_the_opposite_order(paid: Payment) -> None:
    for kind, status, moves in (
        ("funds_reinstated", "won", (GONE, BACK)),
        ("closed", "won", (GONE,)),
        ("funds_withdrawn", "needs_response", (GONE,)),
        ("created", "needs_response", (GONE,)),
    ):
        assert await tell(paid, kind, status, *moves) == "applied"
    assert (await balance(ledger.clearing("stripe", "EUR")), await expense()) == (-10_000, 0)
    assert [one.status for one in await listed(paid)] == ["won"]


async def test_a_bank_that_only_asks_takes_nothing(paid: Payment) -> None:
    for kind, status in (("created", "warning_needs_response"), ("updated", "warning_under_review"), ("closed", "warning_closed")):
        assert await tell(paid, kind, status) == "applied"
    assert await listed(paid) == ()
    assert await tell(paid, "funds_withdrawn", "needs_response", GONE) == "applied"
    assert len(await listed(paid)) == 1, "it has become a chargeback after all"


async def test_a_fee_in_the_currency_of_the_account(paid: Payment) -> None:
    await tell(paid, "created", "needs_response", GONE | {"amount": -11_000, "fee": 2_000, "currency": "usd"})
    assert await balance(ledger.chargeback_expense("USD")) == -2_000
    assert (await listed(paid))[0].fee == Money(2_000, "USD")


async def test_disputes_of_strangers(paid: Payment, browser: Browser) -> None:
    assert await tell(paid, "created", "needs_response", GONE, intent="pi_unknown") == "refused"
    assert await tell(paid, "created", "needs_response", GONE, intent=await browser.charge("till 4")) == "refused"
    assert await listed(paid) == ()
    with asking(Caller(SYSTEM)):
        # A webhook of an earlier test may come late and be no attempt of ours.
        assert [one.reason for one in await payments.list_discrepancies(10)].count("no payment of ours") == 2


async def test_while_stripe_does_not_answer_it_is_to_tell_again(paid: Payment) -> None:
    url = settings.now.stripe_url
    settings.replace(stripe_url="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="stripe"):
        await tell(paid, "created", "needs_response", GONE, intent="pi_1")
    settings.replace(stripe_url=url)
    assert await tell(paid, "created", "needs_response", GONE) == "applied"


async def test_a_forged_dispute(paid: Payment) -> None:
    settings.replace(stripe_webhook_secrets=("whsec_another",))
    with pytest.raises(WebhookForged):
        await tell(paid, "created", "needs_response", GONE)
    assert await listed(paid) == ()
