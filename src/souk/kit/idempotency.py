"""Idempotency keys: claim, effect and answer commit in one transaction, and a repeated request gets the first answer."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec

from souk.kit.cache import cache
from souk.kit.callers import Caller, caller
from souk.kit.calls import EXPOSED
from souk.kit.db import Database, Transaction
from souk.kit.errors import DomainError, Invalid, InvalidField, refusal_from_wire, refusal_to_wire

R = TypeVar("R")

KEPT_FOR_HOURS = 72
# The cache only says that there is an answer: whoever has it looks the answer up by one statement and need not try to be the first.
HINTED_FOR_S = 600.0
SHORTEST_KEY_OF_A_STRANGER = 16
NOTHING = msgspec.Raw(msgspec.msgpack.encode(None))

CLAIM = """
    INSERT INTO {schema}.idempotency_key (subject, key, function, fingerprint) VALUES ($1, $2, $3, $4)
    ON CONFLICT (subject, key) DO NOTHING
"""
FIND = "SELECT function, fingerprint, answer FROM {schema}.idempotency_key WHERE subject = $1 AND key = $2"
KEEP = "UPDATE {schema}.idempotency_key SET answer = $3 WHERE subject = $1 AND key = $2"
# So many at once: all that has gathered may be more than a statement has time for.
FORGET = """
    DELETE FROM {schema}.idempotency_key WHERE (subject, key) IN (
        SELECT subject, key FROM {schema}.idempotency_key WHERE created_at < now() - make_interval(hours => $1) LIMIT $2
    )
"""
FORGOTTEN_AT_ONCE = 10_000


class IdempotencyKeyReused(Invalid, code="idempotency_key_reused"):
    """This Idempotency-Key was used for another request; make a new key for a new request."""


class _Kept(msgspec.Struct, frozen=True):
    function: str
    fingerprint: bytes
    answer: bytes | None


class _Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    value: msgspec.Raw = NOTHING  # `Raw | None` cannot be decoded
    refusal: dict[str, Any] | None = None


async def once(database: Database, request: object, work: Callable[[Transaction], Awaitable[R]]) -> R:
    """Run `work` in a transaction, at most once per caller and Idempotency-Key; again gives the first answer or refusal.

    Must be called by an exposed function, for which the key was sent. A twin that is still at work is waited for. The same
    key with another request or for another function raises IdempotencyKeyReused. Without a key it is a plain transaction.
    `work` answers what the exposed function does, or nothing, where the function looks its answer up.
    """
    who = caller()
    if who.idempotency_key is None or who.inside is None:
        async with database.transaction() as tx:
            return await work(tx)
    schema = database.context
    person = (_subject_of(who), who.idempotency_key)
    fingerprint = hashlib.sha256(msgspec.msgpack.encode(request)).digest()
    hint = f"souk:answered:{schema}:{hashlib.sha256(msgspec.msgpack.encode(person)).hexdigest()}"
    if await cache.read([hint]) == [b"1"] and (known := await database.maybe(_Kept, FIND.format(schema=schema), *person)) is not None:
        return cast(R, _repeat(known, who.inside, fingerprint))
    async with database.transaction() as tx:
        if not await tx.run(CLAIM.format(schema=schema), *person, who.inside, fingerprint):
            kept = await tx.one(_Kept, FIND.format(schema=schema), *person)
            return cast(R, _repeat(kept, who.inside, fingerprint))
        answer: R | DomainError
        try:
            async with tx.savepoint():
                answer = await work(tx)
        except DomainError as refusal:
            answer = refusal
        await tx.run(KEEP.format(schema=schema), *person, _pack(answer))
    cache.write({hint: b"1"}, HINTED_FOR_S)
    if isinstance(answer, DomainError):
        raise answer
    return answer


async def is_answered(database: Database) -> bool:
    """Whether there is an answer for the caller's Idempotency-Key: then nothing is to be prepared for it once more."""
    who = caller()
    if who.idempotency_key is None or who.inside is None:
        return False
    return await database.maybe(_Kept, FIND.format(schema=database.context), _subject_of(who), who.idempotency_key) is not None


def _subject_of(who: Caller) -> str:
    if who.principal.kind != "anonymous":
        return who.principal.subject
    if who.guest_token is not None:
        return "guest:" + hashlib.sha256(who.guest_token.encode()).hexdigest()
    # All strangers share one name, and an answer may hold the token of a new cart: a key that others hit upon would give it away.
    if len(who.idempotency_key or "") < SHORTEST_KEY_OF_A_STRANGER:
        raise InvalidField("Idempotency-Key", f"is to have at least {SHORTEST_KEY_OF_A_STRANGER} characters, as a UUID has")
    return who.principal.subject


def _pack(answer: object) -> bytes:
    if isinstance(answer, DomainError):
        return msgspec.msgpack.encode(_Outcome(refusal=refusal_to_wire(answer)))
    return msgspec.msgpack.encode(_Outcome(value=msgspec.Raw(msgspec.msgpack.encode(answer))))


def _repeat(kept: _Kept, function: str, fingerprint: bytes) -> object:
    if kept.function != function or kept.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    outcome = msgspec.msgpack.decode(kept.answer or b"", type=_Outcome)
    if outcome.refusal is not None:
        raise refusal_from_wire(outcome.refusal)
    if bytes(outcome.value) == bytes(NOTHING):
        return None
    return EXPOSED[kept.function].answer_decoder.decode(outcome.value)


async def forget_old_keys(database: Database) -> int:
    """Drop keys that are older than we promise to remember; how many."""
    forget, forgotten = FORGET.format(schema=database.context), 0
    while True:
        async with database.transaction() as tx:
            count = await tx.run(forget, KEPT_FOR_HOURS, FORGOTTEN_AT_ONCE)
        forgotten += count
        if count < FORGOTTEN_AT_ONCE:
            return forgotten
