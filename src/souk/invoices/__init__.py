"""Invoices knows what sellers have billed: invoices and credit notes, numbered without a gap and never changed, and how they look."""

from souk.invoices.books import CreditBook, read_credit_books
from souk.invoices.crediting import issue_credit_note
from souk.invoices.documents import read_invoice_file
from souk.invoices.issuing import issue_invoices
from souk.invoices.profiles import get_seller_profile, set_seller_profile
from souk.invoices.reading import get_invoice, list_invoices_of_order, list_invoices_of_seller
from souk.invoices.types import (
    Content,
    CreditedLine,
    CreditTooLarge,
    Invoice,
    InvoiceFile,
    IssueCreditNote,
    LineNotInvoiced,
    NotInvoiced,
    ProfileFields,
    SellerProfile,
    SoldPart,
)

__all__ = [
    "Content",
    "CreditBook",
    "CreditTooLarge",
    "CreditedLine",
    "Invoice",
    "InvoiceFile",
    "IssueCreditNote",
    "LineNotInvoiced",
    "NotInvoiced",
    "ProfileFields",
    "SellerProfile",
    "SoldPart",
    "get_invoice",
    "get_seller_profile",
    "issue_credit_note",
    "issue_invoices",
    "list_invoices_of_order",
    "list_invoices_of_seller",
    "read_credit_books",
    "read_invoice_file",
    "set_seller_profile",
]
