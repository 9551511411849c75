"""What a gateway and our books say otherwise: listed, and closed by a person or because the gateway's book agrees by now."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.db import Transaction
from souk.payments.database import db
from souk.payments.types import Discrepancy, DiscrepancyNotFound, DiscrepancyStatus

COLUMNS = "id, gateway, source, external_id, reason, told, payment_id, created_at, updated_at, closed_at, closed_by, close_reason"
LIST_DISCREPANCIES = f"""
    SELECT {COLUMNS} FROM payments.discrepancy
    WHERE ($1::uuid IS NULL OR id < $1) AND ($3::text = 'all' OR (closed_at IS NULL) = ($3 = 'open'))
    ORDER BY id DESC
    LIMIT $2
"""
FIND_DISCREPANCY = f"SELECT {COLUMNS} FROM payments.discrepancy WHERE id = $1"
LOCK_OPEN = "SELECT id FROM payments.discrepancy WHERE id = ANY($1) AND closed_at IS NULL ORDER BY id FOR UPDATE"
LOCK_OPEN_ENTRIES = """
    SELECT d.id FROM payments.discrepancy AS d
    JOIN unnest($1::text[], $2::text[]) AS u (gateway, external_id) USING (gateway, external_id)
    WHERE d.source = 'book' AND d.closed_at IS NULL
    ORDER BY d.id FOR UPDATE OF d
"""
LOCK_FOUND = """
    SELECT d.id FROM payments.discrepancy AS d
    WHERE d.source = 'ledger' AND d.closed_at IS NULL
      AND EXISTS (SELECT FROM payments.book_entry AS e WHERE e.payment_id = d.payment_id AND e.reference = d.external_id)
    ORDER BY d.id FOR UPDATE
"""
CLOSE = """
    UPDATE payments.discrepancy SET closed_at = now(), closed_by = $2, close_reason = $3, updated_at = now() WHERE id = ANY($1)
"""

RESOLVED = "the gateway's book agrees now"


class _Locked(msgspec.Struct, frozen=True):
    id: UUID


@exposed()
async def list_discrepancies(limit: int, before: UUID | None = None, status: DiscrepancyStatus = "open") -> tuple[Discrepancy, ...]:
    """Where gateways and our books say otherwise, newest first; for admins."""
    caller().principal.require_admin()
    return await db.search(Discrepancy, LIST_DISCREPANCIES, before, limit, status)


@exposed()
async def close_discrepancy(discrepancy_id: UUID, reason: str) -> Discrepancy:
    """Say what came of a discrepancy; the audit counts it no more. Closing again changes nothing and returns it as it was closed first.

    For admins. Raises DiscrepancyNotFound.
    """
    principal = caller().principal
    principal.require_admin()
    async with db.transaction() as tx:
        await close(tx, await tx.all(_Locked, LOCK_OPEN, [discrepancy_id]), reason, principal.user_id)
        found = await tx.maybe(Discrepancy, FIND_DISCREPANCY, discrepancy_id)
    if found is None:
        raise DiscrepancyNotFound
    return found


async def close_entries(tx: Transaction, entries: Sequence[tuple[str, str]]) -> None:
    """What a gateway's book says, read again, agrees with our books: what did not agree before has resolved itself."""
    if entries:
        await close(tx, await tx.all(_Locked, LOCK_OPEN_ENTRIES, *map(list, zip(*entries, strict=True))), RESOLVED)


async def close_found(tx: Transaction) -> None:
    """What no gateway's book had stands in it by now."""
    await close(tx, await tx.all(_Locked, LOCK_FOUND), RESOLVED)


async def close(tx: Transaction, locked: Sequence[_Locked], reason: str, closed_by: UUID | None = None) -> None:
    if locked:
        await tx.run(CLOSE, [one.id for one in locked], closed_by, reason)
