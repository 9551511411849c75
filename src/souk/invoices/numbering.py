"""Write documents down under the next numbers of their sellers: no number is left out, none is given twice."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from souk.invoices.settings import day_of
from souk.invoices.types import Content, Invoice, InvoiceKind
from souk.kit.db import Transaction, columns
from souk.kit.money import Money

MAKE_COUNTERS = """
    INSERT INTO invoices.counter (seller_id, series, year)
    SELECT u.seller_id, $2, $3 FROM unnest($1::uuid[]) AS u (seller_id) ORDER BY u.seller_id
    ON CONFLICT DO NOTHING
"""
# Held until the documents are committed: whoever comes next counts on from what was committed, or from what never was.
LOCK_COUNTERS = """
    SELECT seller_id, last, last_issued_at FROM invoices.counter
    WHERE seller_id = ANY($1) AND series = $2 AND year = $3 ORDER BY seller_id FOR UPDATE
"""
RAISE_COUNTERS = """
    UPDATE invoices.counter AS c SET last = u.last, last_issued_at = u.last_issued_at, updated_at = now()
    FROM unnest($1::uuid[], $4::bigint[], $5::timestamptz[]) AS u (seller_id, last, last_issued_at)
    WHERE c.seller_id = u.seller_id AND c.series = $2 AND c.year = $3
"""
ADD_NUMBERS = """
    INSERT INTO invoices.number (seller_id, series, year, counter, invoice_id, order_id)
    SELECT u.seller_id, $1, $2, u.counter, u.invoice_id, u.order_id
    FROM unnest($3::uuid[], $4::bigint[], $5::uuid[], $6::uuid[]) AS u (seller_id, counter, invoice_id, order_id)
"""
ADD_DOCUMENTS = """
    INSERT INTO invoices.invoice (kind, order_id, id, cause_id, seller_id, user_id, guest_token_hash, number, invoice_id, currency, total,
                                  tax, content, issued_at)
    SELECT $1, u.order_id, u.id, u.cause_id, u.seller_id, u.user_id, u.guest_token_hash, u.number, u.invoice_id, u.currency, u.total,
           u.tax, u.content, u.issued_at
    FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bytea[], $8::text[], $9::uuid[], $10::text[],
                $11::bigint[], $12::bigint[], $13::jsonb[], $14::timestamptz[])
        AS u (order_id, id, cause_id, seller_id, user_id, guest_token_hash, number, invoice_id, currency, total, tax, content, issued_at)
"""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What an invoice or a credit note says, of which order, and whose it is."""

    id: UUID
    order_id: UUID
    seller_id: UUID
    cause_id: UUID
    user_id: UUID | None
    guest_token_hash: bytes | None
    content: Content
    invoice_id: UUID | None = None


class Draft(Document, frozen=True, kw_only=True):
    """A document that is to be issued under a number that begins with this prefix."""

    prefix: str | None


class StoredInvoice(Document, frozen=True, kw_only=True):
    """A row of invoice."""

    kind: InvoiceKind
    number: str
    currency: str
    total: int
    tax: int
    issued_at: datetime
    created_at: datetime


class _Counter(msgspec.Struct, frozen=True):
    seller_id: UUID
    last: int
    last_issued_at: datetime | None


class Series(msgspec.Struct, frozen=True):
    """The locked counters of sellers, for documents of one kind that are issued now."""

    kind: InvoiceKind
    year: int
    now: datetime
    counters: dict[UUID, _Counter]


async def lock_series(tx: Transaction, kind: InvoiceKind, seller_ids: list[UUID]) -> Series:
    """Nobody else issues documents of this kind for these sellers until the transaction ends."""
    now = datetime.now(UTC)
    year = day_of(now).year
    await tx.run(MAKE_COUNTERS, seller_ids, kind, year)
    locked = await tx.all(_Counter, LOCK_COUNTERS, seller_ids, kind, year)
    return Series(kind, year, now, {one.seller_id: one for one in locked})


async def add_documents(tx: Transaction, series: Series, drafts: Sequence[Draft]) -> None:
    """Give each draft the next number of its seller and write it down; the series is locked."""
    counters, numbers, rows = dict(series.counters), [], []
    for draft in drafts:
        counter = counters[draft.seller_id]
        issued_at = max(series.now, counter.last_issued_at or series.now)
        counters[draft.seller_id] = counter = _Counter(draft.seller_id, counter.last + 1, issued_at)
        numbers.append(counter.last)
        rows.append(issue(draft, series, counter.last, issued_at))
    raised = [counters[seller_id] for seller_id in sorted({draft.seller_id for draft in drafts})]
    seller_ids, last, issued = columns(raised, "seller_id", "last", "last_issued_at")
    await tx.run(ADD_NUMBERS, series.kind, series.year, *columns(rows, "seller_id"), numbers, *columns(rows, "id", "order_id"))
    front = columns(rows, "order_id", "id", "cause_id", "seller_id", "user_id", "guest_token_hash", "number", "invoice_id")
    contents = [msgspec.to_builtins(row.content) for row in rows]
    await tx.run(ADD_DOCUMENTS, series.kind, *front, *columns(rows, "currency", "total", "tax"), contents, *columns(rows, "issued_at"))
    await tx.run(RAISE_COUNTERS, seller_ids, series.kind, series.year, last, issued)


def issue(draft: Draft, series: Series, counter: int, issued_at: datetime) -> StoredInvoice:
    """The draft with its number and its day."""
    content = msgspec.structs.replace(draft.content, issued_on=day_of(issued_at))
    values = {name: getattr(draft, name) for name in Document.__struct_fields__}
    return StoredInvoice(
        **values | {"content": content},
        kind=series.kind,
        number=format_number(draft.prefix, series.kind, series.year, counter),
        currency=content.currency,
        total=content.total,
        tax=content.tax,
        issued_at=issued_at,
        created_at=issued_at,
    )


def format_number(prefix: str | None, kind: InvoiceKind, year: int, counter: int) -> str:
    """LIGHT-2026-000042, for a credit note LIGHT-CN-2026-000042; without a prefix it begins with what follows."""
    parts = (prefix, "CN" if kind == "credit_note" else None, str(year), f"{counter:06}")
    return "-".join(part for part in parts if part)


def show(row: StoredInvoice) -> Invoice:
    """What is shown of a row."""
    return Invoice(
        id=row.id,
        kind=row.kind,
        number=row.number,
        order_id=row.order_id,
        seller_id=row.seller_id,
        total=Money(row.total, row.currency),
        tax=Money(row.tax, row.currency),
        content=row.content,
        issued_at=row.issued_at,
        created_at=row.created_at,
        updated_at=row.created_at,
        invoice_id=row.invoice_id,
    )
