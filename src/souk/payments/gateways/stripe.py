"""Stripe, by its own SDK: a PaymentIntent per attempt, made first and confirmed then, so that a lost answer never hides a charge."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeVar
from uuid import UUID

import msgspec
import stripe

from souk.payments.gateways.gateway import (
    AttemptNews,
    AttemptSought,
    BookPage,
    ChargeAsked,
    News,
    Reference,
    RefundAsked,
    RefundNews,
    Silent,
    Unreachable,
    go_back,
    next_stretch,
    read_id,
    read_reference,
)
from souk.payments.gateways.line import NO_ANSWER, Line, failed
from souk.payments.gateways.stripe_amounts import from_stripe, to_stripe
from souk.payments.gateways.stripe_disputes import Dispute, read_dispute
from souk.payments.settings import Settings
from souk.payments.types import WebhookForged

T = TypeVar("T")

STATUSES: dict[str, Literal["pending", "requires_action", "captured", "declined"]] = {
    "succeeded": "captured",
    "requires_action": "requires_action",
    "requires_payment_method": "declined",
    "canceled": "declined",
}
REFUND_STATUSES: dict[str, Literal["pending", "succeeded", "failed"]] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}
# The book is read by hours at the most; its last minute once more, because clocks differ and charges of one second appear one by one.
STRETCH_S, OVERLAP_S = 3_600, 60


class _Redirect(msgspec.Struct, frozen=True):
    url: str | None = None


class _NextAction(msgspec.Struct, frozen=True):
    redirect_to_url: _Redirect | None = None


class _Failure(msgspec.Struct, frozen=True):
    code: str | None = None
    decline_code: str | None = None


class _Intent(msgspec.Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    metadata: dict[str, str]
    next_action: _NextAction | None = None
    last_payment_error: _Failure | None = None


class _Refund(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    status: str | None
    metadata: dict[str, str] | None = None
    failure_reason: str | None = None


class _BookedCharge(msgspec.Struct, frozen=True):
    id: str
    status: str
    captured: bool
    amount: int
    currency: str
    created: int
    payment_intent: _Intent | None = None

    @property
    def stands(self) -> bool:
        """Whether it brought money, or may do so yet."""
        return self.status == "pending" or (self.captured and self.status == "succeeded")


class _BookedRefund(_Refund, frozen=True, kw_only=True):
    created: int
    payment_intent: _Intent | None = None


class Stripe:
    """Cards by Stripe. The token is a PaymentMethod (pm_...) that Stripe.js made in the buyer's browser."""

    name = "stripe"
    in_book: tuple[str, ...] = ("stripe",)
    chargebacks_in_book = False
    rewind = staticmethod(go_back)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = Line(settings.stripe_url, settings)

    async def charge(self, asked: ChargeAsked) -> AttemptNews:
        key = str(asked.reference)
        try:
            made = await self._ask(lambda client: create_intent(client, asked, key))
        except stripe.StripeError as refused:
            return AttemptNews(asked.reference, "declined", code=code_of(refused))
        try:
            return read_intent(await self._ask(lambda client: confirm_intent(client, made.id, asked.return_url, key)), asked.reference)
        except stripe.CardError as declined:
            return AttemptNews(asked.reference, "declined", made.id, code=code_of(declined))
        except (stripe.StripeError, Silent, Unreachable):
            # It is made, whether it was confirmed nobody knows: its id is all it takes to find that out.
            return AttemptNews(asked.reference, "pending", made.id)

    async def find(self, sought: AttemptSought) -> AttemptNews | None:
        try:
            intent = await self._find_intent(sought)
        except stripe.InvalidRequestError:
            return None
        except stripe.StripeError as refused:
            raise Silent(f"stripe: {code_of(refused)}") from refused
        # What was never confirmed cannot have charged anything.
        return read_intent(intent, sought.reference) if intent and intent.status != "requires_confirmation" else None

    async def void(self, sought: AttemptSought) -> AttemptNews:
        gateway_id = sought.gateway_id
        if gateway_id is None:
            return await self.find(sought) or AttemptNews(sought.reference, "declined", code="canceled")
        try:
            return read_intent(await self._ask(lambda client: cancel_intent(client, gateway_id)), sought.reference)
        except stripe.StripeError:
            # The buyer was quicker than we: what they did counts.
            return await self.find(sought) or AttemptNews(sought.reference, "pending")

    async def refund(self, asked: RefundAsked) -> RefundNews:
        try:
            made = await self._ask(lambda client: refund_once(client, asked))
        except (stripe.AuthenticationError, stripe.PermissionError) as unknown:
            raise Silent(f"stripe does not let us in: {unknown.http_status}") from unknown
        except stripe.StripeError as refused:
            return RefundNews(asked.payment_id, asked.refund_id, "failed", code=code_of(refused))
        return read_refund(made, asked.payment_id, asked.refund_id)

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> News:
        event = self._verify(headers.get("stripe-signature", ""), body)
        told = msgspec.json.encode(event.data.object.to_dict())
        if event.type.startswith("payment_intent."):
            intent = msgspec.json.decode(told, type=_Intent)
            reference = reference_of(intent)
            attempts = (read_intent(intent, reference),) if reference and intent.status != "requires_confirmation" else ()
            return News("webhook", self.name, event.id, event.type, attempts=attempts)
        if event.type.startswith("refund."):
            refund = msgspec.json.decode(told, type=_Refund)
            payment_id, refund_id = (read_id((refund.metadata or {}).get(name, "")) for name in ("payment_id", "refund_id"))
            refunds = (read_refund(refund, payment_id, refund_id),) if payment_id and refund_id else ()
            return News("webhook", self.name, event.id, event.type, refunds=refunds)
        if event.type.startswith("charge.dispute."):
            return await self._read_dispute(event.id, event.type, msgspec.json.decode(told, type=Dispute))
        return News("webhook", self.name, event.id, event.type)

    async def _read_dispute(self, event_id: str, kind: str, dispute: Dispute) -> News:
        """A dispute names the intent; which attempt that was for, only the intent says."""
        if not dispute.has_taken:
            return News("webhook", self.name, event_id, kind)
        found = await self._find_disputed(dispute)
        reference = reference_of(found)
        if reference is None:
            return News("webhook", self.name, event_id, kind, foreign=True)
        return News("webhook", self.name, event_id, kind, chargebacks=(read_dispute(dispute, reference),))

    async def _find_disputed(self, dispute: Dispute) -> _Intent | None:
        intent_id = dispute.payment_intent
        if intent_id is None:
            return None
        try:
            return await self._ask(lambda client: retrieve_intent(client, intent_id))
        except stripe.InvalidRequestError:
            return None
        except stripe.StripeError as refused:
            raise Silent(f"stripe: {code_of(refused)}") from refused

    async def read_book(self, after: str) -> BookPage:
        """The charges and refunds of the next hour. What comes of one that is still pending is told by webhooks and look-ups."""
        now = int(time.time())
        since, until = next_stretch(after, now, STRETCH_S)
        try:
            charges = await self._ask(lambda client: list_charges(client, since - OVERLAP_S, until))
            refunds = await self._ask(lambda client: list_refunds(client, since - OVERLAP_S, until))
        except stripe.StripeError as refused:
            raise Silent(f"stripe: {code_of(refused)}") from refused
        moves = [(one.created, read_booked_charge(one)) for one in charges if one.stands]
        moves += [(one.created, read_booked_refund(one)) for one in refunds if one.status not in ("failed", "canceled")]
        entries = tuple(news for _, news in sorted(moves, key=lambda move: move[0]))
        return BookPage(entries, str(until), more=until < now, until=until)

    async def _find_intent(self, sought: AttemptSought) -> _Intent | None:
        gateway_id = sought.gateway_id
        if gateway_id is not None:
            return await self._ask(lambda client: retrieve_intent(client, gateway_id))
        return await self._ask(lambda client: search_intent(client, sought.reference))

    async def _ask(self, work: Callable[[stripe.StripeClient], Awaitable[T]]) -> T:
        """Ask Stripe; raises Silent, Unreachable, or what Stripe refuses with."""
        try:
            async with self._line.opened() as session:
                return await work(
                    stripe.StripeClient(
                        self._settings.stripe_secret_key,
                        http_client=stripe.AIOHTTPClient(timeout=None, session=session),
                        max_network_retries=0,
                        base_addresses={"api": self._settings.stripe_url},
                    )
                )
        except stripe.APIConnectionError as failure:
            raise failed("stripe", failure.__cause__ or failure) from failure
        except stripe.RateLimitError as busy:
            raise Unreachable("stripe has too much to do") from busy
        except (stripe.APIError, stripe.IdempotencyError) as trouble:
            raise Silent(f"stripe answered {trouble.http_status}") from trouble
        except NO_ANSWER as failure:
            raise failed("stripe", failure) from failure

    def _verify(self, signature: str, body: bytes) -> stripe.Event:
        for secret in self._settings.stripe_webhook_secrets:
            try:
                return stripe.Webhook.construct_event(body, signature, secret)  # type: ignore[no-any-return]
            except (stripe.SignatureVerificationError, ValueError):
                continue
        raise WebhookForged


async def create_intent(client: stripe.StripeClient, asked: ChargeAsked, key: str) -> _Intent:
    made = await client.v1.payment_intents.create_async(
        {
            "amount": to_stripe(asked.amount),
            "currency": asked.amount.currency.lower(),
            "payment_method": asked.token or "",
            "metadata": {"reference": str(asked.reference)},
        },
        {"idempotency_key": key},
    )
    return msgspec.convert(made.to_dict(), _Intent)


async def confirm_intent(client: stripe.StripeClient, intent_id: str, return_url: str | None, key: str) -> _Intent:
    options: stripe.RequestOptions = {"idempotency_key": f"{key}.confirm"}
    confirmed = await client.v1.payment_intents.confirm_async(intent_id, {"return_url": return_url or ""}, options)
    return msgspec.convert(confirmed.to_dict(), _Intent)


async def cancel_intent(client: stripe.StripeClient, intent_id: str) -> _Intent:
    return msgspec.convert((await client.v1.payment_intents.cancel_async(intent_id)).to_dict(), _Intent)


async def retrieve_intent(client: stripe.StripeClient, intent_id: str) -> _Intent:
    return msgspec.convert((await client.v1.payment_intents.retrieve_async(intent_id)).to_dict(), _Intent)


async def search_intent(client: stripe.StripeClient, reference: Reference) -> _Intent | None:
    found = await client.v1.payment_intents.search_async({"query": f"metadata['reference']:'{reference}'"})
    intents = [msgspec.convert(one.to_dict(), _Intent) for one in found.data]
    return min(intents, key=lambda intent: intent.status != "succeeded", default=None)


async def create_refund(client: stripe.StripeClient, asked: RefundAsked) -> _Refund:
    made = await client.v1.refunds.create_async(
        {
            "payment_intent": asked.gateway_id,
            "amount": to_stripe(asked.amount),
            "metadata": {"payment_id": str(asked.payment_id), "refund_id": str(asked.refund_id)},
        },
        {"idempotency_key": str(asked.refund_id)},
    )
    return msgspec.convert(made.to_dict(), _Refund)


async def refund_once(client: stripe.StripeClient, asked: RefundAsked) -> _Refund:
    # Stripe forgets a key after a day, but not what was done under it.
    return await find_refund(client, asked) or await create_refund(client, asked)


async def find_refund(client: stripe.StripeClient, asked: RefundAsked) -> _Refund | None:
    made = await client.v1.refunds.list_async({"payment_intent": asked.gateway_id, "limit": 100})
    async for one in made.auto_paging_iter():
        refund = msgspec.convert(one.to_dict(), _Refund)
        if (refund.metadata or {}).get("refund_id") == str(asked.refund_id):
            return refund
    return None


async def list_charges(client: stripe.StripeClient, since: int, until: int) -> list[_BookedCharge]:
    page = await client.v1.charges.list_async({"created": {"gte": since, "lte": until}, "limit": 100, "expand": ["data.payment_intent"]})
    return [msgspec.convert(one.to_dict(), _BookedCharge) async for one in page.auto_paging_iter()]


async def list_refunds(client: stripe.StripeClient, since: int, until: int) -> list[_BookedRefund]:
    page = await client.v1.refunds.list_async({"created": {"gte": since, "lte": until}, "limit": 100, "expand": ["data.payment_intent"]})
    return [msgspec.convert(one.to_dict(), _BookedRefund) async for one in page.auto_paging_iter()]


def read_intent(intent: _Intent, reference: Reference) -> AttemptNews:
    """A PaymentIntent as news of our attempt."""
    status = STATUSES.get(intent.status, "pending")
    failure = intent.last_payment_error
    code = ((failure.decline_code or failure.code) if failure else None) or intent.status
    redirect = intent.next_action.redirect_to_url if intent.next_action else None
    amount = from_stripe(intent.amount, intent.currency)
    return AttemptNews(reference, status, intent.id, amount, code if status == "declined" else None, redirect.url if redirect else None)


def read_refund(refund: _Refund, payment_id: UUID, refund_id: UUID | None) -> RefundNews:
    """A refund as news of ours."""
    status = REFUND_STATUSES.get(refund.status or "", "pending")
    amount, code = from_stripe(refund.amount, refund.currency), refund.failure_reason if status == "failed" else None
    return RefundNews(payment_id, refund_id, status, refund.id, amount, code)


def reference_of(intent: _Intent | None) -> Reference | None:
    """The attempt that an intent was made for, if it is one of ours."""
    return read_reference(intent.metadata.get("reference", "")) if intent else None


def read_booked_charge(charge: _BookedCharge) -> News:
    """A charge as an entry of the book. The attempt goes by the id of its intent."""
    reference = reference_of(charge.payment_intent)
    if reference is None or charge.payment_intent is None:
        return News("book", Stripe.name, charge.id, "charge", foreign=True)
    status: Literal["captured", "pending"] = "captured" if charge.status == "succeeded" else "pending"
    told = AttemptNews(reference, status, charge.payment_intent.id, from_stripe(charge.amount, charge.currency))
    return News("book", Stripe.name, charge.id, "charge", attempts=(told,))


def read_booked_refund(refund: _BookedRefund) -> News:
    """A refund as an entry of the book. One that somebody made over there has no id of ours."""
    reference = reference_of(refund.payment_intent)
    if reference is None:
        return News("book", Stripe.name, refund.id, "refund", foreign=True)
    told = read_refund(refund, reference.payment_id, read_id((refund.metadata or {}).get("refund_id", "")))
    return News("book", Stripe.name, refund.id, "refund", refunds=(msgspec.structs.replace(told, attempt_id=reference.attempt_id),))


def code_of(refused: stripe.StripeError) -> str:
    """Why it refused, in one word."""
    if isinstance(refused, (stripe.AuthenticationError, stripe.PermissionError)):
        return "gateway_error"
    decline = refused.error.decline_code if isinstance(refused, stripe.CardError) and refused.error else None
    return decline or refused.code or "gateway_error"
