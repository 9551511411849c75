"""Compare with the bank: its statement is matched with our payouts, in both directions."""

import logging
import time
from uuid import UUID

import msgspec

from souk.kit.ids import first_id, moment_of
from souk.kit.money import Money
from souk.payments import discrepancies
from souk.payments.banks import find_bank
from souk.payments.banks.bank import Bank
from souk.payments.database import db
from souk.payments.gateways.gateway import BEGINNING_S, Silent, Unreachable
from souk.payments.paying_out import take_news
from souk.payments.positions import FIND_PLACE, MOVE_COMPARED, MOVE_POSITION, Place
from souk.payments.records import Changes, Contradiction, write

log = logging.getLogger(__name__)

# A page of what the ledger moved over the account of a bank, out to sellers or back.
FIND_MOVES = """
    WITH page AS (
        SELECT t.id, t.cause_id, t.reference, t.kind, t.amount, t.currency
        FROM payments.account AS a
        CROSS JOIN LATERAL (
            (SELECT * FROM payments.transfer WHERE debit_id = a.id AND id > $2 AND id < $3 ORDER BY id LIMIT $4)
            UNION ALL
            (SELECT * FROM payments.transfer WHERE credit_id = a.id AND id > $2 AND id < $3 ORDER BY id LIMIT $4)
        ) AS t
        WHERE a.kind = 'bank' AND a.owner = $1
        ORDER BY t.id
        LIMIT $4
    )
    SELECT page.*, EXISTS (
        SELECT FROM payments.book_entry AS e WHERE e.payment_id = page.cause_id AND e.reference = page.reference
    ) AS stands
    FROM page ORDER BY page.id
"""
PAGE = 2_000
# What is younger may be on its way into the statement, and clocks differ.
MARGIN_S = 60.0


class _Move(msgspec.Struct, frozen=True):
    """Money that the ledger moved over the bank's account, and whether the statement has it."""

    id: UUID
    cause_id: UUID
    reference: str
    kind: str
    amount: int
    currency: str
    stands: bool

    def missing_at(self, bank: str) -> Contradiction:
        told = {"kind": self.kind, "amount": Money(self.amount, self.currency), "booked_at": moment_of(self.id)}
        return Contradiction(bank, "ledger", self.reference, "not in the bank's statement", told, self.cause_id)


async def reconcile_if_it_answers() -> int:
    """Read on in the bank's statement, if there is a bank, and compare it with our payouts; how many lines were read."""
    bank = find_bank()
    if bank is None:
        return 0
    try:
        return await reconcile_statement(bank)
    except (Silent, Unreachable) as silence:
        log.warning("statement_unread", extra={"bank": bank.name, "reason": str(silence)})
        return 0


async def reconcile_statement(bank: Bank) -> int:
    """Match the bank's statement with our payouts, in both directions; how many new lines it had.

    What we had not heard of is booked: money that left, and money that came back. What contradicts us, and what we have and the bank has
    not, is kept as a discrepancy. Read again after a crash, lines change nothing. Raises Silent and Unreachable.
    """
    place = await db.maybe(Place, FIND_PLACE, bank.name) or Place("", first_id(time.time() - BEGINNING_S / 2))
    count, more, until = 0, True, 0.0
    while more:
        page = await bank.read_statement(place.position)
        await take_news(bank, page.lines)
        if page.position != place.position:
            async with db.transaction() as tx:
                await tx.run(MOVE_POSITION, bank.name, page.position, place.compared)
        count, place, more, until = count + len(page.lines), Place(page.position, place.compared), page.more, page.until
    await look_for_moves(bank.name, place, first_id(until - MARGIN_S))
    async with db.transaction() as tx:
        await discrepancies.close_found(tx)
    return count


async def look_for_moves(bank: str, place: Place, end: UUID) -> None:
    """Keep as discrepancies what the ledger moved before `end` and the statement does not have."""
    after = place.compared
    while after < end:
        page = await db.all(_Move, FIND_MOVES, bank, after, end, PAGE)
        after = page[-1].id if len(page) == PAGE else end
        changes = Changes()
        changes.contradictions += [one.missing_at(bank) for one in page if not one.stands]
        async with db.transaction() as tx:
            await tx.run(MOVE_COMPARED, bank, place.position, after)
            await write(tx, changes)
