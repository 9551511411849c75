"""The saga's rows: a lease instead of a lock, attempts that are fenced, decisions that are remembered."""

import hashlib
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from souk.kit.batching import Answers, Asked, Batcher
from souk.kit.callers import NO_DEADLINE, caller
from souk.kit.db import Transaction, columns
from souk.kit.errors import DomainError, refusal_from_wire, refusal_to_wire
from souk.kit.locks import OWNER_LIVES
from souk.orders.database import db
from souk.orders.drafts import Change

Step = Literal["completing", "waiting", "undoing", "done"]

# Longer than an attempt with every time-out of the gateways in it; a dead process is noticed earlier by its lost session.
LEASE_S = 60

COLUMNS = "order_id, cart_id, subject, key, fingerprint, step, refusal, expires_at, attempt, change"
FIND_BY_CART = f"SELECT {COLUMNS} FROM orders.placement WHERE cart_id = $1"
FIND_BY_KEY = f"SELECT {COLUMNS} FROM orders.placement WHERE subject = $1 AND key = $2"
FIND_BY_ORDER = f"SELECT {COLUMNS} FROM orders.placement WHERE order_id = $1"
# An attempt is taken by who finds the lease free: run out, let go, or held by a process that is gone.
TAKE_LEASE = f"""
    UPDATE orders.placement SET
        attempt = attempt + 1, lease_owner = $2, lease_until = now() + make_interval(secs => $3), updated_at = now()
    WHERE order_id = $1 AND step <> 'done' AND (lease_until < now() OR NOT {OWNER_LIVES.format("lease_owner")})
    RETURNING {COLUMNS}
"""
REMEMBER_UNDOING = """
    UPDATE orders.placement SET step = 'undoing', refusal = $3, updated_at = now() WHERE order_id = $1 AND attempt = $2
"""
WRITE_CHANGE = """
    UPDATE orders.placement SET change = $3, updated_at = now() WHERE order_id = $1 AND attempt = $2
"""
# Before every UPDATE ... FROM unnest(...): such a statement that has to wait for another transaction's row may lose the
# others, because PostgreSQL rechecks the join with the function's first rows only. Rows that are locked make nobody wait.
LOCK = "SELECT FROM orders.placement WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE"
# Who was nudged while at work does not go to sleep: the news may have come after the attempt had looked. And whoever gives up after it
# was decided to undo names the step at which it began: what is half undone is never completed.
LET_GO = """
    UPDATE orders.placement AS p SET
        step = CASE WHEN u.step = 'done' THEN 'done' WHEN p.step = 'undoing' THEN 'undoing'
                    WHEN p.nudged AND u.step = 'waiting' THEN 'completing' ELSE u.step END,
        cart_id = CASE WHEN u.frees_cart THEN NULL ELSE p.cart_id END,
        refusal = coalesce(u.refusal::jsonb, p.refusal), change = CASE WHEN u.step <> 'done' THEN p.change END,
        nudged = false, lease_until = '-infinity', updated_at = now()
    FROM unnest($1::uuid[], $2::int[], $3::text[], $4::bool[], $5::text[]) AS u (order_id, attempt, step, frees_cart, refusal)
    WHERE p.order_id = u.order_id AND p.attempt = u.attempt
    RETURNING p.order_id
"""
NUDGE = """
    UPDATE orders.placement SET nudged = true, step = 'completing', updated_at = now()
    WHERE order_id = ANY($1) AND step IN ('waiting', 'completing')
"""
REOPEN = f"""
    UPDATE orders.placement SET step = 'undoing', attempt = attempt + 1, lease_owner = $2,
        lease_until = now() + make_interval(secs => $3), updated_at = now()
    WHERE order_id = $1 AND step = 'done'
    RETURNING {COLUMNS}
"""
# Two index scans, because an OR over two partial indexes would scan the table.
FIND_DUE = f"""
    SELECT order_id FROM (
        (SELECT order_id, lease_until AS due FROM orders.placement
         WHERE step IN ('completing', 'undoing') AND (lease_until < now() OR NOT {OWNER_LIVES.format("lease_owner")})
         ORDER BY lease_until LIMIT $1)
        UNION ALL
        (SELECT order_id, expires_at AS due FROM orders.placement
         WHERE step = 'waiting' AND expires_at < now() ORDER BY expires_at LIMIT $1)
    ) AS late
    ORDER BY due LIMIT $1
"""


# What may still be cancelled keeps its saga, through which stock and money go back. Each order is looked up by its id: for a join
# all orders were read.
FORGET_SETTLED = """
    DELETE FROM orders.placement WHERE order_id IN (
        SELECT p.order_id FROM orders.placement AS p
        WHERE p.step = 'done' AND p.expires_at < now() - make_interval(days => $1)
          AND NOT coalesce((SELECT o.status = 'placed' AND o.fulfillment_status IN ('unfulfilled', 'partial')
                            FROM orders.orders AS o WHERE o.id = p.order_id), false)
        ORDER BY p.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


class Placement(msgspec.Struct, frozen=True):
    """Where the saga of an order stands, and which attempt is at it."""

    order_id: UUID
    cart_id: UUID | None
    subject: str
    key: str | None
    fingerprint: bytes
    step: Step
    refusal: dict[str, object] | None
    expires_at: datetime
    attempt: int
    change: Change | None = None

    def stored_refusal(self) -> DomainError | None:
        """Why the order did not come about; None for one that did, or that its buyer cancelled."""
        return None if self.refusal is None else refusal_from_wire(self.refusal)


class LostLease(Exception):
    """Another attempt is at work on this order; what this one wanted to write was not written."""


class LetGo(msgspec.Struct, frozen=True):
    """An attempt ends and leaves the saga at this step; a refusal is kept for whoever asks again, and frees the cart."""

    order_id: UUID
    attempt: int
    step: Step
    frees_cart: bool = False
    refusal: str | None = None


async def find_placement(*, cart_id: UUID | None = None, key: str | None = None, order_id: UUID | None = None) -> Placement | None:
    """The saga of this order, of the caller's idempotency key, or of this cart, in this order of preference."""
    if order_id is not None:
        return await db.maybe(Placement, FIND_BY_ORDER, order_id)
    if key is not None:
        found = await db.maybe(Placement, FIND_BY_KEY, subject(), key)
        if found is not None:
            return found
    return await db.maybe(Placement, FIND_BY_CART, cart_id) if cart_id else None


async def take_lease(order_id: UUID) -> Placement | None:
    """The next attempt at an order, which is now ours; None if another is at work or nothing is left to do."""
    async with db.transaction() as tx:
        return await tx.maybe(Placement, TAKE_LEASE, order_id, db.owner, float(LEASE_S))


async def remember_undoing(placement: Placement, refusal: DomainError | None) -> None:
    """Decide that the order does not come about: whoever goes on after us undoes, and does not complete. Raises LostLease."""
    why = refusal_to_wire(refusal) if refusal else None
    async with db.transaction() as tx:
        if not await tx.run(REMEMBER_UNDOING, placement.order_id, placement.attempt, why):
            raise LostLease


async def remember_change(placement: Placement, change: Change) -> Placement:
    """Decide that the order becomes another: whoever goes on after us does it, or finds that it is too late. Raises LostLease."""
    async with db.transaction() as tx:
        await write_change(tx, placement, change)
    return msgspec.structs.replace(placement, change=change)


async def write_change(tx: Transaction, placement: Placement, change: Change | None) -> None:
    """Keep what the order is to become; None when that is done, or too late. Raises LostLease."""
    if not await tx.run(WRITE_CHANGE, placement.order_id, placement.attempt, change):
        raise LostLease


async def let_go(tx: Transaction, ended: tuple[LetGo, ...]) -> frozenset[UUID]:
    """End attempts; the orders whose attempt was still the newest one."""
    await tx.run(LOCK, [one.order_id for one in ended])
    rows = await tx.all(_Ended, LET_GO, *columns(ended, "order_id", "attempt", "step", "frees_cart", "refusal"))
    return frozenset(row.order_id for row in rows)


class _Ended(msgspec.Struct, frozen=True):
    order_id: UUID


async def _write_let_go(asked: tuple[Asked[LetGo], ...]) -> Answers[None]:
    async with db.transaction() as tx:
        await let_go(tx, tuple(one.request for one in asked))
    return tuple(None for _ in asked)


_letting_go: Batcher[LetGo, None] = Batcher(_write_let_go)


async def wait_for_payment(placement: Placement) -> None:
    """End this attempt; the order goes on when its payment is captured, or when its time is over."""
    await _letting_go.ask(LetGo(placement.order_id, placement.attempt, "waiting"), caller())


async def give_up_attempt(placement: Placement) -> None:
    """End this attempt in the middle: whoever comes next, or the sweeper, goes on at once."""
    # Often it is the caller's deadline that ends an attempt: the lease is to be let go all the same.
    who = msgspec.structs.replace(caller(), deadline=NO_DEADLINE)
    await _letting_go.ask(LetGo(placement.order_id, placement.attempt, placement.step), who)


async def nudge(tx: Transaction, order_ids: list[UUID]) -> None:
    """There is news of these orders' payments: the sweeper is to go on with those that are not settled."""
    await tx.run(LOCK, order_ids)
    await tx.run(NUDGE, order_ids)


async def reopen(tx: Transaction, order_id: UUID) -> Placement | None:
    """Begin to undo a completed order; the attempt is ours."""
    return await tx.maybe(Placement, REOPEN, order_id, db.owner, float(LEASE_S))


async def find_due(limit: int) -> tuple[UUID, ...]:
    """Orders that nobody is at work on although something is to be done."""
    return tuple(row.order_id for row in await db.all(_Ended, FIND_DUE, limit))


async def forget_settled(days: int, limit: int) -> int:
    """Drop sagas that ended whose time to pay was over so many days ago, and of which nothing can become any more; how many."""
    async with db.transaction() as tx:
        return await tx.run(FORGET_SETTLED, days, limit)


def subject() -> str:
    """Under whom idempotency keys are kept: the user, or the guest's token."""
    who = caller()
    if who.principal.user_id is None and who.guest_token is not None:
        return f"guest:{hashlib.sha256(who.guest_token.encode()).hexdigest()}"
    return who.principal.subject
