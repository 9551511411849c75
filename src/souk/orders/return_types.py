"""The vocabulary of returns: what comes back, on whose terms, and why not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.errors import Conflict
from souk.kit.money import Money

ReturnStatus = Literal["requested", "approved", "refused", "canceled", "received", "refunded"]
ReturnReason = Literal["changed_mind", "damaged", "wrong_item", "not_as_described", "other"]
RefundTo = Literal["origin", "wallet"]
Payer = Literal["buyer", "seller"]

Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Text = Annotated[str, Meta(max_length=1000)]
Days = Annotated[int, Meta(ge=0, le=3650, description="after the parcel has arrived; 0 takes nothing back", examples=[30])]
FeePpm = Annotated[int, Meta(ge=0, le=1_000_000, description="millionths of what was paid: 150000 is 15 %", examples=[150000])]


class ReturnedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pieces of a line that are to be sent back, and why."""

    line_id: Annotated[UUID, Meta(description="the id of an item of the order")]
    quantity: Quantity
    reason: ReturnReason = "changed_mind"


class NewReturn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a buyer wants to send back, and where the money is to go."""

    items: Annotated[tuple[ReturnedLine, ...], Meta(min_length=1, max_length=500)]
    refund_to: RefundTo = "origin"
    note: Text | None = None


class ReceivedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pieces that have come back, and how many of them can be sold again."""

    line_id: UUID
    quantity: Annotated[int, Meta(ge=0, le=1_000_000)]
    resellable: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class ChangeReturn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a return. With `received` goes what has arrived (all of it, fit for sale unless it
    was damaged, if nothing is said) and what is kept
    of the money because of its state, which needs a `reason`. Of what has not arrived a return is `refused`."""

    status: Literal["approved", "refused", "canceled", "received"]
    reason: Text | None = None
    items: Annotated[tuple[ReceivedLine, ...], Meta(max_length=500)] | None = None
    deduction: Money | None = None


class RecordedPieces(msgspec.Struct, frozen=True):
    """Pieces that came back of what was sold at this price."""

    sku: str
    unit_price: Money
    quantity: Quantity


class RecordReturn(msgspec.Struct, frozen=True):
    """A return that was made elsewhere. Its id is the caller's: a UUIDv7 of the time when it was made."""

    return_id: UUID
    order_id: UUID
    seller_id: UUID
    pieces: Annotated[tuple[RecordedPieces, ...], Meta(min_length=1)]
    note: str | None = None


class ReturnItem(msgspec.Struct, frozen=True):
    """Pieces of a line that come back, on the terms that held when the order was placed."""

    line_id: UUID
    sku: str
    quantity: int
    reason: ReturnReason
    restocking_fee_ppm: int
    return_shipping: Payer
    received: int = 0
    resellable: int = 0


class Return(msgspec.Struct, frozen=True):
    """What a buyer sends back to one seller. `refund` is what goes back for it, once it was received."""

    id: UUID
    order_id: UUID
    seller_id: UUID
    status: ReturnStatus
    items: tuple[ReturnItem, ...]
    refund_to: RefundTo
    note: str | None
    reason: str | None
    refund: Money | None
    deduction: Money
    version: int
    created_at: datetime
    updated_at: datetime


class PolicyTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """On which terms goods are taken back: a seller's or everybody's, of a category or all.

    What is damaged, wrong or not as described comes back within the window without a fee and at the seller's cost, also of a final sale.
    """

    seller_id: UUID | None = None
    category_id: UUID | None = None
    window_days: Days = 30
    restocking_fee_ppm: FeePpm = 0
    final_sale: bool = False
    return_shipping: Payer = "buyer"


class ReturnPolicy(PolicyTerms, frozen=True, kw_only=True):
    """Terms on which goods are taken back that were ordered after `created_at`."""

    id: UUID
    created_at: datetime
    ended_at: datetime | None = None


class NotReturnable(Conflict, code="orders.not_returnable"):
    """Line {line_id} cannot be sent back: it is a final sale."""

    line_id: UUID


class ReturnWindowOver(Conflict, code="orders.return_window_over"):
    """Line {line_id} could be sent back until {until}."""

    line_id: UUID
    until: datetime


class TooMuchReturned(Conflict, code="orders.too_much_returned"):
    """{asked} pieces of line {line_id} are more than the {left} that were sent and are not on their way back."""

    line_id: UUID
    asked: int
    left: int


class TooMuchRecorded(Conflict, code="orders.too_much_recorded"):
    """{asked} pieces of {sku} are more than the {left} that were sent at this price and are not on their way back."""

    sku: str
    asked: int
    left: int


class WrongReturnStatus(Conflict, code="orders.wrong_return_status"):
    """This return is {return_status}: that cannot become of it."""

    return_status: str
