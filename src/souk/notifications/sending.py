"""Messages that are due leave: claimed, looked at once more, written, carried, and what became of them written down, many at a time."""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client import Counter

from souk.kit.background import LOOK_AGAIN_S
from souk.kit.db import NOT_NOW, TRY_AGAIN, Transaction, columns
from souk.kit.errors import Unavailable
from souk.notifications.bells import due_messages
from souk.notifications.channels.carriers import find_carrier
from souk.notifications.channels.channel import FRESH_S, Carrier, Later, Outcome, Refused, Unknown
from souk.notifications.database import db
from souk.notifications.letters import Contacts, Ready, write_letters
from souk.notifications.pacing import Leaving, keep_pace
from souk.notifications.pages import Taken, Taker, take_page
from souk.notifications.settings import settings
from souk.notifications.settling import Settled, keep_together, settle, try_later
from souk.notifications.standing import hold_again
from souk.notifications.suppressions import Bad, suppress
from souk.notifications.topics import TOPICS
from souk.notifications.types import Channel, Message

log = logging.getLogger(__name__)

LETTERS = Counter("souk_letters_total", "Messages after an attempt to send them: sent, failed, waiting for another", ["channel", "outcome"])

FIELDS = """
    id, letter_id, notice_id, user_id, order_id, seller_id, channel, kind, topic, mandatory, content, due_at, give_up_at, attempts
"""
# One round trip where a claim takes four, and mostly nothing is due.
IS_DUE = """
    SELECT EXISTS (SELECT FROM notifications.message
                   WHERE channel = $1 AND NOT advertises AND status = 'waiting' AND id = letter_id AND due_at <= now())
        OR EXISTS (SELECT FROM notifications.message
                   WHERE channel = $1 AND advertises AND status = 'waiting' AND id = letter_id AND due_at <= now())
"""
LOCK_DUE = """
    SELECT id, user_id, topic, mandatory, give_up_at, now() AS claimed_at FROM notifications.message
    WHERE channel = $1 AND advertises = $2 AND status = 'waiting' AND id = letter_id AND due_at <= now()
    ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
"""
# A statement of its own: what joined a letter just before its first message was locked is seen by it.
TAKE = f"""
    UPDATE notifications.message SET status = 'sending', owner = $2, attempts = attempts + 1, reason = NULL, updated_at = now()
    WHERE letter_id = ANY($1) AND status = 'waiting' RETURNING {FIELDS}
"""
LOCK_OURS = "SELECT id FROM notifications.message WHERE id = ANY($1) AND status = 'sending' AND owner = $2 ORDER BY id FOR UPDATE"
WRITE = """
    UPDATE notifications.message AS m SET
        status = u.status, reason = u.reason, owner = u.owner, due_at = coalesce(u.due_at, m.due_at),
        attempts = m.attempts - u.untried::integer, sent_at = CASE u.status WHEN 'sent' THEN now() END,
        decided_at = coalesce($8, m.decided_at), updated_at = now()
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::integer[], $6::boolean[])
        AS u (id, status, reason, due_at, owner, untried)
    WHERE m.id = u.id AND m.status = 'sending' AND m.owner = $7
"""
# By the first messages of letters, for which there is an index; what has waited for too long was due before.
LOCK_LATE = """
    SELECT id FROM notifications.message
    WHERE channel = $1 AND status = 'waiting' AND id = letter_id AND due_at <= now() AND give_up_at <= now()
    ORDER BY advertises, due_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""
FAIL_LATE = """
    UPDATE notifications.message SET status = 'failed', reason = 'given_up: the channel is not set up', updated_at = now()
    WHERE letter_id = ANY($1) AND status = 'waiting'
"""

LATE_EVERY_S = 60.0
# How long a stop waits for what is in flight.
FINISH_WITHIN_S = 3.0
GIVE_BACK_WITHIN_S = 1.0
WRITE_AGAIN_S = 0.3
TROUBLE, STOPPED = "our own trouble", "stopped before anybody was offered it"
# After trouble of our own.
PAUSE_S = 60.0
# After a neighbour has kept silent.
SILENCE_S = 2.0
# A page takes twice the statements of a batch, and is as many letters as two of them.
PAGE_BATCHES = 2
MOST_LATE = 5_000

_looked: dict[Channel, float] = {}
# What this process is sending right now, whoever it is to the database.
in_hand: set[UUID] = set()


async def send_due(channel: Channel) -> int:
    """Send what is due on a channel, several batches at a time, until nothing is; how many messages. Raises Unavailable.

    Whether it fails or is cancelled, what is in flight is finished first.
    """
    carrier = find_carrier(channel)
    if carrier is None:
        return await fail_late(channel)
    done = 0
    in_flight: set[asyncio.Task[int]] = set()
    patience_s: float | None = None
    pages = Pages(channel, carrier)
    try:
        while True:
            heard = due_messages[channel].rings
            batch = await claim(channel, db.owner, settings.now.batches - len(in_flight))
            if batch:
                in_flight.add(asyncio.create_task(send(batch, carrier, db.owner)))
                # Who got advertisements has seen that nothing else is due.
                if len(in_flight) < settings.now.batches or not advertises(batch):
                    continue
            elif pages.none_since != heard:
                in_flight |= {asyncio.create_task(pages.send_next(heard)) for _ in range(settings.now.batches - len(in_flight))}
            if not in_flight:
                return done
            finished, in_flight = await wait_for_some(channel, in_flight, heard)
            done += sum(task.result() for task in finished)
    except asyncio.CancelledError:
        patience_s = FINISH_WITHIN_S
        raise
    finally:
        pages.close()
        if in_flight:
            await asyncio.wait(in_flight, timeout=patience_s)
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)


class Pages:
    """The campaigns' pages that we take and send, one after the other, when nothing is due."""

    def __init__(self, channel: Channel, carrier: Carrier) -> None:
        self._channel = channel
        self._carrier = carrier
        self._turn = asyncio.Lock()
        self._open = True
        # How often it had rung when there was none.
        self.none_since: int | None = None

    def close(self) -> None:
        """No other page is taken."""
        self._open = False

    async def send_next(self, heard: int) -> int:
        """Take a page and send it; how many messages."""
        owner = db.owner
        async with self._turn:
            if self.none_since == heard:
                return 0
            began = time.monotonic()
            taken = await self._take(owner) if self._open else Taken()
            if not taken.messages:
                self.none_since = heard
                return 0
        is_fresh = time.monotonic() - began < FRESH_S
        return await send(taken.messages, self._carrier, owner, taken.contacts if is_fresh else None)

    async def _take(self, owner: int) -> Taken:
        try:
            return await take_page(Taker(self._channel, owner, PAGE_BATCHES * settings.now.batch))
        except (Unavailable, *NOT_NOW, *TRY_AGAIN) as silence:
            log.warning("page_not_taken", extra={"reason": str(silence)})
        except Exception:
            # Whatever is wrong with a campaign, everything else leaves.
            log.exception("page_not_taken")
        return Taken()


async def wait_for_some(
    channel: Channel, in_flight: set[asyncio.Task[int]], heard: int
) -> tuple[set[asyncio.Task[int]], set[asyncio.Task[int]]]:
    """Wait until something has landed, or there may be more to send."""
    ring = asyncio.create_task(due_messages[channel].wait(LOOK_AGAIN_S, heard if len(in_flight) <= settings.now.batches else None))
    await asyncio.wait({*in_flight, ring}, return_when=asyncio.FIRST_COMPLETED)
    ring.cancel()
    return {task for task in in_flight if task.done()}, {task for task in in_flight if not task.done()}


def advertises(messages: Sequence[Message]) -> bool:
    """Whether these are advertisements, which leave by themselves."""
    return all(topic is not None and topic.advertises for topic in (TOPICS.get(one.topic) for one in messages))


async def claim(channel: Channel, owner: int, room: int = 1) -> tuple[Message, ...]:
    """The next letters that are due, with all of their messages, as ours, if there is room for so many batches.

    What only advertises leaves when nothing else is due, and by itself; for all else there is room for one batch more.
    """
    if room < 0 or not await db.value(IS_DUE, channel):
        return ()
    async with db.transaction() as tx:
        leaving = await tx.all(Leaving, LOCK_DUE, channel, False, settings.now.batch)
        if not leaving and room:
            leaving = await tx.all(Leaving, LOCK_DUE, channel, True, settings.now.batch)
        letters = await keep_pace(tx, channel, leaving)
        return await tx.all(Message, TAKE, letters, owner) if letters else ()


async def send(messages: Sequence[Message], carrier: Carrier, owner: int, contacts: Contacts | None = None) -> int:
    """Send messages that are ours, and write down what became of them. Recipients who were just looked up need not be again."""
    ids = {one.id for one in messages}
    offered: set[UUID] = set()
    in_hand.update(ids)
    try:
        return await send_all(messages, carrier, owner, offered, contacts)
    except asyncio.CancelledError:
        await give_back([one for one in messages if one.letter_id not in offered], owner)
        raise
    finally:
        in_hand.difference_update(ids)


async def give_back(messages: Sequence[Message], owner: int) -> None:
    """Let others send what we were stopped from offering to anybody: of this it is known that nobody has it."""
    now = datetime.now(UTC)
    try:
        async with asyncio.timeout(GIVE_BACK_WITHIN_S):
            await write_down([try_later(message, STOPPED, now, untried=True) for message in messages], (), owner)
    except TimeoutError:
        log.warning("letters_not_given_back", extra={"messages": len(messages)})


async def send_all(
    messages: Sequence[Message], carrier: Carrier, owner: int, offered: set[UUID], contacts: Contacts | None = None
) -> int:
    now = datetime.now(UTC)
    try:
        written = await write_letters(messages, contacts)
    except Unavailable as silence:
        # Nobody has been asked for anything: they wait a moment.
        due_at = now + timedelta(seconds=SILENCE_S)
        await write_down([try_later(message, str(silence), due_at, untried=True) for message in messages], (), owner)
        return 0
    except Exception:
        log.exception("letters_not_written", extra={"messages": len(messages)})
        letters = group_by_letter(messages)
        if len(letters) > 1:
            # One of them is the culprit: the others leave.
            return sum([await send_all(those, carrier, owner, offered) for those in letters])
        await write_down([try_later(message, TROUBLE, now + timedelta(seconds=PAUSE_S)) for message in messages], (), owner)
        return len(messages)
    settled = list(written.settled)
    bad: list[Bad] = []
    for ready, outcome in await carry(written.ready, carrier, offered):
        settled += [settle(message, outcome, datetime.now(UTC), settings.now.retry_after_s) for message in ready.messages]
        if isinstance(outcome, Refused) and outcome.bad_address:
            bad.append(Bad(ready.letter.to, "bounced", ready.letter.id))
    await write_down(settled, bad, owner, now)
    await hold_again(settled)
    return len(messages)


def group_by_letter(messages: Sequence[Message]) -> list[list[Message]]:
    letters: defaultdict[UUID, list[Message]] = defaultdict(list)
    for one in messages:
        letters[one.letter_id].append(one)
    return list(letters.values())


async def carry(ready: Sequence[Ready], carrier: Carrier, offered: set[UUID]) -> list[tuple[Ready, Outcome]]:
    """Hand letters over; what became of each. When it ends otherwise `offered` has those of which nobody can tell."""
    if not ready:
        return []
    try:
        outcomes = await carrier.deliver([one.letter for one in ready], offered)
    except Exception:
        log.exception("letters_not_carried", extra={"letters": len(ready)})
        outcomes = [Unknown(TROUBLE) if one.letter.id in offered else Later(TROUBLE, PAUSE_S) for one in ready]
    return list(zip(ready, outcomes, strict=True))


async def write_down(settled: Sequence[Settled], bad: Sequence[Bad], owner: int, decided_at: datetime | None = None) -> None:
    """Write what became of messages, however long the database takes: until then they are ours and nobody else's.

    When the connection that says so is lost they are still written, unless somebody else has begun to ask what became of them.
    """
    counted = Tally((one.message.channel, one.status) for one in settled)
    while settled:
        try:
            async with db.transaction() as tx:
                await write(tx, keep_together(settled), owner, decided_at)
                await suppress(tx, bad)
            for outcome, count in counted.items():
                LETTERS.labels(*outcome).inc(count)
            return
        except (Unavailable, *TRY_AGAIN) as silence:
            log.warning("outcomes_not_written", extra={"reason": str(silence)})
            await asyncio.sleep(WRITE_AGAIN_S)


async def write(tx: Transaction, settled: Sequence[Settled], owner: int, decided_at: datetime | None) -> None:
    ids = [one.message.id for one in settled]
    await tx.connection.fetch(LOCK_OURS, ids, owner)
    values = columns(settled, "status", "reason", "due_at", "owner", "untried")
    await tx.run(WRITE, ids, *values, owner, decided_at)


async def fail_late(channel: Channel) -> int:
    """End what has waited too long for a carrier that the shop does not have."""
    now = time.monotonic()
    if now - _looked.get(channel, -LATE_EVERY_S) < LATE_EVERY_S:
        return 0
    _looked[channel] = now
    async with db.transaction() as tx:
        late = await tx.connection.fetch(LOCK_LATE, channel, MOST_LATE)
        return await tx.run(FAIL_LATE, [row["id"] for row in late]) if late else 0
