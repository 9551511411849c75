"""Correct an invoice by a credit note, when money goes back for what stands on it."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.invoices.composing import compose_credit_note, count_credited
from souk.invoices.database import db
from souk.invoices.numbering import Draft, StoredInvoice, add_documents, lock_series, show
from souk.invoices.profiles import find_profiles
from souk.invoices.reading import FIND_OF_ORDER
from souk.invoices.types import CreditTooLarge, Invoice, IssueCreditNote, LineNotInvoiced, NotInvoiced
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction, columns
from souk.kit.errors import InvalidField
from souk.kit.ids import new_id

# The first credit note of an invoice makes the row.
COUNT_CREDIT = """
    INSERT INTO invoices.credit AS c (order_id, invoice_id, total, tax, credited, credited_tax) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (order_id, invoice_id) DO UPDATE
    SET credited = c.credited + excluded.credited, credited_tax = c.credited_tax + excluded.credited_tax, updated_at = now()
"""
ADD_DUE = """
    INSERT INTO invoices.credit_due (order_id, refund_id, seller_id, request)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[]) AS u (order_id, refund_id, seller_id, request)
    ORDER BY u.order_id, u.refund_id
    ON CONFLICT DO NOTHING
"""
FIND_DUE = "SELECT seller_id, request FROM invoices.credit_due WHERE order_id = ANY($1) ORDER BY refund_id"
REMOVE_DUE = "DELETE FROM invoices.credit_due WHERE order_id = $1 AND refund_id = $2"


class _Due(msgspec.Struct, frozen=True):
    seller_id: UUID
    request: IssueCreditNote


async def remember_due(requests: Sequence[IssueCreditNote]) -> None:
    """Keep what is to be credited until it is: perhaps the part is not invoiced yet, as the rest of it has not left."""
    async with db.transaction() as tx:
        await tx.run(ADD_DUE, *columns(requests, "order_id", "refund_id", "seller_id"), [msgspec.to_builtins(one) for one in requests])


async def credit_due(issued: Sequence[Invoice]) -> None:
    """Write the credit notes that are due to these invoices."""
    parts = {(invoice.order_id, invoice.seller_id) for invoice in issued}
    for one in await db.all(_Due, FIND_DUE, sorted({order_id for order_id, _ in parts})):
        if (one.request.order_id, one.seller_id) in parts:
            await issue_credit_note(one.request)


@exposed()
async def issue_credit_note(request: IssueCreditNote) -> Invoice:
    """Write a credit note for what goes back of an invoice, for the shop itself and admins. The same refund again gives the same note.

    Raises NotInvoiced for a part without an invoice, CreditTooLarge for more than is left of it, LineNotInvoiced for pieces that are
    not on it, InvalidField for sums that do not add up, and Forbidden for anybody else.
    """
    caller().principal.require_admin()
    check_sums(request)
    profile = (await find_profiles([request.seller_id])).get(request.seller_id)
    async with db.transaction() as tx:
        note = await write_credit_note(tx, request, profile.prefix if profile else None)
        await tx.run(REMOVE_DUE, request.order_id, request.refund_id)
    return show(note)


async def write_credit_note(tx: Transaction, request: IssueCreditNote, prefix: str | None) -> StoredInvoice:
    """The credit note of this refund, new or as it was issued. What is left of the invoice is read when nobody else can credit it."""
    series = await lock_series(tx, "credit_note", [request.seller_id])
    rows = await find_of_part(tx, request.order_id, request.seller_id)
    notes = {row.cause_id: row for row in rows if row.kind == "credit_note"}
    if request.refund_id in notes:
        return notes[request.refund_id]
    invoice = next((row for row in rows if row.kind == "invoice"), None)
    if invoice is None:
        raise NotInvoiced
    check_left(request, show(invoice), [show(note) for note in notes.values()])
    draft = make_draft(request, invoice, prefix)
    await add_documents(tx, series, [draft])
    await tx.run(COUNT_CREDIT, invoice.order_id, invoice.id, invoice.total, invoice.tax, request.total, request.tax)
    return next(row for row in await find_of_part(tx, request.order_id, request.seller_id) if row.id == draft.id)


async def find_of_part(tx: Transaction, order_id: UUID, seller_id: UUID) -> list[StoredInvoice]:
    return [row for row in await tx.all(StoredInvoice, FIND_OF_ORDER, order_id) if row.seller_id == seller_id]


def check_sums(request: IssueCreditNote) -> None:
    """Raise InvalidField unless lines and shipping make the total, and their taxes the tax."""
    if sum(line.amount for line in request.lines) + request.shipping != request.total:
        raise InvalidField("total", "is not what the lines and shipping add up to")
    tax_on_shipping = request.tax - sum(line.tax for line in request.lines)
    if not 0 <= tax_on_shipping <= request.shipping or any(line.tax > line.amount for line in request.lines):
        raise InvalidField("tax", "does not fit the lines and shipping")


def check_left(request: IssueCreditNote, invoice: Invoice, notes: list[Invoice]) -> None:
    """Raise CreditTooLarge or LineNotInvoiced for more than earlier credit notes have left of the invoice."""
    left = invoice.content.total - sum(note.content.total for note in notes)
    if request.total > left:
        raise CreditTooLarge(invoice.number, request.total, left)
    tax_left = invoice.content.tax - sum(note.content.tax for note in notes)
    if request.tax > tax_left:
        raise InvalidField("tax", "is more than is left of the invoice's")
    pieces = {line.line_id: line.quantity for line in invoice.content.lines}
    for line in request.lines:
        if line.quantity + count_credited(line.line_id, notes) > pieces.get(line.line_id, -1):
            raise LineNotInvoiced(line.line_id)


def make_draft(request: IssueCreditNote, invoice: StoredInvoice, prefix: str | None) -> Draft:
    """The credit note, before it has a number and a day. It belongs to whom the invoice belongs to."""
    names = ("order_id", "seller_id", "user_id", "guest_token_hash")
    return Draft(
        **{name: getattr(invoice, name) for name in names},
        id=new_id(),
        cause_id=request.refund_id,
        prefix=prefix,
        content=compose_credit_note(request, show(invoice)),
        invoice_id=invoice.id,
    )
