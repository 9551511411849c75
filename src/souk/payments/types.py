"""The vocabulary of payments: what is to be paid, how it stands, what goes back, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.errors import Conflict, Invalid, NotFound, Unauthenticated
from souk.kit.money import Money

PaymentStatus = Literal[
    "none", "requires_action", "pending", "authorized", "captured", "declined", "voided", "partially_refunded", "refunded"
]
RefundCause = Literal["goodwill", "canceled", "returned", "elsewhere", "chargeback"]
RefundStatus = Literal["pending", "succeeded", "failed"]
Destination = Literal["origin", "wallet"]
DiscrepancyStatus = Literal["open", "closed", "all"]

Method = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[a-z_]+(?!\n)$", examples=["card"])]
Token = Annotated[
    str, Meta(min_length=1, max_length=255, description="The payment provider's token, never a card number", examples=["tok_visa"])
]
ReturnUrl = Annotated[
    str,
    Meta(
        max_length=2000,
        pattern=r"^https?://[\x21-\x7e]+(?!\n)$",
        description="Where the buyer comes back to",
        examples=["https://shop.example/back"],
    ),
]


class PaymentPart(msgspec.Struct, frozen=True):
    """What the buyer pays for one seller's goods and their shipping, and how it is to be divided when it is earned."""

    seller_id: UUID
    amount: Money
    tax: Money
    commission: Money
    platform_discount: Money


class OpenPayment(msgspec.Struct, frozen=True):
    """An order is to be paid until `expires_at`. A guest's order answers to the token of which this is the SHA-256 (hex)."""

    order_id: UUID
    user_id: UUID | None
    guest_token_hash: str | None
    amount: Money
    parts: tuple[PaymentPart, ...]
    expires_at: datetime


class PayOrder(msgspec.Struct, frozen=True):
    """Open an order's payment and try to get its money, in one go."""

    opening: OpenPayment
    method: str
    token: str | None = None
    return_url: str | None = None


class ChangePayment(msgspec.Struct, frozen=True):
    """An order that nobody has begun to pay costs something else now."""

    order_id: UUID
    amount: Money
    parts: tuple[PaymentPart, ...]


class ChargeRequest(msgspec.Struct, frozen=True):
    """Try to get the money of an order: `method` is card, wallet or the name of a gateway."""

    order_id: UUID
    method: str
    token: str | None
    return_url: str | None
    attempt_id: UUID


class RefundPayment(msgspec.Struct, frozen=True):
    """Give money of an order back. No amount means all that is left.

    For pieces that were cancelled or came back `parts` says whose they were, and the amount follows from it: what nobody had earned yet
    goes back out of the order's money, what was earned its seller gives. Money for nothing in particular is given by all its sellers.
    """

    refund_id: UUID
    order_id: UUID
    amount: Money | None
    reason: str
    to: Destination = "origin"
    cause: RefundCause = "goodwill"
    parts: tuple[PaymentPart, ...] = ()


class DepositMoney(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pay this much into one's wallet."""

    amount: Money
    method: Method
    token: Token | None = None
    return_url: ReturnUrl | None = None


class NextAction(msgspec.Struct, frozen=True):
    """What the buyer has to do before the payment can go on."""

    redirect_url: str


class Payment(msgspec.Struct, frozen=True):
    """How the payment of an order, or of a deposit into a wallet, stands; it has the id of what it pays for."""

    id: UUID
    order_id: UUID
    amount: Money
    captured: Money
    refunded: Money
    status: PaymentStatus
    method: str | None
    decline_code: str | None
    redirect_url: str | None
    created_at: datetime
    updated_at: datetime
    next_action: NextAction | None = None
    expires_at: datetime | None = None


class Refund(msgspec.Struct, frozen=True):
    """Money of an order on its way back, or back."""

    id: UUID
    payment_id: UUID
    order_id: UUID
    amount: Money
    status: RefundStatus
    to: Destination
    reason: str
    failure_code: str | None
    created_at: datetime
    updated_at: datetime
    cause: RefundCause = "goodwill"


class PaymentMethod(msgspec.Struct, frozen=True):
    """A way to pay that this shop offers, and what a client has to bring for it."""

    method: str
    gateway: str
    name: str
    needs_token: bool = False
    needs_return_url: bool = False
    public_key: str | None = None


class Discrepancy(msgspec.Struct, frozen=True):
    """Where a gateway and our books say otherwise; nothing was done because of it.

    It is told of by the gateway (answer, webhook, book), or it is in our ledger and not in the gateway's book. Open until it is closed,
    by an admin or, with nobody in `closed_by`, because the gateway's book agrees by now. So with banks: `payment_id` is a payout's then.
    """

    id: UUID
    gateway: str
    source: Literal["answer", "webhook", "book", "ledger"]
    external_id: str
    reason: str
    told: dict[str, object]
    payment_id: UUID | None
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    closed_by: UUID | None
    close_reason: str | None


class BookReading(msgspec.Struct, frozen=True):
    """Whether a gateway's book could be read up to now, and if not why not."""

    gateway: str
    unread: str | None


class Webhook(msgspec.Struct, frozen=True):
    """A request that came to a gateway's address, as it came; header names in lower case."""

    gateway: str
    headers: dict[str, str]
    body: bytes


class WebhookReceipt(msgspec.Struct, frozen=True):
    """What became of a webhook: it had an effect or changed nothing, came before, or contradicts our books and is kept for a person."""

    status: Literal["applied", "repeated", "refused"]


class PaymentNotFound(NotFound, code="payments.payment_not_found"):
    """There is no such payment, or it is not yours."""


class DiscrepancyNotFound(NotFound, code="payments.discrepancy_not_found"):
    """There is no such discrepancy."""


class PaymentClosed(Conflict, code="payments.payment_closed"):
    """The order was cancelled or rejected; it cannot be paid any more."""


class PaymentExpired(Conflict, code="payments.payment_expired"):
    """The time to pay this order is over."""


class AlreadyPaid(Conflict, code="payments.already_paid"):
    """This order is paid."""


class AttemptPending(Conflict, code="payments.attempt_pending"):
    """Another payment of this order is under way; wait for its result before you try again."""


class TooManyAttempts(Conflict, code="payments.too_many_attempts"):
    """This order was tried to be paid too often; place it again."""


class MethodNotOffered(Invalid, code="payments.method_not_offered"):
    """This shop does not offer the payment method {method} here."""

    method: str


class RefundTooLarge(Conflict, code="payments.refund_too_large"):
    """There is not so much left to refund."""

    refundable: Money


class CurrencyMismatch(Invalid, code="payments.currency_mismatch"):
    """This payment is in {currency}."""

    currency: str


class NoWallet(Invalid, code="payments.no_wallet"):
    """A guest has no wallet."""


class WebhookForged(Unauthenticated, code="payments.webhook_forged"):
    """The signature is not that of the gateway."""


class GatewayUnknown(NotFound, code="payments.gateway_unknown"):
    """No such gateway is set up here."""
