"""What stands on an invoice or a credit note, decided out of what is known of the order: pure decisions."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from uuid import UUID

import msgspec

from souk.invoices.types import (
    Content,
    Corrected,
    Invoice,
    InvoiceLine,
    IssueCreditNote,
    Language,
    Party,
    SellerProfile,
    ShippingCharge,
    SoldPart,
    Sums,
    TaxSum,
)
from souk.kit.money import divide_half_up
from souk.orders import Address, InvoiceFacts, SoldLine
from souk.users import Seller

MILLION = 1_000_000
# To what an unknown rate is rounded: a tenth of a percent.
COARSE = 1_000


def compose_invoice(facts: InvoiceFacts, part: SoldPart, seller: Seller, profile: SellerProfile | None, days: "Days") -> Content | None:
    """An invoice for a seller's part of an order, for those pieces that were not cancelled; None if all of them were."""
    whole = [line for line in facts.lines if line.seller_id == part.seller_id]
    lines = tuple(take_left(line, facts.tax_included) for line in whole if line.quantity > line.canceled)
    if not lines:
        return None
    sold = next(one for one in facts.parts if one.seller_id == part.seller_id)
    rates = {line.tax_rate_ppm for line in whole}
    shipping = charge_shipping(sold.shipping, sold.tax - sum(line.tax for line in whole), rates, facts.tax_included)
    return Content(
        language=days.language,
        currency=facts.currency,
        issued_on=days.issued_on,
        seller=describe_seller(seller, profile),
        buyer=describe_buyer(facts.address),
        order_number=facts.number,
        ordered_on=days.ordered_on,
        supplied_on=days.supplied_on,
        tax_included=facts.tax_included,
        footer=profile.footer if profile else None,
        **msgspec.structs.asdict(sum_up(lines, shipping)),
    )


class Days(msgspec.Struct, frozen=True):
    """The days of an invoice in the shop's time zone, and the language in which it is written."""

    language: Language
    issued_on: date
    ordered_on: date
    supplied_on: date


def compose_credit_note(request: IssueCreditNote, invoice: Invoice) -> Content:
    """A credit note for what goes back of an invoice; its day comes with its number."""
    sold = {line.line_id: line for line in invoice.content.lines}
    lines = tuple(
        credit_line(sold[line.line_id], line.quantity, line.amount, line.tax, included=invoice.content.tax_included)
        for line in request.lines
    )
    shipping_tax = request.tax - sum(line.tax for line in request.lines)
    shipping = ShippingCharge(invoice.content.shipping.tax_rate_ppm, shipping_tax, request.shipping)
    return msgspec.structs.replace(
        invoice.content,
        corrects=Corrected(invoice.number, invoice.content.issued_on),
        **msgspec.structs.asdict(sum_up(lines, shipping)),
    )


def credit_line(sold: InvoiceLine, quantity: int, amount: int, tax: int, *, included: bool) -> InvoiceLine:
    """The line of a credit note; what is not given back of its pieces' price is its discount."""
    discount = max(0, quantity * sold.unit_price - (amount if included else amount - tax))
    return msgspec.structs.replace(sold, quantity=quantity, discount=discount, tax=tax, total=amount)


def take_left(line: SoldLine, included: bool) -> InvoiceLine:
    """What is left of a line: what the buyer has paid for it and not got back.

    The discount is what that leaves of the pieces' price; rounding may make it a unit below zero.
    """
    left, net = line.quantity - line.canceled, line.left_total - line.left_tax
    discount = left * line.unit_price - (line.left_total if included else net)
    return InvoiceLine(line.id, line.sku, line.name, left, line.unit_price, discount, line.tax_rate_ppm, line.left_tax, line.left_total)


def charge_shipping(price: int, tax: int, rates: Iterable[int], included: bool) -> ShippingCharge:
    """Shipping with its tax in it. Orders keep no rate of it: it is one of the lines' that makes this tax, or what the tax comes to."""
    net = price - tax if included else price
    fitting = [rate for rate in sorted(rates) if divide_half_up(net * rate, MILLION) == tax] if tax else []
    rate = fitting[0] if fitting else divide_half_up(tax * MILLION, net * COARSE) * COARSE if net else 0
    return ShippingCharge(rate, tax, net + tax)


def sum_up(lines: tuple[InvoiceLine, ...], shipping: ShippingCharge) -> Sums:
    """The sums over lines and shipping, and what each rate of tax makes."""
    charges = [(one.tax_rate_ppm, one.total, one.tax) for one in lines]
    charges.append((shipping.tax_rate_ppm, shipping.total, shipping.tax))
    by_rate: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for rate, total, tax in charges:
        if total:
            by_rate[rate] = (by_rate[rate][0] + total - tax, by_rate[rate][1] + tax)
    total, tax = sum(charge[1] for charge in charges), sum(charge[2] for charge in charges)
    taxes = tuple(TaxSum(rate, *by_rate[rate]) for rate in sorted(by_rate))
    return Sums(lines=lines, shipping=shipping, taxes=taxes, net=total - tax, tax=tax, total=total)


def describe_seller(seller: Seller, profile: SellerProfile | None) -> Party:
    if profile is None:
        return Party(seller.name)
    names = ("line1", "line2", "city", "region", "postal_code", "country", "vat_id")
    return Party(profile.legal_name, **{name: getattr(profile, name) for name in names})


def describe_buyer(address: Address | None) -> Party:
    if address is None:
        return Party("")
    names = ("line1", "line2", "city", "region", "postal_code", "country")
    return Party(address.name, **{name: getattr(address, name) for name in names})


def count_credited(line_id: UUID, notes: Iterable[Invoice]) -> int:
    """How many pieces of a line earlier credit notes have taken back."""
    return sum(line.quantity for note in notes for line in note.content.lines if line.line_id == line_id)
