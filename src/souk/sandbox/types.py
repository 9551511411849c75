"""The words of the outside world: what a merchant asks and what it is told."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from souk.sandbox.behaviours import Behaviour

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


class TransferRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Money out of the merchant's account to somebody else's."""

    amount: Amount
    currency: Currency
    reference: Reference
    holder: Annotated[str, Meta(min_length=1, max_length=140)]
    number: Annotated[str, Meta(pattern=r"^[A-Z0-9]{4,34}\Z")]
    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
    bank_code: Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,20}\Z")] | None = None


class Place(Struct, frozen=True):
    """Where a parcel comes from or goes to; the carrier looks at no more of it."""

    city: Annotated[str, Meta(max_length=200)]
    postal_code: Annotated[str, Meta(max_length=20)]
    country: Annotated[str, Meta(max_length=2)]


class OfferRequest(Struct, frozen=True):
    weight_g: Annotated[int, Meta(ge=1, le=70_000)]
    currency: Currency


class Offer(Struct, frozen=True):
    service: str
    amount: int
    currency: str
    days: int


class LabelRequest(Struct, frozen=True):
    reference: Reference
    sender: Place
    recipient: Place
    weight_g: Annotated[int, Meta(ge=1, le=70_000)]
    currency: Currency
    service: str = "standard"


class VoidRequest(Struct, frozen=True):
    """Nothing is to be said."""


class ClockRequest(Struct, frozen=True, forbid_unknown_fields=True):
    advance_s: Annotated[float, Meta(ge=0, le=10**8)]


class ScanRequest(Struct, frozen=True, forbid_unknown_fields=True):
    tracking_number: str
    status: str
    message: str = "Scanned"
    city: str | None = None
    occurred_at: str | None = None


class Label(Struct, frozen=True):
    id: str
    reference: str
    status: str
    tracking_number: str
    service: str
    amount: int
    currency: str
    document: str  # PDF in base64
    created_at: str
    updated_at: str


class DisputeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Have a charge be disputed: now or later, decided after a while or not before somebody says how. No amount: all that was captured."""

    amount: Amount | None = None
    reason: Annotated[str, Meta(pattern=r"^[a-z_]{1,64}\Z")] = "fraudulent"
    fee: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    opens_in_s: Annotated[float, Meta(ge=0)] = 0.0
    outcome: Literal["won", "lost"] | None = None
    closes_in_s: Annotated[float, Meta(ge=0)] = 0.0
    behaviour: Behaviour = Behaviour.OK


class CloseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    won: bool


class TimeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    pass_s: Annotated[float, Meta(ge=0, le=10**9)]


class Dispute(Struct, frozen=True):
    id: str
    charge_id: str
    reference: str
    status: str
    amount: int
    currency: str
    reason: str
    fee: int
    evidence_due_at: str
    created_at: str
    updated_at: str


class Scan(Struct, frozen=True):
    id: str
    status: str
    message: str
    city: str | None
    occurred_at: str


class Tracker(Struct, frozen=True):
    """Where a parcel is and was, oldest first; it has the id of its label."""

    id: str
    tracking_number: str
    reference: str
    status: str
    scans: tuple[Scan, ...]


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


class Transfer(Struct, frozen=True):
    id: str
    status: str
    amount: int
    currency: str
    reference: str
    reason: str | None
    created_at: str
    updated_at: str


class StatementLine(Struct, frozen=True):
    """A line of the account at the bank: money that was sent, or that came back."""

    seq: int
    id: str
    kind: str
    transfer_id: str
    reference: str
    amount: int
    currency: str
    created_at: str


class Operation(Struct, frozen=True):
    """One line of the book: money that was set aside, taken, given back, let go or disputed, and how a dispute was decided."""

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


class StatementPage(Struct, frozen=True):
    items: tuple[StatementLine, ...]
    next: int | None


class Done(Struct, frozen=True):
    """What a call came to: the answer, and the webhooks that tell of it."""

    status: int
    body: Charge | Checkout | Refund | Transfer | Label
    deliveries: tuple[int, ...] = ()
    webhooks_first: bool = False
