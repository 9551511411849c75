"""The vocabulary of invoices: documents as they were issued, what they were made for, and why not."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from souk.kit.errors import Conflict
from souk.kit.money import LARGEST_AMOUNT, Money

InvoiceKind = Literal["invoice", "credit_note"]
Language = Literal["en", "de"]

NO_NUL = r"^[^\x00]*$"
ONE_LINE = r"^[^\x00-\x1f\x7f]+(?!\n)$"
Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=ONE_LINE)]
PostalCode = Annotated[str, Meta(min_length=1, max_length=20, pattern=ONE_LINE, examples=["10115"])]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}(?!\n)$", description="ISO 3166-1 alpha-2", examples=["DE"])]
VatId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ./-]{1,29}(?!\n)$", examples=["DE123456789"])]
# The numbers of credit notes begin with CN, those of invoices never do.
Prefix = Annotated[
    str, Meta(pattern=r"^(?!CN(?![A-Z0-9]))[A-Z0-9]{1,10}(?!\n)$", description="with which their numbers begin", examples=["LIGHT"])
]
Footer = Annotated[str, Meta(max_length=1000, pattern=NO_NUL, examples=["Lighthouse Ltd, registered in Berlin, HRB 12345"])]
MinorUnits = Annotated[int, Meta(ge=0, le=LARGEST_AMOUNT)]
Pieces = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Party(msgspec.Struct, frozen=True):
    """Who sells or buys, as the law wants it on the document."""

    name: str
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    vat_id: str | None = None


class InvoiceLine(msgspec.Struct, frozen=True):
    """Pieces that were sold, or for which money went back: the total has the tax in it."""

    line_id: UUID
    sku: str
    name: str
    quantity: int
    unit_price: int
    discount: int
    tax_rate_ppm: int
    tax: int
    total: int


class ShippingCharge(msgspec.Struct, frozen=True):
    """What it costs to send the pieces: the total has the tax in it."""

    tax_rate_ppm: int
    tax: int
    total: int


class TaxSum(msgspec.Struct, frozen=True):
    """What a rate of tax falls on, and how much that makes."""

    tax_rate_ppm: int
    net: int
    tax: int


class Corrected(msgspec.Struct, frozen=True):
    """The invoice that a credit note corrects."""

    number: str
    issued_on: date


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """What was sold or goes back, and what that comes to; amounts in minor units."""

    lines: tuple[InvoiceLine, ...]
    shipping: ShippingCharge
    taxes: tuple[TaxSum, ...]
    net: int
    tax: int
    total: int


class Content(Sums, frozen=True, kw_only=True):
    """All that stands on a document, frozen when it was issued."""

    language: Language
    currency: str
    issued_on: date
    seller: Party
    buyer: Party
    order_number: int
    ordered_on: date
    supplied_on: date
    tax_included: bool
    footer: str | None = None
    corrects: Corrected | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice or a credit note, which is never changed; `content` is all that stands on it."""

    id: UUID
    kind: InvoiceKind
    number: str
    order_id: UUID
    seller_id: UUID
    total: Money
    tax: Money
    content: Content
    issued_at: datetime
    created_at: datetime
    updated_at: datetime
    invoice_id: Annotated[UUID | None, Meta(description="of a credit note: the invoice that it corrects")] = None


class InvoiceFile(msgspec.Struct, frozen=True):
    """A document as PDF; without content if who asks has it already."""

    name: str
    etag: str
    content: bytes | None


class SoldPart(msgspec.Struct, frozen=True):
    """A seller's part of an order."""

    order_id: UUID
    seller_id: UUID


class CreditedLine(msgspec.Struct, frozen=True):
    """Pieces of a line for which money goes back; the amount has the tax in it."""

    line_id: UUID
    sku: str
    quantity: Pieces
    amount: MinorUnits
    tax: MinorUnits


class IssueCreditNote(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back of an order's part: lines and shipping with the tax in them, which add up to the total; and the tax in all of it."""

    order_id: UUID
    refund_id: UUID
    seller_id: UUID
    lines: tuple[CreditedLine, ...]
    shipping: MinorUnits
    total: Annotated[int, Meta(ge=1, le=LARGEST_AMOUNT)]
    tax: MinorUnits


class ProfileFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the law wants of a seller on an invoice; what is left out is emptied."""

    legal_name: Text
    line1: Text
    line2: Text | None = None
    city: Text
    region: Text | None = None
    postal_code: PostalCode
    country: Country
    vat_id: VatId | None = None
    prefix: Prefix | None = None
    footer: Footer | None = None


class SellerProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What stands on a seller's invoices from now on; those that were issued stay as they are."""

    seller_id: UUID
    legal_name: str
    line1: str
    line2: str | None
    city: str
    region: str | None
    postal_code: str
    country: str
    vat_id: str | None
    prefix: str | None
    footer: str | None
    created_at: datetime
    updated_at: datetime


class NotInvoiced(Conflict, code="invoices.not_invoiced"):
    """There is no invoice for this seller's part of the order: nothing of it can be credited."""


class CreditTooLarge(Conflict, code="invoices.credit_too_large"):
    """{asked} is more than the {left} that are left of invoice {number}."""

    number: str
    asked: int
    left: int


class LineNotInvoiced(Conflict, code="invoices.line_not_invoiced"):
    """Line {line_id} is not on the invoice with so many pieces, or was credited before."""

    line_id: UUID
