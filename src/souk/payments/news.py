"""What gateways tell us (answers, webhooks, entries of their books), applied in batches: each message has its effect once."""

import asyncio
from collections.abc import Iterable
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.batching import Asked, Batcher
from souk.kit.callers import SYSTEM, Caller, caller
from souk.kit.db import Transaction
from souk.payments import calling, discrepancies
from souk.payments.booking import book_attempt, book_refund_news, find_refund_id
from souk.payments.chargeback_booking import book_chargeback, cover_losses, entry_of, find_told
from souk.payments.chargeback_rows import find_chargebacks
from souk.payments.database import db
from souk.payments.gateways.gateway import News
from souk.payments.records import Attempt, BookEntry, Case, Changes, Contradiction, NewRefund, lock_cases, write

NOBODYS = UUID(int=0)

FIND_EVENTS = """
    SELECT e.payment_id, e.gateway, e.event_id FROM payments.gateway_event AS e
    JOIN unnest($1::uuid[], $2::text[], $3::text[]) AS u (payment_id, gateway, event_id) USING (payment_id, gateway, event_id)
"""
KEEP_EVENTS = """
    INSERT INTO payments.gateway_event (payment_id, gateway, event_id, type, status)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u (payment_id, gateway, event_id, type, status)
    ORDER BY u.payment_id, u.gateway, u.event_id
    ON CONFLICT DO NOTHING
"""

Receipt = Literal["applied", "repeated", "refused"]


class _Event(msgspec.Struct, frozen=True):
    payment_id: UUID
    gateway: str
    event_id: str


async def take_news(asked: tuple[Asked[News], ...]) -> tuple[Receipt, ...]:
    """Apply messages in one transaction, in the order in which they came."""
    messages = [one.request for one in asked]
    changes = Changes()
    async with db.transaction() as tx:
        cases = await lock_cases(tx, {payment_id for news in messages for payment_id in payments_of(news)})
        if any(news.refunds or news.chargebacks for news in messages):
            await add_chargebacks(tx, cases)
        seen = await find_events(tx, messages)
        receipts = [apply(cases, news, seen, changes) for news in messages]
        await keep_events(tx, messages, receipts)
        agreed = [one for one, receipt in zip(messages, receipts, strict=True) if one.source == "book" and receipt == "applied"]
        await discrepancies.close_entries(tx, [(one.gateway, one.external_id) for one in agreed])
        await write(tx, changes)
    follow_up(changes)
    return tuple(receipts)


_taking: Batcher[News, Receipt] = Batcher(take_news, lanes=1)


async def tell(news: News) -> Receipt:
    """Apply one message, together with whatever else comes in at this moment. It is done even if the caller leaves."""
    who = caller()
    return await asyncio.shield(_taking.ask(news, Caller(SYSTEM, who.request_id, traceparent=who.traceparent)))


def follow_up(changes: Changes) -> tuple[asyncio.Task[None], ...]:
    """After the commit: ask the gateways for what was decided, beside whatever else runs."""
    refunds = [start_refund(refund, attempt) for refund, attempt in changes.to_refund]
    return (*refunds, *(start_void(attempt) for attempt in changes.to_void))


def start_refund(refund: NewRefund, attempt: Attempt) -> asyncio.Task[None]:
    """Have a gateway give this money back and book what it answers."""

    async def give_back() -> None:
        answer = await calling.ask_refund(refund, attempt)
        await tell(News("answer", attempt.gateway, str(refund.id), "refund", refunds=(answer,)))

    return calling.start(("refund", refund.payment_id, refund.id), give_back)


def start_void(attempt: Attempt) -> asyncio.Task[None]:
    """Have a gateway withdraw its question to the buyer and book what it answers."""

    async def withdraw() -> None:
        await tell(calling.answer_of(attempt, await calling.ask_void(attempt)))

    return calling.start(("void", attempt.payment_id, attempt.id), withdraw)


def apply(cases: dict[UUID, Case], news: News, seen: set[_Event], changes: Changes) -> Receipt:
    """Apply a message to the payments that it speaks of; what contradicts our books is kept instead."""
    if news.source == "webhook":
        event = event_of(news)
        if event in seen:
            return "repeated"
        seen.add(event)
    reasons = list(find_contradictions(cases, news, changes))
    for payment_id, reason in reasons:
        told = {"type": news.type, "attempts": news.attempts, "refunds": news.refunds, "chargebacks": news.chargebacks}
        changes.contradictions.append(Contradiction(news.gateway, news.source, news.external_id, reason, told, payment_id))
    return "refused" if reasons else "applied"


def find_contradictions(cases: dict[UUID, Case], news: News, changes: Changes) -> Iterable[tuple[UUID | None, str]]:
    """Book what can be booked; yield why the rest cannot."""
    if news.foreign:
        yield None, "no payment of ours"
    for one in news.attempts:
        case = cases.get(one.reference.payment_id)
        attempt = case.attempts.get(one.reference.attempt_id) if case else None
        if case is None or attempt is None or attempt.gateway != news.gateway:
            yield one.reference.payment_id, "no attempt of ours"
            continue
        note_entry(news, case.payment.id, f"capture:{attempt.id}", changes)
        if reason := book_attempt(case, one, changes):
            yield case.payment.id, reason
    for refund in news.refunds:
        case = cases.get(refund.payment_id)
        if case is None:
            yield refund.payment_id, "no payment of ours"
            continue
        entry = f"{news.gateway}:{news.external_id}"
        note_entry(news, case.payment.id, f"refund:{find_refund_id(case, refund, entry)}", changes)
        if reason := book_refund_news(case, refund, entry, changes):
            yield case.payment.id, reason
        known = case.refunds.get(refund.refund_id) if refund.refund_id else None
        cover_losses(case, known if known and known.status == "failed" else None, changes)
    for chargeback in news.chargebacks:
        case = cases.get(chargeback.payment_id)
        if case is None:
            yield chargeback.payment_id, "no payment of ours"
            continue
        if reason := book_chargeback(case, news.gateway, chargeback, changes):
            yield case.payment.id, reason
        if (told := find_told(case, news.gateway, chargeback.gateway_id)) and (entry := entry_of(told, chargeback)):
            note_entry(news, case.payment.id, entry, changes)


def note_entry(news: News, payment_id: UUID, reference: str, changes: Changes) -> None:
    """Remember that this stands in the gateway's book, be it as we have it or otherwise."""
    if news.source == "book":
        changes.entries.append(BookEntry(payment_id, reference, news.gateway, news.external_id))


def payments_of(news: News) -> set[UUID]:
    told = {one.reference.payment_id for one in news.attempts} | {refund.payment_id for refund in news.refunds}
    return told | {chargeback.payment_id for chargeback in news.chargebacks}


def event_of(news: News) -> _Event:
    return _Event(min(payments_of(news), default=NOBODYS), news.gateway, news.external_id)


async def add_chargebacks(tx: Transaction, cases: dict[UUID, Case]) -> None:
    """Take along what banks have taken back of these payments."""
    for row in await find_chargebacks(tx, cases):
        cases[row.payment_id].chargebacks[row.id] = row


async def find_events(tx: Transaction, messages: list[News]) -> set[_Event]:
    """Which webhooks we have taken before. Two deliveries of one wait for each other at the lock of its payment."""
    events = [event_of(news) for news in messages if news.source == "webhook"]
    if not events:
        return set()
    names = [event.payment_id for event in events], [event.gateway for event in events], [event.event_id for event in events]
    return set(await tx.all(_Event, FIND_EVENTS, *names))


async def keep_events(tx: Transaction, messages: list[News], receipts: list[Receipt]) -> None:
    """Remember the webhooks that were new."""
    told = zip(messages, receipts, strict=True)
    new = [(event_of(news), news.type, receipt) for news, receipt in told if news.source == "webhook" and receipt != "repeated"]
    if not new:
        return
    await tx.run(
        KEEP_EVENTS,
        [event.payment_id for event, _, _ in new],
        [event.gateway for event, _, _ in new],
        [event.event_id for event, _, _ in new],
        [kind for _, kind, _ in new],
        [receipt for _, _, receipt in new],
    )
