"""A webhook's turn: who may send to it now, what is to be sent next, and what became of it. Many webhooks take a step together.

A turn is a lease of the webhook's row: nobody else sends to it meanwhile, so that its deliveries go one by one and in their order. It is
free when it runs out, or when its process is gone. What was sent and not yet written down then is sent again, with the same id.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import caller
from souk.kit.db import Transaction, columns
from souk.kit.events import publish
from souk.kit.locks import OWNER_LIVES
from souk.webhooks.database import db
from souk.webhooks.events import WebhookDisabled
from souk.webhooks.posting import Outcome
from souk.webhooks.types import DisabledReason
from souk.webhooks.verdicts import Verdict

# Longer than an attempt takes at the most; a process that has died is noticed earlier by its lost session.
LEASE_S = 60.0

TAKE = f"""
    WITH due AS (
        SELECT id FROM webhooks.webhook
        WHERE status = 'active' AND steady = $1 AND due_at <= now() AND (lease_until < now() OR NOT {OWNER_LIVES.format("lease_owner")})
        ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE webhooks.webhook AS w SET lease_owner = $3, lease_until = now() + make_interval(secs => $4), turn = w.turn + 1
    FROM due WHERE w.id = due.id
    RETURNING w.id, w.turn
"""
# Before anything is read that others may be adding to: who adds deliveries holds this lock, too.
LOCK = """
    SELECT w.id, w.seller_id, w.url, w.active_since FROM webhooks.webhook AS w
    WHERE w.id = ANY($1) AND w.turn = (SELECT u.turn FROM unnest($1::uuid[], $2::bigint[]) AS u (id, turn) WHERE u.id = w.id)
    ORDER BY w.id FOR UPDATE
"""
ADD_ATTEMPTS = """
    INSERT INTO webhooks.attempt (webhook_id, event_id, number, status, error, duration_ms, answer)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::int[], $7::text[])
"""
SETTLE = """
    UPDATE webhooks.delivery AS d SET
        status = u.status, attempts = u.number, tries = d.tries + 1, updated_at = now(),
        settled_at = CASE WHEN u.status <> 'waiting' THEN now() END
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[]) AS u (webhook_id, event_id, number, status)
    WHERE d.webhook_id = u.webhook_id AND d.event_id = u.event_id
"""
NOTE = """
    UPDATE webhooks.webhook AS w SET
        steady = u.steady, failing_since = CASE WHEN NOT u.failed THEN NULL ELSE coalesce(w.failing_since, now()) END,
        due_at = now() + make_interval(secs => u.wait_s),
        status = CASE WHEN u.disabled IS NULL THEN w.status ELSE 'disabled' END,
        disabled_reason = coalesce(u.disabled, w.disabled_reason),
        updated_at = CASE WHEN u.disabled IS NULL THEN w.updated_at ELSE now() END
    FROM unnest($1::uuid[], $2::bool[], $3::bool[], $4::float8[], $5::text[]) AS u (id, steady, failed, wait_s, disabled)
    WHERE w.id = u.id
"""
# The first of what waits, for each of those whose turn goes on. Where nothing waits the webhook sleeps until something is added.
FIND_NEXT = """
    SELECT w.id AS webhook_id, d.event_id, d.payload, d.attempts, d.tries, w.url, w.active_since, w.failing_since, s.sealed
    FROM webhooks.webhook AS w
    CROSS JOIN LATERAL (
        SELECT event_id, payload, attempts, tries FROM webhooks.delivery
        WHERE webhook_id = w.id AND status = 'waiting' ORDER BY place LIMIT 1
    ) AS d
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(sealed ORDER BY created_at DESC), '{}') AS sealed FROM webhooks.secret
        WHERE webhook_id = w.id AND (expires_at IS NULL OR expires_at > now())
    ) AS s
    WHERE w.id = ANY($1) AND w.status = 'active'
"""
RENEW = "UPDATE webhooks.webhook SET lease_until = now() + make_interval(secs => $2) WHERE id = ANY($1)"
SLEEP = "UPDATE webhooks.webhook SET due_at = NULL, lease_until = '-infinity' WHERE id = ANY($1)"
LET_GO = "UPDATE webhooks.webhook SET lease_until = '-infinity' WHERE id = ANY($1)"
LET_GO_LOST = "UPDATE webhooks.webhook SET lease_until = '-infinity' WHERE id = $1 AND turn = $2"


class Turn(msgspec.Struct, frozen=True):
    """A webhook that this process alone sends to, until the lease is over."""

    id: UUID
    turn: int


class Message(msgspec.Struct, frozen=True):
    """What is to be sent next to a webhook."""

    webhook_id: UUID
    event_id: UUID
    payload: str
    attempts: int
    tries: int
    url: str
    active_since: datetime
    failing_since: datetime | None
    sealed: tuple[bytes, ...]


class Done(msgspec.Struct, frozen=True):
    """What became of a message, and what follows from it."""

    message: Message
    outcome: Outcome
    verdict: Verdict


class Step(msgspec.Struct, frozen=True):
    """What became of a message, if one was sent, and whether its sender wants the next one."""

    turn: Turn
    done: Done | None = None
    wants_more: bool = True


class _Locked(msgspec.Struct, frozen=True):
    id: UUID
    seller_id: UUID | None
    url: str
    active_since: datetime


class _Note(msgspec.Struct, frozen=True):
    id: UUID
    steady: bool
    failed: bool
    wait_s: float
    disabled: DisabledReason | None


async def take_turns(*, steady: bool, most: int) -> tuple[Turn, ...]:
    """Take the webhooks to which something is to be sent now and nobody sends, those first that wait longest."""
    return await db.write(Turn, TAKE, steady, most, db.owner, LEASE_S)


async def go_on(step: Step) -> Message | None:
    """Write down what became of a message and take the next one; None when the turn is over."""
    return await _stepping.ask(step, caller())


async def let_go(turn: Turn) -> None:
    """End a turn of which nobody knows how far it came: whoever takes the next one looks. Changes nothing of one that is another's."""
    async with db.transaction() as tx:
        await tx.run(LET_GO_LOST, turn.id, turn.turn)


async def take_steps(asked: tuple[Asked[Step], ...]) -> Answers[Message | None]:
    """Many webhooks take their step at once. Of a turn that is lost, or a webhook that is gone, nothing is written."""
    steps = {one.request.turn.id: one.request for one in asked}
    turns = [step.turn for step in steps.values()]
    async with db.transaction() as tx:
        locked = await tx.all(_Locked, LOCK, *columns(turns, "id", "turn"))
        ours = {one.id: hold_against(one, steps[one.id]) for one in locked}
        done = [step.done for step in ours.values() if step.done is not None]
        if done:
            await write_down(tx, done)
            sellers = {one.id: one.seller_id for one in locked}
            await publish(tx, *(disabled for one in done if (disabled := tell_disabled(one, sellers)) is not None))
        going = [webhook_id for webhook_id, step in ours.items() if step.wants_more and (step.done is None or step.done.verdict.goes_on)]
        found = {one.webhook_id: one for one in await tx.all(Message, FIND_NEXT, going)} if going else {}
        await tx.run(RENEW, list(found), LEASE_S)
        await tx.run(SLEEP, [webhook_id for webhook_id in going if webhook_id not in found])
        await tx.run(LET_GO, [webhook_id for webhook_id in ours if webhook_id not in going])
    return tuple(found.get(one.request.turn.id) for one in asked)


def hold_against(webhook: _Locked, step: Step) -> Step:
    """The step of a webhook as it is by now: one that leads elsewhere, or was put back to work, since the message was taken has not failed.

    What did fail is tried anew at once, where the webhook leads now; it is not disabled for it.
    """
    done = step.done
    if done is None or done.outcome.is_delivered or (webhook.url, webhook.active_since) == (done.message.url, done.message.active_since):
        return step
    return msgspec.structs.replace(step, done=msgspec.structs.replace(done, verdict=Verdict("waiting", 0.0, is_steady=False)))


async def write_down(tx: Transaction, done: list[Done]) -> None:
    """Keep these attempts, what became of their deliveries, and when their webhooks have their next turn."""
    messages = [(one.message.webhook_id, one.message.event_id, one.message.attempts + 1) for one in done]
    webhook_ids, event_ids, numbers = ([row[place] for row in messages] for place in range(3))
    outcomes = columns([one.outcome for one in done], "status", "error", "duration_ms", "answer")
    await tx.run(ADD_ATTEMPTS, webhook_ids, event_ids, numbers, *outcomes)
    await tx.run(SETTLE, webhook_ids, event_ids, numbers, [one.verdict.status for one in done])
    notes = [
        _Note(one.message.webhook_id, one.verdict.is_steady, not one.outcome.is_delivered, one.verdict.wait_s, one.verdict.disabled)
        for one in done
    ]
    await tx.run(NOTE, *columns(notes, "id", "steady", "failed", "wait_s", "disabled"))


def tell_disabled(done: Done, sellers: dict[UUID, UUID | None]) -> WebhookDisabled | None:
    """The news of a webhook that is told no more."""
    reason, webhook_id = done.verdict.disabled, done.message.webhook_id
    return None if reason is None else WebhookDisabled(webhook_id, sellers[webhook_id], reason)


_stepping: Batcher[Step, Message | None] = Batcher(take_steps)
