"""The words of the outside world: what a merchant asks and what it is told."""

from typing import Annotated

from msgspec import Meta, Struct

Amount = Annotated[int, Meta(ge=1, le=10**15)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Reference = Annotated[str, Meta(pattern=r"^[\x20-\x7e]{1,200}\Z")]
# Only http and https: a page of ours sends the buyer there.
ReturnUrl = Annotated[str, Meta(pattern=r"^https?://[\x21-\x7e]{1,2000}\Z")]


class ChargeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    amount: Amount
    currency: Currency
    token: str
    reference: Reference
    capture: bool = True
    return_url: ReturnUrl | None = None


class CheckoutRequest(Struct, frozen=True, forbid_unknown_fields=True):
    amount: Amount
    currency: Currency
    reference: Reference
    return_url: ReturnUrl
    expires_in_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None


class MoveRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A capture, a void or a refund. Without an amount it means all that is left."""

    amount: Amount | None = None
    reference: Reference | None = None


class Refund(Struct, frozen=True):
    id: str
    payment_id: str
    amount: int
    currency: str
    reference: str
    created_at: str
    status: str = "succeeded"


class Charge(Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    reference: str
    amount_captured: int
    amount_refunded: int
    decline_code: str | None
    redirect_url: str | None
    return_url: str | None
    refunds: tuple[Refund, ...]
    created_at: str
    updated_at: str


class Checkout(Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    reference: str
    amount_captured: int
    amount_refunded: int
    redirect_url: str
    return_url: str
    refunds: tuple[Refund, ...]
    expires_at: str
    created_at: str
    updated_at: str


class Operation(Struct, frozen=True):
    """One line of the book: money that was set aside, taken, given back or let go."""

    seq: int
    id: str
    kind: str
    payment_id: str
    payment_reference: str
    reference: str
    amount: int
    currency: str
    created_at: str


class Page(Struct, frozen=True):
    items: tuple[Operation, ...]
    next: int | None


class Done(Struct, frozen=True):
    """What a call came to: the answer, and the webhooks that tell of it."""

    status: int
    body: Charge | Checkout | Refund
    deliveries: tuple[int, ...] = ()
    webhooks_first: bool = False
