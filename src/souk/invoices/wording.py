"""What a document says in the languages that we write, its amounts and days as these are written there."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from souk.invoices.types import Content, Invoice, InvoiceLine, Language, Party
from souk.kit.money import exponent

TEXTS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "invoice": "Invoice", "credit_note": "Credit note", "number": "Number", "date": "Date", "supplied": "Date of supply",
        "order": "Order", "ordered": "Ordered on", "corrects": "Corrects invoice", "of": "of", "buyer": "Bill to", "vat_id": "VAT ID",
        "item": "Item", "quantity": "Quantity", "unit_price": "Unit price", "discount": "Discount", "rate": "Tax rate", "tax": "Tax",
        "amount": "Amount", "shipping": "Shipping", "net": "Net", "total": "Total", "included": "Unit prices include tax.",
        "excluded": "Unit prices are without tax.", "page": "Page",
        "uncovered": "Characters that the fonts of this document do not have are written as their code points (U+…).",
    },
    "de": {
        "invoice": "Rechnung", "credit_note": "Rechnungskorrektur", "number": "Nummer", "date": "Datum", "supplied": "Lieferdatum",
        "order": "Bestellung", "ordered": "Bestellt am", "corrects": "Korrigiert Rechnung", "of": "vom", "buyer": "Rechnung an",
        "vat_id": "USt-IdNr.", "item": "Artikel", "quantity": "Menge", "unit_price": "Einzelpreis", "discount": "Rabatt",
        "rate": "Steuersatz", "tax": "Steuer", "amount": "Betrag", "shipping": "Versand", "net": "Netto", "total": "Gesamtbetrag",
        "included": "Die Einzelpreise enthalten die Steuer.", "excluded": "Die Einzelpreise sind ohne Steuer.", "page": "Seite",
        "uncovered": "Zeichen, die den Schriften dieses Dokuments fehlen, stehen als ihre Nummern da (U+…).",
    },
}  # fmt: skip

MILLION = 1_000_000
NUMBER_ALONE = "#,##0.00"


def write_page(invoice: Invoice) -> dict[str, object]:
    """All that the template puts on paper, as texts."""
    content = invoice.content
    say, language = TEXTS[content.language], content.language
    facts = [
        (say["number"], invoice.number),
        (say["date"], write_day(content.issued_on, language)),
        (say["supplied"], write_day(content.supplied_on, language)),
        (say["order"], str(content.order_number)),
        (say["ordered"], write_day(content.ordered_on, language)),
    ]
    if content.corrects is not None:
        facts.append((say["corrects"], f"{content.corrects.number} {say['of']} {write_day(content.corrects.issued_on, language)}"))
    return {
        "language": language,
        "title": say[invoice.kind],
        "number": invoice.number,
        "seller": write_party(content.seller, content.language),
        "buyer_label": say["buyer"],
        "buyer": write_party(content.buyer, content.language),
        "facts": facts,
        "columns": [say[name] for name in ("item", "quantity", "unit_price", "discount", "rate", "amount")],
        "rows": [write_line(line, content) for line in content.lines],
        "note": say["included" if content.tax_included else "excluded"],
        "shipping": (say["shipping"], write_money(content.shipping.total, content)),
        "tax_columns": [say[name] for name in ("rate", "net", "tax")],
        "taxes": [
            (write_rate(one.tax_rate_ppm, language), write_money(one.net, content), write_money(one.tax, content)) for one in content.taxes
        ],
        "sums": [(say[name], write_money(getattr(content, name), content)) for name in ("net", "tax", "total")],
        "footer": content.footer or "",
        "page": say["page"],
        "uncovered": say["uncovered"],
    }


def write_line(line: InvoiceLine, content: Content) -> tuple[str, ...]:
    """The cells of a line: what it is and its SKU, then its figures."""
    return (
        line.name,
        line.sku,
        format_decimal(line.quantity, locale=content.language),
        write_amount(line.unit_price, content),
        write_amount(line.discount, content) if line.discount else "",
        write_rate(line.tax_rate_ppm, content.language),
        write_amount(line.total, content),
    )


def write_party(party: Party, language: Language) -> list[str]:
    """Name and address, a line each."""
    country = Locale(language).territories.get(party.country or "", party.country)
    city = " ".join(part for part in (party.postal_code, party.city) if part)
    vat_id = f"{TEXTS[language]['vat_id']} {party.vat_id}" if party.vat_id else None
    return [line for line in (party.name, party.line1, party.line2, city, party.region, country, vat_id) if line]


def write_money(minor_units: int, content: Content) -> str:
    """An amount with its currency."""
    return str(format_currency(to_major(minor_units, content.currency), content.currency, locale=content.language))


def write_amount(minor_units: int, content: Content) -> str:
    """An amount with the decimals of its currency, and without its sign."""
    return str(format_currency(to_major(minor_units, content.currency), content.currency, NUMBER_ALONE, locale=content.language))


def to_major(minor_units: int, currency: str) -> Decimal:
    return Decimal(minor_units).scaleb(-exponent(currency))


def write_rate(rate_ppm: int, language: Language) -> str:
    return str(format_percent(Decimal(rate_ppm) / MILLION, format="#,##0.####%", locale=language))


def write_day(day: date, language: Language) -> str:
    return str(format_date(day, format="long", locale=language))
