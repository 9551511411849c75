"""Have the bank carry payouts out, outside of any transaction, and book what it says: however often it is asked, each is paid once."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from souk.kit.db import columns, refuse_open_transaction
from souk.payments import discrepancies
from souk.payments.banks import find_bank
from souk.payments.banks.bank import Bank, TransferAsked, TransferNews
from souk.payments.database import db
from souk.payments.gateways.gateway import Silent, Unreachable
from souk.payments.payout_booking import PayoutRow, book_news
from souk.payments.payouts import COLUMNS
from souk.payments.records import Changes, write
from souk.payments.settings import settings
from souk.payments.types import Webhook

log = logging.getLogger(__name__)

LOCK_DUE = f"""
    SELECT {COLUMNS} FROM payments.payout
    WHERE check_at <= now() AND bank = $2
    ORDER BY check_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
"""
# Nobody else asks before our own call has ended. What stays open is asked for at half its age, once an hour at least.
CLAIM = """
    UPDATE payments.payout
    SET check_at = now() + greatest(make_interval(secs => $2), least((now() - created_at) / 2, interval '1 hour')), updated_at = now()
    WHERE id = ANY($1)
"""
LOCK_PAYOUTS = f"SELECT {COLUMNS} FROM payments.payout WHERE id = ANY($1) ORDER BY id FOR UPDATE"
WRITE_PAYOUTS = """
    UPDATE payments.payout AS p
    SET status = u.status, bank_id = u.bank_id, reason = u.reason, paid_at = u.paid_at, updated_at = now(),
        check_at = CASE WHEN u.status IN ('sending', 'accepted') THEN p.check_at END,
        destination = CASE WHEN u.status IN ('sending', 'accepted') THEN p.destination END
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS u (id, status, bank_id, reason, paid_at)
    WHERE p.id = u.id
"""

PAGE = 100


async def send_due_payouts() -> int:
    """Ask the bank for what is under way and due to be asked for; how many. A payout that a dead process left is among them."""
    bank = find_bank()
    count = 0
    while bank is not None and (payouts := await claim_payouts(bank)):
        answers = await asyncio.gather(*(ask(bank, payout) for payout in payouts))
        await take_news(bank, [answer for answer in answers if answer is not None])
        count += len(payouts)
    return count


async def claim_payouts(bank: Bank) -> tuple[PayoutRow, ...]:
    """A page of payouts for which only this process asks the bank, for as long as a call may take."""
    async with db.transaction() as tx:
        due = await tx.all(PayoutRow, LOCK_DUE, PAGE, bank.name)
        await tx.run(CLAIM, [payout.id for payout in due], settings.now.first_check_s)
    return due


async def ask(bank: Bank, payout: PayoutRow) -> TransferNews | None:
    """Have a payout sent, or see what became of it; None if the bank does not say, so that it is asked again later."""
    refuse_open_transaction("a bank")
    try:
        if payout.status == "accepted" and payout.bank_id:
            found = await bank.find(payout.id, payout.bank_id)
            return found or TransferNews(payout.id, "unknown", payout.bank_id, payout.money)
        if payout.destination is None:
            raise LookupError(f"{payout.id} is under way to nowhere")
        return await bank.send(TransferAsked(payout.id, payout.money, payout.destination))
    except (Silent, Unreachable) as silence:
        log.warning("bank_silent", extra={"bank": bank.name, "payout_id": str(payout.id), "reason": str(silence)})
        return None


async def take_news(bank: Bank, news: Sequence[TransferNews]) -> int:
    """Book what the bank says, in one transaction and in its order; how much of it contradicts us and was kept for a person."""
    if not news:
        return 0
    changes, now = Changes(), datetime.now(UTC)
    changed: dict[object, PayoutRow] = {}
    agreed: list[tuple[str, str]] = []
    async with db.transaction() as tx:
        ids = list({one.payout_id for one in news if one.payout_id is not None})
        payouts = {row.id: row for row in await tx.all(PayoutRow, LOCK_PAYOUTS, ids)}
        for one in news:
            before = payouts.get(one.payout_id) if one.payout_id else None
            after = book_news(before, one, bank.name, now, changes)
            if after is not None:
                payouts[after.id] = after
                agreed += [(bank.name, one.external_id)] if one.source == "book" else []
            if after is not None and after != before:
                changed[after.id] = after
        await tx.run(WRITE_PAYOUTS, *columns(list(changed.values()), "id", "status", "bank_id", "reason", "paid_at"))
        await discrepancies.close_entries(tx, agreed)
        await write(tx, changes)
    return len(changes.contradictions)


async def hear_bank(bank: Bank, webhook: Webhook) -> Literal["applied", "refused"]:
    """Book what the bank's webhook says; raises WebhookForged."""
    told = await bank.read_webhook(webhook.headers, webhook.body)
    return "refused" if await take_news(bank, (told,)) else "applied"
