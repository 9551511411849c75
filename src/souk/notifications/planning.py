"""Notices become messages: who is meant, what it says, and whether, when and with what else each person is told on each channel."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from souk.kit.db import NOT_NOW, TRY_AGAIN, Transaction, columns
from souk.kit.errors import Unavailable
from souk.notifications import contents, people, recipients
from souk.notifications.bells import wake_senders
from souk.notifications.contents import Gone, Goods, complete, narrow, order_of
from souk.notifications.database import db
from souk.notifications.deciding import channels_for
from souk.notifications.limits import limits
from souk.notifications.messages import Draft, OpenLetter, Pace, Planned, Situation, plan_drafts
from souk.notifications.recipients import Orders, Recipient
from souk.notifications.topics import KINDS
from souk.notifications.types import NOBODY, Notice

log = logging.getLogger(__name__)

# Kinds that a newer process knows are left to it.
FIND_NEW = """
    SELECT id, kind, fact_id, recipient_kind, recipient_id, content, occurred_at FROM notifications.notice
    WHERE status = 'new' AND id > $1 AND kind = ANY($2) ORDER BY id LIMIT $3
"""
LOCK_NEW = "SELECT id FROM notifications.notice WHERE id = ANY($1) AND status = 'new' ORDER BY id FOR UPDATE"
FIND_PACES = """
    SELECT user_id, channel, topic, due_at FROM notifications.message
    WHERE user_id = ANY($1) AND due_at > $2 AND id = letter_id AND NOT mandatory AND status IN ('waiting', 'sending', 'sent')
      AND channel IN ('email', 'push', 'sms')
"""
# Whoever sends a letter takes this row first: it is joined before that, or not at all.
LOCK_OPEN_LETTERS = """
    SELECT id, user_id, channel, topic, window_ends_at FROM notifications.message
    WHERE user_id = ANY($1) AND status = 'waiting' AND id = letter_id AND window_ends_at > $2 ORDER BY id FOR UPDATE
"""
WRITE = """
    WITH written AS (
        INSERT INTO notifications.message (id, letter_id, notice_id, user_id, order_id, seller_id, channel, kind, topic, mandatory,
                                           advertises, content, status, reason, due_at, give_up_at, decided_at, window_ends_at, owner,
                                           sent_at, attempts)
        SELECT u.*, CASE u.status WHEN 'sent' THEN now() END, (u.status IN ('sending', 'sent'))::integer
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[],
                    $10::boolean[], $11::boolean[], $12::jsonb[], $13::text[], $14::text[], $15::timestamptz[], $16::timestamptz[],
                    $17::timestamptz[], $18::timestamptz[], $19::integer[])
            AS u (id, letter_id, notice_id, user_id, order_id, seller_id, channel, kind, topic, mandatory, advertises,
                  content, status, reason, due_at, give_up_at, decided_at, window_ends_at, owner)
        ON CONFLICT (id) DO NOTHING RETURNING id, status)
    SELECT id FROM written WHERE status = 'sending'
"""
# What was for nobody, for they are gone, is not kept for anybody.
MARK = """
    UPDATE notifications.notice AS n
    SET status = u.status, reason = u.reason, content = CASE u.reason WHEN 'nobody' THEN '{}' ELSE n.content END, updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS u (id, status, reason)
    WHERE n.id = u.id AND n.status = 'new'
"""

AT_ONCE = 500
# Nobody can tell, or others were in the way: none of it is the notices' fault.
LATER = (Unavailable, *NOT_NOW, *TRY_AGAIN)
# The longest stretch in which it is counted how much somebody is told.
MEMORY = timedelta(days=1)


# How many were planned, and the silence of a neighbour for which others were left.
Outcome = tuple[int, Unavailable | None]


class _Id(msgspec.Struct, frozen=True):
    id: UUID


class _Known(msgspec.Struct, frozen=True):
    """What neighbours said of some notices; those about which they did not answer are left out."""

    notices: tuple[Notice, ...]
    recipients: Mapping[UUID, tuple[Recipient, ...]]
    orders: Orders
    goods: Goods
    silence: Unavailable | None


async def plan_all() -> int:
    """Plan every notice that is new; how many. What cannot be planned now does not hold up the others.

    Raises Unavailable when all the others are planned, if something was left because a neighbour did not answer.
    """
    planned, after, silence = 0, NOBODY, None
    while page := await db.all(Notice, FIND_NEW, after, list(KINDS), AT_ONCE):
        for done, silent in await plan_carefully(page):
            planned, silence = planned + done, silent or silence
        after = page[-1].id
        if len(page) < AT_ONCE:
            break
    if silence is not None:
        raise silence
    return planned


async def ask_neighbours(notices: Sequence[Notice]) -> _Known:
    """What has to be known to plan these notices, in a handful of calls. Raises Unavailable if users keep silent."""
    asked, silence = tuple(notices), None
    known_orders: Orders = {}
    goods = Goods({}, {})
    try:
        known_orders = await contents.find_orders(asked)
    except Unavailable as silent:
        asked, silence = tuple(notice for notice in asked if order_of(notice) is None), silent
    try:
        goods = await contents.find_goods(asked)
    except Unavailable as silent:
        asked, silence = tuple(notice for notice in asked if not contents.needs_goods(notice)), silent
    meant = await recipients.find_recipients(asked, known_orders) if asked else {}
    return _Known(asked, meant, known_orders, goods, silence)


async def plan_carefully(notices: Sequence[Notice]) -> list[Outcome]:
    """Plan notices together; if that fails one by one, so that one that cannot be planned is dropped and named, and the others are not."""
    try:
        return [await ask_and_plan(notices)]
    except LATER:
        raise
    except Exception:
        log.exception("planning_failed", extra={"notices": len(notices)})
    return [await plan_or_drop(notice) for notice in notices]


async def plan_or_drop(notice: Notice) -> Outcome:
    """Plan a notice, or drop it for good if that fails for another reason than that nobody answers."""
    try:
        return await ask_and_plan((notice,))
    except LATER:
        raise
    except Exception as failure:
        log.exception("notice_dropped", extra={"notice_id": str(notice.id), "kind": notice.kind})
        async with db.transaction() as tx:
            return await tx.run(MARK, [notice.id], ["dropped"], [f"cannot be planned: {type(failure).__name__}"]), None


async def ask_and_plan(notices: Sequence[Notice]) -> Outcome:
    known = await ask_neighbours(notices)
    return await plan(known, known.notices), known.silence


async def plan(known: _Known, notices: Sequence[Notice]) -> int:
    """Write the messages of these notices, as far as nobody has planned them yet; how many notices that were."""
    drafts, dropped = draft_messages(known, notices)
    whom = sorted({draft.recipient.user_id for draft in drafts if draft.recipient.user_id is not None})
    async with db.transaction() as tx:
        # People before notices, as whoever forgets people does.
        situation = await look_around(tx, whom)
        ours = {row.id for row in await tx.all(_Id, LOCK_NEW, [notice.id for notice in notices])}
        await write_messages(tx, plan_drafts([draft for draft in drafts if draft.notice.id in ours], situation))
        await people.empty_notices(tx, sorted(situation.gone))
        reasons = [dropped.get(notice_id) for notice_id in ours]
        await tx.run(MARK, list(ours), ["dropped" if reason else "planned" for reason in reasons], reasons)
    return len(ours)


async def look_around(tx: Transaction, whom: Sequence[UUID]) -> Situation:
    """What these people are told anyway. From now to the end of the transaction nobody else plans anything for them."""
    now = datetime.now(UTC)
    gone = await people.lock_people(tx, whom)
    paces = await tx.all(Pace, FIND_PACES, whom, now - MEMORY) if whom else ()
    letters = await tx.all(OpenLetter, LOCK_OPEN_LETTERS, whom, now) if whom else ()
    return Situation(now, limits.now, paces, letters, gone)


async def write_messages(tx: Transaction, messages: Sequence[Planned]) -> frozenset[UUID]:
    """Write messages, and wake who sends those that wait; which of those are written that somebody is to send who has them already."""
    if not messages:
        return frozenset()
    written = await tx.all(_Id, WRITE, *columns(messages, *Planned.__struct_fields__))
    wake_senders(tx, {one.channel for one in messages if one.status == "waiting"})
    return frozenset(row.id for row in written)


def draft_messages(known: _Known, notices: Sequence[Notice]) -> tuple[list[Draft], dict[UUID, str]]:
    """What may be told to whom on which channel, and which notices are told to nobody, and why."""
    drafts: list[Draft] = []
    dropped: dict[UUID, str] = {}
    for notice in notices:
        whom = known.recipients.get(notice.id, ())
        content = complete(notice, known.orders, known.goods)
        if isinstance(content, Gone):
            dropped[notice.id] = content.reason
            continue
        kind = KINDS[notice.kind]
        found = [
            Draft(notice, kind, one, channel, said)
            for one in whom
            if (said := narrow(content, one.contact)) is not None
            for channel in channels_for(kind.topic, one.contact)
        ]
        if found:
            drafts.extend(found)
        else:
            dropped[notice.id] = "not_theirs" if whom else "nobody"
    return drafts, dropped
