"""Read documents: a buyer's own, those of one's seller account, all of them for an admin."""

from uuid import UUID

from souk import orders
from souk.invoices.database import db
from souk.invoices.numbering import StoredInvoice, show
from souk.invoices.types import Invoice
from souk.kit.callers import Caller, caller
from souk.kit.calls import exposed
from souk.kit.errors import NotFound
from souk.kit.http import Page, make_page, read_cursor
from souk.kit.personal import exports_user_data

SELECT_DOCUMENTS = """
    SELECT i.id, i.order_id, i.seller_id, i.cause_id, i.user_id, i.guest_token_hash, i.content, i.invoice_id, i.kind, i.number, i.currency,
           i.total, i.tax, i.issued_at, i.created_at
    FROM invoices.invoice AS i
"""
# An id alone says nothing of the partition: the number's row has the order with it.
FIND = f"""
    {SELECT_DOCUMENTS} JOIN invoices.number AS n ON n.invoice_id = i.id AND n.order_id = i.order_id WHERE n.invoice_id = $1
"""
FIND_INVOICES = f"{SELECT_DOCUMENTS} WHERE i.order_id = ANY($1) AND i.seller_id = ANY($2) AND i.kind = 'invoice' ORDER BY i.order_id, i.id"
FIND_OF_ORDER = f"{SELECT_DOCUMENTS} WHERE i.order_id = $1 ORDER BY i.id LIMIT 10000"
LIST_OF_SELLER = """
    SELECT n.year, i.id, i.order_id, i.seller_id, i.cause_id, i.user_id, i.guest_token_hash, i.content, i.invoice_id, i.kind, i.number,
           i.currency, i.total, i.tax, i.issued_at, i.created_at
    FROM (SELECT year, invoice_id, order_id FROM invoices.number
          WHERE seller_id = $1 AND (year, invoice_id) > ($2, $3) AND year <= $4 ORDER BY year, invoice_id LIMIT $5) AS n
    JOIN invoices.invoice AS i ON i.order_id = n.order_id AND i.id = n.invoice_id
    ORDER BY n.year, i.id
"""

FIND_OF_USER = f"{SELECT_DOCUMENTS} WHERE i.user_id = $1 ORDER BY i.id LIMIT 10000"

BEFORE_ALL = UUID(int=0)
LAST_YEAR = 9999


class _Listed(StoredInvoice, frozen=True, kw_only=True):
    year: int


@exposed()
async def get_invoice(invoice_id: UUID) -> Invoice:
    """An invoice or a credit note, for its buyer, its seller's team and admins. Changes nothing; raises NotFound."""
    return show(await find_visible(invoice_id))


@exposed()
async def list_invoices_of_order(order_id: UUID) -> tuple[Invoice, ...]:
    """Those documents of an order that the caller may see, the oldest first.

    Changes nothing; raises NotFound for an order that is not theirs at all.
    """
    who = caller()
    seen = tuple(show(row) for row in await db.all(StoredInvoice, FIND_OF_ORDER, order_id) if may_see(row, who))
    if not seen and not await orders.get_orders((order_id,)):
        raise NotFound
    return seen


@exposed()
async def list_invoices_of_seller(seller_id: UUID, year: int | None, limit: int, cursor: str | None) -> Page[Invoice]:
    """The documents of one's own seller account (any for an admin), of one year or of all, the oldest first. Raises NotFound."""
    if not caller().principal.manages(seller_id):
        raise NotFound
    after = read_cursor(cursor, tuple[int, UUID]) or (year or 0, BEFORE_ALL)
    rows = await db.all(_Listed, LIST_OF_SELLER, seller_id, *after, year or LAST_YEAR, limit + 1)
    page = make_page(rows, limit, lambda row: (row.year, row.id))
    return Page(tuple(show(row) for row in page.items), page.next)


@exports_user_data
async def export_invoices(user_id: UUID) -> dict[str, object]:
    """A user's documents, with the name and the address on them: these stay when the user leaves, as the law wants it."""
    return {"invoices": [show(row) for row in await db.all(StoredInvoice, FIND_OF_USER, user_id)]}


async def find_visible(invoice_id: UUID) -> StoredInvoice:
    """The document, if the caller may see it; raises NotFound."""
    found = await db.maybe(StoredInvoice, FIND, invoice_id)
    if found is None or not may_see(found, caller()):
        raise NotFound
    return found


def may_see(row: StoredInvoice, who: Caller) -> bool:
    """Whether this is its seller, its buyer, a guest with the order's token, or an admin."""
    if who.principal.manages(row.seller_id) or who.principal.owns(row.user_id):
        return True
    return row.user_id is None and who.holds(row.guest_token_hash)
