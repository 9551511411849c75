"""Issue invoices: one for each seller's part of an order, when all of it has left that was not cancelled."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from souk import orders, users
from souk.invoices.composing import Days, compose_invoice
from souk.invoices.database import db
from souk.invoices.numbering import Draft, StoredInvoice, add_documents, lock_series, show
from souk.invoices.profiles import find_profiles
from souk.invoices.reading import FIND_INVOICES
from souk.invoices.settings import day_of, settings
from souk.invoices.types import Invoice, SellerProfile, SoldPart
from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.kit.errors import NotFound
from souk.kit.ids import new_id

# An order and one of its sellers.
Part = tuple[UUID, UUID]


@exposed(timeout=30.0)
async def issue_invoices(parts: tuple[SoldPart, ...]) -> tuple[Invoice, ...]:
    """Invoice these parts of orders, for the shop itself and admins: what is on an invoice is frozen, and it bears the next number.

    The same part again gives its first invoice; one that has not left yet, or was cancelled, gives none. Raises NotFound for an order that
    is not there, Forbidden for anybody else.
    """
    caller().principal.require_admin()
    wanted: dict[Part, SoldPart] = {}
    for part in parts:
        wanted.setdefault((part.order_id, part.seller_id), part)
    known = by_part(await db.all(StoredInvoice, FIND_INVOICES, *keys_of(wanted)))
    drafts = await draft_invoices([part for key, part in wanted.items() if key not in known])
    if drafts:
        async with db.transaction() as tx:
            known |= await write_invoices(tx, drafts)
    return tuple(show(known[key]) for key in wanted if key in known)


async def draft_invoices(parts: list[SoldPart]) -> list[Draft]:
    """What these parts' invoices are to say, as orders and users know it now."""
    if not parts:
        return []
    facts = {one.order_id: one for one in await orders.read_invoice_facts(tuple(sorted({part.order_id for part in parts})))}
    seller_ids = sorted({part.seller_id for part in parts})
    sellers = {one.id: one for one in await users.get_sellers(tuple(seller_ids))}
    profiles = await find_profiles(seller_ids)
    if any(part.order_id not in facts or part.seller_id not in sellers for part in parts):
        raise NotFound
    drafts = (draft_invoice(facts[part.order_id], part, sellers[part.seller_id], profiles) for part in parts)
    return [draft for draft in drafts if draft is not None]


def draft_invoice(facts: orders.InvoiceFacts, part: SoldPart, seller: users.Seller, profiles: Mapping[UUID, SellerProfile]) -> Draft | None:
    profile = profiles.get(part.seller_id)
    supplied_at = next((one.supplied_at for one in facts.parts if one.seller_id == part.seller_id), None)
    if supplied_at is None:
        return None
    days = Days(settings.now.language, day_of(datetime.now(UTC)), day_of(facts.placed_at), day_of(supplied_at))
    content = compose_invoice(facts, part, seller, profile, days)
    if content is None:
        return None
    return Draft(
        id=new_id(),
        order_id=facts.order_id,
        seller_id=part.seller_id,
        cause_id=facts.order_id,
        user_id=facts.user_id,
        guest_token_hash=facts.guest_token_hash,
        prefix=profile.prefix if profile else None,
        content=content,
    )


async def write_invoices(tx: Transaction, drafts: list[Draft]) -> dict[Part, StoredInvoice]:
    """Number and write what nobody else has issued meanwhile; the invoices of these parts."""
    order_ids, seller_ids = keys_of([(draft.order_id, draft.seller_id) for draft in drafts])
    series = await lock_series(tx, "invoice", seller_ids)
    known = by_part(await tx.all(StoredInvoice, FIND_INVOICES, order_ids, seller_ids))
    if new := [draft for draft in drafts if (draft.order_id, draft.seller_id) not in known]:
        await add_documents(tx, series, new)
        known = by_part(await tx.all(StoredInvoice, FIND_INVOICES, order_ids, seller_ids))
    return known


def by_part(invoices: tuple[StoredInvoice, ...]) -> dict[Part, StoredInvoice]:
    return {(invoice.order_id, invoice.seller_id): invoice for invoice in invoices}


def keys_of(parts: Iterable[Part]) -> tuple[list[UUID], list[UUID]]:
    """The orders and the sellers of parts, each once and in their order."""
    orders_and_sellers = list(parts)
    return sorted({order_id for order_id, _ in orders_and_sellers}), sorted({seller_id for _, seller_id in orders_and_sellers})
