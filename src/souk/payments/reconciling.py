"""Compare with the gateways: what is open is asked for, and every entry of their books is matched with ours."""

import asyncio
import logging
from uuid import UUID

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.locks import OWNER_LIVES
from souk.payments import calling
from souk.payments.database import db
from souk.payments.gateways import gateways
from souk.payments.gateways.gateway import Gateway, Silent, Unreachable
from souk.payments.news import start_refund, start_void, tell
from souk.payments.records import FIND_ATTEMPTS, Attempt, RefundRow
from souk.payments.types import Discrepancy

log = logging.getLogger(__name__)

# Due is what was not looked at for long, and what a process asked that is gone: its call may be on its way for a moment yet.
FIND_DUE_ATTEMPTS = f"""
    WITH due AS (
        (SELECT payment_id, id FROM payments.attempt WHERE check_at <= now() ORDER BY check_at LIMIT $1)
        UNION
        (SELECT payment_id, id FROM payments.attempt
         WHERE check_at IS NOT NULL AND status = 'pending' AND updated_at < now() - interval '2 seconds'
           AND NOT {OWNER_LIVES.format("owner")}
         ORDER BY check_at LIMIT $1))
    SELECT a.payment_id, a.id, a.gateway, a.method, a.amount, a.currency, a.status, a.gateway_id, a.decline_code, a.redirect_url,
           a.fingerprint, p.closed_at IS NOT NULL OR p.captured > 0 AS unwanted
    FROM due JOIN payments.attempt AS a USING (payment_id, id) JOIN payments.payment AS p ON p.id = payment_id
"""
FIND_DUE_REFUNDS = f"""
    WITH due AS (
        (SELECT payment_id, id FROM payments.refund WHERE check_at <= now() ORDER BY check_at LIMIT $1)
        UNION
        (SELECT payment_id, id FROM payments.refund
         WHERE check_at IS NOT NULL AND updated_at < now() - interval '2 seconds' AND NOT {OWNER_LIVES.format("owner")}
         ORDER BY check_at LIMIT $1))
    SELECT payment_id, id, attempt_id, amount, currency, destination, surplus, reason, status, gateway_id, failure_code,
           created_at, updated_at
    FROM due JOIN payments.refund USING (payment_id, id)
"""
FIND_POSITION = "SELECT position FROM payments.book_position WHERE gateway = $1"
MOVE_POSITION = """
    INSERT INTO payments.book_position (gateway, position) VALUES ($1, $2)
    ON CONFLICT (gateway) DO UPDATE SET position = excluded.position, updated_at = now()
"""
LIST_DISCREPANCIES = """
    SELECT id, gateway, source, external_id, reason, told, payment_id, created_at, updated_at FROM payments.discrepancy
    WHERE $1::uuid IS NULL OR id < $1
    ORDER BY id DESC
    LIMIT $2
"""


class _Due(Attempt, frozen=True, kw_only=True):
    """An open attempt that is to be looked at; unwanted if its payment is closed or paid."""

    unwanted: bool


async def settle_open_attempts(limit: int = 200) -> int:
    """Ask the gateways for attempts that have been open for long; how many were looked at."""
    due = await db.all(_Due, FIND_DUE_ATTEMPTS, limit)
    await asyncio.gather(*(look_at(attempt) for attempt in due))
    return len(due)


async def look_at(attempt: _Due) -> None:
    """Find out how an attempt stands; a question that nobody is to answer any more is withdrawn."""
    if attempt.unwanted and attempt.status == "requires_action":
        await start_void(attempt)
    else:
        await tell(calling.answer_of(attempt, await calling.ask_whether(attempt)))


async def retry_refunds(limit: int = 200) -> int:
    """Ask the gateways once more for refunds that hang; how many."""
    due = await db.all(RefundRow, FIND_DUE_REFUNDS, limit)
    found = await db.all(Attempt, FIND_ATTEMPTS, list({row.payment_id for row in due})) if due else ()
    attempts = {(attempt.payment_id, attempt.id): attempt for attempt in found}
    if due:
        await asyncio.wait([start_refund(row, attempts[row.payment_id, row.attempt_id]) for row in due])
    return len(due)


async def reconcile_books() -> int:
    """Read on in each gateway's book and match its entries with ours; how many entries were read."""
    return sum(await asyncio.gather(*(reconcile_book(gateway) for gateway in gateways().values())))


async def reconcile_book(gateway: Gateway) -> int:
    """Match the new entries of one book: what we did not know of is booked, what contradicts us is kept as a discrepancy.

    Read again after a crash, entries change nothing.
    """
    position = str(await db.value(FIND_POSITION, gateway.name) or "")
    count, more = 0, True
    while more:
        try:
            page = await gateway.read_book(position)
        except (Silent, Unreachable) as silence:
            log.warning("book_unread", extra={"gateway": gateway.name, "reason": str(silence)})
            break
        await asyncio.gather(*(tell(entry) for entry in page.entries))
        if page.position != position:
            async with db.transaction() as tx:
                await tx.run(MOVE_POSITION, gateway.name, page.position)
        count, position, more = count + len(page.entries), page.position, page.more
    return count


@exposed()
async def list_discrepancies(limit: int, before: UUID | None = None) -> tuple[Discrepancy, ...]:
    """What gateways said against our books, newest first; for admins."""
    caller().principal.require_admin()
    return await db.search(Discrepancy, LIST_DISCREPANCIES, before, limit)
