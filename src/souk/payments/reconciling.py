"""Compare with the gateways: what is open is asked for, and their books are matched with ours, in both directions."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from uuid import UUID

import msgspec

from souk.kit.callers import caller
from souk.kit.calls import exposed
from souk.kit.ids import first_id, moment_of
from souk.kit.locks import OWNER_LIVES
from souk.kit.money import Money
from souk.payments import bank_statements, calling, discrepancies
from souk.payments.banks import find_bank
from souk.payments.database import db
from souk.payments.gateways import gateways
from souk.payments.gateways.gateway import BEGINNING_S, Gateway, Silent, Unreachable
from souk.payments.news import start_refund, start_void, tell
from souk.payments.positions import FIND_PLACE, MOVE_COMPARED, MOVE_POSITION, Place
from souk.payments.records import FIND_ATTEMPTS, Attempt, Changes, Contradiction, RefundRow, write
from souk.payments.types import BookReading

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
# A page of what the ledger moved over the accounts of gateways. Transfers of one account lie side by side, by the time of their ids.
FIND_MOVES = """
    WITH page AS (
        SELECT t.id, a.owner AS gateway, t.cause_id, t.reference, t.kind, t.amount, t.currency
        FROM payments.account AS a
        CROSS JOIN LATERAL (
            (SELECT * FROM payments.transfer
             WHERE debit_id = a.id AND id > $2 AND id < $3
               AND (starts_with(reference, 'capture:') OR ($5 AND kind = 'charged_back_undone')) ORDER BY id LIMIT $4)
            UNION ALL
            (SELECT * FROM payments.transfer
             WHERE credit_id = a.id AND id > $2 AND id < $3
               AND (starts_with(reference, 'refund:') OR ($5 AND kind = 'charged_back')) ORDER BY id LIMIT $4)
        ) AS t
        WHERE a.kind = 'gateway_clearing' AND a.owner = ANY($1)
        ORDER BY t.id
        LIMIT $4
    )
    SELECT page.*, EXISTS (
        SELECT FROM payments.book_entry AS e WHERE e.payment_id = page.cause_id AND e.reference = page.reference
    ) AS stands
    FROM page ORDER BY page.id
"""
PAGE = 2_000

# What is younger may be on its way into a gateway's book, and clocks differ. On the other side no margin is needed: all entries that
# were ever read are kept, however much earlier than we the gateway booked.
MARGIN_S = 60.0
# What was not found is looked for once more in so much of the book.
SECOND_LOOK_S = 3_600
# How long the audit waits for a book.
LONGEST_READING_S = 20.0


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


class _Move(msgspec.Struct, frozen=True):
    """Money that the ledger moved over a gateway's account, and whether that stands in the gateway's book."""

    id: UUID
    gateway: str
    cause_id: UUID
    reference: str
    kind: str
    amount: int
    currency: str
    stands: bool

    @property
    def missing(self) -> Contradiction:
        told = {"kind": self.kind, "amount": Money(self.amount, self.currency), "booked_at": moment_of(self.id)}
        return Contradiction(self.gateway, "ledger", self.reference, "not in the gateway's book", told, self.cause_id)


async def reconcile_books() -> int:
    """Read on in each gateway's book and compare it with ours; how many entries were read."""
    return sum(await asyncio.gather(*(reconcile_if_it_answers(gateway) for gateway in gateways().values() if gateway.in_book)))


async def reconcile_if_it_answers(gateway: Gateway) -> int:
    try:
        return await reconcile_book(gateway)
    except (Silent, Unreachable) as silence:
        log.warning("book_unread", extra={"gateway": gateway.name, "reason": str(silence)})
        return 0


@exposed(timeout=LONGEST_READING_S + 5.0)
async def read_gateway_books() -> tuple[BookReading, ...]:
    """Read on in each gateway's book now and compare it with ours, and say which of them could not be read and why not; for admins.

    So with the bank's statement. Repeating it reads what has come since. A gateway that has no book of its own is left out.
    """
    caller().principal.require_admin()
    readings = [try_to_read(gateway.name, reconcile_book(gateway)) for gateway in gateways().values() if gateway.in_book]
    if bank := find_bank():
        readings.append(try_to_read(bank.name, bank_statements.reconcile_statement(bank)))
    return tuple(await asyncio.gather(*readings))


async def try_to_read(name: str, reading: Awaitable[int]) -> BookReading:
    try:
        async with asyncio.timeout(LONGEST_READING_S):
            await reading
    except (Silent, Unreachable) as silence:
        return BookReading(name, str(silence))
    except TimeoutError:
        return BookReading(name, f"not read within {LONGEST_READING_S:g} seconds")
    return BookReading(name, None)


async def reconcile_book(gateway: Gateway) -> int:
    """Match one book with ours, in both directions; how many new entries it had.

    What we did not know of is booked; what contradicts us, and what we have and the gateway has not, is kept as a discrepancy. Read again
    after a crash, entries change nothing. Raises Silent and Unreachable.
    """
    place = await db.maybe(Place, FIND_PLACE, gateway.name) or Place("", first_id(time.time() - BEGINNING_S / 2))
    count, place, until = await read_on(gateway, place)
    await look_for_moves(gateway, place, first_id(until - MARGIN_S))
    async with db.transaction() as tx:
        await discrepancies.close_found(tx)
    return count


async def read_on(gateway: Gateway, place: Place) -> tuple[int, Place, float]:
    """Take in the entries after a position: how many there were, the position after them, and until when the book is known."""
    count, position, more, until = 0, place.position, True, 0.0
    while more:
        page = await gateway.read_book(position)
        await asyncio.gather(*(tell(entry) for entry in page.entries))
        if page.position != position:
            async with db.transaction() as tx:
                await tx.run(MOVE_POSITION, gateway.name, page.position, place.compared)
        count, position, more, until = count + len(page.entries), page.position, page.more, page.until
    return count, Place(position, place.compared), until


async def look_for_moves(gateway: Gateway, place: Place, end: UUID) -> None:
    """Keep as discrepancies what the ledger moved before `end` and the book does not have, not even at a second look."""
    after, looked_twice = place.compared, False
    while after < end:
        page = await db.all(_Move, FIND_MOVES, list(gateway.in_book), after, end, PAGE, gateway.chargebacks_in_book)
        missing = [one for one in page if not one.stands]
        if missing and not looked_twice:
            second = int(moment_of(missing[0].id).timestamp()) - SECOND_LOOK_S
            await read_on(gateway, Place(gateway.rewind(place.position, second), after))
            looked_twice = True
            continue
        after = page[-1].id if len(page) == PAGE else end
        changes = Changes()
        changes.contradictions += [one.missing for one in missing]
        async with db.transaction() as tx:
            await tx.run(MOVE_COMPARED, gateway.name, place.position, after)
            await write(tx, changes)
